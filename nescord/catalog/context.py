"""SQL of what an answer is made from: the chunks of notes that were found, and the bodies they stand in.

Spaces are applied here once more. What a search found a moment ago may have been moved or deleted since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import Scope


@dataclass(frozen=True, slots=True)
class NoteChunk:
    """A chunk of a note, as characters `start:end` of its body; `title` and `created_at` are the note's."""

    id: int
    note_id: str
    title: str
    headings: str
    text: str
    text_hash: bytes
    start: int
    end: int
    created_at: str


# Notes of 64 MB are possible: from each only so many chunks are looked at, the one that was found among them.
_MOST_CHUNKS = 400

_CHUNKS = """
SELECT chunk.id, note.id, note.title, chunk.headings, chunk.text, chunk.text_hash, chunk.start, chunk."end",
    note.created_at
FROM json_each(?) AS wanted
JOIN chunk AS found ON found.id = wanted.value
JOIN note ON note.key = found.note
JOIN chunk ON chunk.note = note.key
WHERE note.trashed_at IS NULL {} AND abs(chunk.ordinal - found.ordinal) <= ?
ORDER BY chunk.note, chunk.ordinal
"""
_VISIBLE = """
SELECT note.id FROM json_each(?) AS wanted JOIN note ON note.id = wanted.value WHERE note.trashed_at IS NULL {}
"""
_IN_SCOPE = "AND note.space IN (SELECT value FROM json_each(?))"
_RANKED = """
SELECT chunk_fts.rowid, -chunk_fts.rank FROM chunk_fts
WHERE chunk_fts MATCH ? AND chunk_fts.rowid IN (SELECT value FROM json_each(?))
"""


def chunks_around(connection: apsw.Connection, found: Sequence[int], scope: Scope) -> list[NoteChunk]:
    """The chunks of the notes that these chunks are of, as far as the notes are alive and in scope; in their order."""
    condition, bindings = _scoped(scope)
    rows = connection.execute(_CHUNKS.format(condition), (json.dumps(list(found)), *bindings, _MOST_CHUNKS // 2))
    return [NoteChunk(*row) for row in rows]


def visible(connection: apsw.Connection, note_ids: Sequence[str], scope: Scope) -> set[str]:
    """Those of the notes that are alive and in scope."""
    condition, bindings = _scoped(scope)
    rows = connection.execute(_VISIBLE.format(condition), (json.dumps(list(note_ids)), *bindings))
    return {note_id for (note_id,) in rows}


def _scoped(scope: Scope) -> tuple[str, Sequence[str | None]]:
    return ("", ()) if scope.spaces is None else (_IN_SCOPE, (spaces_json(scope),))


def word_scores(connection: apsw.Connection, expression: str, chunks: Sequence[int]) -> dict[int, float]:
    """The bm25 (higher is better) of those of the chunks that an FTS5 expression finds."""
    return dict(connection.execute(_RANKED, (expression, json.dumps(list(chunks)))))


def bodies(connection: apsw.Connection, note_ids: Sequence[str]) -> dict[str, str]:
    """The text of each of these notes."""
    return dict(
        connection.execute(
            "SELECT note.id, note_text.body FROM json_each(?) AS wanted JOIN note ON note.id = wanted.value "
            "JOIN note_text ON note_text.note = note.key",
            (json.dumps(list(note_ids)),),
        )
    )
