"""T2: give every chunk its vector. What is missing is asked of the catalog, so an interrupted run just goes on.

A batch is embedded outside any transaction and then stored together with its rows of the log that indexes follow: a
kill loses the batch in flight and nothing else. Equal text is embedded once, ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nescord.catalog import vectors as vectors_sql
from nescord.errors import TextRefusedError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.catalog.vectors import PendingText
    from nescord.embedding.service import Embed, EmbeddingService

# About a second of the local model's work on two cores: what a kill may cost, and how long a stop may take.
BATCH_TEXTS = 128


@dataclass(frozen=True, slots=True)
class EmbedProgress:
    """How far a run is: texts done, of how many chunks (equal ones are done at once), and seconds since it began."""

    done: int
    total: int
    seconds: float


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
        EmbeddingError: the model cannot be had or its answers cannot be used; what was stored before is kept.
    """
    if is_done(catalog, service.model_key):
        return EmbedReport()
    started = time.perf_counter()
    model = _model(catalog, service)
    with catalog.read() as connection:
        total = vectors_sql.count_pending(connection, model)
    embedded = refused = left = 0
    with service.much(total) as embed:
        while True:
            with catalog.read() as connection:
                batch = vectors_sql.pending(connection, model, BATCH_TEXTS)
            if not batch:
                if _is_closed(catalog, model):
                    break
                continue
            if stop():
                with catalog.read() as connection:
                    left = vectors_sql.count_pending(connection, model)
                break
            new, unfit = _embed_batch(catalog, embed, model, batch, through=max(text.chunk for text in batch))
            embedded, refused = embedded + new, refused + unfit
            progress(EmbedProgress(embedded + refused, total, time.perf_counter() - started))
    return EmbedReport(embedded, refused, left, round(time.perf_counter() - started, 3))


def embed_these(catalog: Catalog, service: EmbeddingService, texts: Sequence[PendingText]) -> EmbedReport:
    """Embed these chunks and no others: for a capture, which does not wait for whatever else is pending."""
    started = time.perf_counter()
    model = _model(catalog, service)
    with catalog.read() as connection:
        known = vectors_sql.vectors_of(connection, model, None, [text.chunk for text in texts])
    missing = list({text.text_hash: text for text in texts if text.chunk not in known}.values())
    embedded, refused = _embed_batch(catalog, service.embed, model, missing) if missing else (0, 0)
    return EmbedReport(embedded, refused, 0, round(time.perf_counter() - started, 3))


def _model(catalog: Catalog, service: EmbeddingService) -> int:
    with catalog.read() as connection:
        known = vectors_sql.model_id(connection, service.model_key)
    if known is not None:
        return known
    with catalog.write() as connection:
        return vectors_sql.add_model(connection, service.model_key)


def _embed_batch(
    catalog: Catalog, embed: Embed, model: int, batch: Sequence[PendingText], *, through: int | None = None
) -> tuple[int, int]:
    """Embed, then store in one transaction; how many were embedded and how many refused.

    With the batch no chunk up to `through` is pending, if given: they come in the order of their ids, new ones get
    larger ids, and so the next look may begin there.
    """
    from nescord.embedding.service import embedding_input

    answers = _answers(embed, [embedding_input(text.title, text.headings, text.text) for text in batch])
    pairs = list(zip([text.text_hash for text in batch], answers, strict=True))
    vectors = [(text_hash, answer) for text_hash, answer in pairs if isinstance(answer, bytes)]
    refused = [(text_hash, answer) for text_hash, answer in pairs if isinstance(answer, str)]
    with catalog.write() as connection:
        vectors_sql.store(connection, model, vectors)
        vectors_sql.refuse(connection, model, refused, utc_text(datetime.now(UTC)))
        if through is not None:
            vectors_sql.set_embedded_through(connection, model, through)
    return len(vectors), len(refused)


def _answers(embed: Embed, texts: Sequence[str]) -> list[bytes | str]:
    """For each text its vector, as stored, or why it is refused for good. Halves find the refused ones."""
    try:
        return [vector.astype("<f4").tobytes() for vector in embed(texts)]
    except TextRefusedError as error:
        if len(texts) == 1:
            return [str(error)]
    middle = len(texts) // 2
    return _answers(embed, texts[:middle]) + _answers(embed, texts[middle:])


def _is_closed(catalog: Catalog, model: int) -> bool:
    """Write down that all chunks were looked at, unless one came meanwhile: decided while nobody else can write."""
    with catalog.write() as connection:
        if vectors_sql.pending(connection, model, 1):
            return False
        vectors_sql.set_embedded_through(connection, model, vectors_sql.last_chunk(connection))
        return True
