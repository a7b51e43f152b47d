"""When the backups that are here today are gone: what a person is told who has everything of theirs erased.

Not a rule of thumb: the nights to come are played through with the very policy that prunes (`retention.plan`), a good
snapshot each, one with a drill on Sundays, as `nightly` makes them. Copies elsewhere are another matter: no rule
deletes them, only their owner does. What a restore of one must leave out lies there, too (off_site_erasures.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from nescord.backup.prune import candidate
from nescord.backup.retention import NIGHTLY, Candidate, Policy, plan
from nescord.backup.store import BackupStore

# As in prefect.yaml.
_HOUR, _MINUTE = 3, 30
_SUNDAY = 6
# What a migration has copied aside goes with the first Sunday after a month (maintain/files.py).
_COPY_DAYS = 30 + 7
# What is known of a place is kept there, also when the settings name it no more.
_OFF_SITE = "off-site"
# Longer than any policy that people make.
_MOST_NIGHTS = 366 * 11


@dataclass(frozen=True, slots=True)
class Forgetting:
    """`backups` are here now; all but the `pinned` ones are gone by `at` (None: there is none). With `off_site` there
    are, or will be, copies of them elsewhere, which stay until their owner deletes them."""

    backups: int
    pinned: int
    at: datetime | None
    off_site: bool


def forgetting(
    store: BackupStore, timezone: ZoneInfo, now: datetime, policy: Policy = NIGHTLY, *, off_site: bool = False
) -> Forgetting:
    """When what is in the backups now is in none of them any more, if one is made each night from now on. `off_site`
    says that the settings name a place for copies."""
    snapshots = store.snapshots()
    present = [candidate(each) for each in snapshots if not each.status.pinned]
    copies = [
        datetime.fromtimestamp(path.stat().st_mtime, UTC) + timedelta(days=_COPY_DAYS)
        for path in store.folder.glob("before-schema-*.db")
    ]
    ends = [*copies, *([night_without(present, policy, timezone, now)] if present else [])]
    return Forgetting(
        len(snapshots) + len(copies),
        len(snapshots) - len(present),
        max(ends, default=None),
        off_site or (store.folder / _OFF_SITE).is_dir(),
    )


def night_without(present: list[Candidate], policy: Policy, timezone: ZoneInfo, now: datetime) -> datetime:
    """The first night whose pruning leaves none of those."""
    theirs, kept = {each.id for each in present}, list(present)
    night = now.astimezone(timezone).replace(hour=_HOUR, minute=_MINUTE, second=0, microsecond=0)
    if night <= now:
        night += timedelta(days=1)
    first = 1 + max(each.seq for each in present)
    for seq in range(first, first + _MOST_NIGHTS):
        made = Candidate(f"night {seq}", seq, night, True, night.weekday() == _SUNDAY, False, "nightly")
        known = {each.id: each for each in (*kept, made)}
        kept = [known[each.id] for each in plan(known.values(), policy, timezone, night) if each.keep]
        if theirs.isdisjoint(each.id for each in kept):
            break
        night += timedelta(days=1)
    return night.astimezone(UTC)
