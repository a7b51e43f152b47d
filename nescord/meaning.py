"""What an open knowledge base needs to search by meaning: a model, a matrix and, for whoever writes, Chroma.

Each part is made when it is first used, so that a keyword search, or an ingest that found nothing new, pays for none.
Nothing here can stop a note from being stored or found by its words: what is missing is told and search goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from nescord.catalog import vectors as vectors_sql
from nescord.catalog.database import Catalog
from nescord.embed import EmbedProgress, EmbedReport, PendingWork, embed_pending, embed_these, is_done, pending_work
from nescord.errors import EmbeddingError, LockTimeoutError, ServiceUnavailableError
from nescord.home import DataFolder
from nescord.locks import Locks
from nescord.notes import Scope, SearchHits
from nescord.query import Query
from nescord.search import keyword_search, marker_of, shown_candidates
from nescord.settings import Settings
from nescord.snippets import Marker

if TYPE_CHECKING:
    import apsw

    from nescord.embedding.service import EmbeddingService
    from nescord.index.door import OpenIndex
    from nescord.index.drain import DrainReport, RebuildReport
    from nescord.index.exact import ExactIndex


@dataclass(frozen=True, slots=True)
class MeaningReport:
    """What became of vectors in one run; `degraded` says what could not be done and why."""

    embedded: int = 0
    refused: int = 0
    pending: int = 0
    indexed: int = 0
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeaningStatus:
    """`pending` chunks have no vector yet; `behind` are changes that Chroma has not been told."""

    model_key: str
    embeddings: int
    pending: int
    behind: int
    index_kind: str
    index_count: int
    degraded: tuple[str, ...]


class Meaning:
    """The parts, and the steps that an ingest ends with. Safe to use from many threads."""

    def __init__(self, settings: Settings, folder: DataFolder, locks: Locks) -> None:
        self._settings = settings
        self._folder = folder
        self._locks = locks
        self._exact: dict[int, ExactIndex] = {}
        self._making = threading.Lock()

    @cached_property
    def service(self) -> EmbeddingService:
        """The embedding service; EmbeddingUnavailableError where there is none."""
        from nescord.embedding.service import EmbeddingService

        return EmbeddingService.of(self._settings)

    def catch_up(
        self,
        catalog: Catalog,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[EmbedProgress], None] = lambda _: None,
    ) -> MeaningReport:
        """Embed what is pending and tell Chroma what changed. The caller holds ingest.lock."""
        try:
            embedded = embed_pending(catalog, self.service, stop=stop, progress=progress)
        except (EmbeddingError, ServiceUnavailableError) as error:
            return MeaningReport(degraded=(f"vector: {error}",))
        return replace(self.drain(catalog), embedded=embedded.embedded, refused=embedded.refused)

    @contextmanager
    def pending_work(self, catalog: Catalog) -> Iterator[PendingWork]:
        """What is pending, in batches to embed elsewhere. The caller holds ingest.lock."""
        with pending_work(catalog, self.service) as work:
            yield work

    def drain(self, catalog: Catalog) -> MeaningReport:
        """Tell Chroma what changed and compare it with the catalog. The caller holds ingest.lock."""
        try:
            key = self.service.model_key
        except ServiceUnavailableError as error:
            return MeaningReport(degraded=(f"vector: {error}",))
        drained, degraded = self._drain(catalog)
        pending = 0
        if not is_done(catalog, key):
            with catalog.read() as connection:
                pending = vectors_sql.count_pending(connection, vectors_sql.model_id(connection, key) or 0)
        return MeaningReport(pending=pending, indexed=drained.added if drained else 0, degraded=degraded)

    def embed_note(self, catalog: Catalog, note_id: str) -> EmbedReport:
        """Give the chunks of one note their vectors, without waiting for whatever else is pending."""
        with catalog.read() as connection:
            texts = vectors_sql.texts_of_note(connection, note_id)
        return embed_these(catalog, self.service, texts)

    def rebuild(self, catalog: Catalog) -> RebuildReport:
        """Build Chroma's collections anew from the stored vectors: no embedding call."""
        from nescord.index.drain import rebuild
        from nescord.index.service import open_service

        with open_service(self._settings, self._folder, self._locks) as chroma:
            return rebuild(catalog, chroma, self.service.model_key, prefix=self._settings.collection_name)

    @contextmanager
    def index(self, model: int) -> Iterator[OpenIndex]:
        """What answers vector queries of that model in this process."""
        from nescord.index.door import open_index

        with open_index(self._settings, self._folder, self._locks, model, exact=self._exact_of(model)) as index:
            yield index

    def search(
        self,
        connection: apsw.Connection,
        query: Query,
        scope: Scope,
        limit: int,
        mode: str,
        minimum: float | None = None,
    ) -> SearchHits:
        """By meaning, alone (`vector`) or with the words; by words only, and saying so, where vectors cannot be had."""
        try:
            model = self.model(connection)
            vector = self.service.query(query.text) if model else None
        except (EmbeddingError, ServiceUnavailableError) as error:
            return self._by_words(connection, query, scope, limit, f"vector: {error}")
        if model is None or vector is None:
            return self._by_words(connection, query, scope, limit, "vector: nothing is embedded yet (nescord ingest)")
        from nescord.hybrid import hybrid_candidates

        exact = self._exact_of(model)
        with self.index(model) as index:
            fusion = None if mode == "vector" else self._settings.fusion
            alpha = self._settings.hybrid_search_alpha
            found = hybrid_candidates(
                connection, index, exact, vector, query, scope, limit, fusion=fusion, alpha=alpha, minimum=minimum
            )
            degraded = tuple(filter(None, (index.degraded,)))
            kind = index.kind
        if not vectors_sql.is_embedded_through(connection, model):
            degraded += ("vector: some notes wait to be embedded (nescord ingest)",)
        return SearchHits(
            shown_candidates(connection, found, marker_of(query)), mode=mode, index_kind=kind, degraded=degraded
        )

    def related(self, connection: apsw.Connection, note_id: str, scope: Scope, limit: int) -> SearchHits:
        """The notes nearest to the mean of a note's vectors, without itself."""
        from nescord.hybrid import related_candidates

        try:
            model = self.model(connection)
        except ServiceUnavailableError as error:
            return SearchHits(mode="vector", degraded=(f"vector: {error}",))
        if model is None:
            return SearchHits(mode="vector", degraded=("vector: nothing is embedded yet (nescord ingest)",))
        exact = self._exact_of(model)
        with self.index(model) as index:
            found = related_candidates(connection, index, exact, note_id, scope, limit)
            degraded = tuple(filter(None, (index.degraded,)))
            return SearchHits(
                shown_candidates(connection, found, Marker(())), mode="vector", index_kind=index.kind, degraded=degraded
            )

    def _by_words(self, connection: apsw.Connection, query: Query, scope: Scope, limit: int, reason: str) -> SearchHits:
        return SearchHits(keyword_search(connection, query, scope, limit), degraded=(reason,))

    def _exact_of(self, model: int) -> ExactIndex:
        from nescord.index.exact import ExactIndex

        with self._making:
            return self._exact.setdefault(model, ExactIndex(model))

    def model(self, connection: apsw.Connection) -> int | None:
        """The number of the service's model; None while nothing was embedded with it."""
        return vectors_sql.model_id(connection, self.service.model_key)

    def status(self, connection: apsw.Connection) -> MeaningStatus:
        """Counts of vectors, and how far the index is."""
        try:
            key = self.service.model_key
        except ServiceUnavailableError as error:
            return MeaningStatus("", 0, 0, 0, "none", 0, (f"vector: {error}",))
        model = vectors_sql.model_id(connection, key) or 0
        pending = vectors_sql.count_pending(connection, model)
        live = [
            known for known in vectors_sql.collections(connection) if known.model == model and known.state == "live"
        ]
        degraded = (f"vector: {pending} chunks wait to be embedded (nescord ingest)",) if pending else ()
        behind = vectors_sql.count_behind(connection, model)
        indexable = vectors_sql.count_indexable(connection, model)
        kind = "exact" if not live or self._settings.vector == "exact" else "chroma"
        return MeaningStatus(
            model_key=key,
            embeddings=vectors_sql.count_embeddings(connection, model),
            pending=pending,
            behind=behind,
            index_kind=kind,
            index_count=indexable if kind == "exact" else max(0, indexable - behind),
            degraded=degraded,
        )

    def _drain(self, catalog: Catalog) -> tuple[DrainReport | None, tuple[str, ...]]:
        if self._settings.vector == "exact":
            return None, ()
        from nescord.index.drain import drain
        from nescord.index.service import needs_drain, open_service
        from nescord.index.store import DamagedIndexError

        with catalog.read() as connection:
            model = self.model(connection) or 0
            behind = vectors_sql.count_behind(connection, model)
            if not needs_drain(connection, self._settings, self._folder, self._locks, model, behind):
                return None, ()
        try:
            with open_service(self._settings, self._folder, self._locks) as chroma:
                report = drain(catalog, chroma, self.service.model_key, prefix=self._settings.collection_name)
        except (LockTimeoutError, ServiceUnavailableError, DamagedIndexError) as error:
            return None, (f"Chroma: {error} (the exact scan answers)",)
        return report, report.found
