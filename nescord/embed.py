"""T2: give every chunk its vector. What is missing is asked of the catalog, so an interrupted run just goes on.

A batch is embedded outside any transaction and then stored together with its rows of the log that indexes follow: a
kill loses the batch in flight and nothing else. Equal text is embedded once, ever. What a model elsewhere has answered
is stored request by request, whatever becomes of the requests beside it: each is paid for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from nescord.catalog import vectors as vectors_sql
from nescord.catalog.vectors import PendingText
from nescord.embedding.pieces import (
    Answer,
    Later,
    Piece,
    StillMissing,
    asked,
    asked_or_last,
    cautiously,
    embedded,
    inputs,
)
from nescord.errors import EmbeddingError, NescordError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.embedding import Embedder
    from nescord.embedding.service import Embed, EmbeddingService

# About a second of the local model's work on two cores: what a kill may cost, and how long a stop may take.
BATCH_TEXTS = 128
# For who hands batches on and keeps a record of each: a few seconds of work.
COARSE_TEXTS = 512

# The answer for a text that has its vector by another way: as a failure it is not written down.
_MEANWHILE = Later("it was embedded by another run meanwhile")

EmbedBatch = Callable[[Sequence[PendingText]], list[Answer]]
_Claimed = tuple[list[Piece], NescordError | None, ExitStack]
"""What a request was answered, what went wrong, and its claims, until the answers are stored."""


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
    done = refused = 0

    def count(new: int, unfit: int) -> None:
        nonlocal done, refused
        done, refused = done + new, refused + unfit
        progress(EmbedProgress(done + refused, total, time.perf_counter() - started, refused))

    with service.much(total) as embed:
        while True:
            with catalog.read() as connection:
                batch = vectors_sql.pending(connection, model, min(BATCH_TEXTS, service.at_once))
            if not batch:
                if _is_closed(catalog, model):
                    _embed_last(catalog, service, model, count, stop)
                    break
                continue
            if stop():
                break
            _embed_and_store(catalog, service, embed, model, batch, count, stop)
    with catalog.read() as connection:
        left = 0 if vectors_sql.is_embedded_through(connection, model) else vectors_sql.count_pending(connection, model)
    return EmbedReport(done, refused, left, round(time.perf_counter() - started, 3))


def embed_these(catalog: Catalog, service: EmbeddingService, texts: Sequence[PendingText]) -> EmbedReport:
    """Embed these chunks and no others: for a capture, which does not wait for whatever else is pending."""
    started = time.perf_counter()
    model = _model(catalog, service)
    with catalog.read() as connection:
        known = vectors_sql.vectors_of(connection, model, None, [text.chunk for text in texts])
    missing = list({text.text_hash: text for text in texts if text.chunk not in known}.values())
    still_missing = _still_missing(catalog, service, model)
    done, refused = 0, 0
    for request in service.requests(inputs(missing)) if missing else ():
        with _claimed(service, missing[request]):
            pieces, error = asked(service.embed, still_missing(missing[request]))
            for some, answers in pieces:
                new, unfit = _store(catalog, model, some, answers)
                done, refused = done + new, refused + unfit
        if error:
            raise error
    _is_closed(catalog, model)
    return EmbedReport(done, refused, 0, round(time.perf_counter() - started, 3))


class PendingWork:
    """All that waits for a vector, in `batches`, for who has each embedded elsewhere (a flow, in its tasks).

    `is_remote`: by a model that is asked from this process alone, one request a batch. The texts of `last` are of
    batches that have failed.
    """

    def __init__(
        self,
        catalog: Catalog,
        service: EmbeddingService,
        embed: Embed,
        model: int,
        batches: Sequence[list[PendingText]],
        last: Sequence[PendingText] = (),
    ) -> None:
        self.batches = batches
        self.is_remote = service.remote is not None
        self._catalog = catalog
        self._service = service
        self._last = {text.text_hash for text in last}
        self._embed = embed
        self._model = model
        self._turn = threading.Lock()
        self._is_over = False
        self._claims: dict[bytes, ExitStack] = {}

    def embed_batch(self, batch: Sequence[PendingText]) -> list[Answer]:
        """What `store_batch` wants for it. In any thread; one batch at a time, as one may be shared among processes
        already. What was embedded elsewhere meanwhile is not paid for again."""
        with self._turn, ExitStack() as claims:
            self._release(batch)  # where it was embedded before, and not stored
            claims.enter_context(_claimed(self._service, batch))
            answers = self._answers(batch)
            self._claims[batch[0].text_hash] = claims.pop_all()  # until they are stored, or never will be
        return answers

    def _answers(self, batch: Sequence[PendingText]) -> list[Answer]:
        answers: list[Answer] = []
        for first in range(0, len(batch), BATCH_TEXTS):  # who cancels the run waits for one of these at most
            if self._is_over:
                raise EmbeddingError("the run that this batch belongs to has ended: the next one embeds it")
            some = batch[first : first + BATCH_TEXTS]
            found, error = self._asked(some)
            if error and not answers and not found:
                raise error
            otherwise = Later(str(error)) if error else _MEANWHILE
            answers += [found.get(text.text_hash, otherwise) for text in some]
            if error:  # what was answered is paid for
                return [*answers, *[otherwise] * (len(batch) - len(answers))]
        return answers

    def _release(self, batch: Sequence[PendingText]) -> None:
        self._claims.pop(batch[0].text_hash, ExitStack()).close()

    def _asked(self, batch: Sequence[PendingText]) -> tuple[dict[bytes, Answer], NescordError | None]:
        """What those that are still missing were answered, and why the others were not."""
        still_missing = _still_missing(self._catalog, self._service, self._model)
        found: dict[bytes, Answer] = {}
        failed = None
        try:
            if batch[0].text_hash in self._last:
                pieces = cautiously(self._service, batch, still_missing)
            else:
                answered, failed = asked_or_last(self._service, self._embed, still_missing(batch))
                pieces = iter(answered)
            for texts, answers in pieces:
                found |= zip([text.text_hash for text in texts], answers, strict=True)
        except NescordError as error:
            failed = error
        return found, failed

    @property
    def embed_elsewhere(self) -> EmbedBatch:
        """As `embed_batch`, and can be pickled: for processes that share nothing with this one but the code."""
        return partial(embed_with, self._service.embedder)

    def store_batch(self, batch: Sequence[PendingText], answers: Sequence[Answer]) -> tuple[int, int]:
        """Keep them, in one transaction; returns how many were embedded and how many refused. In the order of
        `batches`: what comes before a stored one is not looked at again."""
        stored = _store(self._catalog, self._model, batch, answers, through=batch[-1].chunk)
        if batch is self.batches[-1]:
            _is_closed(self._catalog, self._model)
        self._release(batch)
        return stored

    def close(self) -> None:
        """Wait for the batch at hand; no other is begun."""
        self._is_over = True
        with self._turn:
            for claims in self._claims.values():
                claims.close()


@contextmanager
def pending_work(catalog: Catalog, service: EmbeddingService, size: int = COARSE_TEXTS) -> Iterator[PendingWork]:
    """What has no vector yet, in batches of `size` texts, and the workers to embed them, for the length of the block.

    Without anything to embed no model is loaded. The caller holds ingest.lock, as for `embed_pending`.
    """
    if is_done(catalog, service.model_key):
        yield PendingWork(catalog, service, service.embed, 0, [])
        return
    model = _model(catalog, service)
    with catalog.read() as connection:
        texts, last = vectors_sql.pending(connection, model, -1), vectors_sql.due(connection, model)
    if not texts:
        _is_closed(catalog, model)
    with service.much(len(texts)) as embed:
        batches = [texts[first : first + size] for first in range(0, len(texts), size)]
        if service.remote:
            batches = [some[request] for some in (texts, last) if some for request in service.requests(inputs(some))]
        work = PendingWork(catalog, service, embed, model, batches, last)
        try:
            yield work
        finally:
            work.close()  # the workers end with this block, and none may be at work then


def embed_with(embedder: Embedder, batch: Sequence[PendingText]) -> list[Answer]:
    """What `store_batch` wants, by whoever has a batch and a model and nothing else: no database, no settings."""
    from nescord.embedding.service import service_here

    return embedded(service_here(embedder).embed, batch)


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
    requests = [batch[request] for request in service.requests(inputs(batch))]
    still_missing = _still_missing(catalog, service, model)
    failed, left = None, len(requests)
    with ExitStack() as all_claims:

        def ask(request: Sequence[PendingText]) -> _Claimed:
            claims = ExitStack()
            all_claims.callback(claims.close)
            claims.enter_context(_claimed(service, request))
            return *asked_or_last(service, embed, still_missing(request)), claims

        if len(requests) == 1:
            results = iter([ask(batch)])
        else:
            results = _asked_at_once(ask, requests, service.remote.parallel if service.remote else 1, stop)
        for pieces, error, claims in results:
            failed = failed or error
            left -= 1
            for texts, answers in pieces:
                is_last = not left and not failed and texts is pieces[-1][0]
                count(*_store(catalog, model, texts, answers, through=batch[-1].chunk if is_last else None))
            claims.close()
    if failed:
        raise failed


def _asked_at_once(
    ask: Callable[[Sequence[PendingText]], _Claimed],
    requests: Sequence[Sequence[PendingText]],
    threads: int,
    stop: Callable[[], bool],
) -> Iterator[_Claimed]:
    """What comes of each, as it comes. After a failure or a stop no other is begun."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(threads) as pool:
        under_way = [pool.submit(ask, request) for request in requests]
        for answer in as_completed(under_way):
            if answer.cancelled():
                continue
            result = answer.result()
            yield result
            if result[1] or stop():
                for other in under_way:
                    other.cancel()


def _embed_last(
    catalog: Catalog,
    service: EmbeddingService,
    model: int,
    count: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> None:
    """What was put aside, in this run or long ago, when all else is done. Raises as `_embed_and_store`."""
    with catalog.read() as connection:
        texts = vectors_sql.due(connection, model)
    for request in service.requests(inputs(texts)) if texts else ():
        with _claimed(service, texts[request]):
            for some, answers in cautiously(service, texts[request], _still_missing(catalog, service, model)):
                count(*_store(catalog, model, some, answers))
                if stop():
                    return


def _claimed(service: EmbeddingService, texts: Sequence[PendingText]) -> AbstractContextManager[None]:
    """Nobody else has these embedded, to pay for them too, until the block ends."""
    return service.remote.claimed(text.text_hash for text in texts) if service.remote else nullcontext()


def _still_missing(catalog: Catalog, service: EmbeddingService, model: int) -> StillMissing:
    """What nobody else, a capture or another process, has had embedded meanwhile: it would be paid for again."""

    def without_vector(texts: Sequence[PendingText]) -> Sequence[PendingText]:
        if service.remote is None:
            return texts
        with catalog.read() as connection:
            return vectors_sql.without_vector(connection, model, texts)

    return without_vector


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
    refused = [(text_hash, answer, None) for text_hash, answer in pairs if isinstance(answer, str)]
    now = datetime.now(UTC)
    put_aside = [
        (text_hash, answer.reason, utc_text(now + timedelta(seconds=answer.seconds)))
        for text_hash, answer in pairs
        if isinstance(answer, Later)
    ]
    with catalog.write() as connection:
        vectors_sql.store(connection, model, vectors)
        vectors_sql.refuse(connection, model, [*refused, *put_aside], utc_text(now))
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
