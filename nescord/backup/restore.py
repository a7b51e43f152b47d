"""Put a snapshot in the place of the database: all or nothing, and never the only copy lost.

Whatever is wrong with the snapshot shows before anything is touched. The present database is backed up first, and kept
as files besides. Vectors that were made since then are carried over, for they were paid for, and so is what was paid;
what was erased for good stays erased. Vaults are not ingested again until somebody has looked at what that would
change, or the next hourly run would undo the restore.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw

from nescord import durable
from nescord.backup import journal
from nescord.backup.check import Progress, silent
from nescord.backup.copies import counts_of, refuse_a_full_disk, refuse_a_newer_schema, stage
from nescord.backup.create import create
from nescord.backup.erasures import erased, erased_people
from nescord.backup.journal import Journal
from nescord.backup.manifest import Manifest
from nescord.backup.spent import remembered
from nescord.backup.store import BackupStore
from nescord.catalog import fulltext
from nescord.catalog import ledger as ledger_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import privacy as privacy_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog import sources as sources_sql
from nescord.errors import BackupError, DamagedBackupError, LockTimeoutError, UsageError
from nescord.home import DataFolder, read_identity
from nescord.locks import LockName, Locks
from nescord.opened import OpenBase
from nescord.query import moment_after
from nescord.settings import Settings
from nescord.times import utc_text


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
    good = store.good()
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
            with _told(folder.path, "the restore"):
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
                    journal.commit(folder, _decision(folder, manifest, uuid, report))
                except BaseException:
                    durable.remove(folder.restore_journal)  # first: without it nobody looks for a staged database
                    _clear_staged(folder)
                    raise
            journal.recover(folder)
            _forget_old(folder)
    return Restored(
        restored=manifest.id,
        before=before,
        notes=report.counts["notes"],
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
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty folder: name one that does not exist yet")
    with locks.shared(LockName.BACKUPS), _told(target, "the copy"):
        manifest = choose(store, wanted, at, ZoneInfo(settings.timezone))
        refuse_a_newer_schema(manifest)
        durable.make_folder(target)
        refuse_a_full_disk(target, manifest.size, "a copy")
        # Database and index of the present one, where settings name them, are not those of the copy.
        copy = settings.model_copy(update={"data_dir": target, "database_url": None, "chroma_dir": None})
        stage(store, manifest, DataFolder.at(copy).database, progress=progress)

        def begin(begun: DataFolder) -> None:
            _made_fit(begun.database, manifest, folder.backups, None, [])

        DataFolder.create(copy, begin=begin)
    return manifest


@dataclass(frozen=True, slots=True)
class _Prepared:
    counts: dict[str, int]
    carried: int
    erased: int
    paused: bool


def _accepted(folder: DataFolder, store: BackupStore, manifest: Manifest) -> str:
    """The uuid that the knowledge base has or will have; BackupError if the snapshot is another one's."""
    refuse_a_newer_schema(manifest)
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
        with closing(OpenBase(folder, settings, is_new=False, vfs=vfs)) as base:
            return create(base, trigger="pre-restore", progress=progress).id, []
    except LockTimeoutError:
        raise  # somebody else is at work, which passes
    except Exception as error:  # a garbled database raises anything, and must not stand in the way of its cure
        return "", [f"the database before could not be backed up ({error}); its files are kept in {folder.restore_dir}"]


def _clear_staged(folder: DataFolder) -> None:
    """Remove a staged database, and above all its journal, which SQLite would roll back into the next one."""
    staged = journal.staged_path(folder)
    for rest in sorted(folder.restore_dir.iterdir()):
        if rest.name.startswith(staged.name) or durable.is_temporary(rest):
            durable.remove(rest)


def _decision(folder: DataFolder, manifest: Manifest, uuid: str, prepared: _Prepared) -> Journal:
    return Journal(
        manifest.id,
        journal.old_name(datetime.now(UTC)),
        uuid="" if folder.has_begun() else uuid,
        first_seen=manifest.created_at,
        counts={name: prepared.counts[name] for name in ("notes", "chunks")},
        replaces=folder.database.exists(),
    )


def _prepare(folder: DataFolder, manifest: Manifest, remarks: list[str], vfs: str | None) -> _Prepared:
    present = folder.database if folder.database.exists() else None
    return _made_fit(journal.staged_path(folder), manifest, folder.backups, present, remarks, vfs)


def _made_fit(
    database: Path, manifest: Manifest, backups: Path, present: Path | None, remarks: list[str], vfs: str | None = None
) -> _Prepared:
    """Make a copy of a snapshot fit to be a database in use. It is checked, closed and on disk afterwards."""
    gone = erased(backups)
    with closing(apsw.Connection(str(database), vfs=vfs)) as connection:
        fulltext.add_functions(connection)
        if counts_of(connection) != manifest.counts:
            raise DamagedBackupError(f"the snapshot {manifest.id} does not hold what it says")
        connection.pragma("journal_mode", "delete")  # no WAL beside it: it is renamed alone
        connection.pragma("secure_delete", 1)
        connection.pragma("foreign_keys", 1)
        carried = _carry_over(connection, present, backups, remarks) if present else 0
        with connection:
            privacy_sql.erase_quotes(connection, gone)
            again = sum(notes_sql.erase(connection, note) for note in gone)
            revisions_sql.forget(connection, gone)
            again += _erased_again(connection, erased_people(backups))
            connection.execute("UPDATE meta SET value = lower(hex(randomblob(16))) WHERE name = 'epoch'")
            vaults = [source for source in sources_sql.all_sources(connection) if source.kind != "capture"]
            if vaults:
                sources_sql.pause(connection, manifest.id, utc_text(datetime.now(UTC)))
        if (found := connection.pragma("quick_check")) != "ok" or connection.execute("PRAGMA foreign_key_check").get:
            raise DamagedBackupError(f"the snapshot {manifest.id} does not pass quick_check: {found}")
        counts = counts_of(connection)
    durable.sync_file(database)
    durable.sync_folder(database.parent)
    return _Prepared(counts, carried, again, bool(vaults))


def _erased_again(connection: apsw.Connection, people: Mapping[str, str]) -> int:
    """What is theirs and from before their erasure goes as it did then; how many notes it were."""
    count = sum(privacy_sql.erase_again(connection, who, before) for who, before in people.items())
    if count:
        privacy_sql.drop_unused_vectors(connection)
        fulltext.rebuild(connection)  # the words of what was deleted, too
    return count


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
    """
    DELETE FROM main.embed_failure WHERE EXISTS (
        SELECT 1 FROM main.embedding AS ours
        WHERE ours.model = embed_failure.model AND ours.text_hash = embed_failure.text_hash)
    """,
)


# What was paid is paid, for what and by whom it is known only here: the sum alone is remembered beside the backups
# (spent.py). A call that was under way when the snapshot was made has ended since. The sums of what one of the two had
# forgotten are not taken over, nor kept: they stand for calls that the other may know, and would count them twice.
_SPENT_SINCE = (
    """
    INSERT INTO ledger SELECT * FROM present.ledger WHERE purpose <> 'forgotten'
    ON CONFLICT (id) DO UPDATE SET tokens = excluded.tokens, settled_at = excluded.settled_at
    WHERE ledger.settled_at IS NULL
    """,
    "INSERT OR IGNORE INTO budget_override SELECT * FROM present.budget_override",
    """
    INSERT OR IGNORE INTO query_vector
    SELECT model.id, theirs.text_hash, theirs.vector, theirs.used_at FROM present.query_vector AS theirs
    JOIN present.model AS named ON named.id = theirs.model JOIN main.model ON model.key = named.key
    """,
)
# What has happened in Discord has happened: an event that is told again makes no second note, a digest is not sent
# twice, who wants none gets none, and what was seen again is not new. Preferences go back with the notes.
_HAPPENED = (
    *(
        statement
        for table in ("inbox", "digest", "quota_use")
        for statement in (f"DELETE FROM main.{table}", f"INSERT INTO main.{table} SELECT * FROM present.{table}")
    ),
    "INSERT OR REPLACE INTO main.review_card SELECT * FROM present.review_card",
    "INSERT OR IGNORE INTO main.review_event SELECT * FROM present.review_event",
)
_HAS_DISCORD = "SELECT count(*) FROM main.sqlite_schema WHERE name = 'digest'"
_HAS_LEDGER = "SELECT count(*) FROM main.sqlite_schema WHERE name = 'ledger'"


_WRITES_FAIL = (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_TRUNCATE)


def _carry_over(connection: apsw.Connection, present: Path, backups: Path, remarks: list[str]) -> int:
    """Take over from the present database what must not go back in time. One that is unreadable gives nothing."""
    before: int = connection.execute("SELECT count(*) FROM embedding").get
    try:
        connection.execute("ATTACH ? AS present", (str(present),))
        try:
            with connection:
                for statement in _CARRIED:
                    connection.execute(statement)
                if connection.execute(_HAS_LEDGER).get:  # not in a snapshot of an older version
                    for statement in _SPENT_SINCE:
                        connection.execute(statement)
                    for month in ledger_sql.forgotten_months(connection):
                        if remembered(backups, month):
                            ledger_sql.drop_forgotten(connection, month)
                if connection.execute(_HAS_DISCORD).get:
                    for statement in _HAPPENED:
                        connection.execute(statement)
        finally:
            connection.execute("DETACH present")
    except apsw.Error as error:
        if isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) in _WRITES_FAIL:
            raise  # that is the disk, not the database before
        remarks.append(f"no vectors could be carried over from the database before ({error}): they are made again")
    return int(connection.execute("SELECT count(*) FROM embedding").get) - before


@contextmanager
def _told(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{what} could not be made ({error}): nothing has changed; mend the disk") from error
    except apsw.Error as error:
        raise BackupError(f"{what} could not be made in {folder} ({error}): nothing has changed") from error


def _forget_old(folder: DataFolder) -> None:
    """Remove the files of databases that were replaced more than a week ago. The one just replaced always stays."""
    for old, age in journal.replaced(folder, datetime.now(UTC))[:-1]:
        if age > timedelta(days=journal.KEPT_DAYS):
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def copied(store: BackupStore, manifest: Manifest) -> Iterator[Path]:
    """A snapshot put together in a scratch folder of the store until the block ends. backups.lock is held, shared."""
    refuse_a_full_disk(store.folder, manifest.size, "reading a snapshot")
    with store.scratch() as scratch:
        copy = scratch / "nescordbot.db"
        stage(store, manifest, copy)
        yield copy
