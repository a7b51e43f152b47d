"""What is exported of each note, read one by one from one view of the database: memory holds a single note."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from nescord.catalog import attachments as attachments_sql
from nescord.catalog import exporting as sql
from nescord.catalog import keeping as keeping_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog.exporting import StoredFile
from nescord.notes import Note, NoteVersion, Scope


@dataclass(frozen=True, slots=True)
class ExportedNote:
    """A note with what it does not say of itself. `versions` is empty unless they were asked for, the oldest first."""

    note: Note
    origin: str
    files: tuple[StoredFile, ...]
    versions: tuple[NoteVersion, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One view of the notes of a scope, for the length of the transaction that the caller holds."""

    connection: apsw.Connection
    scope: Scope
    revisions: bool

    def notes(self) -> Iterator[ExportedNote]:
        """The living notes in the order of their ids."""
        for note_id in sql.ids(self.connection, self.scope):
            (note,) = notes_sql.find(self.connection, note_id, self.scope)
            versions = keeping_sql.versions(self.connection, note_id, self.scope) if self.revisions else []
            yield ExportedNote(
                note,
                sql.origin(self.connection, note_id),
                tuple(sql.files(self.connection, note_id)),
                tuple(reversed(versions)),
            )

    def content(self, note: Note, file: StoredFile) -> bytes | None:
        """The bytes of a file; None where they are not stored."""
        return attachments_sql.content(self.connection, note.id, file.ordinal)
