"""`nescord index migrate`: another model's vectors beside those that answer, and when all are there, a swap.

What is still to do is asked of the catalog, so an interrupted migration just goes on. The old model answers, and embeds
new notes, until one transaction makes the new one live. The old vectors stay: to go back costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nescord.catalog import model_choice
from nescord.catalog import vectors as vectors_sql
from nescord.embed import EmbedProgress, embed_pending
from nescord.errors import LockTimeoutError, ServiceUnavailableError, UsageError
from nescord.locks import LockName

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.embedding.service import EmbeddingService
    from nescord.opened import OpenBase

NAMES = ("local", "e5", "gemini", "genai")
# How long ingest.lock is kept at a time: an ingest that waits for it comes in between, also by the shortest patience
# that is usual. Then as long is left to it as takes to look whether the lock is free.
_TURN = 12.0
_PAUSE = 0.3


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What it takes to let `model_key` answer instead of `live_key` ("": nothing is embedded yet).

    `texts` have no vector of it yet; to have them embedded elsewhere costs about so many `tokens`, hence US dollars.
    `left` are the tokens that this month's budget has for it, None for a model in this process.
    """

    live_key: str
    model_key: str
    texts: int
    tokens: int = 0
    usd: float = 0.0
    left: int | None = None


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What one run has done. `is_live`: the model answers from now on; else `pending` chunks are still to do."""

    model_key: str
    embedded: int
    refused: int
    pending: int
    is_live: bool
    degraded: tuple[str, ...] = ()


def plan(base: OpenBase, name: str) -> MigrationPlan:
    """What it would take. Raises as `KnowledgeManager.plan_migration`."""
    service = _service(base, name)
    with base.verb() as catalog:
        with catalog.read() as connection:
            live = model_choice.live_key(connection) or ""
            model = vectors_sql.model_id(connection, service.model_key) or 0
            waiting = len(vectors_sql.pending(connection, model, -1)) + len(vectors_sql.due(connection, model))
        if service.remote is None:
            return MigrationPlan(live, service.model_key, waiting)
        from nescord.costs import Costing

        cost = Costing(service.remote, base).cost(catalog).warm
    return MigrationPlan(live, service.model_key, waiting, cost.tokens, cost.usd, _left(base))


def migrate(
    base: OpenBase,
    name: str,
    *,
    stop: Callable[[], bool],
    progress: Callable[[EmbedProgress], None],
) -> MigrationReport:
    """Embed, build the collections, swap. Raises as `KnowledgeManager.migrate`."""
    from nescord.budget import Purpose

    service = _service(base, name).on_behalf(Purpose.REEMBED)
    run = _Run(base, service, stop, progress)
    while True:
        with base.verb() as catalog, base.locks.exclusive(LockName.INGEST):
            with catalog.write() as connection:
                model_choice.begin(connection)
            pending = run.embed(catalog)
            if not pending:
                degraded = _collections(base, catalog, service.model_key)
                with catalog.write() as connection:  # a capture may have come: then it is embedded first
                    if model_choice.swap(connection, service.model_key):
                        return run.report(0, is_live=True, degraded=degraded)
        if stop():
            return run.report(pending, is_live=False)
        time.sleep(_PAUSE)


class _Run:
    """The turns of one migration, and what they have done together."""

    def __init__(
        self,
        base: OpenBase,
        service: EmbeddingService,
        stop: Callable[[], bool],
        progress: Callable[[EmbedProgress], None],
    ) -> None:
        self._service = service
        self._stop = stop
        self._progress = progress
        self._begun = time.perf_counter()
        self._embedded = self._refused = 0
        self._total = 0

    def embed(self, catalog: Catalog) -> int:
        """Embed for one turn; how many chunks are still to do."""
        ends = time.monotonic() + _TURN
        done = EmbedProgress(0, 0, 0)

        def told(now: EmbedProgress) -> None:
            nonlocal done
            done = now
            self._total = max(self._total, before + now.total)
            seconds = time.perf_counter() - self._begun
            self._progress(EmbedProgress(before + now.done, self._total, seconds))

        before = self._embedded + self._refused
        try:
            return embed_pending(
                catalog, self._service, stop=lambda: self._stop() or time.monotonic() > ends, progress=told
            ).pending
        finally:
            self._embedded += done.done - done.refused
            self._refused += done.refused

    def report(self, pending: int, *, is_live: bool, degraded: tuple[str, ...] = ()) -> MigrationReport:
        key = self._service.model_key
        return MigrationReport(key, self._embedded, self._refused, pending, is_live, degraded)


def _service(base: OpenBase, name: str) -> EmbeddingService:
    if base.meaning.models.own and name == base.meaning.models.own.model_key:
        return base.meaning.models.own
    if name == "local+e5":
        raise UsageError("local+e5 needs no migration: with local as the live model, set NESCORD_EMBEDDER=local+e5")
    if name not in NAMES:
        raise UsageError(f'"{name}" is no model: name one of {", ".join(NAMES)}')
    return base.meaning.models.named(name)


def _left(base: OpenBase) -> int:
    """What is below the mark from which on re-embedding is switched off: nine tenths of the limit."""
    state = base.budget.state()
    return max(0, state.limit * 9 // 10 - state.total)


def _collections(base: OpenBase, catalog: Catalog, key: str) -> tuple[str, ...]:
    """The new model's collections, complete before it answers. Without Chroma the exact scan does, and it is said."""
    settings = base.settings
    if settings.vector == "exact":
        return ()
    from nescord.index.drain import drain
    from nescord.index.service import open_service
    from nescord.index.store import DamagedIndexError

    try:
        with open_service(settings, base.folder, base.locks) as chroma:
            return drain(catalog, chroma, key, prefix=settings.collection_name).found
    except (LockTimeoutError, ServiceUnavailableError, DamagedIndexError) as error:
        return (f"Chroma: {error} (the exact scan answers)",)
