"""Maintenance of files: what restores, migrations and killed backups have left behind."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nescord import durable
from nescord.backup.journal import KEPT_DAYS, replaced, staged_path
from nescord.backup.store import BackupStore
from nescord.errors import LockTimeoutError
from nescord.home import read_identity
from nescord.locks import LockName, held_at_once
from nescord.maintain.report import Outcome
from nescord.opened import OpenBase
from nescord.times import utc_text

SCHEMA_DAYS = 30
BEGUN_HOURS = 1


def restores(base: OpenBase, now: datetime, *, dry_run: bool) -> Outcome:
    """Remove the databases that restores have replaced, or refused, a week later: never the newest before there is a
    good backup that is newer. catalog.lock is held, so no restore is under way."""
    folder = base.folder.restore_dir
    before = bytes_in(folder)
    if not folder.is_dir():
        return Outcome(0, 0)
    kept, old, remark = timedelta(days=KEPT_DAYS), replaced(base.folder, now), ""
    going = [each for each, age in old[:-1] if age > kept]
    for newest, age in old[-1:]:
        if age > kept and _has_good_backup(base, now - age):
            going.append(newest)
        elif age > kept:
            remark = f"{newest.name} stays until there is a newer good backup"
    refused = folder / "refused"
    if refused.is_dir() and days_since_change(refused, now) > KEPT_DAYS:
        going.append(refused)
    staged = staged_path(base.folder).name
    going += [each for each in folder.iterdir() if each.name.startswith(staged) or durable.is_temporary(each)]
    return _removed(folder, before, going, remark, dry_run=dry_run)


def schema_copies(base: OpenBase, now: datetime, *, dry_run: bool) -> Outcome:
    """Remove the copies from before a migration, after a month and when there is a newer good backup."""
    folder = base.folder.backups
    copies = sorted(folder.glob("before-schema-*.db"))
    before = sum(map(bytes_in, copies))
    going, remark = [], ""
    for copy in copies:
        made = datetime.fromtimestamp(copy.stat().st_mtime, UTC)
        if now - made <= timedelta(days=SCHEMA_DAYS):
            continue
        if _has_good_backup(base, made):
            going.append(copy)
        else:
            remark = f"{copy.name} stays until there is a newer good backup"
    left = list(folder.glob("before-schema-*.tmp*"))  # of a migration that was killed; catalog.lock tells it is over
    before += sum(map(bytes_in, left))
    after = before - sum(map(bytes_in, (*going, *left)))
    if not dry_run:
        _remove((*going, *left))
    return Outcome(before, after, remark)


def backup_rests(base: OpenBase, *, dry_run: bool) -> Outcome:
    """Remove what killed backups, drills and prunes have left, as each backup does when nobody else is at work."""
    store = BackupStore(base.folder.backups)
    before = bytes_in(store.folder)
    if not store.folder.is_dir() or dry_run:
        return Outcome(before, None if dry_run else before)
    store.refuse_foreign(read_identity(base.folder).uuid)
    try:
        with (
            base.locks.exclusive(LockName.CREATE, timeout=0),
            base.locks.exclusive(LockName.BACKUPS, timeout=0),
        ):
            shutil.rmtree(store.staging, ignore_errors=True)
            swept = store.sweep()
    except LockTimeoutError:
        return Outcome(before, before, "a backup is being made or read: next time")
    return Outcome(before, bytes_in(store.folder), swept.problem)


def begun_files(base: OpenBase, now: datetime, *, dry_run: bool) -> Outcome:
    """Remove what killed processes had begun to write beside the database and in run/. These are small files, which
    take moments: one from hours ago is nobody's any more."""
    known: dict[Path, int] = {}
    for path in (each for folder in (base.folder.path, base.folder.run) for each in folder.iterdir()):
        with suppress(FileNotFoundError):  # it has got its name meanwhile
            if durable.is_temporary(path) and 24 * days_since_change(path, now) > BEGUN_HOURS:
                known[path] = path.lstat().st_size
    before = sum(known.values())
    if not dry_run:
        _remove(list(known))
    return Outcome(before, 0)


def reports(base: OpenBase, *, dry_run: bool) -> Outcome:
    """Remove reports beyond those that are kept, and what killed builds have left: it is made of notes."""
    from nescord.reports.build import LOCK, tidy

    folder = base.folder.reports
    before = bytes_in(folder)
    with held_at_once(base.folder.run / LOCK) as is_ours:
        if not is_ours:
            return Outcome(before, before, "a report is being made: next time")
        going = sum(map(bytes_in, tidy(folder, base.settings, dry_run=True)))
        if dry_run or not going:
            return Outcome(before, before - going)
        tidy(folder, base.settings)
    return Outcome(before, bytes_in(folder))


def prefect(base: OpenBase) -> Outcome:
    """How large the database of the Prefect server is: its own retention holds it."""
    size = sum(bytes_in(each) for each in base.folder.prefect.glob("*.db*"))
    return Outcome(size, size)


def bytes_in(path: Path) -> int:
    """The size of a file, or of all files below a folder; 0 for what is not there, or goes meanwhile."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(map(bytes_in, path.iterdir()))
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def days_since_change(path: Path, now: datetime) -> float:
    """How long ago a folder got its name or its last file, in days (a rename changes the ctime alone)."""
    return (now.timestamp() - path.lstat().st_ctime) / 86_400


def _removed(folder: Path, before: int, going: Sequence[Path], remark: str, *, dry_run: bool) -> Outcome:
    after = before - sum(map(bytes_in, going))
    if not dry_run:
        _remove(going)
        after = bytes_in(folder)
    return Outcome(before, after, remark)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            durable.remove(path)


def _has_good_backup(base: OpenBase, since: datetime) -> bool:
    """Whether there is a good backup of what came after that moment."""
    snapshots = BackupStore(base.folder.backups).snapshots()
    return any(each.is_good and each.manifest and each.manifest.created_at > utc_text(since) for each in snapshots)
