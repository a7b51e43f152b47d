"""`run/verified.json`: when the knowledge base was last verified and what was found, for whoever shows it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from nescord import durable
from nescord.home import DataFolder
from nescord.persistence.report import PersistenceReport
from nescord.times import utc_text

_NAME = "verified.json"


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


def remember(folder: DataFolder, report: PersistenceReport, *, deep: bool) -> None:
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


def _moment(text: str) -> str:
    return utc_text(datetime.fromisoformat(text))


def _file(folder: DataFolder) -> Path:
    return folder.run / _NAME
