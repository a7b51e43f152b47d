"""`reports/` of the data folder: which reports there are, which of them is the latest, and which may go.

reports/latest.json           {stamp, …} of the newest one of all spaces: renamed into place when all of it is on disk
reports/index.html            all that are kept, with links
reports/<stamp>/report.json   written last: without it a report is half built
reports/<stamp>/NN_name.html  the pages, and index.html

A report is built under its final name. Whoever sweeps the folder meanwhile (an erasure) takes it away whole, and what
is made of notes that are gone can never come to light afterwards by a rename.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nescord import durable
from nescord.reports.kernel import Failure

KEPT = 8
INDEX = "index.html"
STAMP = r"[0-9]{8}T[0-9]{6}Z(?:-[0-9]+)?"
_LATEST, _REPORT = "latest.json", "report.json"
_NAME = re.compile(STAMP)


@dataclass(frozen=True, slots=True)
class ReportPage:
    """What became of one notebook. `file` is the name of its page, "" where there is none; `bytes` the page's size.

    `rss_bytes` and `cpu_seconds` as in NotebookRun; with a `failure` the page shows what there was before it.
    """

    notebook: str
    title: str
    file: str
    bytes: int
    seconds: float
    cpu_seconds: float
    rss_bytes: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report: when it was begun (UTC text), of which marts, for which space ("" for all), and its pages.

    `remarks` are what a person should know of the marts and the golden queries it was made from. True when each of its
    notebooks came to its end and none failed.
    """

    stamp: str
    folder: Path
    built_at: str
    language: str
    generation: str
    space: str
    seconds: float
    pages: tuple[ReportPage, ...]
    remarks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pages) and not self.failed

    @property
    def failed(self) -> tuple[ReportPage, ...]:
        return tuple(page for page in self.pages if page.failure is not None)

    @property
    def bytes(self) -> int:
        return sum(page.bytes for page in self.pages)

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {"ok": bool(self), **asdict(self), "folder": str(self.folder)}


def latest(room: Path) -> Report | None:
    """The newest report of all spaces; where there is none, the newest at all, or None. `room` is `reports/`.

    Half-built ones do not count; those in which a notebook failed do.
    """
    try:
        name = str(json.loads((room / _LATEST).read_bytes())["stamp"])
    except (OSError, ValueError, KeyError, TypeError):
        name = ""
    found = read(room, name)
    if found is None or found.space:  # a kill between the two files, or somebody removed it
        found = max(complete(room), key=lambda report: (not report.space, _order(report)), default=None)
    return found


def latest_of(room: Path, space: str) -> Report | None:
    """The newest report of that space alone; None where there is none."""
    return next((report for report in reversed(complete(room)) if report.space == space), None)


def read(room: Path, stamp: str) -> Report | None:
    """The report of that stamp, if it is whole."""
    if not _NAME.fullmatch(stamp):
        return None
    try:
        stored = json.loads((room / stamp / _REPORT).read_bytes())
        pages = [
            ReportPage(**{**page, "failure": Failure(**page["failure"]) if page["failure"] else None})
            for page in stored.pop("pages")
        ]
        remarks = tuple(map(str, stored.pop("remarks")))
        return Report(**{**stored, "folder": room / stamp, "stamp": stamp}, pages=tuple(pages), remarks=remarks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def complete(room: Path) -> list[Report]:
    """The reports that were built to their end, oldest first."""
    found = (read(room, path.name) for path in _reports(room))
    return sorted((report for report in found if report is not None), key=_order)


def begin(room: Path, now: datetime) -> Path:
    """A new, empty folder for the next report; its name is later than all that are there, whatever the clock says."""
    durable.make_folder(room)
    newest = max((_place(path.name) for path in _reports(room)), default=("", 0))
    base, number = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"), 1
    if (base, number) <= newest:
        base, number = newest[0], newest[1] + 1
    target = room / (base if number == 1 else f"{base}-{number}")
    durable.make_folder(target)
    return target


def publish(report: Report) -> None:
    """Let it be there for good, and be the latest if it is of all spaces.

    Raises:
        FileNotFoundError: somebody has removed it meanwhile.
    """
    for page in report.pages:
        if page.file:
            durable.sync_file(report.folder / page.file)
    stored = {name: value for name, value in asdict(report).items() if name != "folder"}
    text = json.dumps(stored, ensure_ascii=False, indent=2).encode("utf-8")
    durable.write_file(report.folder / _REPORT, text)
    room = report.folder.parent
    durable.sync_folder(room)
    if not report.space:
        durable.write_file(room / _LATEST, text)


def prune(room: Path, keep: int = KEPT, *, dry_run: bool = False) -> list[Path]:
    """Remove what is not kept, and what killed builds have left; what that is, or in a dry run would be.

    Of each space, and of all spaces together, the newest `keep` are kept, and the newest one in which nothing failed:
    however often a report fails, the last good one can be read. Only while nobody builds a report.
    """
    kept: set[str] = set()
    by_space: dict[str, list[Report]] = {}
    for report in complete(room):
        by_space.setdefault(report.space, []).append(report)
    for reports in by_space.values():
        good = [report for report in reports if report]
        kept |= {report.stamp for report in (*reports[-keep:], *good[-1:])}
    going = [path for path in _reports(room) if path.name not in kept]
    if room.is_dir():
        going += [path for path in room.iterdir() if durable.is_temporary(path)]
    if not dry_run:
        for path in going:
            remove(path)
    return going


def remove(path: Path) -> None:
    """Remove a report: first what says that it is one."""
    if path.is_dir() and not path.is_symlink():
        (path / _REPORT).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _reports(room: Path) -> list[Path]:
    try:
        return [path for path in room.iterdir() if _NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []


def _order(report: Report) -> tuple[str, int]:
    return _place(report.stamp)


def _place(stamp: str) -> tuple[str, int]:
    base, _, number = stamp.partition("-")
    return base, int(number or 1)
