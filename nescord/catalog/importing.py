"""SQL of notes that come from no folder: exports, and the databases of other programs (`nescord.importing`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import apsw

from nescord.catalog import attachments
from nescord.catalog import sources as sources_sql
from nescord.catalog.attachments import DraftAttachment
from nescord.catalog.revisions import Revision
from nescord.catalog.sources import Source

_COLUMNS = "path, key, id, owner, content_hash, mtime_ns, created_at, trashed_at IS NOT NULL"


@dataclass(frozen=True, slots=True)
class ImportedNote:
    """What an import needs of a stored note. `mark` is what it left there: another one means that the note was changed
    by somebody else since."""

    path: str
    key: int
    note_id: str
    owner: Literal["source", "us"]
    content_hash: bytes
    mark: int
    created_at: str
    is_trashed: int


def mark_of(digest: bytes) -> int:
    """What stands in the place of a file's time in a note that is as it was imported. An edit through us puts 0 there,
    a file of a vault its own time."""
    return int.from_bytes(digest[:8], "big") >> 1 | 1


def source_of(connection: apsw.Connection, name: str, root: str, space: str, shape: str) -> Source:
    """The source of that root, back if it was removed; registered under a free name where there is none."""
    former: str | None = connection.execute(
        "SELECT name FROM source WHERE root = ? AND kind <> 'capture' ORDER BY removed_at IS NOT NULL, id", (root,)
    ).get
    if former is None:
        return sources_sql.add(connection, sources_sql.free_name(connection, name), "folder", root, space, shape)
    known = sources_sql.by_name(connection, former)
    return known or sources_sql.add(connection, former, "folder", root, space, shape)


def move_space(connection: apsw.Connection, source: Source, space: str) -> None:
    """Let the notes of a source, those that it owns, be seen in another space; not those of a space of their own."""
    connection.execute("UPDATE source SET space = ? WHERE id = ?", (space, source.id))
    connection.execute(
        "UPDATE note SET space = ? WHERE source = ? AND owner = 'source' AND space = ?",
        (space, source.id, source.space),
    )


def known(connection: apsw.Connection, source: int) -> list[ImportedNote]:
    """The notes of a source, whoever owns them: those in the trash first, the one trashed last as the last of them."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM note WHERE source = ? ORDER BY trashed_at IS NULL, trashed_at", (source,)
    )
    return [ImportedNote(*row) for row in rows]


def known_again(connection: apsw.Connection, keys: Iterable[int]) -> dict[int, ImportedNote]:
    """The notes with these keys, as they are now, by key; without those that are gone."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM note WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
    )
    return {note.key: note for row in rows if (note := ImportedNote(*row))}


def root_of(connection: apsw.Connection, note_id: str) -> str:
    """The root of the source of a note, be it removed; "" where there is no such note."""
    root: str | None = connection.execute(
        "SELECT root FROM source JOIN note ON note.source = source.id WHERE note.id = ?", (note_id,)
    ).get
    return root or ""


def place(connection: apsw.Connection, note_id: str) -> str:
    """Where the note with that id is, be it in the trash, in words; "": there is none."""
    row = connection.execute(
        "SELECT note.path, source.name FROM note JOIN source ON source.id = note.source WHERE note.id = ?", (note_id,)
    ).fetchone()
    return "" if row is None else f'{row[0]} of "{row[1]}"'


def set_history(connection: apsw.Connection, note_id: str, former: Iterable[tuple[Revision, str]]) -> None:
    """What a note said before, (revision, replaced at), in place of whatever was kept of its edits so far."""
    connection.execute("DELETE FROM note_revision WHERE note_id = ? AND merge = ''", (note_id,))
    columns = ", ".join(Revision._fields)
    connection.executemany(
        f"INSERT INTO note_revision ({columns}, replaced_at) VALUES ({'?, ' * len(Revision._fields)}?)",
        ((*revision._replace(note_id=note_id), when) for revision, when in former),
    )


def set_attachments(connection: apsw.Connection, note_id: str, drafts: Sequence[DraftAttachment]) -> None:
    """The files of a note, in place of those that it had."""
    key: int = connection.execute("SELECT key FROM note WHERE id = ?", (note_id,)).get
    blobs = attachments.blobs_of(connection, key)
    connection.execute("DELETE FROM attachment WHERE note = ?", (key,))
    attachments.insert(connection, note_id, drafts)
    attachments.drop_unused(connection, blobs)
