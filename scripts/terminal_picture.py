"""Draw docs/images/terminal.svg: what `nescord` really prints in a terminal, for the README.

    .venv/bin/python scripts/terminal_picture.py [--output FILE]

The commands run on a copy of the sample vault in a temporary folder, each on a terminal of its own; rich draws what
came out. So the picture cannot show what the program does not do, and is drawn anew when the output changes.
"""

from __future__ import annotations

import argparse
import html
import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
COLUMNS = 104
COMMANDS = (
    ("nescord", "ingest", "vault"),
    ("nescord", "search", "土用干し"),
    ("nescord", "search", '"bread flour" tag:recipe'),
    ("nescord", "status"),
)
# Rich's template loads its font from a server of somebody else. The picture must not ask anyone for anything.
_FONT_FACE = re.compile(r"\s*@font-face \{[^}]*\}")
_TEXT = re.compile(
    r'<text class="(?P<style>[^"]*)" x="(?P<x>[^"]*)" y="(?P<y>[^"]*)" textLength="[^"]*"(?P<rest>[^>]*)>'
    r"(?P<text>[^<]*)</text>"
)
_CELL = 12.2  # the width of a character in rich's template


def main() -> None:
    """Run the commands and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURE)
    output: Path = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(picture(), encoding="utf-8", newline="\n")


def picture() -> str:
    """The commands and what they print, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False, force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "data" / "sample" / "vault", Path(folder, "vault"))
        _run(Path(folder), ("nescord", "ingest", "vault"))
        _use(Path(folder, "vault"))
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (_typed(command), "bold")))
            output = _run(Path(folder), command).replace(str(Path(folder).resolve()), "~")
            console.print(Text.from_ansi(output), overflow="fold")
            console.print()
    drawn = console.export_svg(title="nescord", theme=MONOKAI, unique_id="terminal")
    return _TEXT.sub(_placed, _FONT_FACE.sub("", drawn))


def _use(vault: Path) -> None:
    """What happens to a vault in a day: a note is new, one is edited, one gets another name."""
    new = vault / "Daily" / "2025-10-03.md"
    new.write_text("# 2025-10-03\n\nFirst loaf since the heat wave. 秋らしい朝。\n", encoding="utf-8")
    with (vault / "Recipes" / "Sourdough.md").open("a", encoding="utf-8") as file:
        file.write("\n2025-10-03: good rise, 68 % again.\n")
    (vault / "Projects" / "Harbor migration.md").rename(vault / "Projects" / "Harbor, done.md")


def _typed(command: tuple[str, ...]) -> str:
    """A command as one would type it: `shlex.join` quotes Japanese, which no shell needs."""
    return " ".join(word if word.isalnum() else shlex.quote(word) for word in command)


def _placed(found: re.Match[str]) -> str:
    """A piece of text as wide as it is in a terminal. Rich counts characters, and Japanese ones take two cells each."""
    text = html.unescape(found["text"]).rstrip("\n\xa0")
    inner = text.lstrip("\xa0")  # some viewers drop blanks at the begin of a text
    if not inner:
        return ""
    x = float(found["x"]) + _CELL * (len(text) - len(inner))
    shown = html.escape(inner)
    return (
        f'<text class="{found["style"]}" x="{x:g}" y="{found["y"]}" textLength="{_CELL * cell_len(inner):g}"'
        f"{found['rest']}>{shown}</text>"
    )


def _run(folder: Path, command: tuple[str, ...]) -> str:
    """All that a terminal gets from a command."""
    ours, theirs = pty.openpty()
    # Nothing of whoever draws the picture decides what is on it: no settings, no .env, only data/state below `folder`.
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LANG": "C.UTF-8"}
    child = subprocess.Popen(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
    )
    os.close(theirs)
    parts = []
    with suppress(OSError):  # EIO: the command has ended and closed its end
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    if child.wait():
        raise SystemExit(f"{shlex.join(command)} left with {child.returncode}")
    return _without_bar(b"".join(parts).decode("utf-8").replace("\r\n", "\n")).rstrip("\n")


def _without_bar(output: str) -> str:
    """Without the progress bar: by the end a terminal has erased it (ESC [2K), which rich cannot play back."""
    return re.sub(r".*\x1b\[2K", "", output.replace("\x1b[?25l", "").replace("\x1b[?25h", ""), flags=re.DOTALL)


if __name__ == "__main__":
    main()
