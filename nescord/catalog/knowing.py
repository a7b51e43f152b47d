"""SQL of what looks at many notes at once: names, tags, links and vectors of all that a scope may see.

Every statement applies the scope itself: what comes out of here can be counted, compared and shown as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import Scope


class SeenNote(NamedTuple):
    """A living note that the scope may see. `moments` are when it was written and when it was changed."""

    key: int
    note_id: str
    path: str
    title: str
    source: str
    created_at: str
    updated_at: str


class SeenText(NamedTuple):
    """The text of a living note that the scope may see."""

    note: SeenNote
    body: str


_IS_SEEN = "{0}.trashed_at IS NULL AND (:spaces IS NULL OR {0}.space IN (SELECT value FROM json_each(:spaces)))".format
_COLUMNS = "note.key, note.id, note.path, note.title, source.name, note.created_at, note.updated_at"
_NOTES = f"note JOIN source ON source.id = note.source WHERE {_IS_SEEN('note')}"
# As in `catalog/notes.py`: a name may fit several notes, and one of the same source wins.
LINKED_NOTE = f"""
SELECT other.key FROM note_name JOIN note AS other ON other.key = note_name.note
WHERE note_name.name = link.name AND {_IS_SEEN("other")}
ORDER BY other.source <> note.source, length(other.path), other.path LIMIT 1
"""


def notes(connection: apsw.Connection, scope: Scope) -> list[SeenNote]:
    """All of them, by key."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM {_NOTES} ORDER BY note.key", _bound(scope))
    return [SeenNote(*row) for row in rows]


def count(connection: apsw.Connection, scope: Scope) -> int:
    """How many there are."""
    number: int = connection.execute(f"SELECT count(*) FROM {_NOTES}", _bound(scope)).get
    return number


def count_pending(connection: apsw.Connection, scope: Scope, model: int) -> int:
    """How many of their chunks have no vector of that model, and were not refused one."""
    number: int = connection.execute(
        f"SELECT count(*) FROM chunk JOIN note ON note.key = chunk.note WHERE {_IS_SEEN('note')} "
        "AND NOT EXISTS (SELECT 1 FROM embedding WHERE model = :model AND embedding.text_hash = chunk.text_hash) "
        "AND NOT EXISTS (SELECT 1 FROM embed_failure AS refused "
        "WHERE refused.model = :model AND refused.text_hash = chunk.text_hash)",
        {**_bound(scope), "model": model},
    ).get
    return number


def texts(connection: apsw.Connection, scope: Scope, keys: Sequence[int] | None = None) -> Iterator[SeenText]:
    """Those of the notes (None: all) with their bodies, by key."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, (SELECT body FROM note_text WHERE note_text.note = note.key) FROM {_NOTES} "
        "AND (:keys IS NULL OR note.key IN (SELECT value FROM json_each(:keys))) ORDER BY note.key",
        {**_bound(scope), "keys": None if keys is None else json.dumps(list(keys))},
    )
    return (SeenText(SeenNote(*row[:-1]), row[-1]) for row in rows)


def keys_of(connection: apsw.Connection, scope: Scope, note_ids: Sequence[str]) -> list[int]:
    """The keys of those of the notes."""
    rows = connection.execute(
        f"SELECT note.key FROM {_NOTES} AND note.id IN (SELECT value FROM json_each(:ids)) ORDER BY 1",
        {**_bound(scope), "ids": json.dumps(list(note_ids))},
    )
    return [key for (key,) in rows]


def written_between(connection: apsw.Connection, scope: Scope, begin: str, end: str) -> list[SeenNote]:
    """The notes that were written or changed from `begin` on and before `end`, in the order of their writing."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {_NOTES} AND ((note.created_at >= :begin AND note.created_at < :end) "
        "OR (note.updated_at >= :begin AND note.updated_at < :end)) ORDER BY note.created_at, note.path",
        {**_bound(scope), "begin": begin, "end": end},
    )
    return [SeenNote(*row) for row in rows]


def vectors(connection: apsw.Connection, scope: Scope, model: int) -> Iterator[tuple[int, bytes]]:
    """(note, vector) of every chunk that has one."""
    rows: Iterator[tuple[int, bytes]] = connection.execute(
        "SELECT chunk.note, embedding.vector FROM chunk JOIN note ON note.key = chunk.note "
        "JOIN embedding ON embedding.model = :model AND embedding.text_hash = chunk.text_hash "
        f"WHERE {_IS_SEEN('note')}",
        {**_bound(scope), "model": model},
    )
    return rows


def sharing(connection: apsw.Connection, scope: Scope) -> Iterator[list[int]]:
    """The notes that have a whole chunk in common, for each chunk that several have."""
    rows = connection.execute(
        "SELECT json_group_array(DISTINCT chunk.note) FROM chunk JOIN note ON note.key = chunk.note "
        f"WHERE {_IS_SEEN('note')} GROUP BY chunk.text_hash HAVING count(DISTINCT chunk.note) > 1",
        _bound(scope),
    )
    return (sorted(json.loads(str(keys))) for (keys,) in rows)


def links(connection: apsw.Connection, scope: Scope) -> Iterator[tuple[int, int | None, str, str]]:
    """(note, the note it leads to or None, target as written, kind) of every link to another place."""
    rows: Iterator[tuple[int, int | None, str, str]] = connection.execute(
        f"SELECT link.note, ({LINKED_NOTE}), link.target, link.kind FROM link JOIN note ON note.key = link.note "
        f"WHERE link.name <> '' AND {_IS_SEEN('note')} ORDER BY link.note, link.ordinal",
        _bound(scope),
    )
    return rows


def linked_with(connection: apsw.Connection, scope: Scope, note_id: str) -> set[str]:
    """The ids of the notes that this one links to or that link to it."""
    rows = connection.execute(
        "SELECT other.id FROM note AS one JOIN link ON link.note = one.key "
        "JOIN note_name ON note_name.name = link.name "
        f"JOIN note AS other ON other.key = note_name.note WHERE one.id = :id AND {_IS_SEEN('other')} "
        "UNION SELECT other.id FROM note AS one JOIN note_name ON note_name.note = one.key "
        "JOIN link ON link.name = note_name.name JOIN note AS other ON other.key = link.note "
        f"WHERE one.id = :id AND {_IS_SEEN('other')}",
        {**_bound(scope), "id": note_id},
    )
    return {str(found) for (found,) in rows}


def aliases(connection: apsw.Connection, scope: Scope) -> Iterator[tuple[int, str]]:
    """(note, its other names as JSON) of the notes that have any."""
    return _of_texts(connection, scope, "note_text.aliases", "[]")


def front_matters(connection: apsw.Connection, scope: Scope) -> Iterator[tuple[int, str]]:
    """(note, its front matter as JSON) of the notes that have any."""
    return _of_texts(connection, scope, "note_text.front_matter", "{}")


def _of_texts(connection: apsw.Connection, scope: Scope, column: str, nothing: str) -> Iterator[tuple[int, str]]:
    rows: Iterator[tuple[int, str]] = connection.execute(
        f"SELECT note.key, {column} FROM note_text JOIN note ON note.key = note_text.note "
        f"WHERE {column} <> :nothing AND {_IS_SEEN('note')}",
        {**_bound(scope), "nothing": nothing},
    )
    return rows


def tag_counts(connection: apsw.Connection, scope: Scope) -> dict[str, int]:
    """Every tag -> how many notes have it."""
    rows = connection.execute(
        f"SELECT tag.name, count(*) FROM tag JOIN note ON note.key = tag.note WHERE {_IS_SEEN('note')} GROUP BY 1",
        _bound(scope),
    )
    return {str(name): int(number) for name, number in rows}


def tags_of(connection: apsw.Connection, scope: Scope, note_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(note id, tag) of those of the notes that the scope may see."""
    rows: Iterator[tuple[str, str]] = connection.execute(
        "SELECT note.id, tag.name FROM tag JOIN note ON note.key = tag.note "
        f"WHERE note.id IN (SELECT value FROM json_each(:ids)) AND {_IS_SEEN('note')}",
        {**_bound(scope), "ids": json.dumps(list(note_ids))},
    )
    return rows


def unanswered(connection: apsw.Connection, scope: Scope, begin: str, end: str) -> list[str]:
    """What was asked from `begin` on and before `end` and had no answer, each once; only what was asked with no wider a
    view than this one."""
    rows = connection.execute(
        "SELECT text FROM question WHERE NOT is_answered AND at >= :begin AND at < :end AND (:spaces IS NULL "
        "OR (spaces IS NOT NULL AND NOT EXISTS (SELECT 1 FROM json_each(question.spaces) AS asked "
        "WHERE asked.value NOT IN (SELECT value FROM json_each(:spaces))))) GROUP BY text ORDER BY min(id)",
        {**_bound(scope), "begin": begin, "end": end},
    )
    return [str(text) for (text,) in rows]


def _bound(scope: Scope) -> dict[str, str | None]:
    return {"spaces": spaces_json(scope)}
