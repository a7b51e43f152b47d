"""One note out of the backups: the commonest restore of all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

from nescord.backup.erasures import erased
from nescord.backup.restore import choose, copied
from nescord.backup.store import BackupStore
from nescord.catalog import notes as notes_sql
from nescord.catalog.database import Catalog
from nescord.errors import BackupError, DamagedBackupError, NotFoundError, UsageError
from nescord.locks import LockName
from nescord.notes import Note, Scope
from nescord.opened import OpenBase


def note_from_backup(base: OpenBase, wanted: str, at: str | None) -> tuple[Note, str]:
    """A note (id, path or name) as the newest snapshot has it that has it at all, and that snapshot's id.

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
        gone = erased(base.folder.backups)
        for snapshot in reversed(store.snapshots()):
            if snapshot.manifest is None or snapshot.status.state != "good" or snapshot.seq > newest.seq:
                continue
            try:
                with copied(store, snapshot.manifest) as copy:
                    found = [note for note in _find(copy, wanted) if note.id not in gone]
            except DamagedBackupError:
                continue  # an older one may have it, and a check will tell of this one
            if len(found) > 1:
                choices = ", ".join(f"{note.path} ({note.id})" for note in found[:5])
                raise UsageError(f'"{wanted}" fits {len(found)} notes of {snapshot.id}: {choices}: name one by its id')
            if found:
                return found[0], snapshot.id
    raise NotFoundError(f'no note "{wanted}" in any good backup{f" from {at} or before" if at else ""}')


def _find(copy: Path, wanted: str) -> list[Note]:
    with closing(Catalog(copy)) as catalog:
        if catalog.is_behind:
            catalog.bring_up_to_date(copy.parent)
        with catalog.read() as connection:
            return notes_sql.find(connection, wanted, Scope())
