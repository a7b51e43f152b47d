"""Put a snapshot in the place of the database: all or nothing, and never the only copy lost.

Whatever is wrong with the snapshot shows before anything is touched. The present database is backed up first, and kept
as files besides. Vectors that were made since then are carried over, for they were paid for; what was erased for good
stays erased. Vaults are not ingested again until somebody has looked at what that would change, or the next hourly run
would undo the restore.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw

from nescord import durable
from nescord.backup import journal
from nescord.backup.check import Progress, silent
from nescord.backup.copies import counts_of, refuse_a_full_disk, stage
from nescord.backup.create import create
from nescord.backup.erasures import erased
from nescord.backup.journal import Journal
from nescord.backup.manifest import Manifest
from nescord.backup.store import BackupStore
from nescord.catalog import fulltext
from nescord.catalog import notes as notes_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog.migrations import SCHEMA_VERSION
from nescord.errors import BackupError, DamagedBackupError, NescordError, UsageError
from nescord.home import DataFolder, read_identity
from nescord.locks import LockName, Locks
from nescord.opened import OpenBase
from nescord.query import moment_after
from nescord.settings import Settings
from nescord.times import utc_text

_KEPT_DAYS = 7


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that is done: `before` is the snapshot of what was there ("" if it could not be read), `notes` how many
    there are now, `carried` how many vectors were kept, `erased` how many notes were erased again; `remarks` for a
    person."""

    restored: str
    before: str
    notes: int
    carried: int
    erased: int
    paused: bool
    seconds: float
    remarks: tuple[str, ...]


def choose(store: BackupStore, wanted: str | None, at: str | None, timezone: ZoneInfo) -> Manifest:
    """The snapshot of that id; else the newest good one (made before the end of `at`, a date or moment).

    Raises:
        UsageError: both or no such id. BackupError: there is none. DamagedBackupError: it cannot be read.
    """
    if wanted is not None and at is not None:
        raise UsageError("name a snapshot or a date, not both")
    if wanted is not None:
        return store.manifest(wanted)
    good = [each.manifest for each in store.snapshots() if each.manifest and each.status.state == "good"]
    if at is not None:
        end = moment_after(at, "at", timezone)
        good = [manifest for manifest in good if manifest.created_at < end]
    if not good:
        when = "" if at is None else f" from {at} or before"
        raise BackupError(f"there is no good snapshot{when} in {store.folder}: see nescord backup list")
    return good[-1]


def restore(
    settings: Settings,
    wanted: str | None = None,
    *,
    at: str | None = None,
    progress: Progress = silent,
    vfs: str | None = None,
) -> Restored:
    """Make the knowledge base what it was when a snapshot was taken (default: the newest good one).

    The data folder may be empty but for its backups: it then becomes the knowledge base that was backed up.

    Raises:
        BackupError, DamagedBackupError: there is no such snapshot, or it is damaged: nothing has changed.
        LockTimeoutError: somebody uses the database for longer than NESCORD_LOCK_TIMEOUT.
    """
    begun = time.perf_counter()
    folder = DataFolder.at(settings)
    durable.make_folder(folder.run)
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    store = BackupStore(folder.backups)
    with locks.exclusive(LockName.CATALOG):
        journal.recover(folder)
        with locks.exclusive(LockName.CREATE):
            with locks.shared(LockName.BACKUPS):
                manifest = choose(store, wanted, at, ZoneInfo(settings.timezone))
                uuid = _accepted(folder, store, manifest)
                durable.make_folder(folder.restore_dir)
                refuse_a_full_disk(folder.path, 2 * manifest.size, "a restore")
                _clear_staged(folder)
                stage(store, manifest, journal.staged_path(folder), progress=progress)
            try:
                before, remarks = _backed_up(folder, settings, progress, vfs)
                report = _prepare(folder, manifest, remarks, vfs)
            except BaseException:
                _clear_staged(folder)
                raise
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            uuid = "" if folder.has_begun() else uuid
            journal.commit(folder, Journal(manifest.id, f"old-{stamp}", uuid, manifest.created_at))
            journal.recover(folder)
            _forget_old(folder)
    return Restored(
        restored=manifest.id,
        before=before,
        notes=report.notes,
        carried=report.carried,
        erased=report.erased,
        paused=report.paused,
        seconds=round(time.perf_counter() - begun, 3),
        remarks=tuple(remarks),
    )


def restore_copy(
    settings: Settings, target: Path, wanted: str | None = None, *, at: str | None = None, progress: Progress = silent
) -> Manifest:
    """Put a snapshot into an empty folder as a knowledge base of its own, to look into; the present one is not touched.

    Raises:
        UsageError: the folder is not empty. BackupError, DamagedBackupError: as `restore`.
    """
    folder = DataFolder.at(settings)
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    store = BackupStore(folder.backups)
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty: name a folder that does not exist yet")
    with locks.shared(LockName.BACKUPS):
        manifest = choose(store, wanted, at, ZoneInfo(settings.timezone))
        durable.make_folder(target)
        refuse_a_full_disk(target, manifest.size, "a copy")

        def begin(copy: DataFolder) -> None:
            stage(store, manifest, copy.database, progress=progress)
            _made_fit(copy.database, manifest, erased(folder.backups), None, [])

        DataFolder.create(Settings(data_dir=target), begin=begin)
    return manifest


@dataclass(frozen=True, slots=True)
class _Prepared:
    notes: int
    carried: int
    erased: int
    paused: bool


def _accepted(folder: DataFolder, store: BackupStore, manifest: Manifest) -> str:
    """The uuid that the knowledge base has or will have; BackupError if the snapshot is another one's."""
    if manifest.schema > SCHEMA_VERSION:
        raise BackupError(
            f"the snapshot {manifest.id} has schema {manifest.schema}, this nescord knows {SCHEMA_VERSION}: install "
            f"nescord {manifest.app_version} or newer"
        )
    if not folder.has_begun():
        return manifest.knowledge_base
    uuid = read_identity(folder).uuid
    if uuid != manifest.knowledge_base:
        raise BackupError(
            f"the snapshot {manifest.id} is of another knowledge base ({manifest.knowledge_base}, this one is {uuid}): "
            "restore it into an empty folder with --to"
        )
    store.refuse_foreign(uuid)
    return uuid


def _backed_up(folder: DataFolder, settings: Settings, progress: Progress, vfs: str | None) -> tuple[str, list[str]]:
    """The id of a snapshot of the present state, "" with the reason when there is none to be had."""
    if not folder.database.exists():
        return "", ["there was no database before"]
    try:
        base = OpenBase(folder, settings, is_new=False, vfs=vfs)
    except NescordError as error:
        return "", [f"the database before could not be backed up ({error}); its files are kept in {folder.restore_dir}"]
    with closing(base):
        try:
            return create(base, trigger="pre-restore", progress=progress).id, []
        except NescordError as error:
            return "", [f"the state before was not backed up ({error}); its files are kept in {folder.restore_dir}"]


def _clear_staged(folder: DataFolder) -> None:
    """Remove a staged database, and above all its journal, which SQLite would roll back into the next one."""
    staged = journal.staged_path(folder)
    for rest in folder.restore_dir.glob(f"{staged.name}*"):
        durable.remove(rest)


def _prepare(folder: DataFolder, manifest: Manifest, remarks: list[str], vfs: str | None) -> _Prepared:
    present = folder.database if folder.database.exists() else None
    return _made_fit(journal.staged_path(folder), manifest, erased(folder.backups), present, remarks, vfs)


def _made_fit(
    database: Path, manifest: Manifest, gone: set[str], present: Path | None, remarks: list[str], vfs: str | None = None
) -> _Prepared:
    """Make a copy of a snapshot fit to be a database in use. It is checked, closed and on disk afterwards."""
    with closing(apsw.Connection(str(database), vfs=vfs)) as connection:
        fulltext.add_functions(connection)
        if counts_of(connection) != manifest.counts:
            raise DamagedBackupError(f"the snapshot {manifest.id} does not hold what it says")
        connection.pragma("journal_mode", "delete")  # no WAL beside it: it is renamed alone
        connection.pragma("secure_delete", 1)
        connection.pragma("foreign_keys", 1)
        carried = _carry_over(connection, present, remarks) if present else 0
        with connection:
            again = sum(notes_sql.erase(connection, note) for note in gone)
            connection.execute("UPDATE meta SET value = lower(hex(randomblob(16))) WHERE name = 'epoch'")
            vaults = [source for source in sources_sql.all_sources(connection) if source.kind != "capture"]
            if vaults:
                sources_sql.pause(connection, manifest.id, utc_text(datetime.now(UTC)))
        if (found := connection.pragma("quick_check")) != "ok" or connection.execute("PRAGMA foreign_key_check").get:
            raise DamagedBackupError(f"the snapshot {manifest.id} does not pass quick_check: {found}")
        notes = counts_of(connection)["notes"]
    durable.sync_file(database)
    durable.sync_folder(database.parent)
    return _Prepared(notes, carried, again, bool(vaults))


# A vector is a function of model and text, whatever became of the notes: none is ever paid for twice.
_CARRIED = (
    "INSERT OR IGNORE INTO model (key) SELECT key FROM present.model",
    """
    INSERT OR IGNORE INTO embedding (model, text_hash, vector)
    SELECT model.id, theirs.text_hash, theirs.vector
    FROM present.embedding AS theirs
    JOIN present.model AS named ON named.id = theirs.model JOIN main.model ON model.key = named.key
    WHERE NOT EXISTS (SELECT 1 FROM main.embedding AS ours
                      WHERE ours.model = model.id AND ours.text_hash = theirs.text_hash)
    """,
)


def _carry_over(connection: apsw.Connection, present: Path, remarks: list[str]) -> int:
    """Take over from the present database what must not go back in time. One that is unreadable gives nothing."""
    before: int = connection.execute("SELECT count(*) FROM embedding").get
    try:
        connection.execute("ATTACH ? AS present", (str(present),))
        try:
            with connection:
                for statement in _CARRIED:
                    connection.execute(statement)
        finally:
            connection.execute("DETACH present")
    except apsw.Error as error:
        remarks.append(f"no vectors could be carried over from the database before ({error}): they are made again")
    return int(connection.execute("SELECT count(*) FROM embedding").get) - before


def _forget_old(folder: DataFolder) -> None:
    """Remove the files of databases that were replaced more than a week ago. The one just replaced always stays."""
    oldest = time.time() - _KEPT_DAYS * 86_400
    for old in sorted(folder.restore_dir.glob("old-*"))[:-1]:
        if old.stat().st_mtime < oldest:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def copied(store: BackupStore, manifest: Manifest) -> Iterator[Path]:
    """A snapshot put together in a scratch folder of the store until the block ends. backups.lock is held, shared."""
    refuse_a_full_disk(store.folder, manifest.size, "reading a snapshot")
    scratch = store.folder / f"scratch-{time.time_ns()}"
    durable.make_folder(scratch)
    try:
        copy = scratch / "nescordbot.db"
        stage(store, manifest, copy)
        yield copy
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
