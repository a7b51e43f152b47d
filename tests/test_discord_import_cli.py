"""`nescord import discord`: what it prints, how it exits, and that a long history takes little memory."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cli_runs import NESCORD, in_process, nescord
from discord_exports import GUILD, export, message
from vaults import REPOSITORY, SAMPLE

from benchmarks import discord_import

_SAMPLES = SAMPLE / "discord"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "kb"


def test_it_says_where_notes_went_and_what_came_of_them(data: Path) -> None:
    done = nescord("--data-dir", data, "import", "discord", _SAMPLES / "general.json", _SAMPLES / "thread.json")
    assert done.code == 0
    assert done.out.startswith("discord: 珈琲同好会 → guild:1180000000000000001: 5 messages, ")
    assert done.out.endswith(": notes added 3, unchanged 0\n")
    assert "new knowledge base at" in done.err


def test_json_is_one_document_and_the_same_again_changes_nothing(data: Path) -> None:
    first = nescord("--data-dir", data, "--json", "import", "discord", _SAMPLES).document
    again = nescord("--data-dir", data, "import", "discord", "--json", _SAMPLES).document
    assert isinstance(first, dict)
    assert isinstance(again, dict)
    assert [(one["source"], one["space"], one["said"], one["added"]) for one in first["imports"]] == [
        ("discord: data package", "personal", 3, 2),
        ("discord: 珈琲同好会", "guild:1180000000000000001", 5, 3),
    ]
    assert [(one["added"], one["changed"], one["unchanged"]) for one in again["imports"]] == [(0, 0, 2), (0, 0, 3)]
    assert again["unusable"] == []


def test_space_and_gap_are_options(data: Path, tmp_path: Path) -> None:
    file = export(tmp_path / "a.json", [message(1, 0), message(2, 45)])
    run = ("--data-dir", data, "--json", "import", "discord", file)
    document: Any = nescord(*run, "--space", "personal", "--gap", "30").document
    assert (document["imports"][0]["space"], document["imports"][0]["added"]) == ("personal", 2)
    listed = nescord("--data-dir", data, "source", "list").out
    assert f"discord: Guild (personal)\tfolder\tdiscord:{GUILD}@personal\tpersonal" in listed
    assert nescord(*run, "--space", "all").code == 2
    assert nescord(*run, "--gap", "0").code == 2


def test_a_file_that_cannot_be_used_is_named_and_the_others_are_imported(data: Path, tmp_path: Path) -> None:
    good = export(tmp_path / "a.json", [message(1, 0), message(2, 1, id="?")])
    bad = tmp_path / "bad.json"
    bad.write_text("[]", encoding="utf-8")
    done = nescord("--data-dir", data, "import", "discord", good, bad)
    assert (done.code, "notes added 1" in done.out) == (1, True)
    assert "bad.json is no export of a channel" in done.err
    assert "1 messages of discord: Guild were left out" in done.err
    alone = nescord("--data-dir", data, "import", "discord", bad)
    assert (alone.code, alone.out) == (2, "")
    assert "Export with DiscordChatExporter as JSON" in alone.err


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of 20,000 messages."""
    file = tmp_path_factory.mktemp("discord") / "long.json"
    discord_import.write(file, 20_000)
    return file


def test_a_long_history_takes_little_memory(tmp_path: Path, long: Path) -> None:
    few, many = (
        discord_import.run(tmp_path / f"kb{number}", path, count)
        for number, (path, count) in enumerate(((export(tmp_path / "one.json", [message(1, 0)]), 1), (long, 20_000)))
    )
    assert (many["said"], many["failed"]) == (20_000, 0)
    assert int(str(many["peak_rss_mb"])) < int(str(few["peak_rss_mb"])) + 100


def test_an_interrupted_import_keeps_what_it_stored_and_the_next_goes_on(data: Path, long: Path) -> None:
    child = subprocess.Popen(
        [*NESCORD, "--data-dir", data, "--json", "import", "discord", long],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    deadline = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        looked = nescord("--data-dir", data, "--json", "status")
        if looked.code == 0 and json.loads(looked.out)["notes"]:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=120)
    (first,) = json.loads(out)["imports"]
    if child.returncode == 0:
        pytest.skip("the machine was faster than the signal")
    assert child.returncode == 130
    assert first["interrupted"]
    (rest,) = json.loads(in_process("--data-dir", data, "--json", "import", "discord", long).out)["imports"]
    assert (rest["unchanged"], rest["changed"]) == (first["added"], 0)
    assert rest["added"] > 0
