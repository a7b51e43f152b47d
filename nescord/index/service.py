"""Chroma for whoever writes to it: the server, else the folder, which one process at a time may open.

A second client of the folder is stale, or loses rows of the first without an error. So index.lock is held for as long
as the client is open, and it is open only as long as the work takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from nescord.catalog import vectors as sql
from nescord.home import DataFolder
from nescord.index.chroma import ChromaDBService
from nescord.index.seal import Folder
from nescord.index.store import Store
from nescord.locks import LockName, Locks
from nescord.settings import Settings


@contextmanager
def open_service(
    settings: Settings, folder: DataFolder, locks: Locks, *, timeout: float | None = None
) -> Iterator[ChromaDBService]:
    """Chroma for a writer: the server, else the folder. index.lock is held until the block ends.

    Raises:
        LockTimeoutError: another process writes to the index.
        ServiceUnavailableError: the server does not answer; the disk is full.
    """
    with locks.exclusive(LockName.INDEX, timeout=timeout):
        if settings.chroma_url is not None:
            # httpx is imported by who has a server only.
            from nescord.index.http import HttpStore

            with ChromaDBService(HttpStore(settings.chroma_url)) as service:
                yield service
        else:
            with _open_folder(folder) as service:
                yield service


def needs_drain(connection: apsw.Connection, settings: Settings, folder: DataFolder, model: int, behind: int) -> bool:
    """Whether it is worth to open Chroma: something is `behind`, or its folder is not as we left it."""
    if behind or settings.chroma_url is not None:
        return bool(behind)
    return not Folder(folder.chroma, folder.run).is_sealed() and sql.count_indexable(connection, model) > 0


@contextmanager
def _open_folder(folder: DataFolder) -> Iterator[ChromaDBService]:
    place = Folder(folder.chroma, folder.run)
    store, damage, is_in_doubt = place.open()

    def close(open_store: Store) -> None:
        # What was not compared with SQLite meanwhile stays in doubt for the next who opens it.
        is_right = not service.damage and not service.is_in_doubt
        place.close(open_store, seal=is_right)  # type: ignore[arg-type]  # the store that it has opened

    def start_over(open_store: Store) -> Store:
        return place.start_over(open_store)  # type: ignore[arg-type]

    service = ChromaDBService(store, damage=damage, is_in_doubt=is_in_doubt, close=close, start_over=start_over)
    with service:
        yield service
