"""What every place that keeps Chroma's collections can do, and the ways in which it fails.

Two places implement it: a folder that this process opened (embedded.py) and a server (http.py). Both speak in chunk
ids as text, since that is what Chroma's ids are; ChromaDBService turns them into numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from nescord.embedding import Vectors
from nescord.errors import NescordError

# ef_search: recall on hard data 0.76 → 0.99 for 0.15 ms. sync_threshold: 20,000 would make the next open 34 s.
# max_neighbors: with Chroma's 16 no link of the graph led to 0.3 to 0.8 % of real chunks, those least like the others,
# and no query ever found them; with 48 to none, for the same CPU time and 256 bytes a chunk (docs/measured/meaning.md).
HNSW: dict[str, str | int] = {"space": "cosine", "ef_search": 400, "sync_threshold": 1000, "max_neighbors": 48}
REFUSING = "nescord_refusing"
# How Chroma says that its own log is damaged, seen on 1.5.9.
UNREADABLE_LOG = re.compile(r"[Ff]ailed to pull logs|log store")

Metadata = Mapping[str, str | int]


class DamagedIndexError(NescordError):
    """Chroma's data cannot be right any more: only a rebuild from SQLite mends it, which costs no embedding."""


class MissingCollectionError(DamagedIndexError):
    """The store has no collection of that name, though it was made."""


class Store(Protocol):
    """Collections by name. Every method may raise DamagedIndexError or ServiceUnavailableError."""

    @property
    def kind(self) -> str:
        """`chroma` or `chroma-server`."""
        ...

    def collections(self) -> dict[str, Metadata]:
        """Name and metadata of each collection."""
        ...

    def create(self, name: str, metadata: Metadata) -> None:
        """Make an empty collection; nothing happens where there is one of that name."""
        ...

    def add(self, name: str, ids: Sequence[str], vectors: Vectors) -> None:
        """Add rows; an id that is there keeps the vector it has."""
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None: ...

    def ids(
        self, name: str, *, among: Sequence[str] | None = None, limit: int | None = None, offset: int = 0
    ) -> list[str]:
        """The ids that the collection holds: all, those `among` some, or a page of them."""
        ...

    def vectors(self, name: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of the ids that are there, and their vectors as rows."""
        ...

    def query(self, name: str, vector: Vectors, k: int) -> tuple[list[str], list[float]]:
        """The ids of the `k` nearest rows and their cosine distances, nearest first."""
        ...

    def count(self, name: str) -> int: ...

    def drop(self, name: str) -> None:
        """Remove a collection, or do nothing where there is none."""
        ...

    def close(self) -> None: ...
