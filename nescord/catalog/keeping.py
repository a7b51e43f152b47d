"""SQL of lists of notes and tags, for those who choose one: newest first, and only what a scope may see.

A person who types waits for each letter, so these are made for speed: on 40,000 notes a list takes a few milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import NoteTitle, NoteVersion, Scope
from nescord.words import normalise

_ALIVE = "note.trashed_at IS NULL AND (:spaces IS NULL OR note.space IN (SELECT value FROM json_each(:spaces)))"
_TITLE = "SELECT note.id, note.title, note.path, note.updated_at, note.space, note.owner FROM note"
# So many of the newest are looked at one by one: what is typed first fits many, and those are enough.
_NEWEST = 1000

_RECENT = f"""
{_TITLE} WHERE {_ALIVE} AND (:author = '' OR (note.author = :author AND note.owner = 'us'))
AND (:tag = '' OR EXISTS (SELECT 1 FROM tag WHERE tag.note = note.key
                          AND (name = :tag OR (name > :tag || '/' AND name < :tag || '0'))))
ORDER BY note.updated_at DESC, note.key DESC LIMIT :limit OFFSET :offset
"""

_NEWEST_TITLES = f"""
SELECT note.key, note.title FROM note INDEXED BY note_recent
WHERE {_ALIVE} AND (NOT :ours OR note.owner = 'us') ORDER BY note.updated_at DESC, note.key DESC LIMIT :limit
"""

# In blocks of notes that were stored one after the other: a block whose notes did not change is the same text again.
_BLOCK = 512
_BLOCK_TITLES = f"""
SELECT group_concat(note.key), group_concat(replace(note.title, char(10), ' '), char(10))
FROM note INDEXED BY note_title
WHERE {_ALIVE} AND (NOT :ours OR note.owner = 'us') AND note.key >= :first AND note.key < :first + :size
"""

_CHOSEN = f"""
{_TITLE} WHERE {_ALIVE} AND note.key IN (SELECT value FROM json_each(:keys))
ORDER BY note.updated_at DESC, note.key DESC LIMIT :limit
"""

_SEEN = "SELECT note.key FROM note INDEXED BY note_recent WHERE " + _ALIVE
_HIDDEN = """
SELECT note.key FROM note WHERE note.trashed_at IS NOT NULL
UNION ALL
SELECT note.key FROM note INDEXED BY note_recent
WHERE note.trashed_at IS NULL AND :spaces IS NOT NULL AND note.space NOT IN (SELECT value FROM json_each(:spaces))
"""
_COUNTS = "SELECT name, count(*) FROM tag {} GROUP BY name"
# A step from each name to the next: there are a hundred times as many rows.
_NAMES = """
WITH RECURSIVE step (name) AS (
    SELECT min(name) FROM tag UNION ALL
    SELECT (SELECT min(name) FROM tag WHERE tag.name > step.name) FROM step WHERE step.name IS NOT NULL
) SELECT name FROM step WHERE name IS NOT NULL
"""
_OF_NAMES = f"""
SELECT name, count(*) FROM tag CROSS JOIN note INDEXED BY note_title ON note.key = tag.note
WHERE name IN (SELECT value FROM json_each(:names)) AND {_ALIVE} GROUP BY name
"""
_OF_NOTES = _COUNTS.format("WHERE note IN ({})")

_VERSIONS = """
SELECT id, replaced_at, title, body, tags FROM note_revision WHERE note_id = :note
AND (:spaces IS NULL OR space IN (SELECT value FROM json_each(:spaces))) ORDER BY id DESC
"""


def recent(
    connection: apsw.Connection, scope: Scope, limit: int, offset: int, author: str, tag: str
) -> list[NoteTitle]:
    """The living notes, the one changed last first; of that author (notes of ours only), with that tag or one below."""
    rows = connection.execute(
        _RECENT, {"spaces": spaces_json(scope), "author": author, "tag": tag, "limit": limit, "offset": offset}
    )
    return [NoteTitle(*row) for row in rows]


def titles(connection: apsw.Connection, scope: Scope, typed: str, limit: int, *, ours_only: bool) -> list[NoteTitle]:
    """The living notes whose title holds `typed`, normalised, the one changed last first."""
    needle = normalise(typed)
    asked: dict[str, str | int | None] = {"spaces": spaces_json(scope), "ours": ours_only, "limit": max(limit, _NEWEST)}
    newest = connection.execute(_NEWEST_TITLES, asked).fetchall()
    keys = [int(str(key)) for key, title in newest if needle in normalise(str(title))]
    if len(keys) < limit and len(newest) == asked["limit"]:
        keys = list(_keys_of(connection, needle, asked))
    chosen = {"spaces": asked["spaces"], "keys": json.dumps(keys), "limit": limit}
    return [NoteTitle(*row) for row in connection.execute(_CHOSEN, chosen)]


def _keys_of(connection: apsw.Connection, needle: str, asked: dict[str, str | int | None]) -> Iterator[int]:
    last: int = connection.execute("SELECT coalesce(max(key), 0) FROM note").get
    for first in range(0, last + 1, _BLOCK):
        numbers, block = connection.execute(_BLOCK_TITLES, asked | {"first": first, "size": _BLOCK}).get
        if block is not None and needle in (folded := _folded(block)):
            lines = zip(numbers.split(","), folded.split("\n"), strict=True)
            yield from (int(number) for number, title in lines if needle in title)


# Some 40 KB each, with what it was made from.
@lru_cache(maxsize=160)
def _folded(block: str) -> str:
    return normalise(block)


def tag_counts(connection: apsw.Connection, scope: Scope, typed: str) -> dict[str, int]:
    """How many living notes in scope have each of the tags that hold `typed`."""
    names = [str(name) for (name,) in connection.execute(_NAMES)]
    wanted = [name for name in names if typed in name]
    spaces = {"spaces": spaces_json(scope)}
    if len(wanted) * 4 < len(names):
        return dict(_counted(connection, _OF_NAMES, spaces | {"names": json.dumps(wanted)}))
    seen: int = connection.execute(f"SELECT count(*) FROM ({_SEEN})", spaces).get
    hidden: int = connection.execute(f"SELECT count(*) FROM ({_HIDDEN})", spaces).get
    if seen <= hidden:
        counts = dict(_counted(connection, _OF_NOTES.format(_SEEN), spaces))
    else:
        # All of them are counted in the order of an index; the notes of which there are fewer are looked up.
        counts = dict(_counted(connection, _COUNTS.format("")))
        for name, count in _counted(connection, _OF_NOTES.format(_HIDDEN), spaces):
            counts[name] -= count
    return {name: counts[name] for name in wanted if counts.get(name)}


def _counted(
    connection: apsw.Connection, query: str, bindings: dict[str, str | None] | None = None
) -> Iterator[tuple[str, int]]:
    return ((str(name), int(str(count))) for name, count in connection.execute(query, bindings))


def kept_from(connection: apsw.Connection, origin: str, space: str) -> str | None:
    """The id of the first living note of ours in that space that was kept from there."""
    found: str | None = connection.execute(
        "SELECT id FROM note WHERE origin = ? AND origin <> '' AND space = ? AND owner = 'us' AND trashed_at IS NULL "
        "ORDER BY key LIMIT 1",
        (origin, space),
    ).get
    return found


def space_of(connection: apsw.Connection, note_id: str) -> str | None:
    """Where the note of that id is, be it in the trash; None where there is none."""
    found: str | None = connection.execute("SELECT space FROM note WHERE id = ?", (note_id,)).get
    return found


def links_of(connection: apsw.Connection, key: int) -> list[tuple[str, str, str, str, str]]:
    """The links of a note as a draft has them."""
    query = "SELECT kind, target, anchor, text, name FROM link WHERE note = ? ORDER BY ordinal"
    rows = connection.execute(query, (key,))
    return [(str(kind), str(target), str(anchor), str(text), str(name)) for kind, target, anchor, text, name in rows]


def versions(connection: apsw.Connection, note_id: str, scope: Scope) -> list[NoteVersion]:
    """What a note said before, the latest first."""
    rows = connection.execute(_VERSIONS, {"note": note_id, "spaces": spaces_json(scope)})
    return [NoteVersion(number, when, title, body, tuple(json.loads(tags))) for number, when, title, body, tags in rows]
