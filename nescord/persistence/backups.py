"""Whether there is a backup that would bring everything back: young, found good, drilled, and off site."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nescord.backup.manifest import OffSiteSummary
from nescord.errors import LockTimeoutError
from nescord.locks import LockName, Locks
from nescord.persistence.report import Checklist, Outcome, failed, passed, warned

if TYPE_CHECKING:
    from nescord.backup.store import BackupStore, Snapshot

_OLDEST = timedelta(hours=36)
_OLDEST_DRILL = timedelta(days=14)
_BUSY_AFTER = 5.0
_CREATE = "nescord backup create"


def look_at_backups(
    checklist: Checklist, store: BackupStore, locks: Locks, off_site: OffSiteSummary | None, *, notes: int | None
) -> Sequence[Snapshot] | None:
    """Add the checks `backups.…`; the snapshots, oldest first, or None when they cannot be read.

    `notes` is how many there are in the database, None where that is not known.
    """
    snapshots: Sequence[Snapshot] | None = None

    def newest() -> Outcome:
        nonlocal snapshots
        try:
            # Where nothing is, the lock file is not made either.
            with locks.shared(LockName.BACKUPS, timeout=_BUSY_AFTER) if store.folder.exists() else nullcontext():
                snapshots = store.snapshots()
        except LockTimeoutError as error:
            return warned(f"not looked into: {error}", "verify again when it is done")
        return _newest(snapshots, notes)

    checklist.look("backups.newest", newest)
    found = snapshots or ()
    checklist.look("backups.drill", lambda: _drill(found))
    checklist.look("backups.off_site", lambda: _off_site(found, off_site))
    return snapshots


def _newest(snapshots: Sequence[Snapshot], notes: int | None) -> Outcome:
    bad = [each.id for each in snapshots if each.problem or each.status.state == "bad"]
    good = [each for each in snapshots if each.is_good]
    if not good:
        if notes == 0:
            return passed("no backup, and no note yet")
        found = f"no good backup, {len(bad)} bad" if bad else "no good backup"
        return warned(found, _CREATE)
    age = datetime.now(UTC) - _created(good[-1])
    value = f"{good[-1].id}, {_hours(age)} old, {len(good)} good"
    if bad:
        return warned(f"{value}, {len(bad)} bad ({', '.join(bad[:3])})", f"nescord backup check {bad[-1]}")
    return passed(value) if age <= _OLDEST else warned(value, _CREATE)


def _drill(snapshots: Sequence[Snapshot]) -> Outcome:
    drilled = [(when, each) for each in snapshots if (when := _moment(each.status.drilled_at)) is not None]
    if not drilled:
        return warned("no backup was drilled yet", "nescord backup drill ID") if snapshots else passed("no backup yet")
    when, last = max(drilled, key=lambda each: each[0])
    value = f"{last.id}, {_hours(datetime.now(UTC) - when)} ago"
    if not last.status.drill_ok:
        return failed(f"{value}: it did not give back what was backed up", "nescord backup create, then drill that one")
    if datetime.now(UTC) - when > _OLDEST_DRILL:
        return warned(value, f"nescord backup drill {snapshots[-1].id}")
    return passed(value)


def _off_site(snapshots: Sequence[Snapshot], off_site: OffSiteSummary | None) -> Outcome:
    from nescord.backup.manifest import parse_id

    good = [each for each in snapshots if each.is_good]
    if off_site is not None:
        known = parse_id(off_site.newest_id)[0] if off_site.newest_id else 0
        there = [each for each in good if parse_id(each.id)[0] <= known]
    else:
        there = [each for each in good if each.status.off_site]
        if not there:
            return passed("no off-site store is used")
    lacking = [each for each in good if each not in there]
    late = [each for each in lacking if datetime.now(UTC) - _created(each) > _OLDEST]
    value = (
        f"{len(lacking)} of {len(good)} good backups are not off site" if lacking else "every good backup is off site"
    )
    # What was made before replication was set up stays here; the newest one counts.
    if late and good and late[-1] is good[-1]:
        return warned(
            f"{value}, the newest for {_hours(datetime.now(UTC) - _created(good[-1]))}", "nescord backup replicate"
        )
    return passed(value)


def _created(snapshot: Snapshot) -> datetime:
    moment = _moment(snapshot.manifest.created_at if snapshot.manifest else "")
    assert moment is not None
    return moment


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hours(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
