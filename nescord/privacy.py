"""What is kept of one person: shown to them, handed to them, and erased for good.

Erasing goes beyond rows: words leave the full-text index, Chroma is told at once, reports and marts that were made from
the notes go, and the write-ahead log is cut. It is remembered beside the backups before anything goes, so a kill leaves
an erasure that is finished later, never one that is forgotten, and a restore of an older snapshot does it again. What
the person writes afterwards is theirs anew.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord import durable
from nescord.backup import erasures
from nescord.backup.forgetting import Forgetting, forgetting
from nescord.backup.journal import replaced, staged_path
from nescord.backup.retention import PRE_RESTORE
from nescord.backup.store import BackupStore
from nescord.catalog import privacy as sql
from nescord.catalog import status as status_sql
from nescord.catalog import vectors as vectors_sql
from nescord.errors import LockTimeoutError, ServiceUnavailableError, UsageError
from nescord.home import note_counts
from nescord.index.seal import Folder, has_files
from nescord.locks import LockName
from nescord.maintain import database
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.opened import OpenBase

_PERSON = re.compile(r"user:[0-9]{1,20}")
# Notes of one transaction: a capture of somebody else waits for no longer than these take.
_BATCH = 100
# Readers are done within moments; each attempt waits for a second.
_CHECKPOINTS = 10
_REMOVALS, _REMOVAL_REST = 20, 0.05
# Kinds of text that the indexes have.
_NOTES = ("notes", "trashed", "revisions")
# Kinds of which there is nothing in marts and reports.
_IN_NO_FILE = frozenset({"inbox", "preferences", "digests", "quotas"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PrivacySummary:
    """How much there is of a person, by kind: `notes` living and `trashed`, of them `revisions` and `attachments`;
    `questions`, `review_cards` and so on. Of the `backups` here, which may hold it, too, all but the `pinned` ones are
    gone by `backups_forget_at` (None: there is none). With `off_site` there are copies elsewhere, which only the owner
    deletes. `merged` living notes of others hold what notes of theirs said that were merged into them, and keep it."""

    counts: dict[str, int]
    backups: int
    backups_forget_at: datetime | None
    pinned: int
    off_site: bool
    merged: int


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What was erased, by kind; ledger calls are kept without a name. `backups_forget_at`, `pinned`, `off_site` and
    `merged` as in the summary. With `remarks` something is left to do, which says each; the next `finish` does it."""

    counts: dict[str, int]
    backups_forget_at: datetime | None
    pinned: int
    off_site: bool
    merged: int
    remarks: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.remarks


class Privacy:
    """What is kept of one person. Made by `KnowledgeManager.privacy`; UsageError for who is no person."""

    def __init__(self, base: OpenBase, who: str) -> None:
        if not _PERSON.fullmatch(who):
            raise UsageError(f'"{who}" is no person: user:<id>, where <id> is a number of Discord')
        self._base = base
        self._who = who

    def summary(self) -> PrivacySummary:
        """How much there is of what, and in how many backups."""
        with self._base.verb() as catalog, catalog.read() as connection:
            counts, merged = sql.counts(connection, self._who), sql.merged_elsewhere(connection, self._who)
        known = _forgetting(self._base, datetime.now(UTC))
        return PrivacySummary(counts, known.backups, known.at, known.pinned, known.off_site, merged)

    def export(self, *, most_bytes: int | None = None) -> bytes:
        """All of it as a zip file. Beyond `most_bytes` attachments are left out, and `about.json` in it names them."""
        from nescord.exporting import export

        with self._base.verb() as catalog, catalog.read() as connection:
            return export(connection, self._who, datetime.now(UTC), most_bytes=most_bytes)

    def erase(self, now: datetime | None = None) -> ErasureReport:
        """Erase all of it that is there when this is called. Takes up to a second longer than the work.

        Raises:
            CatalogError, LockTimeoutError: the database cannot be written: what is left goes when it is asked for
                again, or by `finish`.
        """
        # Moments are kept to the second. Up to the next full one all that is there is from before.
        moment = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        before = utc_text(moment)
        is_again = self._who in erasures.unfinished_people(self._base.folder.backups)
        erasures.remember_person(self._base.folder.backups, self._who, before)
        wait = (moment - datetime.now(UTC)).total_seconds()
        time.sleep(wait if 0 < wait <= 1 else 0)
        return _erase(self._base, self._who, "", before, is_again=is_again)


def unfinished(base: OpenBase) -> bool:
    """Whether an erasure has not come to its end. Reads one small file."""
    return bool(erasures.unfinished_people(base.folder.backups))


def finish(base: OpenBase) -> list[ErasureReport]:
    """Bring every erasure to its end that a kill, or somebody's lock, was in the way of.

    Raises:
        CatalogError, LockTimeoutError: as `Privacy.erase`.
    """
    left = erasures.unfinished_people(base.folder.backups)
    # What they have written since is none of it.
    return [_erase(base, who, before, before, is_again=True) for who, before in left.items()]


def forget_past_days(base: OpenBase) -> None:
    """Of everybody who was erased, forget what was counted on the day of it (how often they did what), once it is
    over."""
    people = erasures.erased_people(base.folder.backups)
    if people:
        with base.verb() as catalog, catalog.write() as connection:
            sql.forget_past_days(connection, people, _today(base))


def _erase(base: OpenBase, who: str, only_before: str, remembered: str, *, is_again: bool) -> ErasureReport:
    with base.verb() as catalog:
        erased = _erase_rows(catalog, who, only_before, _today(base))
        counts, remarks = erased.counts, list[str]()
        # What belongs to everybody is only touched where something of theirs may be in it: of an erasure that did not
        # come to its end, nobody knows any more.
        has_notes = is_again or any(counts[kind] for kind in _NOTES)
        if has_notes:
            with catalog.write() as connection:
                sql.drop_unused_vectors(connection)
            database.full_text(catalog, dry_run=False)  # words of deleted rows stay in it until segments are merged
        has_vectors = is_again or erased.has_vectors or any(counts[kind] for kind in ("trashed", "revisions"))
        if has_vectors:
            remarks += _index_anew(base, catalog)
            for path in base.folder.chroma.parent.glob(f"{base.folder.chroma.name}.bad*"):
                _remove(path)
        if is_again or any(count for kind, count in counts.items() if kind not in _IN_NO_FILE) or _is_restored(base):
            sweep_made(base)
        remarks += _swept_restores(base)
        with catalog.write() as connection:
            counts["inbox"] = sql.erase_inbox(connection, who, only_before)
        if has_notes:
            with catalog.read() as connection:
                left = status_sql.counts(connection)
            note_counts(base.folder, left)  # fewer notes than before are no loss
        remarks += _cut_log(catalog)
    if not remarks:
        erasures.note_done(base.folder.backups, who, remembered)
    known = _forgetting(base, datetime.now(UTC))
    return ErasureReport(counts, known.at, known.pinned, known.off_site, erased.merged, tuple(remarks))


@dataclass(frozen=True, slots=True)
class _Erased:
    """Rows that went by kind; whether an index may have vectors of the notes; of others' notes, see the report."""

    counts: dict[str, int]
    has_vectors: bool
    merged: int


def _erase_rows(catalog: Catalog, who: str, only_before: str, today: str) -> _Erased:
    """In short transactions, what is known by a note before the note, so that it can be done again at any point."""
    with catalog.write() as connection:
        ids = sql.note_ids(connection, who, only_before)
        has_vectors, merged = sql.has_vectors(connection, ids), sql.merged_elsewhere(connection, who)
        counts = {"notes": 0, "trashed": 0, "revisions": 0, "attachments": 0}
        counts |= sql.erase_rows(connection, who, only_before, today=today)
        counts["conversations"] += sql.erase_quotes(connection, ids)
    for start in range(0, len(ids), _BATCH):
        with catalog.write() as connection:
            for kind, count in sql.erase_notes(connection, ids[start : start + _BATCH]).items():
                counts[kind] += count
    with catalog.write() as connection:
        counts["revisions"] += sql.erase_revisions(connection, who, only_before)
    return _Erased(counts, has_vectors, merged)


def _today(base: OpenBase) -> str:
    """The day of the quotas that is under way."""
    return datetime.now(ZoneInfo(base.settings.timezone)).date().isoformat()


def _index_anew(base: OpenBase, catalog: Catalog) -> Iterator[str]:
    """Chroma holds no text, but vectors, which are made of text, and what it deletes stays in its files: all of it goes
    and is built anew from the vectors that are left, which costs no call. Until then the exact scan answers."""
    from nescord.index.service import open_service, place_of
    from nescord.index.store import DamagedIndexError

    try:
        with base.locks.exclusive(LockName.INGEST):
            with place_of(base.settings, base.folder, base.locks) as url, catalog.read() as connection:
                known = vectors_sql.collections(connection)
                if url is None and has_files(base.folder.chroma):
                    Folder(base.folder.chroma, base.folder.run).break_seal()
                    for path in base.folder.chroma.iterdir():
                        _remove(path)
                elif url is not None and known:
                    with open_service(base.settings, base.folder, base.locks) as chroma:
                        for each in known:
                            chroma.drop(each.name)
            with catalog.write() as connection:
                for each in known:
                    vectors_sql.drop_collection(connection, each.name)
            for reason in base.meaning.drain(catalog).degraded:
                _log.warning("after an erasure: %s", reason)  # nothing of it is there, which is what counts here
    except (LockTimeoutError, ServiceUnavailableError, DamagedIndexError) as error:
        yield f"the vector index is not told yet: {error}"


def sweep_made(base: OpenBase) -> None:
    """What was made from notes: reports and marts."""
    for room in (base.folder.marts, base.folder.reports):
        for path in room.iterdir() if room.is_dir() else ():
            _remove(path)


def _is_restored(base: OpenBase) -> bool:
    """Whether there was a restore lately: what it has replaced may have been theirs, and reports be made from that."""
    return base.folder.restore_dir.is_dir() and bool(replaced(base.folder, datetime.now(UTC)))


def _swept_restores(base: OpenBase) -> Iterator[str]:
    """Databases that restores have replaced, or refused, which maintenance would keep for a week. The newest stays
    where no backup has what it has. catalog.lock is held, so no restore is under way."""
    folder = base.folder
    if not folder.restore_dir.is_dir():
        return
    old = replaced(folder, datetime.now(UTC))
    for path, age in old:
        if path == old[-1][0] and not _is_backed_up(base, utc_text(datetime.now(UTC) - age)):
            yield f"{path.name} stays, which a restore has replaced: no backup has what it has; make one"
        else:
            _remove(path)
    refused, staged = folder.restore_dir / "refused", staged_path(folder).name
    for path in folder.restore_dir.iterdir():
        if path == refused or path.name.startswith(staged) or durable.is_temporary(path):
            _remove(path)


def _is_backed_up(base: OpenBase, moment: str) -> bool:
    """Whether there is a good backup since then, or the one that the restore itself made before."""
    good = [each.manifest for each in BackupStore(base.folder.backups).snapshots() if each.is_good and each.manifest]
    before = [each for each in good if each.created_at <= moment]
    return len(before) < len(good) or (bool(before) and before[-1].trigger == PRE_RESTORE)


def _cut_log(catalog: Catalog) -> Iterator[str]:
    for _ in range(_CHECKPOINTS):
        if catalog.checkpoint():
            return
    yield "the write-ahead log is not cut yet: somebody reads the database for long"


def _remove(path: Path) -> None:
    """Also a folder that somebody is still filling: marts or a report that are being built, who then find it gone."""
    if not path.is_dir() or path.is_symlink():
        durable.remove(path)
        return
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_REMOVAL_REST)
    shutil.rmtree(path)


def _forgetting(base: OpenBase, now: datetime) -> Forgetting:
    store, is_copied = BackupStore(base.folder.backups), base.settings.off_site is not None
    return forgetting(store, ZoneInfo(base.settings.timezone), now, off_site=is_copied)
