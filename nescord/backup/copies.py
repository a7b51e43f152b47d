"""Databases that are copies: put together from a snapshot, opened without a trace, counted."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from nescord import durable
from nescord.backup.check import Progress, silent
from nescord.backup.manifest import Manifest
from nescord.backup.packs import PackReader
from nescord.backup.store import BackupStore
from nescord.catalog import fulltext
from nescord.catalog.migrations import SCHEMA_VERSION
from nescord.errors import BackupError, DamagedBackupError

# What must stay free: 64 MB, and a tenth of a volume, but of a large disk no more than 2 GB.
_LEAST_FREE = 64 * 2**20
_FREE_SHARE = 0.1
_MOST_RESERVED = 2 * 2**30
# Of SQLite's virtual machine: some milliseconds.
_STEPS_BETWEEN_SIGNALS = 200_000


def stage(store: BackupStore, manifest: Manifest, target: Path, *, progress: Progress = silent) -> None:
    """Put a snapshot together at `target`. It appears there only when it is whole, right and on disk.

    Raises:
        DamagedBackupError: it is not what was backed up.
    """
    digest = hashlib.sha256()
    with durable.write_stream(target) as stream, PackReader(store.packs, manifest) as reader:
        for piece in reader.pages():
            stream.write(piece)
            digest.update(piece)
            progress("putting together", stream.size, manifest.size)
        if digest.hexdigest() != manifest.sha256:
            raise DamagedBackupError(f"the snapshot {manifest.id} is not what was backed up: its hash is another")


@contextmanager
def open_copy(path: Path) -> Iterator[apsw.Connection]:
    """A connection to a copy that nobody writes, which leaves no file beside it and changes none."""
    connection = apsw.Connection(f"{path.as_uri()}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        # A check of a large database is one call of many seconds, in which Python would hear no signal.
        connection.set_progress_handler(lambda: False, _STEPS_BETWEEN_SIGNALS)
        fulltext.add_functions(connection)
        yield connection
    finally:
        connection.close()


def counts_of(connection: apsw.Connection) -> dict[str, int]:
    """What a snapshot says of its size, and a restore is compared with."""
    tables = {"notes": "note WHERE trashed_at IS NULL", "trashed": "note WHERE trashed_at IS NOT NULL"}
    tables |= {"chunks": "chunk", "embeddings": "embedding", "sources": "source"}
    return {name: connection.execute(f"SELECT count(*) FROM {table}").get for name, table in tables.items()}


def refuse_a_newer_schema(manifest: Manifest) -> None:
    """BackupError if a snapshot holds a database that this program does not know yet."""
    if manifest.schema > SCHEMA_VERSION:
        raise BackupError(
            f"the snapshot {manifest.id} has schema {manifest.schema}, this nescord knows {SCHEMA_VERSION}: install "
            f"nescord {manifest.app_version} or newer"
        )


def refuse_a_full_disk(folder: Path, needed: float, what: str) -> None:
    """BackupError if `needed` more bytes at `folder` would leave too little for notes to be stored."""
    usage = shutil.disk_usage(folder)
    reserved = max(_LEAST_FREE, min(_FREE_SHARE * usage.total, _MOST_RESERVED))
    if usage.free - needed < reserved:
        raise BackupError(
            f"{what} needs up to {needed / 1e6:,.0f} MB and must leave {reserved / 1e6:,.0f} MB free, but only "
            f"{usage.free / 1e6:,.0f} MB are free at {folder}: make room (nescord backup prune) or enlarge the volume"
        )
