"""A note that is gone comes back: out of the trash, or as a backup has it.

What comes from a backup is ours from then on, since no file stands behind it. A note that is alive is never touched.
"""

from __future__ import annotations

from dataclasses import replace

import apsw

from nescord.attachments import drafted
from nescord.backup.notes import NoteThen
from nescord.catalog import attachments as attachments_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog.notes import IndexedChunk
from nescord.drafting import Drafting
from nescord.identifiers import uuid7
from nescord.keeping_notes import revive
from nescord.notes import Note, Scope


def from_trash(connection: apsw.Connection, drafting: Drafting, note: Note) -> None:
    """Bring back a note that is in the trash, under another path where its own is taken; one of a vault becomes ours.

    The caller holds the write transaction.
    """
    home = sources_sql.captures(connection)
    path = _free(connection, home.id, note.path, note.id)
    if note.owner == "us":
        revive(connection, drafting, note, path)
        return
    draft = drafting.restored(note, source=home.id, path=path)
    notes_sql.restore(connection, note.id, draft, [IndexedChunk.of(chunk) for chunk in draft.chunks])
    revisions_sql.give_back_names(connection, note.id)


def from_backup(connection: apsw.Connection, drafting: Drafting, then: NoteThen) -> str:
    """Bring back a note as it was then, beside it where it is alive; the id that it has now.

    The caller holds the write transaction.
    """
    note = then.note
    home = sources_sql.captures(connection)
    present = notes_sql.find(connection, note.id, Scope())
    is_alive = bool(present) and not present[0].trashed_at
    note_id = str(uuid7()) if is_alive else note.id
    path = _free(connection, home.id, f"{then.snapshot}/{note.path}" if is_alive else note.path, note_id)
    draft = replace(drafting.restored(note, source=home.id, path=path), origin=then.origin)
    chunks = [IndexedChunk.of(chunk) for chunk in draft.chunks]
    if present and not is_alive:
        # Its files are still there: they never change.
        notes_sql.restore(connection, note_id, draft, chunks)
        revisions_sql.give_back_names(connection, note_id)
    else:
        notes_sql.insert(connection, [(note_id, draft, chunks)])
        attachments_sql.insert(connection, note_id, drafted(then.attachments, is_limited=False))
    return note_id


def _free(connection: apsw.Connection, source: int, path: str, note_id: str) -> str:
    return f"{note_id}/{path}" if notes_sql.is_taken(connection, source, path) else path
