"""Rows of marts that are not in the database: backups, verifications, flow runs, and how the volume filled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from nescord.backup.growth import growth
from nescord.backup.manifest import parse_id
from nescord.backup.store import BackupStore
from nescord.home import DataFolder
from nescord.marts import flow_history
from nescord.persistence import record
from nescord.times import utc_text

Row = dict[str, Any]  # Any: JSON as it was kept


def rows_of(name: str, folder: DataFolder, *, now: str, notes: int) -> Iterator[Row]:
    """The rows of one of `schema.OUTSIDE_TABLES`. `now` and `notes` are the moment and the living notes of the build.

    Raises:
        OSError: a folder cannot be read.
    """
    if name == "backups":
        return _backups(folder)
    if name == "verifications":
        return _verifications(folder)
    if name == "verification_checks":
        return _checks(folder)
    if name == "events_flow":
        return iter(flow_history.read(folder.run))
    return _volume(folder, now, notes)


def _backups(folder: DataFolder) -> Iterator[Row]:
    store = BackupStore(folder.backups)
    total = dict(growth(store))
    for each in store.snapshots():
        manifest, status = each.manifest, each.status
        yield {
            "id": each.id,
            "created_at": manifest.created_at if manifest else utc_text(parse_id(each.id)[1]),
            "status": status.state if manifest else "bad",
            "bytes_added": manifest.bytes_added if manifest else None,
            "bytes_total": total.get(each.id),
            "drilled_at": status.drilled_at,
            "drill_ok": status.drill_ok,
            "off_site": bool(status.off_site),
        }


def _verifications(folder: DataFolder) -> Iterator[Row]:
    for line in record.history(folder):
        states = [str(check["status"]) for check in line["checks"]]
        yield {
            "happened_at": line["at"],
            **{name: line.get(name) for name in ("deep", "ok", "seconds")},
            "checks": len(states),
            "warned": states.count("warn"),
            "failed": states.count("fail"),
        }


def _checks(folder: DataFolder) -> Iterator[Row]:
    for line in record.history(folder):
        for check in line["checks"]:
            yield {"happened_at": line["at"], **{name: check.get(name) for name in ("name", "status", "value")}}


def _volume(folder: DataFolder, now: str, notes: int) -> Iterator[Row]:
    """What was known at each backup and each verification, and what is known now, in the order of time."""
    found: list[Row] = [
        {
            "happened_at": each.manifest.created_at,
            "database_bytes": each.manifest.size,
            "notes": each.manifest.counts.get("notes"),
        }
        for each in BackupStore(folder.backups).snapshots()
        if each.manifest
    ]
    found += [
        {"happened_at": line["at"], **{name: line.get(name) for name in ("free_bytes", "database_bytes", "notes")}}
        for line in record.history(folder)
    ]
    found.sort(key=lambda row: str(row["happened_at"]))
    yield from found
    yield {
        "happened_at": now,
        "free_bytes": shutil.disk_usage(folder.path).free,
        "database_bytes": folder.database.stat().st_size,
        "notes": notes,
    }
