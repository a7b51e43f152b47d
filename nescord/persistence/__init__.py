"""Verification: is what was stored still there, whole, on a disk that keeps it, and could it be brought back?

`verify` gives a report and changes nothing but the record of it (record.py). It works where the knowledge base cannot
even be opened: then the disk, the identity and the backups are looked into, and that it does not open is a finding like
any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from nescord.backup.manifest import OffSiteSummary
from nescord.errors import LockTimeoutError, NescordError
from nescord.home import DataFolder, Identity
from nescord.locks import Locks
from nescord.persistence.record import remember
from nescord.persistence.report import Check, Checklist, PersistenceReport, failed, passed, warned
from nescord.settings import Settings

if TYPE_CHECKING:
    from nescord.opened import OpenBase

__all__ = ["Check", "OffSiteSummary", "PersistenceReport", "verify"]


def verify(
    folder: DataFolder,
    settings: Settings,
    locks: Locks,
    open: Callable[[], AbstractContextManager[OpenBase]],  # noqa: A002 - what it does
    *,
    deep: bool = False,
    off_site: Callable[[], OffSiteSummary | None] | OffSiteSummary | None = None,
) -> PersistenceReport:
    """Look into everything. `open` gives the open knowledge base, or raises what keeps it from opening.

    `deep` reads every page and index entry and samples more. `off_site` is what the off-site store says, or who asks
    it; without it NESCORD_OFF_SITE is asked, if that is set.

    Raises:
        LockTimeoutError: a restore or a migration has the database; nothing can be said now.
    """
    from nescord.backup.store import BackupStore
    from nescord.persistence import continuity
    from nescord.persistence.backups import look_at_backups
    from nescord.persistence.volume import look_at_volume

    begun = time.perf_counter()
    checklist = Checklist()
    look_at_volume(checklist, settings, folder, locks)
    identity = continuity.identity_of(checklist, folder)
    if off_site is None and settings.off_site is not None:
        off_site = partial(off_site_summary, settings)
    summary = _asked(checklist, off_site)
    notes: int | None = None
    try:
        with open() as base:
            notes = _look_inside(checklist, base, identity, summary, deep=deep)
    except LockTimeoutError:
        raise
    except NescordError as error:
        checklist.add("database.open", failed(str(error), "see there"))
        continuity.judge_off_site_alone(checklist, identity, summary)
    store = BackupStore(folder.backups)
    snapshots = look_at_backups(checklist, store, locks, summary, notes=notes)
    continuity.look_at_owner_of_backups(checklist, identity, store, snapshots)
    report = checklist.report()
    remember(folder, report, deep=deep, seconds=round(time.perf_counter() - begun, 3))
    return report


def off_site_summary(settings: Settings) -> OffSiteSummary:
    """What NESCORD_OFF_SITE says it keeps, or within seconds the error that keeps it from saying."""
    from nescord.backup.off_site import OffSite, Patience
    from nescord.backup.off_site_copies import summary

    # A verification is to tell of an outage, not to wait for its end.
    return summary(OffSite(settings, Patience(connect=5, answer=10, retries=1, total=15)))


def _asked(
    checklist: Checklist, off_site: Callable[[], OffSiteSummary | None] | OffSiteSummary | None
) -> OffSiteSummary | None:
    if not callable(off_site):
        return off_site
    try:
        return off_site()
    except Exception as error:  # an outage of theirs, in whatever words, is no loss of ours
        found = f"the off-site store cannot be asked: {error or type(error).__name__}"
        checklist.add("backups.off_site_store", warned(found, "verify again when it answers"))
        return None


def _look_inside(
    checklist: Checklist, base: OpenBase, identity: Identity | None, off_site: OffSiteSummary | None, *, deep: bool
) -> int | None:
    """The checks of an open knowledge base; how many notes it has, if they can be counted."""
    from nescord.persistence import continuity
    from nescord.persistence.database import look_at_database
    from nescord.persistence.index import look_at_index

    notes: int | None = None
    with base.verb() as catalog:
        look_at_database(checklist, catalog, base.meaning, deep=deep)
        with catalog.read() as connection:
            notes = continuity.look_at_counts(checklist, connection, identity, off_site)
            look_at_index(checklist, connection, base, deep=deep)
        checklist.add("database.open", passed(str(base.folder.database)))
    return notes
