"""The owner's verbs about vectors: embed what waits, tell the index, change the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nescord.catalog import notes as notes_sql
from nescord.catalog import vectors as vectors_sql
from nescord.locks import LockName
from nescord.notes import Scope
from nescord.opened import OpenBase

if TYPE_CHECKING:
    from nescord.embed import EmbedProgress, EmbedReport, PendingWork
    from nescord.index.drain import RebuildReport
    from nescord.ingest import IngestOptions
    from nescord.meaning import MeaningReport, MeaningStatus
    from nescord.migrating import MigrationPlan, MigrationReport


class MeaningVerbs:
    """What `KnowledgeManager` has of them."""

    _base: OpenBase

    def catch_up(self, options: IngestOptions | None = None) -> MeaningReport:
        """Embed what has no vector yet and tell Chroma what changed: the last step of `ingest`, on its own."""
        from nescord import ingest

        options = options or ingest.IngestOptions()
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return self._base.meaning.catch_up(catalog, options.stop, options.embed_progress)

    def embed_note(self, note_id: str) -> EmbedReport:
        """Give one note its vectors, without waiting for whatever else is pending; its space pays.

        Raises:
            EmbeddingError, ServiceUnavailableError: the model's answer cannot be used; there is no model, it does not
                answer, or its budget is spent.
        """
        from nescord.remote.calls import on_behalf_of

        with self._base.verb() as catalog:
            with catalog.read() as connection:
                found = notes_sql.find(connection, note_id, Scope(None))
            with on_behalf_of(found[0].space if found else ""):
                return self._base.meaning.embed_note(catalog, note_id)

    @contextmanager
    def pending_work(self, *, second: bool = False) -> Iterator[PendingWork]:
        """The first half of `catch_up` in coarse batches, for a flow that has each embedded in a task of its own.

        With `second` it is what waits for the model that follows in the background: nothing where there is none.

        Raises:
            EmbeddingUnavailableError: there is no model. LockTimeoutError: another ingest runs (and embeds).
        """
        with (
            self._base.verb() as catalog,
            self._base.locks.exclusive(LockName.INGEST),
            self._base.meaning.pending_work(catalog, second=second) as work,
        ):
            yield work

    def drain(self) -> MeaningReport:
        """Tell Chroma what changed and compare: the second half of `catch_up`."""
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return self._base.meaning.drain(catalog)

    def rebuild_index(self) -> RebuildReport:
        """Build Chroma's collections anew from the stored vectors: nothing is embedded.

        Raises:
            EmbeddingUnavailableError: there is no model to say which vectors. ServiceUnavailableError: no Chroma.
        """
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return self._base.meaning.rebuild(catalog)

    def forget_refusals(self) -> int:
        """Let the texts that a model has refused, or that were put aside, be asked for again by the next `ingest`.

        Returns how many there were.
        """
        with (
            self._base.verb() as catalog,
            self._base.locks.exclusive(LockName.INGEST),
            catalog.write() as connection,
        ):
            return vectors_sql.forget_failures(connection)

    def meaning(self) -> MeaningStatus:
        """How many vectors there are, how many are missing, and how far the index is."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return self._base.meaning.status(connection)

    def plan_migration(self, name: str) -> MigrationPlan:
        """What it would take to let the model of that name (local, e5, gemini) answer.

        Raises:
            UsageError: there is no model of that name. EmbeddingUnavailableError: it cannot be had here.
        """
        from nescord.migrating import plan

        return plan(self._base, name)

    def migrate(
        self,
        name: str,
        *,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[EmbedProgress], None] = lambda _: None,
    ) -> MigrationReport:
        """Give every chunk a vector of the model of that name, and then let that model answer.

        Others may search, capture and ingest meanwhile. `stop` is asked between batches: what was embedded is kept, and
        the next call goes on from there.

        Raises:
            As `plan_migration`. BudgetError: the budget does not allow more now. ServiceUnavailableError: the model
            does not answer. EmbeddingError: its answer cannot be used. LockTimeoutError: an ingest takes too long.
        """
        from nescord.migrating import migrate

        return migrate(self._base, name, stop=stop, progress=progress)
