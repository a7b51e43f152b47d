"""What `nescord` prints into terminals, pipes, locales and closed streams, whatever the notes hold."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from cli_runs import NESCORD, NOTES, in_process, in_terminal, ingested, nescord, write_notes


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base with NOTES from a vault named "vault"; tests only read it."""
    return ingested(tmp_path_factory.mktemp("base"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A vault of the test's own, beside which a data folder may appear."""
    return write_notes(tmp_path / "vault", NOTES)


def test_text_of_notes_is_shown_and_never_obeyed(base: Path) -> None:
    for arguments in (["search", "hostile"], ["show", "hostile"]):
        piped = in_process("--data-dir", base, *arguments)
        shown = in_terminal("--data-dir", base, *arguments)
        for output in (piped.out, shown.out):
            assert "[bold]markup[/bold] [link=x]y" in re.sub(r"\x1b\[[0-9;]*m", "", output)
            assert ":smile:" in output
            assert "\x1b]52" not in output
            assert "\x07" not in output
            assert "\x9b" not in output
            assert "\x1b[31m" not in output
        assert "\x1b" not in piped.out
    document = in_process("--data-dir", base, "show", "hostile", "--json")
    assert "\x9b" not in document.out
    assert "\x9b2J" in document.document["body"]


def test_in_a_terminal_words_are_marked_and_paths_are_links(base: Path) -> None:
    shown = in_terminal("--data-dir", base, "search", "seventy")
    assert "\x1b[1;33mseventy\x1b[0m" in shown.out
    assert f"file://{base.parent}/vault/Kitchen/Tea.md" in shown.out
    assert re.search(r"\x1b\]8;[^;]*;file://", shown.out)


def test_a_link_that_a_capture_names_cannot_carry_an_escape_sequence() -> None:
    nescord("capture", "tea time", "--source", "https://x/\x1b\\\x1b]52;c;aGk=\x07")
    shown = in_terminal("search", "tea")
    assert "\x1b]52" not in shown.out
    assert "tea time" in re.sub(r"\x1b\[[0-9;]*m", "", shown.out)


def test_ingest_in_a_terminal_ends_with_a_table(own: Path) -> None:
    done = in_terminal("ingest", own)
    assert done.code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.out)
    assert re.search(r"^added +4 *$", plain, re.MULTILINE)
    assert "+ 珈琲.md" in plain
    assert done.out.count("\x1b[?25l") == done.out.count("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_hears_no_complaint(base: Path, unbuffered: str) -> None:
    with subprocess.Popen(
        [*NESCORD, "--data-dir", str(base), "search", "--json", "--mode", "keyword", "tea"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
    assert child.returncode == 141


def test_arguments_and_locales_that_are_not_utf8_are_survived(base: Path) -> None:
    assert in_process("--data-dir", base, "search", b"caf\xe9").code == 1
    refused = in_process("--data-dir", base, "show", b"caf\xe9", "--json")
    assert refused.code == 2
    assert refused.document == {"error": "an argument is not UTF-8 text: caf\ufffd"}
    assert in_process("--data-dir", base, "ingest", b"/nowhere/caf\xe9").code == 2
    for env in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii:strict"}):
        assert in_process("--data-dir", base, "search", "seventy", env=env).code == 0
        assert "Title ?[31mred?[0m" in in_process("--data-dir", base, "show", "hostile", env=env).out
        assert "珈琲" in in_process("--data-dir", base, "search", "--tag", "coffee", "--json", env=env).out


def test_a_closed_standard_output_is_no_crash(base: Path) -> None:
    line = f"'{NESCORD[0]}' -m nescord.cli --data-dir '{base}' failures >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
