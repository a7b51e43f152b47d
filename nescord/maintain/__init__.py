"""Maintenance: remove what is past its days, put in order what is left, and say how long the disk will last.

Why: a knowledge base that runs for years must not fill its volume with what nobody will ask for again. Nothing that is
still used, or that is the only copy of something, is removed. Every step can be cut off at any instant and said again;
one that fails is reported and does not keep the others from being made.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from nescord.backup.store import BackupStore
from nescord.locks import LockName
from nescord.maintain import database, files, index, people, volume
from nescord.maintain.report import MaintainReport, Outcome, Step, Steps
from nescord.opened import OpenBase

__all__ = ["MaintainReport", "Step", "maintain"]


def maintain(base: OpenBase, *, dry_run: bool = False, now: datetime | None = None) -> MaintainReport:
    """Do all steps, in the order in which each finds what those before have left; in a dry run only look.

    Raises:
        LockTimeoutError: an ingest is under way: nothing was done but what was left of erasures.
    """
    begun = time.perf_counter()
    now = now or datetime.now(UTC)
    free = volume.free_bytes(base.folder.path)
    steps = Steps()
    months: float | None = None

    def disk() -> Outcome:
        nonlocal months
        left = volume.free_bytes(base.folder.path)
        months, remark = volume.forecast(BackupStore(base.folder.backups), left, now)
        return Outcome(free, left, remark)

    # Takes that lock itself, and is owed whoever else has it.
    steps.make("erasures", "people", lambda: people.erasures(base, dry_run=dry_run))
    with base.verb() as catalog, base.locks.exclusive(LockName.INGEST):
        days = base.settings.trash_days
        steps.make("trash", "notes", lambda: database.trash(catalog, now, days, dry_run=dry_run))
        event_days, timezone = base.settings.event_days, base.settings.timezone
        steps.make("search events", "rows", lambda: people.search_events(catalog, now, event_days, dry_run=dry_run))
        steps.make("conversations", "rows", lambda: people.conversations(catalog, now, dry_run=dry_run))
        steps.make("quotas", "rows", lambda: people.quotas(catalog, now, timezone, dry_run=dry_run))
        steps.make("interactions", "rows", lambda: people.interactions(catalog, now, dry_run=dry_run))
        steps.make("review cards", "rows", lambda: people.review_cards(catalog, dry_run=dry_run))
        steps.make("unused vectors", "vectors", lambda: database.embeddings(catalog, now, dry_run=dry_run))
        steps.make("full-text index", "bytes", lambda: database.full_text(catalog, dry_run=dry_run))
        steps.make("old collections", "collections", lambda: index.collections(base, catalog, dry_run=dry_run))
        steps.make("index log", "rows", lambda: database.log(catalog, dry_run=dry_run))
        steps.make("write-ahead log", "bytes", lambda: database.wal(catalog, dry_run=dry_run))
        steps.make("index folder", "bytes", lambda: index.orphans(base, dry_run=dry_run))
        steps.make("damaged index", "bytes", lambda: index.damaged(base, now, dry_run=dry_run))
        steps.make("replaced databases", "bytes", lambda: files.restores(base, now, dry_run=dry_run))
        steps.make("copies before migrations", "bytes", lambda: files.schema_copies(base, now, dry_run=dry_run))
        steps.make("rests of backups", "bytes", lambda: files.backup_rests(base, dry_run=dry_run))
        steps.make("rests of small files", "bytes", lambda: files.begun_files(base, now, dry_run=dry_run))
        steps.make("old reports", "bytes", lambda: files.reports(base, dry_run=dry_run))
        steps.make("Prefect's database", "bytes", lambda: files.prefect(base))
        steps.make("free disk", "bytes", disk)
    return MaintainReport(tuple(steps.made), months, round(time.perf_counter() - begun, 3), dry_run)
