"""The one door to vector indexes: which of them this process may use now.

One process owns Chroma's folder: a second client is stale, or loses rows of the first without an error. So whoever
writes holds index.lock and opens the folder for as long as the work takes (`open_service`), or asks a
server: that of CHROMA_URL, or the one that `nescord services` runs beside us. Who only queries asks the server, else
scans the stored vectors exactly, which is never stale and never wrong (`open_index`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

import apsw

from nescord.catalog import vectors as sql
from nescord.catalog.vectors import Collection
from nescord.embedding import Vectors
from nescord.errors import LockTimeoutError, ServiceUnavailableError
from nescord.home import DataFolder
from nescord.index import VectorHit, VectorIndex
from nescord.index.chroma import ChromaDBService, to_array
from nescord.index.exact import ExactIndex
from nescord.index.need import has_server
from nescord.index.service import open_reader
from nescord.index.store import DamagedIndexError, MissingCollectionError
from nescord.locks import Locks
from nescord.settings import Settings

_FAILURES = (DamagedIndexError, ServiceUnavailableError, LockTimeoutError)


class OpenIndex:
    """What answers vector queries here. A context manager; `VectorIndex` otherwise.

    `degraded` says what is missing ("" when nothing is): Chroma was wanted and the exact scan answers in its place.
    """

    def __init__(self, settings: Settings, folder: DataFolder, locks: Locks, model: int, *, exact: VectorIndex) -> None:
        self.degraded = ""
        self._exact = exact
        self._chroma: ChromaIndex | None = None
        self._resources = ExitStack()
        wants_chroma = settings.vector == "chroma" or (
            settings.vector == "auto" and has_server(settings, folder, locks)
        )
        if not wants_chroma:
            return
        try:
            service = self._resources.enter_context(open_reader(settings, folder, locks))
            if service.damage:
                raise DamagedIndexError(f"{service.damage}; the next ingest builds it anew")
        except _FAILURES as error:
            self._fall_back(error)
        else:
            self._chroma = ChromaIndex(service, model)

    def __enter__(self) -> OpenIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def kind(self) -> str:
        return self._exact.kind if self._chroma is None else self._chroma.kind

    def query(self, connection: apsw.Connection, vector: Vectors, k: int) -> Sequence[VectorHit]:
        """As VectorIndex. A Chroma that fails meanwhile is left, and the exact scan answers."""
        if self._chroma is not None:
            try:
                return self._chroma.query(connection, vector, k)
            except _FAILURES as error:
                if isinstance(error, DamagedIndexError):
                    self._chroma.doubt()
                self._fall_back(error)
        return self._exact.query(connection, vector, k)

    def close(self) -> None:
        """Close Chroma's client and give index.lock back."""
        self._chroma = None
        self._resources.close()

    def _fall_back(self, error: Exception) -> None:
        self.degraded = f"Chroma: {error} (the exact scan answers)"
        self.close()


def open_index(
    settings: Settings, folder: DataFolder, locks: Locks, model: int, *, exact: VectorIndex | None = None
) -> OpenIndex:
    """The index for queries: by NESCORD_VECTOR, and by what is there. `exact` is a scan that already holds a matrix."""
    return OpenIndex(settings, folder, locks, model, exact=ExactIndex(model) if exact is None else exact)


class ChromaIndex:
    """Chroma's live collections of a model, completed by what the log has not told them yet. VectorIndex."""

    def __init__(self, service: ChromaDBService, model: int) -> None:
        self._service = service
        self._model = model

    @property
    def kind(self) -> str:
        return self._service.kind

    def doubt(self) -> None:
        """It failed inside: it has to be compared with SQLite."""
        self._service.is_in_doubt = True

    def query(self, connection: apsw.Connection, vector: Vectors, k: int) -> list[VectorHit]:
        epoch = sql.epoch(connection)
        live = [
            known
            for known in sql.collections(connection)
            if known.model == self._model and known.state == "live" and known.epoch == epoch
        ]
        if len(live) < len(sql.LANGUAGE_GROUPS):
            raise MissingCollectionError("the index is not built yet; the next ingest does it")
        return [hit for collection in live for hit in self._nearest(connection, collection, vector, k)]

    def _nearest(self, connection: apsw.Connection, collection: Collection, vector: Vectors, k: int) -> list[VectorHit]:
        group = collection.language_group
        # What Chroma was not told is scored here, so that a note is found, and an edited one is not, at once.
        tail = dict.fromkeys(chunk for _, chunk in sql.log_after(connection, collection.applied_seq, group, -1))
        present = sql.vectors_of(connection, self._model, group, list(tail)) if tail else {}
        # As many more as may have to be dropped again: a larger k costs next to nothing.
        told = self._service.query(collection.name, vector, k + len(tail) - len(present))
        if tail:
            told = [(chunk, score) for chunk, score in told if chunk not in tail]
        if present:
            scores = to_array(list(present.values())) @ vector
            told += zip(present, scores.tolist(), strict=True)
            told.sort(key=lambda hit: (-hit[1], hit[0]))
        return [VectorHit(chunk, score, group) for chunk, score in told[:k]]
