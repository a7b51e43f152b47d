"""Our own files, written so that they survive a power cut: synced, renamed into place, and the name synced, too.

A file whose name is seen is whole. Everything goes through `os` of this module and one call each, so that a test can
record what reached the disk when, and cut the power between any two calls.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

_TEMPORARY = ".tmp"
# What is told takes up multiples of this, so that what is longer has room as well.
_ROOM = 8 * 1024
# For so long who finds what cannot be read or understood looks again: it may be in the midst of being told.
_TOLD_WITHIN, _LOOK_PAUSE = 0.05, 0.005

T = TypeVar("T")


class Stream:
    """A file in the making: bytes go in, nothing can be read until it has its name."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = 0

    def write(self, content: bytes | memoryview) -> None:
        """Append all of `content`."""
        left = memoryview(content)
        while len(left):
            written = os.write(self._fd, left)
            self.size += written
            left = left[written:]


@contextmanager
def write_stream(path: Path) -> Iterator[Stream]:
    """What is written appears under `path` when the block ends, whole and for good; readable by its owner only.

    If the block raises, `path` is what it was. A killed process leaves a file that `is_temporary`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            yield Stream(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)  # noqa: PTH105 - see the module's docstring
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """The file holds all of `content` or what it held before, also after a power cut."""
    with write_stream(path) as stream:
        stream.write(content)


def tell(path: Path, content: bytes) -> None:
    """As `write_file`, for what is true only while a process runs: where the disk is full, over what the file held.

    For that it is filled up with blanks, and what comes in its place is as long and needs no room. Read it with `told`,
    or it may be half of either.

    Raises:
        OSError: it cannot be written, or is longer than what the file held. Then that stays.
    """
    try:
        write_file(path, content.ljust(-(-len(content) // _ROOM) * _ROOM))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            room = os.fstat(fd).st_size
            if len(content) > room:
                raise
            _lock_shortly(fd, fcntl.LOCK_EX)
            Stream(fd).write(content.ljust(room))
        finally:
            os.close(fd)


def told(path: Path, understand: Callable[[bytes], T]) -> T | None:
    """What `understand` makes of a file that is told; None where there is none, or it cannot be understood.

    `understand` raises ValueError or TypeError for what it cannot.
    """
    deadline = time.monotonic() + _TOLD_WITHIN
    while True:
        try:
            with path.open("rb") as file:
                _lock_shortly(file.fileno(), fcntl.LOCK_SH)
                content = file.read()
            return understand(content)
        except OSError:
            return None
        except (ValueError, TypeError):
            if time.monotonic() > deadline:
                return None
        time.sleep(_LOOK_PAUSE)


def _lock_shortly(fd: int, mode: int) -> None:
    """Keep who reads and who writes apart, until it is closed; but let nobody wait for one that hangs."""
    deadline = time.monotonic() + _TOLD_WITHIN
    while time.monotonic() < deadline:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_LOOK_PAUSE)
        else:
            return


class Teller(Generic[T]):
    """Writes the latest news from a thread of its own: who has them does not wait for the disk."""

    def __init__(self, write: Callable[[T], None], *, again: float) -> None:
        """`write` raises OSError for what cannot be written, and is called again `again` seconds later."""
        self._write = write
        self._again = again
        self._changed = threading.Condition()
        self._news: T | None = None
        self._is_due = self._is_ending = False
        self._thread = threading.Thread(target=self._tell_all, name="teller", daemon=True)
        self._thread.start()

    def __call__(self, news: T) -> None:
        """Write it soon, unless there is news by then."""
        with self._changed:
            self._news, self._is_due = news, True
            self._changed.notify()

    def close(self, patience: float) -> None:
        """Write what is not written yet, waited for so long at most: a disk may hang."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join(patience)

    def _tell_all(self) -> None:
        pause = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_due or self._is_ending, pause)
                news = self._news if self._is_due or pause else None
                self._is_due, is_last = False, self._is_ending
            if news is not None:
                try:
                    self._write(news)
                    pause = None
                except OSError:
                    pause = self._again
            if is_last:
                return


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, made if need be; on disk when this returns. A power cut may leave a part."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        Stream(fd).write(content)
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def rename(source: Path, target: Path) -> None:
    """Give a file another name, for good. What had that name is gone."""
    os.replace(source, target)  # noqa: PTH105
    # The new name first: between the two the file may have both, never none.
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there, for good."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make it and what is missing above it, private, and so that the names survive."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)  # noqa: PTH102
    sync_folder(path.parent)


def is_temporary(path: Path) -> bool:
    """Whether it is a file that `write_stream` would have given its name later."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_file(path: Path) -> None:
    """Make what somebody else has written to a file survive."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
