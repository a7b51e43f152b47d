"""What a child process prints: read line by line as it comes, made safe to keep, and kept in a file that stays small.

The child has a pipe, not the file: so a secret never reaches the disk, each line can also be shown elsewhere, and
neither a full disk nor a stuck one can end a service.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from nescord.process_groups import thread_shortage

Redact = Callable[[str], str]
Sink = Callable[[str, str], None]

LONGEST_LINE = 16 * 1024
_LARGEST = 5 * 2**20
_TAIL_CHARACTERS = 4096
_TAIL_LINES = 15
_READ = 64 * 1024
_LOOK_UP = 1000  # milliseconds
_LAST_PATIENCE = 1.0
_STEP = 256


class Log:
    """The output of one process and what it starts, in the file `path`; the file before it is kept as `NAME.1`.

    `sink` gets each line, after `redact`, with the stem of the file as name. It is called in a thread of ours and
    must not wait: the process would, too.
    """

    def __init__(self, path: Path, *, redact: Redact = str, sink: Sink | None = None) -> None:
        self._path = path
        self._file = _File(path)
        self._redact = redact
        self._sink = sink
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reader: threading.Thread | None = None
        self._until = math.inf

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor to hand to the process. It is read until nobody has it open any more.

        Raises:
            OSError: there are too many descriptors or threads.
        """
        reading, writing = os.pipe()
        reader = threading.Thread(target=self._follow, args=(reading,), name=f"log of {self._name}", daemon=True)
        try:
            with thread_shortage():
                reader.start()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        self._reader = reader
        try:
            yield writing
        finally:
            os.close(writing)

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self._reader is not None and self._reader.is_alive()

    def close(self) -> None:
        """Read what is there and then no more: who has left the group may keep the pipe open. Does not wait for it."""
        self._until = time.monotonic() + _LAST_PATIENCE

    def tail(self) -> str:
        """The last lines, for a message."""
        lines = "\n".join(self._tail.copy())[-_TAIL_CHARACTERS:]
        return f"; the end of its log ({self._path}):\n{lines}" if lines else ""

    def last_line(self) -> str:
        """The last line that is not blank, "" when it has said nothing."""
        return next((line.strip() for line in reversed(self._tail.copy()) if line.strip()), "")

    @property
    def _name(self) -> str:
        return self._path.stem

    def _follow(self, reading: int) -> None:
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        rest = ""
        try:
            while content := self._read(reading):
                rest = self._take(rest + decoder.decode(content))
            if rest := rest + decoder.decode(b"", final=True):
                self._keep(rest)
        finally:
            os.close(reading)
            self._file.close()

    def _read(self, reading: int) -> bytes:
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        while time.monotonic() < self._until:
            if poll.poll(_LOOK_UP):
                return os.read(reading, _READ)
            if self._until < math.inf:
                break
        return b""

    def _take(self, text: str) -> str:
        """Keep what is complete; the rest, which is the beginning of a line."""
        lines, newline, rest = text.rpartition("\n")
        if newline:
            self._keep(lines)
        while len(rest) > 2 * LONGEST_LINE:
            cut = self._place_to_cut(rest)
            self._keep(rest[:cut])
            rest = rest[cut:]
        return rest

    def _place_to_cut(self, text: str) -> int:
        """Where a line that does not end can be parted without parting a secret, of which nobody would know a half."""
        whole = self._redact(text)
        for place in range(LONGEST_LINE, 0, -_STEP):
            if self._redact(text[:place]) + self._redact(text[place:]) == whole:
                return place
        return len(text)

    def _keep(self, text: str) -> None:
        lines = [piece for line in self._redact(text).split("\n") for piece in _pieces(line)]
        self._tail.extend(lines)
        self._file.write("\n".join(lines) + "\n")
        if self._sink is not None:
            for line in lines:
                self._sink(self._name, line)


class _File:
    """A log file. What cannot be written is lost, and the next that can be says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._size = 0
        self._lost = ""

    def write(self, text: str) -> None:
        content = (self._lost + text).encode("utf-8", "replace")
        try:
            if self._fd < 0 or self._size > _LARGEST:
                self._open()
            while content:
                written = os.write(self._fd, content)
                self._size += written
                content = content[written:]
        except OSError as error:
            # A full disk: the services matter more. A part of a line may have been written.
            self._lost = f"\n(lines are missing here: {error.strerror})\n"
        else:
            self._lost = ""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size > _LARGEST:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size


def _pieces(line: str) -> list[str]:
    return [line[at : at + LONGEST_LINE] for at in range(0, max(len(line), 1), LONGEST_LINE)]
