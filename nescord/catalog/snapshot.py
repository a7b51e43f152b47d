"""A private copy of the database as it is at one moment, while others go on reading and writing.

For whoever needs another SQLite library or a long look: the live database is opened by APSW alone, and a reader that
takes long keeps its write-ahead log from being cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

_STEP_PAGES = 1024


def snapshot(connection: apsw.Connection, target: Path) -> None:
    """Copy what a read transaction sees to a new file, readable by its owner only. It is not synced: it is read once
    and thrown away.

    Raises:
        FileExistsError: there is a file of that name.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    # Pinned by a read first: a copy that begins anew at each commit of others would never end.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    copy = apsw.Connection(str(target))
    try:
        copy.pragma("journal_mode", "off")
        copy.pragma("synchronous", 0)
        with copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(_STEP_PAGES)
    finally:
        copy.close()


@contextmanager
def open_snapshot(path: Path) -> Iterator[apsw.Connection]:
    """A connection to a snapshot, which leaves no file beside it and changes none."""
    connection = apsw.Connection(f"{path.as_uri()}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        yield connection
    finally:
        connection.close()
