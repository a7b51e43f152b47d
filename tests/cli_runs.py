"""Runs the `nescord` command: in this process, in one of its own, or in one of its own in a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from nescord.cli import run

NESCORD = (sys.executable, "-m", "nescord.cli")

HOSTILE = "# Title \x1b[31mred\x1b[0m\n\nhostile [bold]markup[/bold] [link=x]y\x1b]52;c;aGk=\x07 \x9b2J :smile: end\r\n"
NOTES = {
    "珈琲.md": "# 珈琲の淹れ方\n\n湯は九十度。粉は二十グラム。 #coffee\n",
    "Kitchen/Tea.md": "---\ntags: [tea]\n---\n# Tea\n\nGreen tea likes seventy degrees. [[珈琲]] [[Nowhere]]\n",
    "Kitchen/Scales.md": "# Scales\n\nTwenty grams of coffee, weighed; tea by the spoon.\n",
    "hostile.md": HOSTILE,
}


@dataclass(frozen=True, slots=True)
class Done:
    """What a run left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> object:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def nescord(*arguments: str | Path) -> Done:
    """Run it in this process: the same code behind the console script, without the start of a Python."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return Done(code, out.buffer.getvalue().decode("utf-8"), err.getvalue())


def in_process(*arguments: str | bytes | Path, given: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
    """Run it in a process of its own, with everything piped."""
    done = subprocess.run(
        [*NESCORD, *arguments],
        input=given,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace"))


def in_terminal(*arguments: str | Path, columns: int = 100) -> Done:
    """Run it with everything on a terminal; `out` is all that the terminal got."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*NESCORD, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)},
    )
    os.close(theirs)
    output = b"".join(_reads(ours))
    os.close(ours)
    return Done(child.wait(timeout=60), output.decode("utf-8").replace("\r\n", "\n"), "")


def _reads(fd: int) -> Sequence[bytes]:
    reads = []
    with suppress(OSError):  # EIO: nobody has the other end any more
        while select.select([fd], [], [], 60)[0]:
            data = os.read(fd, 65536)
            if not data:
                break
            reads.append(data)
    return reads


def write_notes(folder: Path, notes: Mapping[str, str]) -> Path:
    """A vault with these notes (path → text)."""
    for path, text in notes.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    return folder


def ingested(folder: Path) -> Path:
    """The data folder of a knowledge base with NOTES from a vault named "vault"."""
    write_notes(folder / "vault", NOTES)
    done = nescord("--data-dir", folder / "state", "ingest", folder / "vault")
    assert done.code == 0, done.err
    return folder / "state"
