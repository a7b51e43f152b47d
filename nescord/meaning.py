"""What an open knowledge base needs to search by meaning: a model, a matrix and, for whoever writes, Chroma.

Each part is made when it is first used, so that a keyword search, or an ingest that found nothing new, pays for none.
Nothing here can stop a note from being stored or found by its words: what is missing is told and search goes on. Which
model it is, is said by embedding/choice.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nescord.asked import Asked, ask
from nescord.catalog import model_choice
from nescord.catalog import vectors as vectors_sql
from nescord.catalog.database import Catalog
from nescord.embed import EmbedProgress, EmbedReport, PendingWork, embed_pending, embed_these, pending_work
from nescord.embedding.choice import Choice, Models, without_vector
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

    from nescord.budget import Budget
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
    """`pending` chunks have no vector of the live model yet; `behind` are changes that Chroma has not been told.
    `second` is a model that follows in the background ("": none), with `second_pending` chunks to go. `refused`
    texts are refused by the live model for good, no usable answer came for those `put_aside` for a while."""

    model_key: str
    embeddings: int
    pending: int
    behind: int
    index_kind: str
    index_count: int
    degraded: tuple[str, ...]
    second: str = ""
    second_pending: int = 0
    refused: int = 0
    put_aside: int = 0


class Meaning:
    """The parts, and the steps that an ingest ends with. Safe to use from many threads."""

    def __init__(self, settings: Settings, folder: DataFolder, locks: Locks, budget: Callable[[], Budget]) -> None:
        self.models = Models(settings, budget)
        self._settings = settings
        self._folder = folder
        self._locks = locks
        self._exact: dict[int, ExactIndex] = {}
        self._making = threading.Lock()

    def choice(self, catalog: Catalog) -> Choice:
        """The model to work with; EmbeddingUnavailableError where there is none."""
        with catalog.read() as connection:
            live = model_choice.live_key(connection)
        return self.models.choice(live)

    def live_key(self, connection: apsw.Connection) -> str:
        """The key of the model whose vectors count; EmbeddingUnavailableError where embedding is switched off."""
        live = model_choice.live_key(connection)
        wanted = self.models.wanted_key(live)
        return live or wanted

    def model(self, connection: apsw.Connection) -> int | None:
        """The number of the live model; None while nothing was embedded. Raises as `live_key`."""
        return vectors_sql.model_id(connection, self.live_key(connection))

    def catch_up(
        self,
        catalog: Catalog,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[EmbedProgress], None] = lambda _: None,
    ) -> MeaningReport:
        """Embed what is pending and tell Chroma what changed; then a second model follows, where one is wanted.

        What cannot be done now waits for the next time, and is told. The caller holds ingest.lock.
        """
        report = self._embed(catalog, lambda: self.choice(catalog).live, stop, progress)
        report = _together(report, self.drain(catalog))
        key = self._second_key(catalog)
        if not key:
            return report
        second = self._embed(catalog, lambda: self.models.by_key(key), stop, progress)
        with catalog.read() as connection:
            second = replace(second, pending=_count_pending(connection, key))
        if second.embedded:  # what the first model's collections follow has grown, too
            second = _together(second, replace(self.drain(catalog), pending=0))
        return _together(report, second)

    @contextmanager
    def pending_work(self, catalog: Catalog, *, second: bool = False) -> Iterator[PendingWork]:
        """What is pending, in batches to embed elsewhere: for the live model, or for the `second`, if one is wanted.

        The caller holds ingest.lock.

        Raises:
            EmbeddingUnavailableError: there is no model.
        """
        service = self.choice(catalog).live
        if second:
            key = self._second_key(catalog)
            if not key:
                yield PendingWork(catalog, service, service.embed, 0, [])
                return
            service = self.models.by_key(key)
        with pending_work(catalog, service) as work:
            try:
                yield work
            finally:
                self._begin(catalog)

    def drain(self, catalog: Catalog) -> MeaningReport:
        """Tell Chroma what changed and compare it with the catalog. The caller holds ingest.lock."""
        try:
            with catalog.read() as connection:
                key = self.live_key(connection)
        except ServiceUnavailableError as error:
            return MeaningReport(degraded=(f"vector: {error}",))
        drained, degraded = self._drain(catalog, key)
        with catalog.read() as connection:
            pending = _count_pending(connection, key)
            failures = vectors_sql.failures(connection, vectors_sql.model_id(connection, key) or 0)
            degraded = (*self._complaints(connection), *without_vector(replace(failures, refused=0)), *degraded)
        return MeaningReport(pending=pending, indexed=drained.added if drained else 0, degraded=degraded)

    def embed_note(self, catalog: Catalog, note_id: str) -> EmbedReport:
        """Give the chunks of one note their vectors, without waiting for whatever else is pending."""
        service = self.choice(catalog).live
        with catalog.read() as connection:
            texts = vectors_sql.texts_of_note(connection, note_id)
        report = embed_these(catalog, service, texts)
        self._begin(catalog)
        return report

    def rebuild(self, catalog: Catalog) -> RebuildReport:
        """Build Chroma's collections anew from the stored vectors: no embedding call."""
        from nescord.index.drain import rebuild
        from nescord.index.service import open_service

        with catalog.read() as connection:
            key = self.live_key(connection)
        with open_service(self._settings, self._folder, self._locks) as chroma:
            return rebuild(catalog, chroma, key, prefix=self._settings.collection_name)

    @contextmanager
    def index(self, model: int) -> Iterator[OpenIndex]:
        """What answers vector queries of that model in this process."""
        from nescord.index.door import open_index

        with open_index(self._settings, self._folder, self._locks, model, exact=self._exact_of(model)) as index:
            yield index

    def search(
        self, catalog: Catalog, query: Query, scope: Scope, limit: int, mode: str, minimum: float | None = None
    ) -> SearchHits:
        """By meaning, alone (`vector`) or with the words; by words only, and saying so, where vectors cannot be had."""
        asked = ask(catalog, self.models, query.text)  # before the transaction: a model elsewhere takes its time
        with catalog.read() as connection:
            if isinstance(asked, str):
                return SearchHits(keyword_search(connection, query, scope, limit), degraded=(f"vector: {asked}",))
            from nescord.hybrid import hybrid_candidates

            exact = self._exact_of(asked.model)
            with self.index(asked.model) as index:
                found = hybrid_candidates(
                    connection, index, exact, asked.vector, query, scope, limit,
                    fusion=None if mode == "vector" else self._settings.fusion,
                    alpha=self._settings.hybrid_search_alpha, minimum=minimum,
                    second=asked.second and (self._exact_of(asked.second[0]), asked.second[1]),
                )  # fmt: skip
                degraded = (*asked.degraded, *filter(None, (index.degraded,)))
                kind = index.kind
            if not vectors_sql.is_embedded_through(connection, asked.model):
                degraded += ("vector: some notes wait to be embedded (nescord ingest)",)
            hits = shown_candidates(connection, found, marker_of(query))
        return SearchHits(hits, mode=mode, index_kind=kind, degraded=degraded, asked=asked)

    def nearness(self, catalog: Catalog, asked: Asked, chunks: Sequence[int]) -> dict[int, float]:
        """The cosines to a query of those of the chunks that have a vector. No model is asked for it once more."""
        with catalog.read() as connection:
            return self._exact_of(asked.model).scores(connection, asked.vector, chunks)

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

    def _exact_of(self, model: int) -> ExactIndex:
        from nescord.index.exact import ExactIndex

        with self._making:
            return self._exact.setdefault(model, ExactIndex(model))

    def status(self, connection: apsw.Connection) -> MeaningStatus:
        """Counts of vectors, and how far the index is."""
        try:
            key = self.live_key(connection)
        except ServiceUnavailableError as error:
            return MeaningStatus("", 0, 0, 0, "none", 0, (f"vector: {error}",))
        model = vectors_sql.model_id(connection, key) or 0
        pending = vectors_sql.count_pending(connection, model)
        live = [
            known for known in vectors_sql.collections(connection) if known.model == model and known.state == "live"
        ]
        waiting = (f"vector: {pending} chunks wait to be embedded (nescord ingest)",) if pending else ()
        failures = vectors_sql.failures(connection, model)
        behind = vectors_sql.count_behind(connection, model)
        indexable = vectors_sql.count_indexable(connection, model)
        kind = "exact" if not live or self._settings.vector == "exact" else "chroma"
        second = self.models.second_key(key)
        return MeaningStatus(
            model_key=key,
            embeddings=vectors_sql.count_embeddings(connection, model),
            pending=pending,
            behind=behind,
            index_kind=kind,
            index_count=indexable if kind == "exact" else max(0, indexable - behind),
            degraded=(*self._complaints(connection), *waiting, *without_vector(failures)),
            refused=failures.refused,
            put_aside=failures.put_aside,
            second=second,
            second_pending=_count_pending(connection, second) if second else 0,
        )

    def _complaints(self, connection: apsw.Connection) -> tuple[str, ...]:
        """Why the live model does not answer, although there are vectors of it."""
        try:
            choice = self.models.choice(model_choice.live_key(connection))
            reasons = [choice.refused, choice.live.remote.outage() if choice.live.remote else ""]
        except ServiceUnavailableError as error:
            reasons = [str(error)]
        return tuple(f"vector: {reason}" for reason in reasons if reason)

    def _second_key(self, catalog: Catalog) -> str:
        with catalog.read() as connection:
            live = model_choice.live_key(connection)
        return self.models.second_key(live) if live else ""

    def _begin(self, catalog: Catalog) -> None:
        with catalog.read() as connection:
            is_written = model_choice.is_written(connection)
        if not is_written:
            with catalog.write() as connection:
                model_choice.begin(connection)

    def _embed(
        self,
        catalog: Catalog,
        service: Callable[[], EmbeddingService],
        stop: Callable[[], bool],
        progress: Callable[[EmbedProgress], None],
    ) -> MeaningReport:
        """What could be embedded, and why no more."""
        done, degraded = EmbedProgress(0, 0, 0), tuple[str, ...]()

        def told(now: EmbedProgress) -> None:
            nonlocal done
            done = now
            progress(now)

        try:
            embed_pending(catalog, service(), stop=stop, progress=told)
        except (EmbeddingError, ServiceUnavailableError) as error:
            degraded = (f"vector: {error}",)
        self._begin(catalog)
        return MeaningReport(done.done - done.refused, done.refused, degraded=degraded)

    def _drain(self, catalog: Catalog, key: str) -> tuple[DrainReport | None, tuple[str, ...]]:
        if self._settings.vector == "exact":
            return None, ()
        from nescord.index.need import needs_drain

        with catalog.read() as connection:
            model = vectors_sql.model_id(connection, key) or 0
            behind = vectors_sql.count_behind(connection, model)
            if not needs_drain(connection, self._settings, self._folder, self._locks, model, behind):
                return None, ()
        # numpy and Chroma: not for a vault in which nothing has changed.
        from nescord.index.drain import drain
        from nescord.index.service import open_service
        from nescord.index.store import DamagedIndexError

        try:
            with open_service(self._settings, self._folder, self._locks) as chroma:
                report = drain(catalog, chroma, key, prefix=self._settings.collection_name)
        except (LockTimeoutError, ServiceUnavailableError, DamagedIndexError) as error:
            return None, (f"Chroma: {error} (the exact scan answers)",)
        return report, report.found


def _count_pending(connection: apsw.Connection, key: str) -> int:
    model = vectors_sql.model_id(connection, key) or 0
    return 0 if vectors_sql.is_embedded_through(connection, model) else vectors_sql.count_pending(connection, model)


def _together(*reports: MeaningReport) -> MeaningReport:
    """What became of the steps of one run."""
    degraded = dict.fromkeys(reason for report in reports for reason in report.degraded)
    return MeaningReport(
        embedded=sum(report.embedded for report in reports),
        refused=sum(report.refused for report in reports),
        pending=sum(report.pending for report in reports),
        indexed=sum(report.indexed for report in reports),
        degraded=tuple(degraded),
    )
