"""The connections to nescordbot.db: one that writes, behind a lock, and one that reads for each thread.

Opening checks that the file is ours and of a version that we know; an older one is brought up to date on demand, after
it was copied aside. `vfs` names an APSW VFS: the fault tests open the same code over one that tears writes and cuts
the power.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from nescord import durable
from nescord.catalog import fulltext
from nescord.catalog.migrations import APPLICATION_ID, MIGRATIONS, PAGE_SIZE, SCHEMA_VERSION
from nescord.errors import CatalogError, DiskError, LockTimeoutError

# A reader or writer of another process waits this long before `database is locked` may be seen, in milliseconds.
BUSY_TIMEOUT_MS = 30_000
# Writers wait while a checkpoint waits for readers, so it gives up soon.
CHECKPOINT_TIMEOUT_MS = 1_000
# A disk that takes longer than this for what is not even synced is left alone with such for a while, in seconds.
_SLOW_JOT, _JOT_REST = 0.05, 60.0
# Whoever writes next does the checkpoint, unless nobody does for as long as 32 MB.
_JOTTED_PAGES = 4_000


class Catalog:
    """The open database. A context manager; safe to use from many threads.

    Raises:
        CatalogError: the file is not ours, damaged, or written by a newer version.
    """

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self.path = path
        self._vfs = vfs
        self._write_lock = threading.RLock()
        self._jotter: apsw.Connection | None = None
        self._jot_lock = threading.Lock()
        self._jots_again_at = 0.0
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._connections_lock = threading.Lock()
        try:
            with _told(path):
                self._writer = self._connect()
                self._version: int = self._writer.pragma("user_version")
        except BaseException:
            self.close()
            raise
        self._identity = _identity(path)

    @property
    def is_empty(self) -> bool:
        """Whether there is no schema in it at all."""
        return self._version == 0

    @property
    def is_behind(self) -> bool:
        """Whether the schema or the full-text index was made by an older version (or not at all yet)."""
        with _told(self.path):
            return self._version < SCHEMA_VERSION or not fulltext.is_current(self._writer)

    def bring_up_to_date(self, copies: Path) -> None:
        """Run the missing migrations, each in one transaction; a database with content is copied to `copies` first."""
        # Another process may have migrated since we looked: its copy of the old state must not be overwritten.
        self._version = _checked_version(self._writer, self.path)
        if 0 < self._version < SCHEMA_VERSION:
            _copy_aside(self._writer, copies / f"before-schema-{self._version + 1:04d}.db")
        for number in range(self._version + 1, SCHEMA_VERSION + 1):
            with self.write() as connection:
                # Another process may have been first while this one waited for the lock.
                if connection.pragma("user_version") < number:
                    if number == 1:
                        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(MIGRATIONS[number - 1])
                    connection.execute(f"PRAGMA user_version = {number}")
            self._version = number
        with self.write() as connection:
            if not fulltext.is_current(connection):
                fulltext.rebuild(connection)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self, *, checkpoint: bool = True) -> None:
        """Close every connection. With `checkpoint` the last one to close writes the WAL back and removes it, by its
        name: not while a restore may be putting another database, with a WAL of its own, in the place of this one.
        """
        with self._connections_lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            # Where the disk fails, so does the checkpoint, and nothing is lost by it: the WAL stays. An error from here
            # would hide the one that the verb has raised, and leave the other connections open.
            with suppress(apsw.Error):
                if checkpoint:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                connection.close()

    def is_current(self) -> bool:
        """Whether the path still names the file that is open here: a restore puts another one in its place."""
        return _identity(self.path) == self._identity

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """One write transaction: committed and synced when the block ends, undone when it raises."""
        with self._write_lock, _told(self.path), _transaction(self._writer):
            yield self._writer

    @contextmanager
    def jot(self) -> Iterator[apsw.Connection]:
        """One write transaction of what is not worth any waiting: it is not synced, so a power cut may undo it.

        Raises:
            LockTimeoutError: somebody writes, or the disk was slow a moment ago: at once, nothing was written.
        """
        begun = time.monotonic()
        if begun < self._jots_again_at or not self._jot_lock.acquire(blocking=False):
            raise LockTimeoutError(f"the database {self.path} does not take it at once: it is left out")
        try:
            with _told(self.path):
                if self._jotter is None:
                    self._jotter = self._connect()
                    self._jotter.set_busy_timeout(0)
                    self._jotter.pragma("synchronous", 1)
                    self._jotter.pragma("wal_autocheckpoint", _JOTTED_PAGES)
                with _transaction(self._jotter):
                    yield self._jotter
        finally:
            ended = time.monotonic()
            if ended - begun > _SLOW_JOT:
                self._jots_again_at = ended + _JOT_REST
            self._jot_lock.release()

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """One consistent view for all reads of the block, on this thread's own connection."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        if connection.in_transaction:
            yield connection
            return
        with _told(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    def checkpoint(self) -> bool:
        """Write the WAL back into the database and cut it to nothing; false when somebody is in the way of that."""
        with self._write_lock, _told(self.path):
            self._writer.set_busy_timeout(CHECKPOINT_TIMEOUT_MS)
            try:
                is_busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
            finally:
                self._writer.set_busy_timeout(BUSY_TIMEOUT_MS)
            return not is_busy

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs)
        with self._connections_lock:
            self._connections.append(connection)
        # Whoever is closed otherwise than by `close`, by the end of a program say, does so without any lock of ours.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        # pragma(), since execute() runs several statements only up to the first that gives a row. page_size counts only
        # before the first table exists; secure_delete, so that a deleted word is gone from disk.
        for name, value in (
            ("page_size", PAGE_SIZE),
            ("foreign_keys", 1),
            ("secure_delete", 1),
            ("temp_store", 2),
            ("cache_size", -16_000),
        ):
            connection.pragma(name, value)
        # Before anything is changed in it: it may be another program's.
        _checked_version(connection, self.path)
        if connection.pragma("journal_mode") != "wal" and connection.pragma("journal_mode", "wal") != "wal":
            raise CatalogError(f"{self.path} cannot use a write-ahead log: is it on a network file system?")
        # An acknowledged commit must survive a power cut: in WAL mode only FULL syncs at each commit.
        connection.pragma("synchronous", 2)
        fulltext.add_functions(connection)
        return connection


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors (disk full, I/O): then there is nothing to undo.
        with suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What disks do to SQLite, as errors that name the file and the mend. Other errors of SQLite are bugs of ours."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        mend = "restore it (nescord backup restore …)"
        raise CatalogError(f"the database {path} is damaged ({error}): {mend}") from error
    except apsw.FullError as error:
        mend = "free some space and try again"
        raise CatalogError(f"the disk under {path} is full, what was under way is not stored: {mend}") from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as error:
        mend = "check who owns it and its folder"
        raise CatalogError(f"the database {path} cannot be written ({error}): {mend}") from error
    except apsw.IOError as error:
        mend = "check the disk and try again"
        raise DiskError(f"the disk under {path} failed ({error}), what was under way may be lost: {mend}") from error
    except apsw.BusyError as error:
        mend = "another process writes to it, try again when it is done"
        raise LockTimeoutError(f"the database {path} was busy for {BUSY_TIMEOUT_MS // 1000} s: {mend}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _checked_version(connection: apsw.Connection, path: Path) -> int:
    version: int = connection.pragma("user_version")
    application_id = connection.pragma("application_id")
    if application_id != APPLICATION_ID and connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise CatalogError(
            f"{path} is a database of another program (application_id {application_id:#x}): move it away"
        )
    if version > SCHEMA_VERSION:
        raise CatalogError(
            f"{path} has schema {version}, this nescord knows {SCHEMA_VERSION}: install the newer nescord again, or go "
            f"back to the copy that was made before the change (backups/before-schema-{SCHEMA_VERSION + 1:04d}.db)"
        )
    return version


def _copy_aside(connection: apsw.Connection, target: Path) -> None:
    """Copy the database to `target` before a migration touches it: temporary name, fsync, rename, fsync."""
    durable.make_folder(target.parent)
    partial = target.with_suffix(".tmp")
    partial.unlink(missing_ok=True)
    copy = apsw.Connection(str(partial))
    try:
        with copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(1024)
        if copy.pragma("quick_check") != "ok":
            raise CatalogError(f"the copy {partial} did not pass quick_check: the migration was not begun")
        copy.pragma("journal_mode", "delete")
    finally:
        copy.close()
    durable.sync_file(partial)
    durable.rename(partial, target)
