"""The one facade that the shells use: a knowledge base, opened, with its verbs.

`KnowledgeManager` is the owner's view and sees every space; `scoped()` gives what bots and agents get: the same verbs
with the spaces applied inside SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from nescord import again, registry
from nescord.catalog import notes as notes_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog import status as status_sql
from nescord.catalog.database import Catalog
from nescord.catalog.sources import Source
from nescord.catalog.status import Status
from nescord.discord_verbs import DiscordVerbs
from nescord.errors import UsageError
from nescord.export_verbs import ExportVerbs
from nescord.home import DataFolder, note_counts
from nescord.locks import LockName
from nescord.meaning_verbs import MeaningVerbs
from nescord.notes import Failure, IngestReport, Scope
from nescord.opened import OpenBase
from nescord.scoped import ScopedKnowledge
from nescord.settings import Settings
from nescord.sources import synced, vault
from nescord.times import utc_text
from nescord.trash_verbs import TrashVerbs
from nescord.writeback_verbs import WritebackVerbs

if TYPE_CHECKING:
    from nescord.backup.manager import BackupManager
    from nescord.budget import Budget
    from nescord.conversations import Conversations
    from nescord.digests import Digests
    from nescord.importing import ImportReport
    from nescord.inbox import Inbox
    from nescord.ingest import IngestOptions, IngestPlan
    from nescord.maintain import MaintainReport
    from nescord.persistence import OffSiteSummary, PersistenceReport
    from nescord.preferences import Preferences
    from nescord.privacy import ErasureReport, Privacy
    from nescord.quotas import Quotas
    from nescord.sources.entries import NoteSource


class KnowledgeManager(ScopedKnowledge, MeaningVerbs, TrashVerbs, DiscordVerbs, ExportVerbs, WritebackVerbs):
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
        folder.finish_restore(settings)
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
        """Take in what is new, changed, renamed or gone in the vault at `path` (unset: that of the settings, fetched).

        `name` registers a new vault under another name; `moved` says that the known one of that name lives here now.

        Raises:
            VaultError: no such folder, or no telling which source it is. LockTimeoutError: another ingest runs.
        """
        from nescord import costs, ingest

        options = options or ingest.IngestOptions()
        if path is None and self.is_vault_remote and (options.dry_run or not self.paused()):
            self.sync_source()
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            found = self._plan(catalog, path, name, moved, options)
            costing = costs.costing(catalog, self._base) if options.dry_run else None
            if costing:
                options = replace(options, drafted=costing.add)
            report = ingest.commit(catalog, found, self._base.drafting, options)
            if costing:
                report.cost = costing.cost(catalog)
            if not (report.dry_run or report.interrupted):
                self._catch_up(catalog, report, options)
            self._remember_counts(catalog, report)
            return report

    @property
    def is_vault_remote(self) -> bool:
        """Whether the settings name a vault that `sync_source` fetches."""
        return self._base.settings.vault_git_url is not None

    def sync_source(self) -> bool:
        """Fetch what is new in the vault's git repository; whether there was anything. Raises as `sources.git.sync`."""
        with self._base.locks.exclusive(LockName.INGEST):
            return synced.sync(self._base.settings, self._base.folder)

    def plan(self, path: Path | str | None = None) -> IngestPlan:
        """Walk a vault, as last fetched, and compare it with what is stored: a part of `ingest`, for a flow's task."""
        from nescord.ingest import IngestOptions

        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return self._plan(catalog, path, None, moved=False, options=IngestOptions())

    def commit(self, found: IngestPlan, options: IngestOptions | None = None) -> IngestReport:
        """Store what `plan` found: the second half of `ingest`. A stale plan does no harm."""
        from nescord import ingest

        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            registry.refuse_while_paused(catalog)
            report = ingest.commit(catalog, found, self._base.drafting, options or ingest.IngestOptions())
            self._remember_counts(catalog, report)
            return report

    @contextmanager
    def ingest_turns(
        self, path: Path | str | None = None, *, allow_mass_delete: bool = False
    ) -> Iterator[Iterator[int]]:
        """For runs that a trigger starts: ingest the vault once for each turn, and of runs at once one does it for all.

        There is no turn when a run that is under way will look again. A vault whose vanished notes may go is another
        wish than one whose may not, and waits for it.
        """
        what = f"{synced.wanted(self._base.settings, path)}\n{allow_mass_delete}"
        with closing(again.turns(self.folder.run, what)) as turns:
            yield turns

    def take_in(
        self,
        source: NoteSource,
        *,
        space: str,
        owner: Literal["source", "us"] = "source",
        moves_space: bool = False,
        options: IngestOptions | None = None,
    ) -> ImportReport:
        """Store what is new or changed in an export or another program's database, and embed it (`nescord.importing`).

        Raises:
            UsageError: there is no such space, or the source cannot be read. LockTimeoutError: an ingest is under way.
        """
        from nescord import importing, ingest

        options = options or ingest.IngestOptions()
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            report = importing.take_in(
                self._base,
                source,
                space=space,
                owner=owner,
                moves_space=moves_space,
                stop=options.stop,
                progress=options.progress,
            )
            if not report.interrupted:
                self._catch_up(catalog, report, options)
            self._remember_counts(catalog, report)
            return report

    def verify(
        self, *, deep: bool = False, off_site: Callable[[], OffSiteSummary | None] | OffSiteSummary | None = None
    ) -> PersistenceReport:
        """Look into disk, identity, database, index and backups. Nothing is changed, and no finding raises.

        `deep` reads every page and index entry; `off_site` is what the off-site store says, or who asks it.
        """
        from nescord import persistence

        base = self._base
        return persistence.verify(
            base.folder, base.settings, base.locks, lambda: nullcontext(base), deep=deep, off_site=off_site
        )

    def repair(self, report: PersistenceReport) -> list[str]:
        """Mend what a verification found, as far as nothing is lost by it; says what was done and what could not be."""
        from nescord.persistence.repair import repair

        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            return repair(report, catalog, self._base.meaning)

    def maintain(self, *, dry_run: bool = False) -> MaintainReport:
        """Remove what is past its days, put database and index in order; in a dry run only look.

        A step that fails is in the report and does not keep the others from being made.

        Raises:
            LockTimeoutError: an ingest is under way: nothing was done.
        """
        from nescord.maintain import maintain

        return maintain(self._base, dry_run=dry_run)

    @property
    def backups(self) -> BackupManager:
        """Make backups, prove them, put one back."""
        from nescord.backup.manager import BackupManager

        return BackupManager(self._base.settings)

    @property
    def inbox(self) -> Inbox:
        """What was accepted from Discord and is not done yet."""
        from nescord.inbox import Inbox

        return Inbox(self._base.verb)

    @property
    def budget(self) -> Budget:
        """What calls to models elsewhere may cost, and have cost."""
        return self._base.budget

    def privacy(self, who: str) -> Privacy:
        """What is kept of a person (`user:<id>`), to be shown, taken along and erased.

        Raises:
            UsageError: `who` is no person.
        """
        from nescord.privacy import Privacy

        return Privacy(self._base, who)

    def has_unfinished_erasures(self) -> bool:
        """Whether a person is erased, but not from everywhere yet. Reads one small file."""
        from nescord.privacy import unfinished

        return unfinished(self._base)

    def finish_erasures(self) -> list[ErasureReport]:
        """Bring every erasure of a person to its end that a kill, or somebody's lock, was in the way of.

        Raises:
            CatalogError, LockTimeoutError: as `Privacy.erase`.
        """
        from nescord.privacy import finish

        return finish(self._base)

    @property
    def digests(self) -> Digests:
        """Who gets a digest, when, and what it says."""
        from nescord.digests import Digests

        return Digests(self._base)

    @property
    def preferences(self) -> Preferences:
        """What people and guilds prefer."""
        from nescord.preferences import Preferences

        return Preferences(self._base.verb, self._base.settings)

    @property
    def quotas(self) -> Quotas:
        """How often people and guilds may do what costs something."""
        from nescord.quotas import Quotas

        return Quotas(self._base.verb, self._base.settings)

    @property
    def conversations(self) -> Conversations:
        """Questions that were asked through Discord, with their answers."""
        from nescord.conversations import Conversations

        return Conversations(self._base.verb, self._base.folder.backups)

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
        with self._base.verb() as catalog:
            return registry.move(catalog, name, vault.real_root(Path(path)))

    def remove_source(self, name: str) -> int:
        """Forget a vault: its notes are trashed (and come back when it is ingested again). Returns how many."""
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST), catalog.write() as connection:
            source = registry.named(sources_sql.by_name(connection, name), name)
            if source.kind == "capture":
                raise UsageError(f'"{name}" holds what was captured: it cannot be removed')
            keys = notes_sql.living_keys(connection, source.id)
            now = utc_text(datetime.now(UTC))
            notes_sql.trash(connection, keys, now)
            sources_sql.remove(connection, source.id, now)
            return len(keys)

    def paused(self) -> str:
        """The snapshot since whose restore no vault is taken in; "" when all are."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return sources_sql.paused(connection)

    def resume(self) -> None:
        """Take in vaults again after a restore: what they have meanwhile counts."""
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST), catalog.write() as connection:
            sources_sql.resume(connection)

    def _remember_counts(self, catalog: Catalog, report: IngestReport) -> None:
        if report.changes and not report.dry_run:
            with catalog.read() as connection:
                counts = status_sql.counts(connection)
            note_counts(self.folder, counts)

    def _catch_up(self, catalog: Catalog, report: IngestReport, options: IngestOptions) -> None:
        begun = time.perf_counter()
        done = self._base.meaning.catch_up(catalog, options.stop, options.embed_progress)
        report.seconds = round(report.seconds + time.perf_counter() - begun, 3)
        report.embedded, report.refused, report.pending = done.embedded, done.refused, done.pending
        report.indexed, report.degraded = done.indexed, list(done.degraded)

    def _plan(
        self, catalog: Catalog, path: Path | str | None, name: str | None, moved: bool, options: IngestOptions
    ) -> IngestPlan:
        from nescord import ingest

        is_kept = not options.dry_run
        if is_kept:
            registry.refuse_while_paused(catalog)
        root, name, moved = synced.find(self._base, catalog, path, name, moved=moved)
        drafting, settings = self._base.drafting, self._base.settings
        source = registry.source_at(catalog, settings, drafting.shape, root, name, moved=moved, is_kept=is_kept)
        return ingest.plan(catalog, source, root, drafting, options.only)


def _new_database(folder: DataFolder, *, vfs: str | None = None) -> None:
    with Catalog(folder.database, vfs=vfs) as catalog:
        catalog.bring_up_to_date(folder.backups)
