"""Chroma for whoever writes to it: a server, else the folder, which one process at a time may open.

A second client of the folder is stale, or loses rows of the first without an error. So index.lock is held for as long
as the folder is open: by a process that works embedded, for as long as the work takes; by the Chroma server that
`nescord services` runs, for its life. Beside that server the work goes over HTTP, under drain.lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nescord.errors import LockTimeoutError, ServiceUnavailableError
from nescord.home import DataFolder
from nescord.index.chroma import ChromaDBService
from nescord.index.need import server_beside
from nescord.index.seal import Folder
from nescord.index.store import Store
from nescord.locks import LockName, Locks
from nescord.settings import Settings

if TYPE_CHECKING:
    from nescord.index.http import HttpStore

# How long to wait for the folder before looking again whether a server has come up.
_LOOK_AGAIN = 1.0
_MEND = "nescord services, which runs it, starts it again"


@contextmanager
def open_service(
    settings: Settings, folder: DataFolder, locks: Locks, *, timeout: float | None = None
) -> Iterator[ChromaDBService]:
    """Chroma for a writer: the server, else the folder. No other process writes to it until the block ends.

    Raises:
        LockTimeoutError: another process writes to the index.
        ServiceUnavailableError: the server does not answer; the disk is full.
    """
    with place_of(settings, folder, locks, timeout=timeout) as url:
        if url is None:
            with _open_folder(folder) as service:
                yield service
        elif settings.chroma_url is not None:
            with ChromaDBService(_server(url)) as service:
                yield service
        else:
            with _beside_us(url, folder) as service:
                yield service


@contextmanager
def open_reader(settings: Settings, folder: DataFolder, locks: Locks) -> Iterator[ChromaDBService]:
    """Chroma for queries only: the server, and nothing is locked; else as `open_service`.

    Raises:
        LockTimeoutError, ServiceUnavailableError: as `open_service`.
    """
    url = settings.chroma_url or server_beside(folder, locks)
    if url is None:
        with open_service(settings, folder, locks) as service:
            yield service
        return
    with ChromaDBService(_server(url) if settings.chroma_url else _ours(url)) as service:
        yield service
    if service.is_in_doubt and settings.chroma_url is None:
        Folder(folder.chroma, folder.run).cast_doubt()


@contextmanager
def place_of(
    settings: Settings, folder: DataFolder, locks: Locks, *, timeout: float | None = None
) -> Iterator[str | None]:
    """The URL of the server to work with, or None for the folder; locked for a writer until the block ends.

    Raises:
        LockTimeoutError: another process writes to the index.
    """
    deadline = time.monotonic() + (settings.lock_timeout if timeout is None else timeout)
    with ExitStack() as held:
        while True:
            left = max(0.0, deadline - time.monotonic())
            url = settings.chroma_url
            if url is None and (url := server_beside(folder, locks)) is not None and _answers(url):
                held.enter_context(locks.exclusive(LockName.DRAIN, timeout=left))
                break
            try:
                # A server may come up while we wait for the folder, and then keep it for its life.
                wait = left if url is not None else min(left, _LOOK_AGAIN)
                held.enter_context(locks.exclusive(LockName.INDEX, timeout=wait))
                url = settings.chroma_url
                break
            except LockTimeoutError:
                if time.monotonic() >= deadline:
                    raise
        yield url


def _answers(url: str) -> bool:
    try:
        _ours(url).close()
    except ServiceUnavailableError:
        return False
    return True


def _server(url: str) -> HttpStore:
    # httpx is imported by who has a server only.
    from nescord.index.http import HttpStore

    return HttpStore(url)


def _ours(url: str) -> HttpStore:
    from nescord.index.http import HttpStore

    return HttpStore(url, mend=_MEND)


@contextmanager
def _beside_us(url: str, folder: DataFolder) -> Iterator[ChromaDBService]:
    """The server that `nescord services` runs on the folder of this knowledge base, which nobody else uses."""
    place = Folder(folder.chroma, folder.run)
    doubt = place.doubt()

    def close(open_store: Store) -> None:
        open_store.close()
        if not service.damage and not service.is_in_doubt:
            place.trust(doubt)

    def start_over(open_store: Store) -> Store:
        place.suspect(service.damage)
        raise ServiceUnavailableError(
            f"{service.damage}: nescord services, which runs the server, moves its folder aside and builds it anew"
        )

    service = ChromaDBService(_ours(url), is_in_doubt=bool(doubt), close=close, start_over=start_over)
    with service:
        yield service


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
