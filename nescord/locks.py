"""The locks of a data folder: who may do what at the same time, among threads and among processes.

flock files in `run/`. The kernel drops a flock when its holder dies, however it dies, so there is no stale lock to
clean up and no pid file to believe (a new container gives the same pids to other programs). Waiting is always
bounded, and who waited in vain is told who holds the lock.

A flock belongs to an open file, which a forked child inherits: start children with subprocess or the "spawn" method
of multiprocessing, never with a bare fork, while a lock is held.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from nescord.errors import DiskError, LockTimeoutError, NescordError

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.2
_LONGEST_COMMAND = 200
# Whoever wants a lock alone keeps newcomers from sharing it for this long, in seconds, then lets them in for as long: a
# long ingest must not stop every search while a restore waits for it.
_RESERVED = 2.0

# Between two looks at a lock that is waited for.
_ALONE_PAUSE = 0.1
_OF_THE_DISK = frozenset({errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT})


class LockName(Enum):
    """What is locked, in the order in which locks are taken; the value is the file's stem."""

    SERVICE = "service"
    BOT = "bot"
    CATALOG = "catalog"
    INGEST = "ingest"
    INDEX = "index"
    DRAIN = "drain"
    CREATE = "create"
    BACKUPS = "backups"


_ORDER = {name: place for place, name in enumerate(LockName)}
_PURPOSE = {
    LockName.SERVICE: "one running service for a data folder",
    LockName.BOT: "one Discord bot for a data folder",
    LockName.CATALOG: "the database is not replaced or migrated while it is used",
    LockName.INGEST: "one ingest, migration or rebuild at a time",
    LockName.INDEX: "one process has the folder of the vector index open",
    LockName.DRAIN: "one process at a time writes to the running Chroma server",
    LockName.CREATE: "one backup is made at a time",
    LockName.BACKUPS: "no backup is pruned while it is read",
}


class Locks:
    """The locks of one `run/` folder. All objects of a process for the same folder share what they hold."""

    def __init__(self, run: Path, *, timeout: float) -> None:
        self._state = _state_of(run.resolve())
        self._timeout = timeout

    @contextmanager
    def shared(self, name: LockName, *, timeout: float | None = None) -> Iterator[None]:
        """Hold `name` together with others who share it. Within an own exclusive hold it changes nothing."""
        self._state.take(name, fcntl.LOCK_SH, self._timeout if timeout is None else timeout)
        try:
            yield
        finally:
            self._state.give_back(name)

    @contextmanager
    def exclusive(self, name: LockName, *, timeout: float | None = None) -> Iterator[None]:
        """Hold `name` alone. Re-entrant in its thread; RuntimeError when the thread only shares it so far."""
        self._state.take(name, fcntl.LOCK_EX, self._timeout if timeout is None else timeout)
        try:
            yield
        finally:
            self._state.give_back(name)

    def is_held(self, name: LockName) -> bool:
        """Whether some process, this one included, holds `name` alone right now."""
        return _is_held(self._state.run / f"{name.value}.lock")

    def holder(self, name: LockName) -> str:
        """Who holds `name`, in words, as far as it can be known."""
        return _holders(self._state.run / f"{name.value}.lock")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait to be the only one who changes small files of a folder, for the length of one small write. Not re-entrant.

    The folder itself is locked, since files that are written anew are replaced.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def held_at_once(path: Path) -> Iterator[bool]:
    """Whether the lock file could be locked alone without waiting; if so until the block ends, or the process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


@contextmanager
def held_alone(path: Path, timeout: float, what: str) -> Iterator[None]:
    """Hold the lock file alone for the length of the block, once nobody else does.

    Raises:
        LockTimeoutError: somebody else does for `timeout` seconds; `what` says in words what that is.
    """
    deadline = time.monotonic() + timeout
    while True:
        with held_at_once(path) as is_ours:
            if is_ours:
                yield
                return
        if time.monotonic() > deadline:
            raise LockTimeoutError(
                f"{what} by another process; waited {timeout:g} s: try again when it is done, or wait longer with "
                "NESCORD_LOCK_TIMEOUT"
            )
        time.sleep(_ALONE_PAUSE)


@dataclass(slots=True)
class _Hold:
    """One locked file of this process, and how often each thread (by ident) has taken it."""

    fd: int
    mode: int
    depths: dict[int, int]


class _FolderState:
    """What this process holds in one folder. flock knows files, not threads: those are told apart here."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._changed = threading.Condition()
        self._holds: dict[LockName, _Hold] = {}

    def take(self, name: LockName, mode: int, timeout: float) -> None:
        thread = threading.get_ident()
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        with self._changed, _Reservation(self.run / f"{name.value}.next.lock") as reservation:
            self._refuse_misuse(name, mode, thread)
            while not self._try(name, mode, thread):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LockTimeoutError(self._who_holds(name, timeout))
                if mode == fcntl.LOCK_EX:
                    reservation.keep((timeout - left) % (2 * _RESERVED) < _RESERVED)
                # A thread of ours that gives the lock back wakes us up; another process cannot, so look again.
                self._changed.wait(min(pause, left))
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def give_back(self, name: LockName) -> None:
        thread = threading.get_ident()
        with self._changed:
            hold = self._holds[name]
            hold.depths[thread] -= 1
            if hold.depths[thread]:
                return
            del hold.depths[thread]
            if hold.depths:
                return
            del self._holds[name]
            os.close(hold.fd)
            self._changed.notify_all()

    def _refuse_misuse(self, name: LockName, mode: int, thread: int) -> None:
        mine = {held: hold.mode for held, hold in self._holds.items() if thread in hold.depths}
        if name in mine:
            if mode == fcntl.LOCK_EX and mine[name] == fcntl.LOCK_SH:
                # Two who share it and both want it alone would wait for each other.
                raise RuntimeError(f"lock {name.value} is shared by this thread and cannot become exclusive")
            return
        later = [held.value for held in mine if _ORDER[held] > _ORDER[name]]
        if later:
            raise RuntimeError(f"lock {name.value} is taken before {', '.join(later)}, never after (see LockName)")

    def _try(self, name: LockName, mode: int, thread: int) -> bool:
        hold = self._holds.get(name)
        is_newcomer = hold is None or thread not in hold.depths
        if is_newcomer and mode == fcntl.LOCK_SH and _is_held(self.run / f"{name.value}.next.lock"):
            return False
        if hold is None:
            fd = _lock_file(self.run / f"{name.value}.lock", mode)
            if fd is None:
                return False
            self._holds[name] = _Hold(fd, mode, {thread: 1})
            return True
        if thread not in hold.depths and fcntl.LOCK_EX in (mode, hold.mode):
            return False
        hold.depths[thread] = hold.depths.get(thread, 0) + 1
        return True

    def _who_holds(self, name: LockName, waited: float) -> str:
        holders = "another thread of this program" if name in self._holds else _holders(self.run / f"{name.value}.lock")
        return (
            f'the lock "{name.value}" ({_PURPOSE[name]}) is held by {holders}; waited {waited:g} s. '
            "Try again when it is done, or wait longer with NESCORD_LOCK_TIMEOUT"
        )


class _Reservation:
    """Who waits to have a lock alone says so: readers that overlap without a gap would keep it from him for ever."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> _Reservation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.keep(False)

    def keep(self, wanted: bool) -> None:
        """Hold it from now on if nobody else does, or no longer."""
        if wanted and self._fd is None:
            self._fd = _lock_file(self._path, fcntl.LOCK_EX)
        elif not wanted and self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:  # nobody has waited here yet
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


_states: dict[Path, _FolderState] = {}
_states_guard = threading.Lock()


def _state_of(run: Path) -> _FolderState:
    with _states_guard:
        return _states.setdefault(run, _FolderState(run))


def _lock_file(path: Path, mode: int) -> int | None:
    """An open, locked file, or None while somebody else has it."""
    try:
        while True:
            fd = _open(path)
            try:
                fcntl.flock(fd, mode | fcntl.LOCK_NB)
                if _is_still(path, fd):
                    with suppress(OSError):  # a courtesy to who waits: on a full disk the lock works all the same
                        _write_holder(fd, mode)
                    return fd
            except BlockingIOError:
                os.close(fd)
                return None
            except OSError:
                os.close(fd)
                raise
            os.close(fd)
    except OSError as error:
        # A disk that has failed may be mended; whoever keeps a note goes on trying until then.
        kind = DiskError if error.errno in _OF_THE_DISK else NescordError
        raise kind(
            f"the lock file {path} cannot be used: {error.strerror}; the data folder must be writable by this user "
            "and on a disk that knows flock"
        ) from error


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT  # and O_CLOEXEC, which Python adds by itself (PEP 446)
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # run/ holds nothing that lasts, so somebody may have removed it
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is_still(path: Path, fd: int) -> bool:
    """Whether `path` still is the file we locked. A lock on a file that was removed or replaced excludes nobody."""
    ours = os.fstat(fd)
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (now.st_dev, now.st_ino)


def _write_holder(fd: int, mode: int) -> None:
    """Say who holds it alone. Who shares it empties the file, so what stands in a locked file is true."""
    written = os.fstat(fd).st_size
    if mode == fcntl.LOCK_SH:
        if written:
            os.ftruncate(fd, 0)
        return
    command = shlex.join(sys.orig_argv)[:_LONGEST_COMMAND]
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": os.uname().nodename, "command": command, "since": since}
    text = json.dumps(holder).encode("utf-8")
    os.pwrite(fd, text, 0)
    if written > len(text):  # only then: a disk block freed and taken again costs more than all the rest
        os.ftruncate(fd, len(text))


def _holders(path: Path) -> str:
    """Who holds the file, in words, as far as it can be known."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        # After a redeploy the old container may still live for a while: its pids mean nothing here, its name does.
        place = "" if holder["host"] == os.uname().nodename else f" on {holder['host']}"
        return f"pid {holder['pid']}{place} ({holder['command']}) since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        pids = _pids_from_the_kernel(path)
    return ", ".join(f"pid {pid} ({_command_line(pid)})" for pid in pids) or "another process"


def _pids_from_the_kernel(path: Path) -> list[int]:
    """Linux lists flocks in /proc/locks as `1: FLOCK ADVISORY READ <pid> <major>:<minor>:<inode> …`."""
    try:
        file = path.stat()
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
    wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    rows = [line.split() for line in lines]
    return sorted({int(row[4]) for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == wanted} - {0, -1})


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "unknown command"
    return shlex.join(words[:-1])[:_LONGEST_COMMAND]
