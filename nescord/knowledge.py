"""The one facade that the shells use: a knowledge base, opened, with its verbs.

`KnowledgeManager` is the owner's view and sees every space; `scoped()` gives what bots and agents get: the same verbs
with the spaces applied inside SQL.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nescord.catalog import notes as notes_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog import status as status_sql
from nescord.catalog.database import Catalog
from nescord.catalog.notes import IndexedChunk
from nescord.catalog.sources import Source
from nescord.catalog.status import Status
from nescord.errors import NotFoundError, UsageError, VaultError
from nescord.home import DataFolder
from nescord.locks import LockName
from nescord.notes import Failure, IngestReport, Note, Scope, TrashedNote
from nescord.opened import OpenBase
from nescord.scoped import ScopedKnowledge
from nescord.settings import Settings
from nescord.sources import vault
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.embed import EmbedReport, PendingWork
    from nescord.index.drain import RebuildReport
    from nescord.ingest import IngestOptions, IngestPlan
    from nescord.meaning import MeaningReport, MeaningStatus


class KnowledgeManager(ScopedKnowledge):
    """The owner's view of a knowledge base: every space, and the verbs that change sources. A context manager."""

    def __init__(self, base: OpenBase) -> None:
        super().__init__(base, Scope())

    @classmethod
    def open(cls, settings: Settings | None = None, *, vfs: str | None = None) -> Self:
        """Open the knowledge base that the settings name; begin one where there is nothing yet (`is_new`).

        `vfs` names an APSW VFS to reach the database through (see `Catalog`).

        Raises:
            CatalogError: there was one and its database is missing, damaged or too new.
        """
        settings = settings or Settings()
        folder = DataFolder.at(settings)
        is_new = not folder.has_begun()
        if is_new:
            folder = DataFolder.create(settings, begin=partial(_new_database, vfs=vfs))
        return cls(OpenBase(folder, settings, is_new=is_new, vfs=vfs))

    @classmethod
    def open_existing(cls, settings: Settings | None = None) -> Self:
        """Open a knowledge base; NoKnowledgeBaseError where there is none."""
        settings = settings or Settings()
        return cls(OpenBase(DataFolder.find(settings), settings, is_new=False))

    @classmethod
    def begin_anew(cls, settings: Settings | None = None) -> Self:
        """Begin again where the database got lost (`nescord init --new`)."""
        settings = settings or Settings()
        return cls(OpenBase(DataFolder.create_anew(settings, begin=_new_database), settings, is_new=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. The object cannot be used afterwards."""
        self._base.close()

    @property
    def folder(self) -> DataFolder:
        return self._base.folder

    @property
    def is_new(self) -> bool:
        """Whether opening it has begun it."""
        return self._base.is_new

    def scoped(self, spaces: Iterable[str]) -> ScopedKnowledge:
        """The same verbs, with no way to see more than these spaces."""
        return ScopedKnowledge(self._base, Scope(frozenset(spaces)))

    def ingest(
        self,
        path: Path | str | None = None,
        *,
        name: str | None = None,
        moved: bool = False,
        options: IngestOptions | None = None,
    ) -> IngestReport:
        """Take in what is new, changed, renamed or gone in the vault at `path` (default: NESCORD_VAULT).

        `name` registers a new vault under another name than its folder's; `moved` says that a known vault of the same
        name lives at `path` now.

        Raises:
            VaultError: no such folder, or it cannot be told which source it is.
            LockTimeoutError: another ingest runs (the message names it).
        """
        from nescord import ingest

        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            options = options or ingest.IngestOptions()
            found = self._plan(catalog, path, name, moved, is_kept=not options.dry_run)
            report = ingest.commit(catalog, found, self._base.drafting, options)
            if not (report.dry_run or report.interrupted):
                self._catch_up(catalog, report, options)
            return report

    def plan(self, path: Path | str | None = None) -> IngestPlan:
        """Walk a vault and compare it with what is stored: the first half of `ingest`, for a flow's first task."""
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return self._plan(catalog, path, None, moved=False, is_kept=True)

    def commit(self, found: IngestPlan, options: IngestOptions | None = None) -> IngestReport:
        """Store what `plan` found: the second half of `ingest`. A stale plan does no harm."""
        from nescord import ingest

        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return ingest.commit(catalog, found, self._base.drafting, options or ingest.IngestOptions())

    def catch_up(self, options: IngestOptions | None = None) -> MeaningReport:
        """Embed what has no vector yet and tell Chroma what changed: the last step of `ingest`, on its own."""
        from nescord import ingest

        options = options or ingest.IngestOptions()
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return self._base.meaning.catch_up(catalog, options.stop, options.embed_progress)

    def embed_note(self, note_id: str) -> EmbedReport:
        """Give one note its vectors, without waiting for whatever else is pending.

        Raises:
            EmbeddingError, EmbeddingUnavailableError: the model's answer cannot be used; there is no model.
        """
        with self._base.verb() as catalog:
            return self._base.meaning.embed_note(catalog, note_id)

    @contextmanager
    def pending_work(self) -> Iterator[PendingWork]:
        """The first half of `catch_up` in coarse batches, for a flow that has each embedded in a task of its own.

        Raises:
            EmbeddingUnavailableError: there is no model. LockTimeoutError: another ingest runs (and embeds).
        """
        with (
            self._base.verb() as catalog,
            self._base.locks.exclusive(LockName.INGEST),
            self._base.meaning.pending_work(catalog) as work,
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

    def meaning(self) -> MeaningStatus:
        """How many vectors there are, how many are missing, and how far the index is."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return self._base.meaning.status(connection)

    def failures(self) -> list[Failure]:
        """The files that could not be stored or that something is wrong with."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return sources_sql.failures(connection)

    def status(self) -> Status:
        """How much is stored."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return status_sql.status(connection)

    def sources(self) -> list[Source]:
        """Where notes come from."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return sources_sql.all_sources(connection)

    def move_source(self, name: str, path: Path | str) -> Source:
        """The vault `name` lives at `path` now; its notes keep their ids."""
        root = vault.real_root(Path(path))
        with self._base.verb() as catalog, catalog.write() as connection:
            source = _named(sources_sql.by_name(connection, name), name)
            other = sources_sql.by_root(connection, str(root))
            if other and other.id != source.id:
                raise VaultError(f'{root} is already the vault "{other.name}"')
            sources_sql.move(connection, source.id, str(root), vault.kind_of(root))
            return replace(source, root=str(root))

    def remove_source(self, name: str) -> int:
        """Forget a vault: its notes are trashed (and come back when it is ingested again). Returns how many."""
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST), catalog.write() as connection:
            source = _named(sources_sql.by_name(connection, name), name)
            if source.kind == "capture":
                raise UsageError(f'"{name}" holds what was captured: it cannot be removed')
            keys = notes_sql.living_keys(connection, source.id)
            now = utc_text(datetime.now(UTC))
            notes_sql.trash(connection, keys, now)
            sources_sql.remove(connection, source.id, now)
            return len(keys)

    def trash(self) -> list[TrashedNote]:
        """The notes whose files are gone, the latest first."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return notes_sql.all_trashed(connection)

    def restore_note(self, wanted: str) -> Note:
        """Bring a trashed note back. One whose file is gone from its vault becomes ours from then on.

        Raises:
            NotFoundError: there is no such note. UsageError: it is not in the trash.
        """
        note = self.note(wanted)
        if not note.trashed_at:
            raise UsageError(f"the note {note.path} ({note.id}) is not in the trash")
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            with catalog.write() as connection:
                home = sources_sql.captures(connection)
                taken = notes_sql.is_taken(connection, home.id, note.path)
                path = f"{note.id}/{note.path}" if taken else note.path
                draft = self._base.drafting.restored(note, source=home.id, path=path)
                notes_sql.restore(connection, note.id, draft, [IndexedChunk.of(chunk) for chunk in draft.chunks])
            return self.note(note.id)

    def _catch_up(self, catalog: Catalog, report: IngestReport, options: IngestOptions) -> None:
        begun = time.perf_counter()
        done = self._base.meaning.catch_up(catalog, options.stop, options.embed_progress)
        report.seconds = round(report.seconds + time.perf_counter() - begun, 3)
        report.embedded, report.refused, report.pending = done.embedded, done.refused, done.pending
        report.indexed, report.degraded = done.indexed, list(done.degraded)

    def _plan(
        self, catalog: Catalog, path: Path | str | None, name: str | None, moved: bool, *, is_kept: bool
    ) -> IngestPlan:
        from nescord import ingest

        wanted = path or self._base.settings.vault
        if wanted is None:
            raise VaultError("no vault named: nescord ingest VAULT, or set NESCORD_VAULT")
        root = vault.real_root(Path(wanted).expanduser())
        source = self._source_at(catalog, root, name, moved, is_kept=is_kept)
        return ingest.plan(catalog, source, root, self._base.drafting)

    def _source_at(self, catalog: Catalog, root: Path, name: str | None, moved: bool, *, is_kept: bool) -> Source:
        """The source of the folder `root`, registered on its first ingest if that is kept (no dry run)."""
        settings = self._base.settings
        with catalog.read() as connection:
            source = sources_sql.by_root(connection, str(root))
            known = sources_sql.all_sources(connection)
        if source:
            if is_kept and "vault_space" in settings.model_fields_set and source.space != settings.vault_space:
                with catalog.write() as connection:
                    sources_sql.set_space(connection, source.id, settings.vault_space)
                source = replace(source, space=settings.vault_space)
            return source
        wanted = name or root.name or "vault"
        namesake = next((source for source in known if source.name == wanted), None)
        if namesake and moved:
            if is_kept:
                self.move_source(wanted, root)
            return replace(namesake, root=str(root))
        if namesake:
            raise VaultError(
                f'there is already a vault "{wanted}" at {namesake.root}: has it moved to {root} (--same), or is this '
                "another one (--as NAME)?"
            )
        for other in known:
            if other.root and (root.is_relative_to(other.root) or Path(other.root).is_relative_to(root)):
                raise VaultError(
                    f'{root} and the vault "{other.name}" at {other.root} lie one inside the other, which would keep '
                    f'notes twice: ingest {other.root}, or remove it first (nescord source remove "{other.name}")'
                )
        kind, shape = vault.kind_of(root), self._base.drafting.shape
        if not is_kept:
            return Source(0, wanted, kind, str(root), settings.vault_space, shape, b"", "")
        with catalog.write() as connection:
            return sources_sql.add(connection, wanted, kind, str(root), settings.vault_space, shape)


def _new_database(folder: DataFolder, *, vfs: str | None = None) -> None:
    with Catalog(folder.database, vfs=vfs) as catalog:
        catalog.bring_up_to_date(folder.backups)


def _named(source: Source | None, name: str) -> Source:
    if source is None:
        raise NotFoundError(f'no vault "{name}": see nescord source list')
    return source
