"""The lines of all services on one stream, each with its time and the name of who said it, as text or as JSON.

Whoever reads the stream may stop reading: then the lines wait here, and when they are too many they are lost, since
nothing that runs may wait for a reader.
"""

from __future__ import annotations

import json
import os
import re
import select
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self, TextIO

from nescord.logs import Redact
from nescord.times import utc_text

OURS = "nescord"
_MOST_CHARACTERS = 2**20
_AT_ONCE = 200
_LAST_PATIENCE = 2.0
_NAME_WIDTH = 8
# A line says its level at its beginning, after a time at most.
_LEVEL_WITHIN = 80
# What colours a terminal or moves its cursor, and would let a line pass for another one.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LEVEL = re.compile(r"(?<![\w/.-])(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)(?![\w/.-])")
_LEVELS = {"TRACE": "debug", "WARN": "warning", "FATAL": "critical"}


@dataclass(frozen=True, slots=True)
class _Line:
    time: datetime
    name: str
    text: str
    # How many it stands for.
    count: int = 1


class Printer:
    """Writes lines to a stream from a thread of its own; to call it never waits. Leaving gives the last lines 2 s."""

    def __init__(self, stream: TextIO, format: Literal["text", "json"], redact: Redact) -> None:  # noqa: A002
        self._stream = stream
        self._format = _as_json if format == "json" else _as_text
        self._redact = redact
        self._changed = threading.Condition()
        self._waiting: deque[_Line] = deque()
        self._characters = 0
        self._lost = 0
        self._is_ending = False
        self._writer = threading.Thread(target=self._write_all, name="log lines", daemon=True)

    def __enter__(self) -> Self:
        self._stream.flush()
        # Our own descriptor: a thread that is stuck in the stream's buffer would hang the interpreter at its end.
        self._fd = os.dup(self._stream.fileno())
        self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._writer.join(_LAST_PATIENCE)

    def __call__(self, name: str, line: str) -> None:
        """Print `line` of the service `name`; a text of several lines is printed as so many."""
        now = datetime.now(UTC)
        with self._changed:
            for text in _plain_lines(line):
                if self._characters + len(text) > _MOST_CHARACTERS:
                    self._lost += 1
                else:
                    self._tell_of_lost(now)
                    self._wait(_Line(now, name, text))
            self._changed.notify()

    def _wait(self, line: _Line) -> None:
        self._waiting.append(line)
        self._characters += len(line.text)

    def _tell_of_lost(self, now: datetime) -> None:
        if self._lost:
            self._wait(_Line(now, OURS, f"{self._lost} lines of the log are lost: nobody read them", self._lost))
            self._lost = 0

    def _write_all(self) -> None:
        torn = ""
        while lines := self._next():
            text = torn + "".join(self._format(line, self._redact(line.text)) for line in lines)
            try:
                _write(self._fd, text.encode("utf-8", "backslashreplace"))
                torn = ""
            except OSError:
                # Nobody will read any more, or it is a file on a full disk: no reason to end. A part may be there.
                torn = "\n"
                with self._changed:
                    self._lost += sum(line.count for line in lines)
        os.close(self._fd)

    def _next(self) -> list[_Line]:
        """Some lines, as soon as there are any; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ending)
            if self._waiting and len(self._waiting) <= _AT_ONCE:
                self._tell_of_lost(datetime.now(UTC))
            lines = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._characters -= sum(len(line.text) for line in lines)
            return lines


def _plain_lines(text: str) -> list[str]:
    """Its lines without control characters and without the empty ones of banners."""
    return [plain for each in text.split("\n") if (plain := _CONTROL.sub("", each)).strip()]


def level_of(line: str) -> str:
    """The level that a line names itself: debug, info, warning, error or critical; info where it names none."""
    found = _LEVEL.search(line[:_LEVEL_WITHIN])
    return _LEVELS.get(found[1], found[1].lower()) if found else "info"


def _as_text(line: _Line, text: str) -> str:
    return f"{utc_text(line.time)} {line.name:<{_NAME_WIDTH}} | {text}\n"


def _as_json(line: _Line, text: str) -> str:
    # Ours quote what others said: only the beginning tells.
    level = level_of(text if line.name != OURS else text.partition(" ")[0])
    fields = {"time": utc_text(line.time), "service": line.name, "level": level, "message": text}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _write(fd: int, content: bytes) -> None:
    while content:
        try:
            content = content[os.write(fd, content) :]
        except BlockingIOError:  # somebody who shares the stream does not want to wait for it
            select.select([], [fd], [])
