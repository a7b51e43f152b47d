"""Our own files, written so that they survive a power cut: synced, renamed into place, and the name synced, too.

A file whose name is seen is whole. Everything goes through `os` of this module and one call each, so that a test can
record what reached the disk when, and cut the power between any two calls.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = ".tmp"


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

    That needs no room, and who reads half of it reads it again.
    """
    try:
        write_file(path, content)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            Stream(fd).write(content)
            os.ftruncate(fd, len(content))
        finally:
            os.close(fd)


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
