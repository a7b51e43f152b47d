"""The lines of all services on one stream, also when nobody reads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

import pytest
from backup_world import small_disk
from flow_world import wait_for

from nescord.log_lines import Printer, level_of

Format = Literal["text", "json"]
_LOST = re.compile(r"(\d+) lines of the log are lost: nobody read them")


@contextmanager
def piped() -> Iterator[tuple[int, TextIO]]:
    """Both ends of a pipe."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def printed(*lines: tuple[str, str], format: Format = "text", redact: object = str) -> list[str]:  # noqa: A002
    with piped() as (reading, stream):
        with Printer(stream, format, redact) as printer:  # type: ignore[arg-type]
            for name, line in lines:
                printer(name, line)
        return os.read(reading, 1 << 16).decode("utf-8").splitlines()


def test_a_line_has_its_time_and_the_name_of_who_said_it() -> None:
    lines = printed(("http", "こんにちは"), ("prefect", "a\nb"), redact=lambda text: text.replace("b", "***"))
    assert [line[21:] for line in lines] == ["http     | こんにちは", "prefect  | a", "prefect  | ***"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line[:21]) for line in lines)


def test_what_would_steer_a_terminal_is_left_out_and_so_are_empty_lines() -> None:
    lines = printed(("chroma", "\x1b[1;31m赤\x1b[0m\r\x1b]0;title\x07 end\n\n\x1b[0m\n\ttab"))
    assert [line[21:] for line in lines] == ["chroma   | 赤 end", "chroma   | \ttab"]


def test_json_has_one_object_a_line() -> None:
    lines = printed(
        *(("serve", 'ERROR said "no"\x00\ud800'), ("serve", "plain"), ("nescord", "no ERROR"), ("nescord", "ERROR x")),
        format="json",
        redact=lambda text: text.replace("plain", "***"),
    )
    found = [json.loads(line) for line in lines]
    assert [(each["service"], each["level"], each["message"]) for each in found] == [
        *(("serve", "error", 'ERROR said "no"\ud800'), ("serve", "info", "***"), ("nescord", "info", "no ERROR")),
        ("nescord", "error", "ERROR x"),
    ]
    assert all(list(each) == ["time", "service", "level", "message"] for each in found)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("ERROR: no", "error"),
        ("2026-11-27 23:15:05,123 [WARNING] chroma: slow", "warning"),
        ("23:15:05.123 | INFO    | Flow run 'x' - no ERROR", "info"),
        ("2026-11-27T23:15:05Z  WARN rust", "warning"),
        ("FATAL: no", "critical"),
        ("DEBUG:x", "debug"),
        ("an error, and an ERROR_CODE in ERROR.txt", "info"),
        ("x" * 100 + " ERROR", "info"),
        ("", "info"),
    ],
)
def test_the_level_is_what_the_line_plainly_says(line: str, level: str) -> None:
    assert level_of(line) == level


def test_when_nobody_reads_nobody_waits_and_later_it_is_said_how_many_lines_are_lost() -> None:
    many = 40_000
    with piped() as (reading, stream), Printer(stream, "text", str) as printer:
        begun = time.monotonic()
        for number in range(many):
            printer("loud", f"line {number} " + "x" * 100)
        assert time.monotonic() - begun < 5
        content = b""
        while not (found := _LOST.search(content.decode("utf-8"))):
            content += os.read(reading, 1 << 16)
        lines = content.decode("utf-8").splitlines()
        kept = [line for line in lines if "line " in line and "loud" in line]
        assert int(found[1]) + len(kept) == many
        assert int(found[1]) > many / 2
        # What was kept is the beginning, in order.
        assert all(f"line {number} " in line for number, line in enumerate(kept))
        printer("loud", "goes on")
        assert os.read(reading, 1 << 16).decode("utf-8").endswith("loud     | goes on\n")


def test_a_reader_that_is_gone_is_no_reason_to_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, Printer(stream, "text", str) as printer:
        os.close(reading)
        for _ in range(3):
            printer("a", "to nobody")
            time.sleep(0.05)
        assert printer._writer.is_alive()


def test_a_stream_that_does_not_want_to_wait_is_waited_for() -> None:
    with piped() as (reading, stream):
        os.set_blocking(stream.fileno(), False)
        with Printer(stream, "text", str) as printer:
            for number in range(2000):
                printer("a", f"{number} " + "x" * 100)
            content = b""
            while b"1999 xxx" not in content:
                content += os.read(reading, 1 << 16)
        assert not _LOST.search(content.decode("ascii"))


def test_a_full_disk_loses_lines_and_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        (disk / "filler").write_bytes(b"x" * (2**20 - 16384))
        with (disk / "out").open("w") as stream, Printer(stream, "text", str) as printer:
            for _ in range(20):
                printer("a", "x" * 4000)
            wait_for("lost lines", lambda: printer._lost)
            (disk / "filler").unlink()
            printer("a", "goes on")
            wait_for("the rest", lambda: "goes on" in (disk / "out").read_text())
        lines = (disk / "out").read_text().splitlines()
        # On a line of its own, though a part of another one was written before it.
        assert re.fullmatch(r"[-0-9T:]+Z nescord  \| " + _LOST.pattern, lines[-2])
        assert lines[-1].endswith("Z a        | goes on")


def test_a_program_whose_output_is_stuck_still_ends() -> None:
    code = (
        "import sys\nfrom nescord.log_lines import Printer\n"
        "with Printer(sys.stdout, 'text', str) as printer:\n"
        "    for _ in range(5000): printer('a', 'x' * 100)\n"
        "sys.exit(7)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.wait(30) == 7
        finally:
            process.kill()
        assert process.stderr.read() == b""
        assert process.stdout.read().count(b"\n") < 5000  # it was stuck indeed
