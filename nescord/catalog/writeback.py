"""SQL of notes of ours that are files of a vault in git, too.

A row joins a note with its file: on what both agreed last, and what was sent since and may or may not have arrived. A
file is known by its row and by nothing that stands in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import NamedTuple

import apsw

from nescord.sources.vault import Fingerprint, KnownFile

UNSEEN: Fingerprint = (0, 0, 0, 0)


class Row(NamedTuple):
    """See the table. `state`: new (never there), there, gone (it was there, and was removed)."""

    note_id: str
    source: int
    path: str
    raw_path: bytes | None
    state: str
    blob: str
    content_hash: bytes
    note_hash: bytes
    seen: str


class Sent(NamedTuple):
    """A file that was pushed, or was about to be; `blob` "": its removal."""

    note_id: str
    blob: str
    content_hash: bytes
    note_hash: bytes


class Condition(NamedTuple):
    """A note that may have to be written: its id, and when it was changed last."""

    note_id: str
    updated_at: str


_COLUMNS = ", ".join(f"writeback.{name}" for name in Row._fields)
_IN_SPACES = "note.space IN (SELECT value FROM json_each(:spaces))"
# Only what was captured: what was taken in from elsewhere has its own place.
_DUE = f"""
SELECT note.id, note.updated_at FROM note JOIN source ON source.id = note.source
LEFT JOIN writeback ON writeback.note_id = note.id
LEFT JOIN source AS home ON home.id = writeback.source
WHERE note.owner = 'us' AND source.kind = 'capture' AND note.trashed_at IS NULL AND {_IN_SPACES}
AND (writeback.note_id IS NULL OR home.removed_at IS NOT NULL
     OR (writeback.source = :source AND (writeback.state <> 'there' OR writeback.seen <> note.updated_at)))
ORDER BY note.key
"""


def fingerprints(connection: apsw.Connection, source: int) -> list[KnownFile]:
    """(path, raw_path, size, mtime_ns, ctime_ns, inode) of the files of notes of ours in that vault."""
    rows: list[KnownFile] = connection.execute(
        "SELECT path, raw_path, size, mtime_ns, ctime_ns, inode FROM writeback WHERE source = ? AND state = 'there'",
        (source,),
    ).fetchall()  # type: ignore[assignment]  # APSW cannot know the columns
    return rows


def rows_of(connection: apsw.Connection, source: int) -> list[Row]:
    """All rows of a vault, by path."""
    query = f"SELECT {_COLUMNS} FROM writeback WHERE source = ? ORDER BY path"
    return [Row(*row) for row in connection.execute(query, (source,))]


def row_of(connection: apsw.Connection, note_id: str) -> Row | None:
    """The row of a note, if it has one."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM writeback WHERE note_id = ?", (note_id,)).fetchone()
    return None if row is None else Row(*row)


def sent_of(connection: apsw.Connection, source: int) -> dict[str, list[Sent]]:
    """What was sent and is not known to have arrived, by note."""
    sent: dict[str, list[Sent]] = {}
    rows = connection.execute(
        "SELECT note_id, writeback_push.blob, writeback_push.content_hash, writeback_push.note_hash "
        "FROM writeback_push JOIN writeback USING (note_id) WHERE source = ?",
        (source,),
    )
    for row in rows:
        each = Sent(*row)
        sent.setdefault(each.note_id, []).append(each)
    return sent


def due(connection: apsw.Connection, source: int, spaces: Iterable[str]) -> list[Condition]:
    """The living captured notes of those spaces that have no file in that vault, or may say something else than it."""
    rows = connection.execute(_DUE, {"source": source, "spaces": json.dumps(sorted(spaces))})
    return [Condition(*row) for row in rows]


def removable(connection: apsw.Connection, source: int) -> list[Row]:
    """The rows of files whose notes are in the trash or were erased, also where it is not known that they arrived."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM writeback LEFT JOIN note ON note.id = note_id "
        "WHERE writeback.source = ? AND (note.id IS NULL OR (state = 'there' AND note.trashed_at IS NOT NULL)) "
        "ORDER BY writeback.path",
        (source,),
    )
    return [Row(*row) for row in rows]


def count_erased(connection: apsw.Connection) -> int:
    """How many files there are in git whose notes were erased."""
    query = "SELECT count(*) FROM writeback WHERE NOT EXISTS (SELECT 1 FROM note WHERE note.id = note_id)"
    return int(connection.execute(query).get)


def updated_at(connection: apsw.Connection, note_id: str) -> str | None:
    """When a living note was changed last; None where it is not there any more."""
    found: str | None = connection.execute(
        "SELECT updated_at FROM note WHERE id = ? AND trashed_at IS NULL", (note_id,)
    ).get
    return found


def begin(connection: apsw.Connection, note_id: str, source: int, path: str) -> None:
    """Keep a path for the file of a note that has none. It may have had one in a vault that is no more."""
    connection.execute(
        f"INSERT INTO writeback ({', '.join(Row._fields)}, size, mtime_ns, ctime_ns, inode) "
        "VALUES (?, ?, ?, NULL, 'new', '', x'', x'', '', 0, 0, 0, 0) ON CONFLICT (note_id) DO UPDATE SET "
        "source = excluded.source, path = excluded.path, raw_path = NULL, state = 'new', blob = '', "
        "content_hash = x'', note_hash = x'', seen = ''",
        (note_id, source, path),
    )


def send(connection: apsw.Connection, sent: Iterable[Sent]) -> None:
    """These are about to be pushed."""
    connection.executemany("INSERT OR REPLACE INTO writeback_push VALUES (?, ?, ?, ?)", sent)


def forget_removals(connection: apsw.Connection, note_ids: Iterable[str]) -> None:
    """That these files were to be removed has not arrived, or has had its effect."""
    connection.executemany(
        "DELETE FROM writeback_push WHERE note_id = ? AND blob = ''", ((note_id,) for note_id in note_ids)
    )


def agree(
    connection: apsw.Connection, note_id: str, *, blob: str, content_hash: bytes, note_hash: bytes, seen: str
) -> None:
    """File and note are of one mind: nothing that was sent before can arrive any more. `blob` "" leaves it unknown."""
    connection.execute(
        "UPDATE writeback SET state = 'there', blob = ?, content_hash = ?, note_hash = ?, seen = ? WHERE note_id = ?",
        (blob, content_hash, note_hash, seen, note_id),
    )
    connection.execute("DELETE FROM writeback_push WHERE note_id = ?", (note_id,))


def see(connection: apsw.Connection, rows: Iterable[tuple[str, str]]) -> None:
    """(note id, updated_at): the note says what it said when it was agreed on."""
    connection.executemany("UPDATE writeback SET seen = ? WHERE note_id = ?", ((seen, key) for key, seen in rows))


def touch(connection: apsw.Connection, rows: Iterable[tuple[str, Fingerprint]]) -> None:
    """The file was looked into; this is how it is known again."""
    connection.executemany(
        "UPDATE writeback SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ? WHERE note_id = ?",
        ((*print_, note_id) for note_id, print_ in rows),
    )


def move(connection: apsw.Connection, note_id: str, path: str, raw_path: bytes | None) -> None:
    """The file has another name now."""
    connection.execute("UPDATE writeback SET path = ?, raw_path = ? WHERE note_id = ?", (path, raw_path, note_id))


def gone(connection: apsw.Connection, note_ids: Iterable[str]) -> None:
    """The files are not there any more. Of an erased note nothing stays, not even what its file was called."""
    for note_id in note_ids:
        connection.execute("UPDATE writeback SET state = 'gone' WHERE note_id = ?", (note_id,))
        forget_removals(connection, [note_id])
        connection.execute(
            "DELETE FROM writeback WHERE note_id = ?1 AND NOT EXISTS (SELECT 1 FROM note WHERE id = ?1)", (note_id,)
        )


def drop(connection: apsw.Connection, note_ids: Iterable[str]) -> None:
    """The note has no file, and the path is free for what is there."""
    connection.executemany("DELETE FROM writeback WHERE note_id = ?", ((note_id,) for note_id in note_ids))


def leave(connection: apsw.Connection, name: str, root: str) -> None:
    """The source of that name, if it was removed, comes back from the folder `root`: what is remembered of files is
    about those of another one, where it came from there."""
    connection.execute(
        "DELETE FROM writeback WHERE source IN (SELECT id FROM source WHERE name = ? AND root <> ?)", (name, root)
    )


def keys_of(connection: apsw.Connection, note_ids: Collection[str]) -> dict[str, int]:
    """Of these notes, the key of each that is there and not in the trash."""
    rows = connection.execute(
        "SELECT id, key FROM note WHERE trashed_at IS NULL AND id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(note_ids)),),
    )
    return {str(note_id): int(key) for note_id, key in rows}


def claimants(connection: apsw.Connection, source: int, note_id: str, folder: str) -> list[str]:
    """The living notes of the vault itself, below that folder, whose files say that they are this note."""
    first, last = (f"{folder}/", f"{folder}0") if folder else ("", "\U0010ffff")
    rows = connection.execute(
        "SELECT note.id FROM note JOIN note_text ON note_text.note = note.key WHERE source = ? AND owner = 'source' "
        "AND trashed_at IS NULL AND path >= ? AND path < ? AND front_matter ->> 'id' = ? ORDER BY path",
        (source, first, last, note_id),
    )
    return [str(found) for (found,) in rows]


def file_of(connection: apsw.Connection, note_id: str) -> tuple[int, str, bytes | None, bytes]:
    """(key, path, raw path, content hash) of a note of a vault."""
    key, path, raw_path, content_hash = connection.execute(
        "SELECT key, path, raw_path, content_hash FROM note WHERE id = ?", (note_id,)
    ).get
    return int(key), str(path), raw_path, bytes(content_hash)


def paths_of(connection: apsw.Connection, source: int) -> list[str]:
    """Every path that a note of that vault, or a captured one, has or had: none of them is to be given away."""
    rows = connection.execute(
        "SELECT path FROM writeback WHERE source = ?1 UNION SELECT path FROM note WHERE source = ?1 UNION "
        "SELECT note.path FROM note JOIN source ON source.id = note.source WHERE source.kind = 'capture'",
        (source,),
    )
    return [str(path) for (path,) in rows]
