"""BackupManager: the verbs of backup as one object, asynchronous so that a bot can wait for them.

Each call runs a synchronous verb of this package in a thread of its own; command line and flows call those directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord import durable
from nescord.backup.check import Checked, Progress, check, silent
from nescord.backup.create import Created, create
from nescord.backup.manifest import parse_id
from nescord.backup.prune import plan_cleanup, prune
from nescord.backup.restore import Restored, choose, restore, restore_copy
from nescord.backup.retention import NIGHTLY, Decision, Policy
from nescord.backup.store import BackupStore, Snapshot
from nescord.errors import BackupError, DamagedBackupError, NescordError
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.opened import OpenBase
from nescord.query import moment_after
from nescord.settings import Settings
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.backup.drill import Drilled
    from nescord.backup.fetch import OffSiteChecked
    from nescord.backup.replicate import Replicated


class BackupManager:
    """Backups of the knowledge base that the settings name. It need not be open, nor even be readable."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._folder = DataFolder.at(self._settings)

    async def create_full_backup(self, *, progress: Progress = silent) -> str:
        """Back up the database as it is now; the id of the snapshot, which has been read back.

        Raises:
            BackupError, CatalogError: it could not be made; nothing is lost.
        """
        return (await asyncio.to_thread(self.create, progress=progress)).id

    async def restore_backup(self, backup_id: str) -> bool:
        """Put the snapshot in the place of the database; true when that is done.

        Raises:
            BackupError, UsageError: it could not be done, and nothing has changed.
        """
        await asyncio.to_thread(self.restored, backup_id)
        return True

    async def cleanup_old_backups(self, keep_count: int = 5) -> int:
        """Drop all but the newest `keep_count` snapshots (and those that must stay); how many went.

        Raises:
            UsageError: `keep_count` is less than 1.
        """
        return len((await asyncio.to_thread(prune, self._settings, Policy.last(keep_count))).dropped)

    async def list_backups(self) -> list[Snapshot]:
        """All snapshots, oldest first."""
        return await asyncio.to_thread(BackupStore(self._folder.backups).snapshots)

    async def check(self, backup_id: str | None = None) -> list[Checked]:
        """Read one snapshot, or all of them, from the first byte to the last."""
        return await asyncio.to_thread(self.checked, None if backup_id is None else [backup_id])

    async def drill(self, backup_id: str | None = None) -> Drilled:
        """Restore a snapshot to a scratch place and ask it its probes."""
        from nescord.backup.drill import drill

        def run() -> Drilled:
            with self.opened() as base:
                return drill(base, backup_id)

        return await asyncio.to_thread(run)

    async def plan_cleanup(self, policy: Policy = NIGHTLY) -> list[Decision]:
        """What a policy would do with each snapshot, newest first."""
        store = BackupStore(self._folder.backups)
        return await asyncio.to_thread(plan_cleanup, store, policy, ZoneInfo(self._settings.timezone))

    async def replicate(self) -> Replicated:
        """Copy what is good to NESCORD_OFF_SITE."""
        from nescord.backup.replicate import replicate

        def run() -> Replicated:
            with self.opened() as base:
                return replicate(base)

        return await asyncio.to_thread(run)

    async def recover(self) -> None:
        """Finish a restore that was cut short; every verb does so by itself."""
        await asyncio.to_thread(self._folder.finish_restore, self._settings)

    def create(self, *, trigger: str = "manual", progress: Progress = silent) -> Created:
        """As `create_full_backup`, synchronous and with all that is known of it."""
        with self.opened() as base:
            return create(base, trigger=trigger, off_site=self._highest_off_site(), progress=progress)

    def checked(self, wanted: list[str] | None = None, *, progress: Progress = silent) -> list[Checked]:
        """As `check`, synchronous."""
        with self._locks().shared(LockName.BACKUPS):
            return check(BackupStore(self._folder.backups), wanted, progress=progress)

    def restored(self, wanted: str | None = None, *, at: str | None = None, progress: Progress = silent) -> Restored:
        """As `restore_backup`, synchronous: by id, by date, or the newest good one."""
        report = restore(self._settings, wanted, at=at, progress=progress)
        return replace(report, remarks=report.remarks + self._index_anew())

    def pin(self, backup_id: str, *, pinned: bool) -> None:
        """Keep a snapshot whatever the policy says, or no longer.

        Raises:
            UsageError, BackupError: there is no such snapshot.
        """
        store = BackupStore(self._folder.backups)
        with self._locks().shared(LockName.BACKUPS):
            store.manifest(backup_id)
            store.set_status(backup_id, pinned=pinned)

    @property
    def path(self) -> Path:
        """The folder of the backups."""
        return self._folder.backups

    def chosen(self, wanted: str | None, at: str | None) -> str:
        """The id of the snapshot that `restored` would take.

        Raises:
            UsageError, BackupError: there is none such.
        """
        return choose(BackupStore(self.path), wanted, at, ZoneInfo(self._settings.timezone)).id

    def restored_copy(
        self, target: Path, wanted: str | None = None, *, at: str | None = None, progress: Progress = silent
    ) -> str:
        """Put a snapshot into an empty folder as a knowledge base of its own; its id."""
        return restore_copy(self._settings, target, wanted, at=at, progress=progress).id

    def fetched(
        self,
        url: str,
        wanted: str | None = None,
        *,
        at: str | None = None,
        identity: Path | None = None,
        progress: Progress = silent,
    ) -> str:
        """Copy a snapshot (default: the newest) from off-site into the backups here, and check it; its id.

        Raises:
            UsageError: `url`, `wanted` or `at` is none. BackupError, ServiceUnavailableError: it cannot be had, or is
                not what was sent.
        """
        from nescord.backup.fetch import fetch
        from nescord.backup.off_site import OffSite
        from nescord.backup.off_site_copies import Listing

        given = {name: getattr(self._settings, name) for name in self._settings.model_fields_set}
        off_site = OffSite(Settings(**{**given, "off_site": url}))
        if at is not None:
            end = moment_after(at, "at", ZoneInfo(self._settings.timezone))
            before = [each for each in Listing(off_site).complete if utc_text(parse_id(each)[1]) < end]
            if not before:
                raise BackupError(f"there is no copy from {at} or before at {url}")
            wanted = before[-1]
        store = BackupStore(self.path)
        with self._locks().shared(LockName.BACKUPS):
            fetched = fetch(off_site, store, wanted, identity, progress=progress)
            (checked,) = check(store, [fetched], progress=progress)
        if not checked.ok:
            raise DamagedBackupError(f"the copy {fetched} at {url} is damaged: {'; '.join(checked.problems)}")
        return fetched

    def checked_off_site(self, wanted: str | None = None, *, progress: Progress = silent) -> list[OffSiteChecked]:
        """Read one copy, or all, at NESCORD_OFF_SITE from the first byte to the last. Needs no key.

        Raises:
            SettingsError, BackupError, ServiceUnavailableError: they cannot be read.
        """
        from nescord.backup.fetch import check_off_site
        from nescord.backup.off_site import OffSite

        return check_off_site(OffSite(self._settings), wanted, progress=progress)

    def _highest_off_site(self) -> int:
        """The highest number that copies elsewhere have, where the backups here are lost and do not tell."""
        if self._settings.off_site is None or BackupStore(self.path).ids():
            return 0
        from nescord.backup.off_site import OffSite
        from nescord.backup.off_site_copies import summary

        try:
            return summary(OffSite(self._settings)).seq
        except NescordError:  # a backup here and now matters more than its number
            return 0

    def _locks(self) -> Locks:
        durable.make_folder(self._folder.run)
        return Locks(self._folder.run, timeout=self._settings.lock_timeout)

    def _index_anew(self) -> tuple[str, ...]:
        """Chroma follows by itself at the next ingest; done now, so that a restore is the whole of it."""
        try:
            with self.opened() as base, base.verb() as catalog, base.locks.exclusive(LockName.INGEST):
                return base.meaning.drain(catalog).degraded
        except NescordError as error:  # the restore itself is done
            return (f"the vector index is made anew at the next ingest ({error})",)

    @contextmanager
    def opened(self) -> Iterator[OpenBase]:
        """The knowledge base, opened for the verbs of this package."""
        base = OpenBase(DataFolder.find(self._settings), self._settings, is_new=False)
        with closing(base):
            yield base
