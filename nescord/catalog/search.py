"""SQL of search: rank chunks by bm25, with every filter and space applied before any ranking is final."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import Scope
from nescord.query import Query, Term


class FoundChunk(NamedTuple):
    """A chunk with its note's key and its bm25 score (higher is better)."""

    id: int
    note: int
    score: float


@dataclass(frozen=True, slots=True)
class ShownChunk:
    """What a hit shows of a chunk and its note."""

    note_id: str
    source: str
    source_kind: str
    root: str
    path: str
    origin: str
    title: str
    headings: str
    text: str
    lang: str
    created_at: str
    updated_at: str


# `+rank`, for FTS5's own ORDER BY rank sorts every match before the first is given; SQLite's sorter keeps no more than
# the LIMIT (https://www.sqlite.org/fts5.html#sorting_by_auxiliary_function_results). Whose chunks they are is looked up
# for these only, unless there are conditions on their notes.
_BEST = """
SELECT chunk.id, chunk.note, ranked.best FROM (
    SELECT chunk_fts.rowid AS id, chunk_fts.rank AS best FROM chunk_fts {}
    WHERE chunk_fts MATCH ? {} ORDER BY +chunk_fts.rank, chunk_fts.rowid LIMIT ?
) AS ranked JOIN chunk INDEXED BY note_of_chunk ON chunk.id = ranked.id ORDER BY ranked.best, chunk.id
"""
_HOLDING = """
SELECT DISTINCT chunk.note FROM chunk_fts {} WHERE chunk_fts MATCH ? {} LIMIT ?
"""
_NOTE = "JOIN note ON note.key = chunk.note"
_OF_CHUNK = "JOIN chunk INDEXED BY note_of_chunk ON chunk.id = chunk_fts.rowid"
_MATCHING_NOTES = (
    "(SELECT chunk.note FROM chunk_fts JOIN chunk ON chunk.id = chunk_fts.rowid WHERE chunk_fts MATCH ?{})"
)
# What the index finds by less than the whole term is read and checked; `fold_contains` is made in fulltext.py.
_HOLDS = (
    "EXISTS (SELECT 1 FROM note AS held JOIN note_text ON note_text.note = held.key WHERE held.key = chunk.note "
    "AND fold_contains(?, chunk.text, chunk.headings, held.title, note_text.aliases))"
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as characters `start:end` of the body of its note."""

    chunk: int
    text_hash: bytes
    start: int
    end: int
    body: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chunks may be ranked: by what the query excludes and filters, by the scope; by what must besides be read
    in the chunk itself (`checks`, normalised text) and what must be found anywhere in its note (`required`)."""

    query: Query
    scope: Scope
    checks: Sequence[str] = ()
    required: Sequence[Term] = ()

    @property
    def allows_all(self) -> bool:
        return not _conditions(self)[0]


def best_chunks(connection: apsw.Connection, expression: str, allowed: Filter, limit: int) -> list[FoundChunk]:
    """The best chunk for an FTS5 expression of each of the best `limit` notes that are allowed; ties by chunk id."""
    conditions, bindings = _conditions(allowed)
    statement = _BEST.format(f"{_OF_CHUNK} {_NOTE}" if conditions else "", _and(conditions))
    wanted = 2 * limit
    while True:
        rows: list[tuple[int, int, float]] = connection.execute(statement, (expression, *bindings, wanted)).fetchall()  # type: ignore[assignment]  # three columns
        best: dict[int, FoundChunk] = {}
        for chunk_id, note, rank in rows:
            if note not in best:
                best[note] = FoundChunk(chunk_id, note, -rank)
        # The best chunks may all be of a few long notes.
        if len(best) >= limit or len(rows) < wanted:
            return list(best.values())[:limit]
        wanted *= 8


def notes_holding(connection: apsw.Connection, expression: str, allowed: Filter, most: int) -> set[int] | None:
    """The notes that an FTS5 expression finds and that are allowed; None when they are more than `most`.

    For who need not know which is the best: nothing is ranked, which is most of what `best_chunks` costs.
    """
    conditions, bindings = _conditions(allowed)
    statement = _HOLDING.format(f"{_OF_CHUNK} {_NOTE if conditions else ''}", _and(conditions))
    rows = connection.execute(statement, (expression, *bindings, most + 1))
    notes = {note for (note,) in rows}
    return notes if len(notes) <= most else None


def allowed_chunks(
    connection: apsw.Connection, allowed: Filter, chunk_ids: Sequence[int]
) -> dict[int, tuple[int, str]]:
    """Those of the chunks that exist and are allowed -> (their note, their language group)."""
    conditions, bindings = _conditions(allowed)
    rows = connection.execute(
        "SELECT chunk.id, chunk.note, chunk.language_group FROM chunk JOIN note ON note.key = chunk.note "
        f"WHERE chunk.id IN (SELECT value FROM json_each(?)) {_and(conditions)}",
        (json.dumps(list(chunk_ids)), *bindings),
    )
    return {chunk: (note, group) for chunk, note, group in rows}


def every_allowed_chunk(connection: apsw.Connection, allowed: Filter, most: int) -> dict[int, tuple[int, str]] | None:
    """All chunks that are allowed -> (their note, their language group); None when they are more than `most`."""
    conditions, bindings = _conditions(allowed)
    # Notes first, of which there are fewer, and whose rows are short: SQLite would read the text of every chunk.
    rows: list[tuple[int, int, str]] = connection.execute(
        "SELECT chunk.id, chunk.note, chunk.language_group FROM note CROSS JOIN chunk ON chunk.note = note.key "
        f"WHERE 1 {_and(conditions)} LIMIT ?",
        (*bindings, most + 1),
    ).fetchall()  # type: ignore[assignment]  # three columns
    return {chunk: (note, group) for chunk, note, group in rows} if len(rows) <= most else None


def listed(connection: apsw.Connection, allowed: Filter, limit: int) -> list[FoundChunk]:
    """The first chunks of the newest notes that are allowed: the answer to a query that is filters only."""
    conditions, bindings = _conditions(allowed)
    rows = connection.execute(
        "SELECT (SELECT id FROM chunk WHERE chunk.note = note.key ORDER BY ordinal LIMIT 1) AS first, note.key "
        "FROM note "
        f"WHERE trashed_at IS NULL AND first IS NOT NULL AND {' AND '.join(conditions or ['1'])} "
        "ORDER BY created_at DESC, path LIMIT ?",
        (*bindings, limit),
    )
    return [FoundChunk(chunk_id, note, 0.0) for chunk_id, note in rows]


def shown(connection: apsw.Connection, chunk_ids: Sequence[int]) -> dict[int, ShownChunk]:
    """What to show of these chunks."""
    rows = connection.execute(
        "SELECT chunk.id, note.id, source.name, source.kind, source.root, note.path, note.origin, note.title, "
        "chunk.headings, chunk.text, note.lang, note.created_at, note.updated_at "
        "FROM chunk JOIN note ON note.key = chunk.note JOIN source ON source.id = note.source "
        "WHERE chunk.id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(chunk_ids)),),
    )
    return {chunk_id: ShownChunk(*rest) for chunk_id, *rest in rows}


def passages(connection: apsw.Connection, chunk_ids: Sequence[int]) -> list[Passage]:
    """The chunks with the bodies of their notes, for those whose text stands in the body where they say."""
    rows = connection.execute(
        'SELECT chunk.id, chunk.text, chunk.text_hash, chunk.start, chunk."end", note_text.body FROM chunk '
        "JOIN note_text ON note_text.note = chunk.note WHERE chunk.id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(chunk_ids)),),
    )
    return [
        Passage(chunk, text_hash, start, end, body)
        for chunk, text, text_hash, start, end, body in rows
        if body[start:end] == text
    ]


def chunks_of_note(connection: apsw.Connection, note_id: str) -> tuple[int, list[int]]:
    """The key of a note and the ids of its chunks."""
    key: int = connection.execute("SELECT key FROM note WHERE id = ?", (note_id,)).get
    rows: Iterable[tuple[int]] = connection.execute("SELECT id FROM chunk WHERE note = ?", (key,))
    return key, [chunk for (chunk,) in rows]


def _and(conditions: Sequence[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)


def _conditions(allowed: Filter) -> tuple[list[str], list[apsw.SQLiteValue]]:
    scope, filters = allowed.scope, allowed.query.filters
    conditions: list[str] = [_HOLDS] * len(allowed.checks)
    bindings: list[apsw.SQLiteValue] = [*allowed.checks]
    for words, terms in (("IN", allowed.required), ("NOT IN", allowed.query.excluded)):
        for term in terms:
            conditions.append(f"note.key {words} " + _MATCHING_NOTES.format(f" AND {_HOLDS}" if term.recheck else ""))
            bindings += [term.match, term.recheck] if term.recheck else [term.match]
    if scope.spaces is not None:
        conditions.append("note.space IN (SELECT value FROM json_each(?))")
        bindings.append(spaces_json(scope))
    for words, tags in (("", filters.tags), ("NOT ", filters.without_tags)):
        for tag in tags:
            # A tag stands for all that are nested in it: tag:project finds #project/bot. "0" comes right after "/".
            conditions.append(
                f"{words}EXISTS (SELECT 1 FROM tag WHERE tag.note = note.key "
                "AND (tag.name = ? OR (tag.name >= ? AND tag.name < ?)))"
            )
            bindings += [tag, tag + "/", tag + "0"]
    for path in filters.paths:
        conditions.append("fold_contains(?, note.path)")
        bindings.append(path)
    if filters.sources:
        conditions.append("note.source IN (SELECT id FROM source WHERE name IN (SELECT value FROM json_each(?)))")
        bindings.append(json.dumps(filters.sources))
    if filters.kinds:
        conditions.append("note.kind IN (SELECT value FROM json_each(?))")
        bindings.append(json.dumps(filters.kinds))
    if filters.after:
        conditions.append("note.created_at >= ?")
        bindings.append(filters.after)
    if filters.before:
        conditions.append("note.created_at < ?")
        bindings.append(filters.before)
    if filters.language_group:
        conditions.append("(note.lang = 'ja') = ?")
        bindings.append(filters.language_group == "ja")
    return conditions, bindings
