"""What the commands say: styled in a terminal, plain lines when piped, one JSON document for scripts.

Text of notes is data. It never reaches rich's markup, and control characters are shown as `�`: an escape sequence in
a note must not be able to move the cursor, set the window's title or write to the clipboard of who reads it.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# C0, DEL and C1 (terminals take U+009B for ESC [), and lone surrogates, which no stream can encode.
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSHOWABLE_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_RAW_IN_JSON = re.compile(r"[\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINKS = re.compile(r"(?:file|https?|obsidian|discord)://[\x21-\x7e]+")


class Part(NamedTuple):
    """A piece of a line: its text, how it looks in a terminal (a rich style) and what a click on it opens."""

    text: str
    style: str = ""
    link: str = ""


def one_line(text: str) -> str:
    """`text` fit for a line: as many characters as before, white space as blanks, control characters as `�`."""
    return _UNSHOWABLE.sub("\ufffd", text.replace("\n", " ").replace("\r", " ").replace("\t", " "))


def whole_text(text: str) -> str:
    """`text` of several lines, without what a terminal would obey."""
    return _UNSHOWABLE_IN_TEXT.sub("\ufffd", text.replace("\r\n", "\n"))


def marked(text: str, marks: Sequence[tuple[int, int]], style: str = "bold yellow") -> list[Part]:
    """`text` as parts, with the characters of `marks` (start, end) in `style`."""
    parts, at = [], 0
    for start, end in sorted(marks):
        parts += [Part(text[at:start]), Part(text[max(at, start) : end], style)]
        at = max(at, end)
    return [part for part in (*parts, Part(text[at:])) if part.text]


def marked_lines(text: str, marks: Sequence[tuple[int, int]]) -> list[list[Part]]:
    """`text` line by line, each as `marked` has it; a mark that goes over the end of a line goes on in the next."""
    lines, at = [], 0
    for line in text.split("\n"):
        end = at + len(line)
        inside = [(max(at, first) - at, min(end, last) - at) for first, last in marks if first < end and last > at]
        lines.append(marked(line, inside))
        at = end + 1
    return lines


class Screen:
    """A stream for people. rich is imported only where it is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self.is_terminal = self._stream is not None and self._stream.isatty()
        self._console: Console | None = None

    def line(self, *parts: Part | str) -> None:
        """One line."""
        pieces = [part if isinstance(part, Part) else Part(part) for part in parts]
        if self.is_terminal:
            # The terminal wraps by itself; rich would cut words that someone wants to copy.
            self.console().print(_styled(pieces), soft_wrap=True)
        else:
            _write(self._stream, "".join(one_line(piece.text) for piece in pieces))

    def text(self, text: str) -> None:
        """Text of several lines, as it is."""
        _write(self._stream, whole_text(text))

    def piece(self, text: str) -> None:
        """A part of a text of several lines, for all to see at once."""
        if self._stream is not None:
            self._stream.write(whole_text(text))
            self._stream.flush()

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows of cells: a table in a terminal, else one line each with tabs between the cells and no headers."""
        if not self.is_terminal:
            for row in rows:
                _write(self._stream, "\t".join(one_line(cell) for cell in row))
            return
        from rich.table import Column, Table

        # Folded where the terminal is too narrow: half an id is of no use to anybody.
        columns = [Column(header, overflow="fold") for header in headers]
        table = Table(*columns, box=None, show_header=any(headers), header_style="dim", pad_edge=False, padding=(0, 2))
        for row in rows:
            table.add_row(*(_styled([Part(cell)]) for cell in row))
        self.console().print(table)

    def console(self) -> Console:
        """rich's console on this stream."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self._stream, markup=False, emoji=False, highlight=False)
        return self._console


def emit(document: object) -> None:
    """Print the one JSON document of a command, as UTF-8 whatever the locale is."""
    _write_json(document, indent=2)


def emit_line(document: object) -> None:
    """Print one of several JSON documents: in one line, for a reader who waits for it."""
    _write_json(document, indent=None)
    if sys.stdout is not None:
        sys.stdout.flush()


def say(message: str) -> None:
    """A remark on stderr: what is good to know and not the answer."""
    _write(sys.stderr, one_line(message))


def fail(message: str, code: int, as_json: bool) -> int:
    """Say what went wrong; returns the exit code."""
    say(f"nescord: {message}")
    if as_json:
        emit({"error": message})
    return code


def _write_json(document: object, *, indent: int | None) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    text = _SURROGATE.sub("\ufffd", json.dumps(document, ensure_ascii=False, indent=indent))
    # JSON leaves DEL and C1 as they are; somebody may look at it in a terminal.
    _write(sys.stdout, _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # the shell may have closed it (>&-)
        stream.write(f"{text}\n")


def _styled(parts: Sequence[Part]) -> Text:
    from rich.style import Style
    from rich.text import Text

    text = Text()
    for part in parts:
        # A link goes into an escape sequence, and a note may have said where it leads.
        link = part.link if _LINKS.fullmatch(part.link) else None
        text.append(one_line(part.text), Style.parse(part.style) + Style(link=link))
    return text
