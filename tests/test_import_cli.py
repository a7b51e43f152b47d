"""`nescord import-from` from end to end, also killed in the middle and asked for what cannot be."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import in_process, nescord

from tests.vaults import SAMPLE, open_base

OLD = SAMPLE / "nescordbot-old.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    return path


def test_the_old_bot_s_notes_are_taken_in_and_told_of(tmp_path: Path, old: Path) -> None:
    state = tmp_path / "state"
    done = nescord("--data-dir", state, "import-from", "nescordbot", old, "--json")
    assert done.code == 0
    document = done.document
    assert isinstance(document, dict)
    assert (document["added"], document["failed"], document["kept"]) == (5, 0, 0)
    assert document["sources"][0]["source"] == "nescordbot"
    assert document["remarks"] == ["1 links are left out: they lead from or to notes that are not there"]
    assert "new knowledge base at" in done.err
    again = nescord("--data-dir", state, "import-from", "nescordbot", old)
    assert (again.code, again.out.partition(" s: ")[2]) == (0, "unchanged 5\n")
    shown = nescord("--data-dir", state, "search", "三分蒸らす", "--json").document
    assert isinstance(shown, list)
    assert [hit["title"] for hit in shown] == ["紅茶の淹れ方"]
    listed = nescord("--data-dir", state, "source", "list")
    assert "nescordbot" in listed.out


def test_what_is_kept_or_broken_is_said_on_stderr(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "notes.jsonl"
    file.write_bytes((SAMPLE / "notes.jsonl").read_bytes() + b"{broken\n")
    first = nescord("--data-dir", state, "import-from", "jsonl", file)
    assert first.code == 0
    assert "failed: line 5: it is no JSON" in first.err
    assert "notes, " in first.out
    assert "captures-2, " not in first.out
    with open_base(state) as km:
        km.edit_note("Bin day", text="Bin day is Monday.")
    again = nescord("--data-dir", state, "import-from", "jsonl", file, "--json")
    document = again.document
    assert isinstance(document, dict)
    assert (document["unchanged"], document["kept"], document["failed"]) == (2, 1, 1)
    assert "kept as it is: it was changed here" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nescordbot", "nothing.db"), "nothing.db cannot be read"),
        (("nescordbot", OLD), "is no SQLite database"),
        (("nescordbot", OLD, "--space-of-guilds", "all"), '"all" is no space'),
        (("nescordbot", OLD, "--timezone", "Mars"), '"Mars" is no time zone'),
        (("jsonl", OLD), "is no export of notes"),
        (("jsonl", OLD, "--space", "all"), '"all" is no space'),
    ],
)
def test_what_cannot_be_read_is_refused_and_begins_nothing(
    tmp_path: Path, arguments: tuple[str | Path, ...], message: str
) -> None:
    done = nescord("--data-dir", tmp_path / "state", "import-from", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "state").exists()


def test_our_own_database_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert nescord("--data-dir", state, "capture", "mine").code == 0
    done = nescord("--data-dir", state, "import-from", "nescordbot", state / "nescordbot.db")
    assert done.code == 2
    assert "import-from jsonl" in done.err


def has_stored(state: Path) -> bool:
    log = state / "nescordbot.db-wal"
    return log.exists() and log.stat().st_size > 1_500_000


def test_an_import_that_was_killed_goes_on_to_the_same_end(tmp_path: Path) -> None:
    file, state = tmp_path / "notes.jsonl", tmp_path / "state"
    with file.open("w", encoding="utf-8") as target:
        print('{"format": "nescord-jsonl", "version": 1}', file=target)
        for number in range(2000):
            text = f"note {number} " + "湯を沸かす。word " * 40
            said = {"path": f"{number % 7}/{number}.md", "source": "notes", "text": text, "owner": "us"}
            said |= {"created_at": "2025-01-01T00:00:00Z", "revisions": [{"text": f"before {number}"}]}
            print(json.dumps(said), file=target)
    command = [sys.executable, "-m", "nescord.cli", "--data-dir", str(state), "import-from", "jsonl", str(file)]
    counts = [0]
    while counts[-1] < 2000 and len(counts) < 5:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < 300:
            time.sleep(0.02)
            # At first as soon as a batch is stored, then at other moments of a run.
            is_due = time.monotonic() - begun > 1 + 0.3 * len(counts) if len(counts) > 1 else has_stored(state)
            if is_due:
                process.send_signal(signal.SIGKILL)
        process.wait()
        with open_base(state) as km:
            counts.append(km.status().notes)
    assert counts == sorted(counts)
    assert 0 < counts[1] < 2000
    done = in_process(*command[3:], "--json")
    assert done.code == 0
    document = done.document
    assert isinstance(document, dict)
    assert document["unchanged"] + document["added"] == 2000
    assert document["failed"] == document["kept"] == document["changed"] == 0
    with open_base(state) as km:
        assert km.status().notes == 2000
        assert [one.body for one in km.note_history("0/1995.md")] == ["before 1995"]
        assert km.verify(deep=True).ok
    with open_base(tmp_path / "at once") as km, open_base(state) as other:
        nescord("--data-dir", tmp_path / "at once", "import-from", "jsonl", file)
        ids = [{one.note_id for one in each.recent_notes(limit=1000)} for each in (km, other)]
        print(f"stored after each kill: {counts}")
        assert ids[0] == ids[1]
