"""T2: give every chunk its vector. What is missing is asked of the catalog, so an interrupted run just goes on.

A batch is embedded outside any transaction and then stored together with its rows of the log that indexes follow: a
kill loses the batch in flight and nothing else. Equal text is embedded once, ever. What a model elsewhere has answered
is stored request by request, whatever becomes of the requests beside it: each is paid for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from nescord.catalog import vectors as vectors_sql
from nescord.catalog.vectors import PendingText
from nescord.errors import EmbeddingError, NescordError, TextRefusedError, UnusableVectorsError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.embedding import Embedder, Vectors
    from nescord.embedding.service import Embed, EmbeddingService

# About a second of the local model's work on two cores: what a kill may cost, and how long a stop may take.
BATCH_TEXTS = 128
# For who hands batches on and keeps a record of each: a few seconds of work.
COARSE_TEXTS = 512

# A text's vector, as stored, or why it is refused for good.
Answer = bytes | str
EmbedBatch = Callable[[Sequence[PendingText]], list[Answer]]
# Texts with their answers; and all such pieces of a request, with what went wrong after them.
_Piece = tuple[Sequence[PendingText], list[Answer]]
_Result = tuple[list[_Piece], NescordError | None]


@dataclass(frozen=True, slots=True)
class EmbedProgress:
    """How far a run is: texts done, `refused` among them, of how many chunks (equal ones are done at once), and seconds
    since it began."""

    done: int
    total: int
    seconds: float
    refused: int = 0


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """Texts embedded and refused by this run; chunks that still wait for a vector; wall seconds."""

    embedded: int = 0
    refused: int = 0
    pending: int = 0
    seconds: float = 0.0


def is_done(catalog: Catalog, model_key: str) -> bool:
    """Whether no chunk waits for a vector of the model: one comparison, without any model."""
    with catalog.read() as connection:
        return vectors_sql.is_embedded_through(connection, vectors_sql.model_id(connection, model_key) or 0)


def embed_pending(
    catalog: Catalog,
    service: EmbeddingService,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[EmbedProgress], None] = lambda _: None,
) -> EmbedReport:
    """Embed what has no vector of the service's model yet.

    `stop` is asked before each batch: true ends the run. The caller holds ingest.lock, so that two runs do not embed
    the same; a capture that embeds its own text meanwhile does no harm.

    Raises:
        EmbeddingError: the model's answers cannot be used; what was stored before, as `progress` was told, is kept.
        ServiceUnavailableError: the model cannot be had, or its budget does not allow more (BudgetError).
    """
    if is_done(catalog, service.model_key):
        return EmbedReport()
    started = time.perf_counter()
    model = _model(catalog, service)
    with catalog.read() as connection:
        total = vectors_sql.count_pending(connection, model)
    embedded = refused = left = 0

    def count(new: int, unfit: int) -> None:
        nonlocal embedded, refused
        embedded, refused = embedded + new, refused + unfit
        progress(EmbedProgress(embedded + refused, total, time.perf_counter() - started, refused))

    with service.much(total) as embed:
        while True:
            with catalog.read() as connection:
                batch = vectors_sql.pending(connection, model, min(BATCH_TEXTS, service.at_once))
            if not batch:
                if _is_closed(catalog, model):
                    break
                continue
            if stop():
                with catalog.read() as connection:
                    left = vectors_sql.count_pending(connection, model)
                break
            _embed_and_store(catalog, service, embed, model, batch, count, stop)
    return EmbedReport(embedded, refused, left, round(time.perf_counter() - started, 3))


def embed_these(catalog: Catalog, service: EmbeddingService, texts: Sequence[PendingText]) -> EmbedReport:
    """Embed these chunks and no others: for a capture, which does not wait for whatever else is pending."""
    started = time.perf_counter()
    model = _model(catalog, service)
    with catalog.read() as connection:
        known = vectors_sql.vectors_of(connection, model, None, [text.chunk for text in texts])
    missing = list({text.text_hash: text for text in texts if text.chunk not in known}.values())
    embedded, refused = 0, 0
    for request in service.requests(_inputs(missing)) if missing else ():
        some = missing[request]
        new, unfit = _store(catalog, model, some, _embedded(service.embed, some))
        embedded, refused = embedded + new, refused + unfit
    _is_closed(catalog, model)
    return EmbedReport(embedded, refused, 0, round(time.perf_counter() - started, 3))


class PendingWork:
    """All that waits for a vector, in `batches`, for who has each embedded elsewhere (a flow, in its tasks).

    `is_remote`: by a model that is asked from this process alone, one request a batch.
    """

    def __init__(
        self,
        catalog: Catalog,
        embedder: Embedder,
        embed: Embed,
        model: int,
        batches: Sequence[list[PendingText]],
        *,
        is_remote: bool = False,
    ) -> None:
        self.batches = batches
        self.is_remote = is_remote
        self._catalog = catalog
        self._embedder = embedder
        self._embed = embed
        self._model = model
        self._turn = threading.Lock()
        self._is_over = False

    def embed_batch(self, batch: Sequence[PendingText]) -> list[Answer]:
        """What `store_batch` wants for it. In any thread, without the database; one batch at a time, as one may be
        shared among processes already."""
        answers: list[Answer] = []
        with self._turn:
            for first in range(0, len(batch), BATCH_TEXTS):  # who cancels the run waits for one of these at most
                if self._is_over:
                    raise EmbeddingError("the run that this batch belongs to has ended: the next one embeds it")
                answers += _embedded(self._embed, batch[first : first + BATCH_TEXTS])
        return answers

    @property
    def embed_elsewhere(self) -> EmbedBatch:
        """As `embed_batch`, and can be pickled: for processes that share nothing with this one but the code."""
        return partial(embed_with, self._embedder)

    def store_batch(self, batch: Sequence[PendingText], answers: Sequence[Answer]) -> tuple[int, int]:
        """Keep them, in one transaction; returns how many were embedded and how many refused. In the order of
        `batches`: what comes before a stored one is not looked at again."""
        stored = _store(self._catalog, self._model, batch, answers, through=batch[-1].chunk)
        if batch is self.batches[-1]:
            _is_closed(self._catalog, self._model)
        return stored

    def close(self) -> None:
        """Wait for the batch at hand; no other is begun."""
        self._is_over = True
        with self._turn:
            pass


@contextmanager
def pending_work(catalog: Catalog, service: EmbeddingService, size: int = COARSE_TEXTS) -> Iterator[PendingWork]:
    """What has no vector yet, in batches of `size` texts, and the workers to embed them, for the length of the block.

    Without anything to embed no model is loaded. The caller holds ingest.lock, as for `embed_pending`.
    """
    if is_done(catalog, service.model_key):
        yield PendingWork(catalog, service.embedder, service.embed, 0, [])
        return
    model = _model(catalog, service)
    with catalog.read() as connection:
        texts = vectors_sql.pending(connection, model, -1)
    if not texts:
        _is_closed(catalog, model)
    with service.much(len(texts)) as embed:
        batches = [texts[first : first + size] for first in range(0, len(texts), size)]
        if service.remote:
            batches = [texts[request] for request in service.requests(_inputs(texts))]
        work = PendingWork(catalog, service.embedder, embed, model, batches, is_remote=service.remote is not None)
        try:
            yield work
        finally:
            work.close()  # the workers end with this block, and none may be at work then


def embed_with(embedder: Embedder, batch: Sequence[PendingText]) -> list[Answer]:
    """What `store_batch` wants, by whoever has a batch and a model and nothing else: no database, no settings."""
    from nescord.embedding.service import service_here

    return _embedded(service_here(embedder).embed, batch)


def _model(catalog: Catalog, service: EmbeddingService) -> int:
    with catalog.read() as connection:
        known = vectors_sql.model_id(connection, service.model_key)
    if known is not None:
        return known
    with catalog.write() as connection:
        return vectors_sql.add_model(connection, service.model_key)


def _embed_and_store(
    catalog: Catalog,
    service: EmbeddingService,
    embed: Embed,
    model: int,
    batch: Sequence[PendingText],
    count: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> None:
    """One batch, in as many requests as it takes; `count` is told what each has brought (embedded, refused).

    After `stop` only the requests under way are waited for.

    Raises:
        NescordError: the first that went wrong. What the others have brought is stored.
    """
    requests = [batch[request] for request in service.requests(_inputs(batch))]
    if len(requests) == 1:
        results = iter([_asked(embed, batch)])
    else:
        results = _asked_at_once(embed, requests, service.remote.parallel if service.remote else 1, stop)
    failed, done = None, 0
    for pieces, error in results:
        for texts, answers in pieces:
            done += len(texts)
            count(*_store(catalog, model, texts, answers, through=batch[-1].chunk if done == len(batch) else None))
        failed = failed or error
    if failed:
        raise failed


def _asked_at_once(
    embed: Embed, requests: Sequence[Sequence[PendingText]], threads: int, stop: Callable[[], bool]
) -> Iterator[_Result]:
    """What comes of each, as it comes. After a failure or a stop no other is begun."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(_asked, embed, request) for request in requests]
        for answer in as_completed(asked):
            if answer.cancelled():
                continue
            result = answer.result()
            yield result
            if result[1] or stop():
                for other in asked:
                    other.cancel()


def _asked(embed: Embed, batch: Sequence[PendingText]) -> _Result:
    """The texts that were answered, piece by piece, and why the others were not."""
    pieces = []
    try:
        for piece in _pieces(embed, batch):
            pieces.append(piece)
    except NescordError as error:
        return pieces, error
    return pieces, None


def _embedded(embed: Embed, batch: Sequence[PendingText]) -> list[Answer]:
    return [answer for _, answers in _pieces(embed, batch) for answer in answers]


def _pieces(embed: Embed, batch: Sequence[PendingText]) -> Iterator[_Piece]:
    """The texts with an answer for each, in their order. Halves find the refused ones."""
    try:
        yield batch, [_stored(vector) for vector in embed(_inputs(batch))]
        return
    except UnusableVectorsError as error:
        right = error.right
        yield batch, [_stored(right[place]) if place in right else str(error) for place in range(len(batch))]
        return
    except TextRefusedError as error:
        if len(batch) == 1:
            yield batch, [str(error)]
            return
    middle = len(batch) // 2
    yield from _pieces(embed, batch[:middle])
    yield from _pieces(embed, batch[middle:])


def _stored(vector: Vectors) -> bytes:
    return vector.astype("<f4").tobytes()


def _inputs(batch: Sequence[PendingText]) -> list[str]:
    from nescord.embedding.service import embedding_input

    return [embedding_input(text.title, text.headings, text.text) for text in batch]


def _store(
    catalog: Catalog,
    model: int,
    batch: Sequence[PendingText],
    answers: Sequence[Answer],
    *,
    through: int | None = None,
) -> tuple[int, int]:
    """Store a batch in one transaction; how many were embedded and how many refused.

    With the batch no chunk up to `through` is pending, if given: they come in the order of their ids, new ones get
    larger ids, and so the next look may begin there.
    """
    pairs = list(zip([text.text_hash for text in batch], answers, strict=True))
    vectors = [(text_hash, answer) for text_hash, answer in pairs if isinstance(answer, bytes)]
    refused = [(text_hash, answer) for text_hash, answer in pairs if isinstance(answer, str)]
    with catalog.write() as connection:
        vectors_sql.store(connection, model, vectors)
        vectors_sql.refuse(connection, model, refused, utc_text(datetime.now(UTC)))
        if through is not None:
            vectors_sql.set_embedded_through(connection, model, through)
    return len(vectors), len(refused)


def _is_closed(catalog: Catalog, model: int) -> bool:
    """Write down that all chunks were looked at, unless one came meanwhile: decided while nobody else can write."""
    with catalog.write() as connection:
        if vectors_sql.pending(connection, model, 1):
            return False
        vectors_sql.set_embedded_through(connection, model, vectors_sql.last_chunk(connection))
        return True
