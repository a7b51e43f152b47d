"""ChromaDBService: the collections of vectors, in Chroma's folder or on a Chroma server.

Vectors are always handed in. Texts never are: Chroma would store them (2.4 times the CPU, 10 times the disk, and what
was deleted lingers) and embed them with a model that it downloads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nescord.embedding import Vectors
from nescord.index.store import Metadata, Store

if TYPE_CHECKING:
    import apsw

    from nescord.persistence.report import PersistenceReport

_Row = TypeVar("_Row")
# Chroma's cost for a row is the least for batches of this size, and an unacknowledged one is quickly said again.
BATCH = 1000
_SAME = 0.999
_CANARY_HITS = 10


class ChromaDBService:
    """A store of collections, in numbers and similarities instead of Chroma's texts and distances.

    A context manager. `damage` says what was found broken when it was opened; `is_in_doubt` that its content must be
    compared with SQLite as a whole.
    """

    def __init__(
        self,
        store: Store,
        *,
        damage: str = "",
        is_in_doubt: bool = False,
        close: Callable[[Store], None] | None = None,
        start_over: Callable[[Store], Store] | None = None,
    ) -> None:
        self._store = store
        self._close = close
        self._start_over = start_over
        self._is_open = True
        self.damage = damage
        self.is_in_doubt = is_in_doubt

    def __enter__(self) -> ChromaDBService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def kind(self) -> str:
        return self._store.kind

    @property
    def is_shared(self) -> bool:
        """Whether others may keep collections in the same store."""
        return self._start_over is None

    def collections(self) -> dict[str, Metadata]:
        """Name and metadata of every collection in the store."""
        return self._store.collections()

    def ensure_collection(self, name: str, dims: int, *, model_key: str, language_group: str, epoch: str) -> None:
        """Make the collection unless it is there."""
        metadata: Metadata = {"dims": dims, "model_key": model_key, "language_group": language_group, "epoch": epoch}
        self._store.create(name, metadata)

    def add(self, name: str, vectors: Mapping[int, bytes]) -> None:
        """Add chunks with their stored vectors. A chunk that is there keeps its vector: ids are never reused."""
        for batch in _batches(vectors.items()):
            self._store.add(name, [str(chunk) for chunk, _ in batch], to_array([vector for _, vector in batch]))

    def delete(self, name: str, chunks: Sequence[int]) -> int:
        """Take out those of the chunks that are there; how many."""
        deleted = 0
        for batch in _batches(chunks):
            # Asked first: each delete of a row that is not there would be written to Chroma's own log, too.
            if present := self._store.ids(name, among=[str(chunk) for chunk in batch]):
                self._store.delete(name, present)
                deleted += len(present)
        return deleted

    def query(self, name: str, vector: Vectors, k: int) -> list[tuple[int, float]]:
        """The `k` nearest chunks with their cosine similarity, best first."""
        ids, distances = self._store.query(name, vector, k)
        return [(int(chunk), 1.0 - distance) for chunk, distance in zip(ids, distances, strict=True)]

    def count(self, name: str) -> int:
        """How many rows the collection counts; right even while its index is lost."""
        return self._store.count(name)

    def ids(self, name: str) -> set[int]:
        """Every chunk in the collection."""
        return {int(chunk) for chunk in self._store.ids(name)}

    def page_of_ids(self, name: str, limit: int, offset: int) -> list[int]:
        """Some of the chunks in the collection."""
        return [int(chunk) for chunk in self._store.ids(name, limit=limit, offset=offset)]

    def all_found(self, name: str, dims: int) -> set[int]:
        """The chunks that a query for all rows returns: what is not among them may be lost.

        It need not be. The graph of a sound index does not reach every row from everywhere: of 13,000 real chunks, with
        equal ones among them, a few are only found by vectors near to theirs.
        """
        rows = self.count(name)
        return (
            {chunk for chunk, _ in self.query(name, np.full(dims, dims**-0.5, dtype=np.float32), rows)}
            if rows
            else set()
        )

    def lost_canaries(self, name: str, sample: Mapping[int, bytes]) -> list[int]:
        """Those chunks of the sample that are not found by their own vector."""
        # Equal texts have equal vectors, and the graph need not lead to each of them: one of them answers for all.
        return [
            chunk
            for chunk, stored in sample.items()
            if not any(score > _SAME for _, score in self.query(name, to_array([stored])[0], _CANARY_HITS))
        ]

    def vectors(self, name: str, chunks: Sequence[int]) -> dict[int, Vectors]:
        """The vectors that Chroma keeps of those of the chunks that are there."""
        found: dict[int, Vectors] = {}
        for batch in _batches(chunks):
            ids, vectors = self._store.vectors(name, [str(chunk) for chunk in batch])
            found |= zip(map(int, ids), vectors, strict=True)
        return found

    def verify_persistence(self, connection: apsw.Connection, model: int, *, deep: bool = False) -> PersistenceReport:
        """Whether the live collections of a model hold what SQLite holds; nothing is changed and no finding raises.

        `connection` is a read transaction, and the caller keeps others from writing to Chroma meanwhile (index.lock).
        """
        from nescord.persistence.index import report_of

        return report_of(self, connection, model, deep=deep)

    def drop(self, name: str) -> None:
        """Remove a collection, if it is there."""
        self._store.drop(name)

    def start_over(self, reason: str, names: Iterable[str]) -> None:
        """Begin anew. A folder of ours is moved aside; on a server only the collections that are named go."""
        self.damage = reason
        if self._start_over is not None:
            self._store = self._start_over(self._store)
            return
        for name in names:
            self._store.drop(name)

    def close(self) -> None:
        """Close the store; again does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        if self._close is None:
            self._store.close()
        else:
            self._close(self._store)


def collection_name(prefix: str, model_key: str, language_group: str, epoch: str) -> str:
    """What a collection is called; a rebuild of it adds a word of its own."""
    model = hashlib.sha256(model_key.encode("utf-8")).hexdigest()[:8]
    return f"{prefix}-{model}-{language_group}-{epoch[:8]}"


def to_array(vectors: Sequence[bytes]) -> Vectors:
    """Stored vectors as rows."""
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch
