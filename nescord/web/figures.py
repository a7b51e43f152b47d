"""What is known about the knowledge base and the machine under it, for whoever has the token. Reading only."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from nescord import service_state
from nescord.backup.manifest import parse_id
from nescord.backup.store import BackupStore
from nescord.budget import BudgetState
from nescord.catalog import sources as sources_sql
from nescord.catalog import status as status_sql
from nescord.errors import LockTimeoutError, NescordError
from nescord.home import DataFolder
from nescord.locks import Locks
from nescord.opened import OpenBase
from nescord.persistence import record
from nescord.persistence.record import Verified
from nescord.reports import retention
from nescord.settings import Settings
from nescord.times import utc_text
from nescord.web.condition import Database

_SUPERVISOR = "supervisor"
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds. `last_change` is when an ingest last found something to store, "" for never.

    `degraded` says what cannot be done by meaning; `paused` names the snapshot since whose restore no vault is read.
    """

    notes: int
    chunks: int
    pending: int
    behind: int
    bytes: int
    last_change: str
    degraded: tuple[str, ...]
    paused: str
    budget: BudgetState


@dataclass(frozen=True, slots=True)
class Backups:
    """The snapshots here: moments as ISO in UTC, "" for never."""

    good: int
    bad: int
    newest: str
    is_newest_off_site: bool
    drilled: str
    is_drill_good: bool


@dataclass(frozen=True, slots=True)
class Volume:
    """The disk that the data folder lies on, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class LatestReport:
    """The newest report: its stamp (the name of its folder), when it was begun, which notebooks failed, and of which
    space it is ("" for all)."""

    stamp: str
    at: str
    failed: tuple[str, ...]
    space: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it. What could not be found out is None or missing; times are ISO in UTC."""

    stored: Stored | None
    backups: Backups | None
    verified: Verified | None
    memory: Mapping[str, int]
    volume: Volume | None
    report: LatestReport | None = None


class Reader:
    """The knowledge base, opened when it is first read and only ever read. Safe to use from many threads."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        # Who is in the way is told, not waited for.
        self._settings = settings.model_copy(update={"lock_timeout": 0.0})
        self._folder = folder
        self._locks = Locks(folder.run, timeout=0)
        self._base: OpenBase | None = None
        self._opening = threading.Lock()

    def database(self) -> Database:
        """Whether the database can be read."""
        try:
            with self._opened().verb() as catalog, catalog.read() as connection:
                sources_sql.paused(connection)
        except LockTimeoutError:
            return Database.RESTORED
        except (NescordError, apsw.Error, OSError):
            return Database.UNREADABLE
        return Database.READABLE

    def figures(self) -> Figures:
        """Everything that can be found out now."""
        return Figures(
            stored=self._stored(),
            backups=_backups(BackupStore(self._folder.backups)),
            verified=record.last(self._folder),
            memory=self._memory(),
            volume=_volume(self._folder.path),
            report=_report(self._folder.reports),
        )

    def _opened(self) -> OpenBase:
        # Finishing a restore that was killed takes its time and is for who works here, not for who looks.
        if self._folder.restore_journal.exists():
            raise LockTimeoutError(Database.RESTORED.value)
        with self._opening:
            if self._base is None:
                self._base = OpenBase(self._folder, self._settings, is_new=False)
            return self._base

    def _stored(self) -> Stored | None:
        try:
            base = self._opened()
            with base.verb() as catalog, catalog.read() as connection:
                status = status_sql.status(connection)
                meaning = base.meaning.status(connection)
                paused = sources_sql.paused(connection)
            budget = base.budget.state()
        except (NescordError, apsw.Error, OSError):
            return None
        return Stored(
            notes=status.notes,
            chunks=status.chunks,
            pending=meaning.pending,
            behind=meaning.behind,
            bytes=status.bytes,
            last_change=status.last_ingest,
            degraded=meaning.degraded,
            paused=paused,
            budget=budget,
        )

    def _memory(self) -> dict[str, int]:
        """Resident bytes of each service with all that it has started, and of the supervisor itself."""
        state = service_state.running(self._folder, self._locks)
        if state is None:
            return {}
        groups = _resident_by_group()
        found = {each.name: groups[each.pid] for each in state.services if each.pid is not None and each.pid in groups}
        own = _resident(Path("/proc", str(state.pid)))
        return ({_SUPERVISOR: own} if own else {}) | found


def _volume(path: Path) -> Volume | None:
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    return Volume(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)


def _report(room: Path) -> LatestReport | None:
    found = retention.latest(room)
    if found is None:
        return None
    return LatestReport(found.stamp, found.built_at, tuple(page.notebook for page in found.failed), found.space)


def _backups(store: BackupStore) -> Backups | None:
    """From the small files beside the snapshots: their manifests are large, and are checked by others."""
    try:
        known = [(each, store.status(each)) for each in store.ids()]
    except OSError:
        return None
    good = [(each, status) for each, status in known if status.state == "good"]
    newest, newest_status = good[-1] if good else ("", None)
    drilled = max((status for _, status in known if status.drilled_at), key=lambda each: each.drilled_at, default=None)
    return Backups(
        good=len(good),
        bad=sum(status.state == "bad" for _, status in known),
        newest=utc_text(parse_id(newest)[1]) if newest else "",
        is_newest_off_site=bool(newest_status and newest_status.off_site),
        drilled=_moment(drilled.drilled_at) if drilled else "",
        is_drill_good=bool(drilled and drilled.drill_ok),
    )


def _moment(text: str) -> str:
    """As ISO in UTC; "" for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _resident_by_group() -> dict[int, int]:
    """Resident bytes by process group. Pages that processes share are counted for each of them."""
    groups: dict[int, int] = {}
    with suppress(OSError):  # there is no /proc on macOS
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError, ValueError, IndexError):
                # The second field may hold blanks and ends with a bracket; the third after it is the group.
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                group = int(stat[2])
                groups[group] = groups.get(group, 0) + _resident(entry)
    return groups


def _resident(process: Path) -> int:
    try:
        return int((process / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_SIZE
    except (OSError, ValueError, IndexError):
        return 0
