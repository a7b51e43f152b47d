"""Build marts: a private snapshot of the database, and a child process that makes Parquet files from it.

The child is there for two reasons: pyarrow and what it takes of memory end with it, and no library but APSW may ever
open the live database in a process (a second SQLite that closes it drops the locks of the first).
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from nescord import durable, packages
from nescord.catalog import status as status_sql
from nescord.catalog import vectors as vectors_sql
from nescord.catalog.migrations import SCHEMA_VERSION
from nescord.catalog.snapshot import snapshot
from nescord.errors import BackupError, MartsError, UsageError
from nescord.home import DataFolder
from nescord.locks import held_alone
from nescord.marts import flow_history, generations
from nescord.marts.generations import Mart, ModelVectors
from nescord.marts.job import JOB, RESULT, SNAPSHOT, Job
from nescord.marts.outside import rows_of
from nescord.marts.schema import OUTSIDE_TABLES
from nescord.opened import OpenBase
from nescord.process_groups import how_it_ended
from nescord.settings import Settings
from nescord.times import utc_text

_LOCK = "marts.lock"
# An erasure removes what is being built. It is over soon.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Built:
    """The generation that was built: the rows of each table, the bytes of its files, the seconds it took, and what a
    person should know of it."""

    generation: str
    folder: Path
    counts: dict[str, int]
    bytes: int
    seconds: float
    remarks: tuple[str, ...]


def build(settings: Settings, *, texts: bool = True, spaces: Collection[str] | None = None) -> Built:
    """Build a new generation and let it be the current one. The one before stays as well.

    Without `texts` what people wrote is NULL. With `spaces` only what is in these is told, and nothing of the whole
    (backups, runs, volume).

    Raises:
        MartsError: it could not be built; what there was can still be read. LockTimeoutError: another build is under
        way, or a restore. UsageError: a package is missing, or `spaces` is empty.
    """
    begun = time.perf_counter()
    if spaces is not None and not spaces:
        raise UsageError("no space is given: name one, such as guild:7, or leave them out for all")
    refuse_without_packages("pyarrow")
    folder = DataFolder.find(settings)
    base = OpenBase(folder, settings, is_new=False)
    try:
        with _alone(folder, settings.lock_timeout):
            trouble = flow_history.update(settings, folder.run)
            limits = None if spaces is None else tuple(sorted(spaces))
            mart = _built(base, texts=texts, spaces=limits, remarks=(trouble,) if trouble and limits is None else ())
    finally:
        base.close()
    size = sum(path.stat().st_size for path in mart.files)
    seconds = round(time.perf_counter() - begun, 3)
    return Built(mart.generation, mart.folder, mart.counts, size, seconds, mart.remarks)


def refuse_without_packages(*modules: str) -> None:
    """UsageError where one of them is not installed."""
    if missing := packages.lacking(modules):
        raise UsageError(f"marts need {' and '.join(missing)}, which is not installed: {packages.GET_NOTEBOOKS}")


def _built(base: OpenBase, *, texts: bool, spaces: tuple[str, ...] | None, remarks: tuple[str, ...]) -> Mart:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _attempt(base, texts=texts, spaces=spaces, remarks=remarks)
        except FileNotFoundError as error:
            # An erasure has taken away what was being built from what it erases.
            if attempt == _ATTEMPTS:
                raise MartsError(f"somebody removes {error.filename} while marts are built: try again") from error
    raise AssertionError


def _attempt(base: OpenBase, *, texts: bool, spaces: tuple[str, ...] | None, remarks: tuple[str, ...]) -> Mart:
    room = base.folder.marts
    before = generations.current(room)
    now = datetime.now(UTC)
    with _told(room):
        # The folder is there before the snapshot is taken: whoever erases something after that finds it to remove.
        target = generations.begin(room, now)
        try:
            with base.verb() as catalog, catalog.read() as connection:
                _refuse_a_full_disk(room, connection.pragma("page_size") * connection.pragma("page_count"))
                with _copying(target):  # before the catalog takes it for its own trouble
                    snapshot(connection, target / SNAPSHOT)
                notes, epoch = status_sql.counts(connection)["notes"], vectors_sql.epoch(connection)
            # These tell of all spaces together.
            names = () if spaces is not None else tuple(table.name for table in OUTSIDE_TABLES)
            outside = {name: list(rows_of(name, base.folder, now=utc_text(now), notes=notes)) for name in names}
            job = Job(texts=texts, spaces=spaces, before=str(before.folder) if before else "", outside=outside)
            durable.write_file(target / JOB, json.dumps(asdict(job)).encode("utf-8"))
            _run_child(target)
            result = json.loads((target / RESULT).read_bytes())
            for name in (SNAPSHOT, JOB, RESULT):
                (target / name).unlink()
            mart = Mart(
                generation=target.name,
                folder=target,
                built_at=utc_text(now),
                counts={str(name): int(count) for name, count in result["counts"].items()},
                schema=SCHEMA_VERSION,
                epoch=epoch,
                texts=texts,
                spaces=spaces,
                models=tuple(ModelVectors(**each) for each in result["models"]),
                remarks=(*remarks, *result["remarks"]),
            )
            generations.publish(mart)
        except BaseException:
            generations.remove(target)
            raise
    return mart


@contextmanager
def _copying(target: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
        if not target.is_dir():
            raise FileNotFoundError(errno.ENOENT, "removed", str(target)) from error
        raise MartsError(
            f"the database could not be copied to {target} ({error}): those that there were can still be read; make "
            "room or mend the disk and try again"
        ) from error


def _run_child(target: Path) -> None:
    """Let the child do it; it ends with us, however we end."""
    command = [sys.executable, "-P", "-m", "nescord.marts.child", str(target)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        said = process.stderr.read().decode("utf-8", "replace").strip()
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdin.close()
        process.stderr.close()
    if code == 0:
        return
    if not (target / SNAPSHOT).exists():
        raise FileNotFoundError(errno.ENOENT, "removed", str(target))
    reason = said.splitlines()[-1] if said else f"the process {how_it_ended(code)}"
    raise MartsError(f"the marts could not be built ({reason}): those that there were can still be read; try again")


def _refuse_a_full_disk(room: Path, size: int) -> None:
    from nescord.backup.copies import refuse_a_full_disk

    try:
        refuse_a_full_disk(room, 2 * size, "building marts")
    except BackupError as error:
        raise MartsError(str(error)) from error


@contextmanager
def _alone(folder: DataFolder, timeout: float) -> Iterator[None]:
    """One build at a time. A lock of its own: it is taken before all others and waited for without any."""
    durable.make_folder(folder.run)
    with held_alone(folder.run / _LOCK, timeout, f"marts of {folder.path} are being built"):
        yield


@contextmanager
def _told(room: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        free = shutil.disk_usage(room.parent).free
        raise MartsError(
            f"the marts could not be written to {room} ({error.strerror}, {free / 1e6:,.0f} MB are free): those that "
            "there were can still be read; make room or mend the disk and try again"
        ) from error
