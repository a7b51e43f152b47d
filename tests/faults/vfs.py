"""An SQLite VFS whose k-th write goes wrong: fails, finds the disk full, is torn in two, or never happens.

Every promise about acknowledged notes is about what is on the disk when a write does not end well. A sweep runs one
workload with `FailingVFS(name)` to learn how many writes it makes, then once for each k with `fail_at=k`.

What counts as a write: xWrite, xSync, xTruncate and xDelete on the database, its rollback journal and its WAL.
Temporary files and -shm are left alone: neither decides what survives. Nothing is really synced: the simulated
machine keeps its page cache, and a sweep would spend its time waiting for the disk.
"""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Literal, get_args

import apsw

Mode = Literal["fail", "full", "fail-on", "full-on", "tear", "cut"]
"""fail, full: this one write fails (I/O error, disk full). fail-on, full-on: and so do all that follow.
tear: a prefix of this write lands, cut: nothing of it does; then the process is dead: no write, no new file."""

MODES: tuple[Mode, ...] = get_args(Mode)

Operation = Literal["write", "sync", "truncate", "delete"]

_SURVIVES = (
    apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)
_IO_ERRORS: dict[Operation, int] = {
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "delete": apsw.SQLITE_IOERR_DELETE,
}
_SECTOR = 512


def survives(flags: int) -> bool:
    """Whether a file opened with these flags is still looked at by the next process."""
    return bool(flags & _SURVIVES)


def file_name(name: apsw.URIFilename | str | None) -> str:
    """SQLite hands over the main database as a URIFilename, its companions as str, temporary files as None."""
    return name.filename() if isinstance(name, apsw.URIFilename) else name or ""


def throw_away(connection: apsw.Connection) -> None:
    """Close a connection whose disk is broken: close() checkpoints, so it raises, but it closes all the same."""
    with contextlib.suppress(apsw.Error):
        connection.close()


class FailingVFS(apsw.VFS):
    """`fail_at` counts from 1; 0 only counts. After a run, `happened` and `what` tell whether and where it struck."""

    def __init__(self, name: str, *, fail_at: int = 0, mode: Mode = "fail", seed: int = 0) -> None:
        super().__init__(name, "")
        self.name = name
        self.fail_at = fail_at
        self.mode = mode
        self.writes = 0
        self.what = ""
        self._rng = random.Random(f"{seed}/{fail_at}")
        self.counting = threading.RLock()

    @property
    def happened(self) -> bool:
        return bool(self.what)

    @property
    def dead(self) -> bool:
        return self.happened and self.mode in ("tear", "cut")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if not survives(flags[0]):
            return apsw.VFSFile("", name, flags)
        if self.dead:
            raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
        return _FailingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.count("delete", filename)
        super().xDelete(filename, syncdir)

    def count(self, operation: Operation, target: str) -> None:
        """Count one write; raise if it is the one that fails or comes after it."""
        with self.counting:
            self.writes += 1
            strikes = self.writes == self.fail_at
            if strikes:
                self.what = f"{operation} {target}"
        if strikes or (self.happened and self.mode not in ("fail", "full")):
            # Only writes and truncates need room; a full disk answers everything else as a broken one does.
            full = self.mode in ("full", "full-on") and operation in ("write", "truncate")
            raise apsw.exception_for(apsw.SQLITE_FULL if full else _IO_ERRORS[operation])

    def tears(self) -> bool:
        """Whether the next write is the one to be torn."""
        return self.mode == "tear" and self.writes + 1 == self.fail_at

    def torn_length(self, length: int) -> int:
        """How much of a torn write lands: whole sectors, or any number of bytes (a kernel copies page by page)."""
        cut = self._rng.randrange(length)
        return cut - cut % _SECTOR if self._rng.random() < 0.5 else cut


class _FailingFile(apsw.VFSFile):
    def __init__(self, vfs: FailingVFS, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._path = file_name(name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with self._vfs.counting:
            if self._vfs.tears():
                super().xWrite(data[: self._vfs.torn_length(len(data))], offset)
            self._vfs.count("write", f"{self._path} [{offset}:{offset + len(data)}]")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.count("sync", self._path)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._vfs.count("truncate", f"{self._path} to {newsize}")
        super().xTruncate(newsize)

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        # With memory mapping on, this hint grows the file behind xWrite's back.
        return True if op == apsw.SQLITE_FCNTL_SIZE_HINT else super().xFileControl(op, ptr)
