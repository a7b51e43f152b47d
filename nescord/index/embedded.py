"""Chroma's folder, opened in this process. Whoever opens it holds index.lock: a second client loses rows silently.

`chromadb` is imported when a folder is opened, not before: it takes seconds and 100 MB.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nescord.embedding import Vectors
from nescord.index.store import (
    HNSW,
    REFUSING,
    UNREADABLE_LOG,
    DamagedIndexError,
    Metadata,
    MissingCollectionError,
)

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import Embeddable, EmbeddingFunction

_PATIENCE = 10.0


class EmbeddedStore:
    """An open PersistentClient. Use `seal.open_folder`, which looks first whether the folder may be opened at all.

    Raises:
        DamagedIndexError: Chroma cannot open the folder.
    """

    kind = "chroma"

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
        import chromadb
        from chromadb.config import Settings

        self._path = path
        _refusing()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _told(path):
            try:
                self._client: ClientAPI = chromadb.PersistentClient(
                    path=str(path), settings=Settings(anonymized_telemetry=False)
                )
            except ValueError as error:  # "Could not connect to tenant default_tenant": its database cannot be read
                raise DamagedIndexError(f"Chroma cannot open {path}: {error}") from error
        self._open: dict[str, Collection] = {}

    def collections(self) -> dict[str, Metadata]:
        with _told(self._path):
            return {found.name: dict(found.metadata or {}) for found in self._client.list_collections()}

    def create(self, name: str, metadata: Metadata) -> None:
        with _told(self._path):
            self._open[name] = self._client.get_or_create_collection(
                name,
                metadata=dict(metadata),
                configuration={"hnsw": HNSW},  # type: ignore[arg-type]  # a dict of the very keys
                embedding_function=_refusing(),
            )

    def add(self, name: str, ids: Sequence[str], vectors: Vectors) -> None:
        with _told(self._path, name):
            self._collection(name).add(ids=list(ids), embeddings=vectors)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        with _told(self._path, name):
            self._collection(name).delete(ids=list(ids))

    def ids(
        self, name: str, *, among: Sequence[str] | None = None, limit: int | None = None, offset: int = 0
    ) -> list[str]:
        with _told(self._path, name):
            wanted = None if among is None else list(among)
            return self._collection(name).get(ids=wanted, limit=limit, offset=offset, include=[])["ids"]

    def vectors(self, name: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        with _told(self._path, name):
            found = self._collection(name).get(ids=list(ids), include=["embeddings"])
        return found["ids"], np.asarray(found["embeddings"], dtype=np.float32)

    def query(self, name: str, vector: Vectors, k: int) -> tuple[list[str], list[float]]:
        with _told(self._path, name):
            found = self._collection(name).query(
                query_embeddings=vector[np.newaxis], n_results=k, include=["distances"]
            )
        distances = found["distances"]
        return found["ids"][0], list(distances[0]) if distances else []

    def count(self, name: str) -> int:
        with _told(self._path, name):
            return self._collection(name).count()

    def drop(self, name: str) -> None:
        from chromadb.errors import NotFoundError

        self._open.pop(name, None)
        with _told(self._path):
            try:
                self._client.delete_collection(name)
            except NotFoundError:
                return

    def close(self) -> None:
        """Close the client and wait until its files are closed, too: the Rust side does that a moment later."""
        self._open.clear()
        self._client.close()  # type: ignore[attr-defined]  # the interface lacks what the client has
        deadline = time.monotonic() + _PATIENCE
        while files := _open_files(self._path):
            if time.monotonic() > deadline:
                raise DamagedIndexError(f"Chroma keeps files of {self._path} open: {', '.join(files)}")
            time.sleep(0.01)

    def _collection(self, name: str) -> Collection:
        if name not in self._open:
            self._open[name] = self._client.get_collection(name, embedding_function=_refusing())
        return self._open[name]


@contextmanager
def _told(path: Path, name: str = "") -> Iterator[None]:
    """Chroma's errors as ours. A panic of its Rust core comes as a BaseException."""
    from chromadb.errors import InternalError, InvalidArgumentError, NotFoundError

    try:
        yield
    except NotFoundError as error:
        raise MissingCollectionError(f"Chroma's folder {path} has no collection {name}") from error
    except (InternalError, InvalidArgumentError) as error:
        # A log that cannot be read is told as if the question were wrong.
        if isinstance(error, InvalidArgumentError) and not UNREADABLE_LOG.search(str(error)):
            raise
        raise DamagedIndexError(f"Chroma's folder {path} is damaged: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DamagedIndexError(f"Chroma's folder {path} is damaged: {error}") from error


def _open_files(path: Path) -> list[str]:
    """Files below `path` that this process has open (Linux; elsewhere none are seen)."""
    found = []
    for link in Path("/proc/self/fd").glob("*"):
        try:
            target = link.readlink()
        except OSError:  # closed meanwhile
            continue
        if target.is_relative_to(path.resolve()):
            found.append(target.name)
    return found


@cache
def _refusing() -> EmbeddingFunction[Embeddable]:
    """`None` would not do: Chroma then takes its default function, which downloads a model."""
    from chromadb.api.types import EmbeddingFunction, Embeddings
    from chromadb.utils.embedding_functions import register_embedding_function

    # Registered, since a process that reads the name in a collection's settings warns when it does not know it.
    @register_embedding_function
    class Refusing(EmbeddingFunction):  # type: ignore[type-arg]
        def __init__(self) -> None:
            pass

        def __call__(self, input: object) -> Embeddings:  # noqa: A002 - Chroma checks the name
            raise RuntimeError("Chroma never embeds here: hand it vectors")

        @staticmethod
        def name() -> str:
            return REFUSING

        def get_config(self) -> dict[str, object]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, object]) -> Refusing:
            return Refusing()

    return Refusing()
