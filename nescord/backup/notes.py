"""One note out of the backups: the commonest restore of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from nescord.backup.erasures import erased, erased_people
from nescord.backup.restore import choose, copied
from nescord.backup.store import BackupStore
from nescord.catalog import attachments as attachments_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import privacy as privacy_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog.database import Catalog
from nescord.errors import BackupError, DamagedBackupError, NotFoundError, UsageError
from nescord.locks import LockName
from nescord.notes import Attachment, Note, Scope
from nescord.opened import OpenBase


@dataclass(frozen=True, slots=True)
class NoteThen:
    """A note as the snapshot of that id has it, with its files and where it was said."""

    note: Note
    origin: str
    attachments: Sequence[Attachment]
    snapshot: str


def note_from_backup(base: OpenBase, wanted: str, at: str | None) -> NoteThen:
    """A note (id, path or name) as the newest snapshot has it that has it at all.

    With `at` (a date or moment) only snapshots from before its end count. The caller holds no lock of backups.

    Raises:
        NotFoundError: no good snapshot has it, or it was erased for good. UsageError: several notes fit.
    """
    store = BackupStore(base.folder.backups)
    with base.locks.shared(LockName.BACKUPS):
        try:
            newest = choose(store, None, at, ZoneInfo(base.settings.timezone))
        except BackupError as error:
            raise NotFoundError(f'no note "{wanted}" could be looked for: {error}') from error
        gone, people = erased(base.folder.backups), erased_people(base.folder.backups)
        for snapshot in reversed(store.snapshots()):
            if snapshot.manifest is None or snapshot.status.state != "good" or snapshot.seq > newest.seq:
                continue
            try:
                with copied(store, snapshot.manifest) as copy:
                    found = _find(copy, wanted, gone, people, snapshot.id)
            except DamagedBackupError:
                continue  # an older one may have it, and a check will tell of this one
            if found is not None:
                return found
    raise NotFoundError(f'no note "{wanted}" in any good backup{f" from {at} or before" if at else ""}')


def _find(copy: Path, wanted: str, erased_notes: set[str], people: Mapping[str, str], snapshot: str) -> NoteThen | None:
    with closing(Catalog(copy)) as catalog:
        if catalog.is_behind:
            catalog.bring_up_to_date(copy.parent)
        with catalog.read() as connection:
            theirs = (privacy_sql.note_ids(connection, who, before) for who, before in people.items())
            gone = erased_notes.union(*theirs)
            found = [note for note in notes_sql.find(connection, wanted, Scope()) if note.id not in gone]
            if len(found) > 1:
                choices = ", ".join(f"{note.path} ({note.id})" for note in found[:5])
                raise UsageError(f'"{wanted}" fits {len(found)} notes of {snapshot}: {choices}: name one by its id')
            if not found:
                return None
            place = revisions_sql.place_of(connection, found[0].id)
            assert place is not None  # it was just read
            files = attachments_sql.with_content(connection, found[0].id)
            return NoteThen(found[0], place.origin, files, snapshot)
