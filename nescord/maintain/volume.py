"""When the disk will be full, if the knowledge base and its backups grow as they did."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from nescord.backup.manifest import Manifest, parse_id
from nescord.backup.store import BackupStore

# What lies further back says little about what comes.
_LOOKED_BACK = timedelta(days=90)
# The first day brings the whole vault, which is no growth.
_SHORTEST = timedelta(days=2)
_MONTH = timedelta(days=30.44)


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def forecast(store: BackupStore, free: int, now: datetime) -> tuple[float | None, str]:
    """In how many months the disk is full (None: never, or not known), and that in words.

    The line goes through the oldest and the newest snapshot of the last 90 days: how much the database has grown, and
    what the snapshots between have added to the backups. What was pruned meanwhile is given back by that, too.
    """
    snapshots = [
        each.manifest for each in store.snapshots() if each.manifest and now - parse_id(each.id)[1] <= _LOOKED_BACK
    ]
    if len(snapshots) < 2 or _span(snapshots) < _SHORTEST:
        return None, f"no forecast yet: it needs backups over {_SHORTEST.days} days"
    grown = snapshots[-1].size - snapshots[0].size + sum(each.bytes_added for each in snapshots[1:])
    a_month = grown * (_MONTH / _span(snapshots))
    if a_month <= 0:
        return None, "it does not grow"
    months = round(free / a_month, 1)
    return months, f"grows by {a_month / 1e6:,.1f} MB a month: full in {months:,.0f} months"


def _span(snapshots: list[Manifest]) -> timedelta:
    return parse_id(snapshots[-1].id)[1] - parse_id(snapshots[0].id)[1]
