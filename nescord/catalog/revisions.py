"""SQL of what notes of ours said before: kept when they are merged, so that a merge can be taken back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import Scope

# Of each note; what merges have replaced is kept besides, as long as the note is there that it went into.
KEPT_EDITS = 5


class Revision(NamedTuple):
    """A note as it was. Lists and mappings are JSON text, as in the tables that they come from."""

    merge: str
    merged_into: str
    note_id: str
    path: str
    title: str
    body: str
    front_matter: str
    aliases: str
    tags: str
    names: str
    lang: str
    author: str
    space: str
    kind: str
    origin: str
    created_at: str
    updated_at: str


class PlaceOfNote(NamedTuple):
    """What stands in no Note: its number, its source's, where it was said, and whether it is in the trash."""

    key: int
    source: int
    origin: str
    is_trashed: bool


_COLUMNS = ", ".join(Revision._fields)


def keep(connection: apsw.Connection, note_id: str, *, merge: str, merged_into: str, when: str) -> None:
    """Keep what a note says now, before it is replaced."""
    connection.execute(
        f"INSERT INTO note_revision ({_COLUMNS}, replaced_at) "
        "SELECT ?, ?, note.id, path, title, body, front_matter, aliases, "
        "(SELECT json_group_array(name) FROM tag WHERE tag.note = note.key), "
        "(SELECT json_group_array(name) FROM note_name WHERE note_name.note = note.key), "
        "lang, author, space, kind, origin, created_at, updated_at, ? "
        "FROM note JOIN note_text ON note_text.note = note.key WHERE note.id = ?",
        (merge, merged_into, when, note_id),
    )
    connection.execute(
        "DELETE FROM note_revision WHERE note_id = ?1 AND merge = '' AND id NOT IN "
        "(SELECT id FROM note_revision WHERE note_id = ?1 AND merge = '' ORDER BY id DESC LIMIT ?2)",
        (note_id, KEPT_EDITS),
    )


def last_merge(connection: apsw.Connection, note_id: str) -> list[Revision]:
    """All that the last merge into this note has replaced, the note's own earlier text first; empty: there was none."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM note_revision WHERE merge = (SELECT merge FROM note_revision "
        "WHERE merged_into = ? AND merge <> '' ORDER BY id DESC LIMIT 1) ORDER BY id",
        (note_id,),
    )
    return [Revision(*row) for row in rows]


def drop_merge(connection: apsw.Connection, merge: str) -> None:
    """A merge was taken back."""
    connection.execute("DELETE FROM note_revision WHERE merge = ?", (merge,))


def forget(connection: apsw.Connection, note_ids: Iterable[str]) -> None:
    """Delete what erased notes said, and what went into them; they are gone already. Of a note that is still there, in
    the trash or back from it, only what went into them goes. A database of former days has no revisions."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'note_revision'").get:
        return
    connection.executemany(
        "WITH RECURSIVE gone (id) AS (SELECT ? UNION SELECT note_id FROM note_revision JOIN gone "
        "ON merged_into = gone.id WHERE NOT EXISTS (SELECT 1 FROM note WHERE id = note_id)) "
        "DELETE FROM note_revision WHERE note_id IN gone OR merged_into IN gone",
        ((note_id,) for note_id in note_ids),
    )


def give_back_names(connection: apsw.Connection, note_id: str) -> None:
    """Links lead to a note again that is back from the trash, by all names that it had: no more to the one that it was
    merged into."""
    connection.execute(
        "DELETE FROM note_name WHERE (name, note) IN (SELECT borrowed.value, holder.key FROM note_revision AS lent, "
        "json_each(lent.names) AS borrowed JOIN note AS holder ON holder.id = lent.merged_into "
        "WHERE lent.note_id = ?1 AND lent.merged_into <> ?1 AND borrowed.value NOT IN (SELECT value "
        "FROM note_revision AS own, json_each(own.names) "
        "WHERE own.merge = lent.merge AND own.note_id = lent.merged_into))",
        (note_id,),
    )
    # It may have taken notes in itself, by whose names it was called, too, unless they are back.
    connection.execute(
        "INSERT OR IGNORE INTO note_name SELECT borrowed.value, note.key FROM (SELECT names FROM note_revision "
        "WHERE note_id = ?1 AND merged_into <> ?1 AND merge <> '' ORDER BY id DESC LIMIT 1) AS lent, "
        "json_each(lent.names) AS borrowed JOIN note ON note.id = ?1 WHERE NOT EXISTS (SELECT 1 FROM note_name AS held "
        "JOIN note AS holder ON holder.key = held.note "
        "WHERE held.name = borrowed.value AND holder.trashed_at IS NULL AND holder.id <> ?1)",
        (note_id,),
    )


def names_of(connection: apsw.Connection, key: int) -> list[str]:
    """By which names links may call a note."""
    return [str(name) for (name,) in connection.execute("SELECT name FROM note_name WHERE note = ?", (key,))]


def place_of(connection: apsw.Connection, note_id: str) -> PlaceOfNote | None:
    """Where a note is; None where there is no note of that id (any more)."""
    row = connection.execute(
        "SELECT key, source, origin, trashed_at IS NOT NULL FROM note WHERE id = ?", (note_id,)
    ).fetchone()
    return None if row is None else PlaceOfNote(int(row[0]), int(row[1]), str(row[2]), bool(row[3]))


def count_links(connection: apsw.Connection, scope: Scope, key: int, names: Iterable[str]) -> int:
    """How many links of other notes that the scope may see call a note by one of these names."""
    query = (
        "SELECT count(*) FROM link JOIN note ON note.key = link.note WHERE link.name = ?1 AND link.note <> ?2 "
        "AND (?3 IS NULL OR note.space IN (SELECT value FROM json_each(?3)))"
    )
    spaces = spaces_json(scope)
    return sum(int(connection.execute(query, (name, key, spaces)).get) for name in names)
