"""The commit point of a restore: from the moment the journal is on disk, the restore happens, whoever is killed.

The data folder may be a mount point and cannot be renamed, so the database is replaced file by file: the old one, its
WAL and index first, goes to a folder beside, then the new one takes its name. Every step looks at what is there, so it
can be said again after a kill at any instant. A stranger's hot WAL beside a database ruins it; that is why the WAL goes
first. If the new database does not open, all steps are taken back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from nescord import durable
from nescord.backup.copies import open_copy
from nescord.catalog.migrations import APPLICATION_ID
from nescord.errors import BackupError
from nescord.home import DataFolder, Identity, note_counts, write_identity

KEPT_DAYS = 7
"""How long what a restore has replaced is kept as files, at the least."""

_STAGED = "staged.db"
_OLD = "old-"
_MOMENT = "%Y%m%dT%H%M%S%f"
# WAL and shared memory before the database that they belong to.
_SUFFIXES = ("-wal", "-shm", "")


@dataclass(frozen=True, slots=True)
class Journal:
    """A restore that was decided on: of which snapshot, where the old database goes, and whose folder it becomes.

    `uuid` is "" when the folder has an identity already. `counts` are those of the new database. `replaces`: whether
    there was a database before. `is_backward`: the new database was refused.
    """

    snapshot: str
    old: str
    uuid: str = ""
    first_seen: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    replaces: bool = True
    is_backward: bool = False


def staged_path(folder: DataFolder) -> Path:
    """Where a restore puts the new database together."""
    return folder.restore_dir / _STAGED


def old_name(when: datetime) -> str:
    """What the folder is called that a database goes to which is replaced at `when`."""
    return f"{_OLD}{when.astimezone(UTC).strftime(_MOMENT)}"


def replaced(folder: DataFolder, now: datetime) -> list[tuple[Path, timedelta]]:
    """The databases that restores have replaced, and how long ago, oldest first.

    By what a name does not tell it is from now, and stays.
    """
    found = []
    for path in sorted(folder.restore_dir.glob(f"{_OLD}*")):
        try:
            when = datetime.strptime(path.name.removeprefix(_OLD), _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            when = now
        found.append((path, now - when))
    return found


def commit(folder: DataFolder, journal: Journal) -> None:
    """The staged database, whole and synced, is to be the database from now on."""
    durable.write_file(folder.restore_journal, json.dumps(asdict(journal)).encode("utf-8"))


def recover(folder: DataFolder) -> Journal | None:
    """Finish a restore that was decided on; None where there is nothing to do. The caller holds catalog.lock alone.

    Raises:
        BackupError: the new database could not be opened, and the one before is back in its place; or the disk fails,
            and the next one who comes goes on from there.
    """
    if not folder.restore_journal.exists():
        return None
    journal = _read(folder)
    try:
        return _finished(folder, journal)
    except OSError as error:
        raise BackupError(
            f"the restore of {journal.snapshot} is decided on but could not be finished ({error}): mend the disk, the "
            "next command goes on from there"
        ) from error


def _finished(folder: DataFolder, journal: Journal) -> Journal:
    if not journal.is_backward:
        _forward(folder, journal)
        problem = _problem(folder.database)
        if not problem:
            if journal.uuid:
                write_identity(folder, Identity(uuid=journal.uuid, first_seen=journal.first_seen, is_begun=True))
            note_counts(folder, journal.counts)  # fewer notes than before are no loss
            durable.remove(folder.restore_journal)
            return journal
        journal = replace(journal, is_backward=True)
        commit(folder, journal)
    _backward(folder, journal)
    durable.remove(folder.restore_journal)
    raise BackupError(
        f"the database restored from {journal.snapshot} cannot be opened: what was there before is back, and the "
        f"refused one is kept at {folder.restore_dir / 'refused'} (try an earlier snapshot)"
    )


def _read(folder: DataFolder) -> Journal:
    path = folder.restore_journal
    try:
        return Journal(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(
            f"the journal of a restore {path} cannot be read ({error}): look which of {folder.database} and "
            f"{staged_path(folder)} is the right database, put it at the former place and remove the journal"
        ) from error


def _forward(folder: DataFolder, journal: Journal) -> None:
    staged = staged_path(folder)
    if not staged.exists():
        return  # it has its place already, and a WAL that is there is its own
    _move(folder.database, folder.restore_dir / journal.old)
    durable.rename(staged, folder.database)


def _backward(folder: DataFolder, journal: Journal) -> None:
    old = folder.restore_dir / journal.old
    refused = folder.restore_dir / "refused"
    before = old / folder.database.name
    # Until the old database is back, which comes last, one in its place is the refused one. Where none is, a WAL may be
    # the old one's, brought back before a kill.
    if (before.exists() or not journal.replaces) and folder.database.exists():
        _move(folder.database, refused)
    for suffix in _SUFFIXES:
        if (kept := before.with_name(before.name + suffix)).exists():
            durable.rename(kept, folder.database.with_name(kept.name))


def _move(database: Path, target: Path) -> None:
    durable.make_folder(target)
    for suffix in _SUFFIXES:
        if (file := database.with_name(database.name + suffix)).exists():
            durable.rename(file, target / file.name)


def _problem(database: Path) -> str:
    """Why the database cannot be used, or ""."""
    try:
        with open_copy(database) as connection:
            if connection.pragma("application_id") != APPLICATION_ID:
                return "it is not a database of ours"
            return "" if (found := connection.pragma("quick_check")) == "ok" else str(found)
    except apsw.Error as error:
        return str(error)
