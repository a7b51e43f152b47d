"""The owner's verbs about notes that are gone, or are to go for good."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nescord.catalog import importing as importing_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import privacy as privacy_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog import sources as sources_sql
from nescord.errors import NotFoundError, UsageError
from nescord.locks import LockName
from nescord.notes import Note, Scope, TrashedNote
from nescord.opened import OpenBase
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.backup.notes import NoteThen


class TrashVerbs(ABC):
    """What `KnowledgeManager` has of them."""

    _base: OpenBase

    @abstractmethod
    def note(self, wanted: str) -> Note:
        """The note with that id, path or name."""

    def trash(self) -> list[TrashedNote]:
        """The notes that were deleted, merged into others or lost their files, the latest first."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return notes_sql.all_trashed(connection)

    def restore_note(self, wanted: str, *, at: str | None = None) -> Note:
        """Bring a note back: from the trash, else from the newest backup that has it.

        With `at` (a date or moment) it is the note as a backup from then has it. A note that is alive meanwhile is not
        touched: the old text is stored beside it. What is brought back is ours from then on.

        Raises:
            NotFoundError: there is no such note, in no good backup either. UsageError: it is neither gone nor in the
                trash, and no date is named.
        """
        if at is None:
            try:
                note = self.note(wanted)
            except NotFoundError:
                pass
            else:
                if note.trashed_at:
                    return self._put_back(note.id)
                raise UsageError(
                    f"the note {note.path} ({note.id}) is not in the trash: name a date (--at) to get what it said then"
                )
        from nescord.backup.notes import note_from_backup

        return self._put_back(note_from_backup(self._base, wanted, at))

    def erase_note(self, note_id: str) -> None:
        """Delete a note for good, with the answers that quote it: no restore brings it back. Snapshots hold it until
        they are dropped. Marts and reports, which tell of it, go; the next build makes them without it.

        Raises:
            NotFoundError: there is no such note. UsageError: it would come back from its file.
        """
        note = self.note(note_id)
        if note.owner == "source" and not note.trashed_at and self._is_in_a_folder(note.source):
            raise UsageError(
                f'{note.path} comes from the vault "{note.source}": delete its file and ingest, then erase it'
            )
        from nescord.backup.erasures import remember
        from nescord.privacy import sweep_made
        from nescord.sources.discord_messages import pieces

        with self._base.verb() as catalog, catalog.write() as connection:
            root = importing_sql.root_of(connection, note.id)
            # In an export of some days, or with another gap, they would begin a note of another id.
            messages = [one.id for one in pieces(note.body)] if root.startswith("discord:") else []
            remember(self._base.folder.backups, note.id, utc_text(datetime.now(UTC)), root=root, messages=messages)
            privacy_sql.erase_quotes(connection, [note.id])
            notes_sql.erase(connection, note.id)
            revisions_sql.forget(connection, [note.id])
        sweep_made(self._base)

    def _is_in_a_folder(self, source: str) -> bool:
        """Not so what was imported: of it the next import takes nothing that was erased."""
        with self._base.verb() as catalog, catalog.read() as connection:
            found = sources_sql.by_name(connection, source)
        return found is None or found.root.startswith("/")

    def _put_back(self, gone: NoteThen | str) -> Note:
        from nescord import bringing_back

        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            with catalog.write() as connection:
                if not isinstance(gone, str):
                    note_id = bringing_back.from_backup(connection, self._base.drafting, gone)
                else:
                    note_id = gone
                    found = notes_sql.find(connection, gone, Scope())
                    if found and found[0].trashed_at:
                        bringing_back.from_trash(connection, self._base.drafting, found[0])
            return self.note(note_id)
