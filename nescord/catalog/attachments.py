"""SQL of files that were kept with notes: their bytes lie in the database once, however many notes have them.

`came_with` says how a file came to a note: "" with the note itself, else by merges, the ids of the notes that it went
through, the last first. So what a merge has brought can go back to where it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apsw

from nescord.notes import Attachment, StoredAttachment


@dataclass(frozen=True, slots=True)
class DraftAttachment:
    """A file ready to be written; `sha256` and `content` are None where its bytes are not stored."""

    name: str
    media_type: str
    size: int
    sha256: bytes | None
    content: bytes | None
    reason: str


def insert(connection: apsw.Connection, note_id: str, drafts: Sequence[DraftAttachment]) -> None:
    """Write the files of a new note."""
    for ordinal, draft in enumerate(drafts):
        if draft.content is not None:
            connection.execute(
                "INSERT INTO blob VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING", (draft.sha256, draft.content)
            )
        connection.execute(
            "INSERT INTO attachment (note, ordinal, name, media_type, size, sha256, reason) "
            "SELECT key, ?, ?, ?, ?, ?, ? FROM note WHERE id = ?",
            (ordinal, draft.name, draft.media_type, draft.size, draft.sha256, draft.reason, note_id),
        )


def of_note(connection: apsw.Connection, note_id: str) -> list[StoredAttachment]:
    """The files of a note in order."""
    rows = connection.execute(
        "SELECT ordinal, name, media_type, size, sha256 IS NOT NULL, reason FROM attachment "
        "WHERE note = (SELECT key FROM note WHERE id = ?) ORDER BY ordinal",
        (note_id,),
    )
    return [
        StoredAttachment(ordinal, name, media, size, bool(stored), reason)
        for ordinal, name, media, size, stored, reason in rows
    ]


def content(connection: apsw.Connection, note_id: str, ordinal: int) -> bytes | None:
    """The bytes of a file; None where they are not stored."""
    found: bytes | None = connection.execute(
        "SELECT content FROM attachment JOIN blob USING (sha256) "
        "WHERE note = (SELECT key FROM note WHERE id = ?) AND ordinal = ?",
        (note_id, ordinal),
    ).get
    return found


def with_content(connection: apsw.Connection, note_id: str) -> list[Attachment]:
    """The files of a note with their bytes, to be kept again elsewhere: up to 25 MiB, more after a merge."""
    rows = connection.execute(
        "SELECT name, media_type, content, size, reason FROM attachment LEFT JOIN blob USING (sha256) "
        "WHERE note = (SELECT key FROM note WHERE id = ?) ORDER BY ordinal",
        (note_id,),
    )
    return [Attachment(*row) for row in rows]


def blobs_of(connection: apsw.Connection, key: int) -> list[bytes]:
    """What `drop_unused` is to be asked about when the note is gone. A database of former days has no attachments."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'attachment'").get:
        return []
    rows = connection.execute("SELECT DISTINCT sha256 FROM attachment WHERE note = ? AND sha256 NOT NULL", (key,))
    return [bytes(sha256) for (sha256,) in rows]


def drop_unused(connection: apsw.Connection, blobs: Iterable[bytes]) -> None:
    """Delete those of the bytes that no note has any more."""
    connection.executemany(
        "DELETE FROM blob WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM attachment WHERE sha256 = ?1)",
        ((sha256,) for sha256 in blobs),
    )


def copy_merged(connection: apsw.Connection, source: int, target: int) -> None:
    """Give the note `target` the files of one that is merged into it, after its own (both by their keys)."""
    connection.execute(
        "INSERT INTO attachment SELECT ?2, ordinal + 1 + coalesce((SELECT max(ordinal) FROM attachment "
        "WHERE note = ?2), -1), name, media_type, attachment.size, sha256, reason, rtrim(note.id || ' ' || came_with) "
        "FROM attachment JOIN note ON note.key = attachment.note WHERE attachment.note = ?1",
        (source, target),
    )


def give_back(connection: apsw.Connection, target: int, note_id: str) -> None:
    """Undo `copy_merged`: the files that `target` has of that note are the note's, which may have lost its own."""
    came = (target, note_id)
    connection.execute(
        "INSERT INTO attachment SELECT note.key, row_number() OVER (ORDER BY ordinal) - 1, name, media_type, "
        "attachment.size, sha256, reason, ltrim(substr(came_with, length(?2) + 1)) "
        "FROM attachment JOIN note ON note.id = ?2 "
        "WHERE attachment.note = ?1 AND (came_with = ?2 OR came_with LIKE ?2 || ' %') "
        "AND NOT EXISTS (SELECT 1 FROM attachment AS own WHERE own.note = note.key)",
        came,
    )
    connection.execute("DELETE FROM attachment WHERE note = ?1 AND (came_with = ?2 OR came_with LIKE ?2 || ' %')", came)


def drop_of_erased(connection: apsw.Connection, target: int) -> None:
    """Delete the files that a note has of ones merged into it which were erased since: there is nobody to give them
    back to, and nothing else is left of those notes."""
    of_nobody = (
        "note = ? AND came_with <> '' AND NOT EXISTS (SELECT 1 FROM note WHERE note.id = substr(came_with, 1, 36)) "
        "AND NOT EXISTS (SELECT 1 FROM note_revision WHERE note_id = substr(came_with, 1, 36))"
    )
    blobs = [
        blob for (blob,) in connection.execute(f"SELECT sha256 FROM attachment WHERE {of_nobody}", (target,)) if blob
    ]
    connection.execute(f"DELETE FROM attachment WHERE {of_nobody}", (target,))
    drop_unused(connection, blobs)
