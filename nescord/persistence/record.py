"""`run/verified.json`: when the knowledge base was last verified and what was found, for whoever shows it; and
`run/verifications.jsonl`, all that was found before, for whoever looks back."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nescord import durable
from nescord.errors import NescordError
from nescord.home import DataFolder, read_identity
from nescord.persistence.report import PersistenceReport
from nescord.times import utc_text

_NAME, _HISTORY = "verified.json", "verifications.jsonl"
# Years of daily ones. The file is cut when it is a quarter longer, so that few verifications write it anew.
_MOST_LINES = 2000
_LONGEST = _MOST_LINES * 5 // 4


@dataclass(frozen=True, slots=True)
class Verified:
    """The last verification: when (ISO, UTC), how many checks, and the names of those that did not pass.

    `deep_at` is when every page and index entry was read last, "" for never.
    """

    at: str
    deep_at: str
    checks: int
    warned: tuple[str, ...]
    failed: tuple[str, ...]


def remember(folder: DataFolder, report: PersistenceReport, *, deep: bool, seconds: float | None = None) -> None:
    """Keep what a verification found. A folder that is missing or cannot be written is a finding, not our failure."""
    if not folder.run.is_dir():
        return
    now = utc_text(datetime.now(UTC))
    before = last(folder)
    found = Verified(
        at=now,
        deep_at=now if deep else before.deep_at if before else "",
        checks=len(report.checks),
        warned=tuple(check.name for check in report.checks if check.status == "warn"),
        failed=tuple(check.name for check in report.checks if check.status == "fail"),
    )
    with suppress(OSError):
        durable.write_file(_file(folder), json.dumps(asdict(found), indent=2).encode("utf-8"))
    with suppress(OSError):
        _append(folder, report, at=now, deep=deep, seconds=seconds)


def history(folder: DataFolder) -> list[dict[str, Any]]:  # Any: JSON as it was kept
    """The verifications that are remembered, oldest first: {at, deep, ok, seconds, free_bytes, database_bytes, notes,
    checks: [{name, status, value}]}. What was not known is None."""
    found = []
    for line in _lines(folder)[-_MOST_LINES:]:
        try:
            kept = json.loads(line)
            if all({"name", "status"} <= check.keys() for check in kept["checks"]):
                found.append({**kept, "at": _moment(kept["at"])})
        except (ValueError, KeyError, TypeError, AttributeError):  # cut off by a power cut
            continue
    return found


def last(folder: DataFolder) -> Verified | None:
    """The last verification; None where there was none yet."""
    try:
        stored = json.loads(_file(folder).read_bytes())
        return Verified(
            at=_moment(stored["at"]),
            deep_at=_moment(stored["deep_at"]) if stored["deep_at"] else "",
            checks=int(stored["checks"]),
            warned=tuple(map(str, stored["warned"])),
            failed=tuple(map(str, stored["failed"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _append(folder: DataFolder, report: PersistenceReport, *, at: str, deep: bool, seconds: float | None) -> None:
    checks = [{"name": check.name, "status": check.status, "value": check.value} for check in report.checks]
    line = {"at": at, "deep": deep, "ok": report.ok, "seconds": seconds, **_sizes(folder), "checks": checks}
    # Paths are in it, which may hold any bytes: ASCII, with escapes.
    text = json.dumps(line).encode("ascii")
    lines = _lines(folder)
    if len(lines) < _LONGEST:
        # A line break first: what a power cut left of an earlier line must not swallow this one.
        durable.append(folder.run / _HISTORY, b"\n%b\n" % text)
    else:
        durable.write_file(folder.run / _HISTORY, b"\n".join((*lines[1 - _MOST_LINES :], text, b"")))


def _sizes(folder: DataFolder) -> dict[str, int | None]:
    """How full the volume is and how much is stored, as far as that can be known."""
    sizes: dict[str, int | None] = {"free_bytes": None, "database_bytes": None, "notes": None}
    with suppress(OSError):
        sizes["free_bytes"] = shutil.disk_usage(folder.path).free
        sizes["database_bytes"] = folder.database.stat().st_size
    with suppress(NescordError):
        sizes["notes"] = read_identity(folder).last_counts.get("notes")
    return sizes


def _lines(folder: DataFolder) -> list[bytes]:
    try:
        return [line for line in (folder.run / _HISTORY).read_bytes().splitlines() if line]
    except OSError:
        return []


def _moment(text: str) -> str:
    return utc_text(datetime.fromisoformat(text))


def _file(folder: DataFolder) -> Path:
    return folder.run / _NAME
