"""SQL of the marts: what each of their columns is made from.

Every statement takes `:spaces`, NULL for all or a JSON array, and gives nothing beyond those. `READS` and `LEFT_OUT`
name every column of the schema between them: a migration that adds, drops or retypes one must decide what it means
here, or a test fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import apsw

from nescord.catalog import model_choice
from nescord.catalog.knowing import LINKED_NOTE

Value = str | bytes | int | float | None


@dataclass(frozen=True, slots=True)
class Export:
    """A statement: each column of the mart with its expression, and where the rows come from, in which order."""

    columns: Mapping[str, str]
    rows: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that has vectors of `dims` numbers."""

    id: int
    key: str
    dims: int
    is_live: bool


_SEEN = "(:spaces IS NULL OR {} IN (SELECT value FROM json_each(:spaces)))"
# Asked by somebody with a wider view, it may tell of what these spaces do not hold.
_ASKED_WITHIN = (
    "(:spaces IS NULL OR ({0} <> '[]' AND NOT EXISTS (SELECT 1 FROM json_each({0}) AS asked "
    "WHERE asked.value NOT IN (SELECT value FROM json_each(:spaces)))))"
)
_LIVING = f"note.trashed_at IS NULL AND {_SEEN.format('note.space')}"

EXPORTS: Mapping[str, Export] = {
    "notes": Export(
        {
            "note_id": "note.id",
            "source": "source.name",
            "source_kind": "source.kind",
            "path": "note.path",
            "title": "note.title",
            "lang": "note.lang",
            "author": "note.author",
            "space": "note.space",
            "kind": "note.kind",
            "owner": "note.owner",
            "created_at": "note.created_at",
            "updated_at": "note.updated_at",
            "trashed_at": "note.trashed_at",
            "chunks": "(SELECT count(*) FROM chunk WHERE chunk.note = note.key)",
            "tags": "(SELECT json_group_array(name) FROM (SELECT name FROM tag WHERE tag.note = note.key ORDER BY 1))",
            "text": "(SELECT body FROM note_text WHERE note_text.note = note.key)",
        },
        f"note JOIN source ON source.id = note.source WHERE {_SEEN.format('note.space')} ORDER BY note.key",
    ),
    "chunks": Export(
        {
            "chunk_id": "chunk.id",
            "note_id": "note.id",
            "ordinal": "chunk.ordinal",
            "headings": "chunk.headings",
            "lang_group": "chunk.language_group",
            "text_hash": "chunk.text_hash",
            "text": "chunk.text",
        },
        # Without CROSS, SQLite would go through the notes and jump about among the chunks.
        f"chunk CROSS JOIN note ON note.key = chunk.note WHERE {_LIVING} ORDER BY chunk.id",
    ),
    "links": Export(
        {
            "from_note": "note.id",
            "ordinal": "link.ordinal",
            "kind": "link.kind",
            "target": "link.target",
            "to_note": f"(SELECT seen.id FROM note AS seen WHERE seen.key = ({LINKED_NOTE}))",
        },
        f"link JOIN note ON note.key = link.note WHERE link.name <> '' AND {_LIVING} ORDER BY link.note, link.ordinal",
    ),
    "tags": Export(
        {"note_id": "note.id", "tag": "tag.name"},
        f"tag JOIN note ON note.key = tag.note WHERE {_LIVING} ORDER BY tag.note, tag.name",
    ),
    "failures": Export(
        {
            "source": "source.name",
            "path": "failure.path",
            "reason": "failure.reason",
            "stored": "failure.stored",
            "first_seen": "failure.first_seen",
            "last_seen": "failure.last_seen",
        },
        f"failure JOIN source ON source.id = failure.source WHERE {_SEEN.format('source.space')} "
        "ORDER BY failure.source, failure.path",
    ),
    "events_search": Export(
        {
            "happened_at": "at",
            "who": "who",
            "spaces": "spaces",
            "query": "query",
            "mode": "mode",
            "hits": "hits",
            "milliseconds": "milliseconds",
            # One reason a line; a blank text is none.
            "degraded": """CASE degraded WHEN '' THEN '[]' ELSE '["' || replace(replace(replace(degraded,
                '\\', '\\\\'), '"', '\\"'), char(10), '","') || '"]' END""",
        },
        f"search_event WHERE {_ASKED_WITHIN.format('search_event.spaces')} ORDER BY id",
    ),
    "questions": Export(
        {"happened_at": "at", "spaces": "spaces", "text": "text", "mode": "mode", "is_answered": "is_answered"},
        f"question WHERE {_ASKED_WITHIN.format('question.spaces')} ORDER BY id",
    ),
    "conversations": Export(
        {"happened_at": "at", "who": "who", "is_shared": "is_shared", "is_useful": "is_useful", "question": "question"},
        f"conversation WHERE {_ASKED_WITHIN.format('conversation.spaces')} ORDER BY at, id",
    ),
    # How somebody remembers a note is theirs, whoever may see the note.
    "reviews": Export(
        {"happened_at": "at", "who": "who", "note_id": "note_id", "rating": "rating"},
        f"review_event WHERE {_SEEN.format('who')} AND (:spaces IS NULL OR EXISTS (SELECT 1 FROM note "
        f"WHERE note.id = review_event.note_id AND {_SEEN.format('note.space')})) ORDER BY id",
    ),
    "ledger": Export(
        {
            "id": "id",
            "happened_at": "at",
            "day": "day",
            "model": "model",
            "purpose": "purpose",
            "who": "who",
            "estimate": "estimate",
            "tokens": "tokens",
            "settled_at": "settled_at",
        },
        f"ledger WHERE {_SEEN.format('who')} ORDER BY at, id",
    ),
}

# The columns that the statements above and below need, with their types.
READS: Mapping[str, Mapping[str, str]] = {
    "note": {
        "key": "INTEGER",
        "source": "INTEGER",
        **dict.fromkeys(("id", "path", "title", "lang", "author", "space", "kind", "owner"), "TEXT"),
        **dict.fromkeys(("created_at", "updated_at", "trashed_at"), "TEXT"),
    },
    "source": {"id": "INTEGER", "name": "TEXT", "kind": "TEXT", "space": "TEXT"},
    "note_text": {"note": "INTEGER", "body": "TEXT"},
    "tag": {"note": "INTEGER", "name": "TEXT"},
    "link": {"note": "INTEGER", "ordinal": "INTEGER", "kind": "TEXT", "target": "TEXT", "name": "TEXT"},
    "note_name": {"name": "TEXT", "note": "INTEGER"},
    "chunk": {
        **dict.fromkeys(("id", "note", "ordinal"), "INTEGER"),
        **dict.fromkeys(("headings", "text", "language_group"), "TEXT"),
        "text_hash": "BLOB",
    },
    "failure": {
        "source": "INTEGER",
        "stored": "INTEGER",
        **dict.fromkeys(("path", "reason", "first_seen", "last_seen"), "TEXT"),
    },
    "search_event": {
        **dict.fromkeys(("at", "who", "spaces", "query", "mode", "degraded"), "TEXT"),
        **dict.fromkeys(("id", "hits"), "INTEGER"),
        "milliseconds": "REAL",
    },
    "question": {
        **dict.fromkeys(("at", "spaces", "text", "mode"), "TEXT"),
        **dict.fromkeys(("id", "is_answered"), "INTEGER"),
    },
    "conversation": {
        **dict.fromkeys(("id", "at", "who", "spaces", "question"), "TEXT"),
        **dict.fromkeys(("is_shared", "is_useful"), "INTEGER"),
    },
    "review_event": {
        **dict.fromkeys(("at", "who", "note_id"), "TEXT"),
        **dict.fromkeys(("id", "rating"), "INTEGER"),
    },
    "ledger": {
        **dict.fromkeys(("id", "at", "day", "model", "purpose", "who", "settled_at"), "TEXT"),
        **dict.fromkeys(("estimate", "tokens"), "INTEGER"),
    },
    "model": {"id": "INTEGER", "key": "TEXT"},
    "embedding": {"id": "INTEGER", "model": "INTEGER", "text_hash": "BLOB", "vector": "BLOB"},
    "meta": {"name": "TEXT", "value": "TEXT"},
}

# What no mart tells: how files were recognised, what is only for the program itself, and what is too personal.
LEFT_OUT: Mapping[str, frozenset[str]] = {
    "note": frozenset({"raw_path", "size", "mtime_ns", "ctime_ns", "inode", "content_hash", "origin"}),
    "source": frozenset({"root", "shape", "ignore_hash", "ingested_at", "removed_at"}),
    "note_text": frozenset({"body_offset", "front_matter", "aliases"}),
    "link": frozenset({"anchor", "text"}),
    "chunk": frozenset({"start", "end"}),
    "failure": frozenset({"size", "mtime_ns", "ctime_ns", "inode"}),
    "conversation": frozenset({"answer", "citations", "previous"}),
    "model": frozenset({"embedded_through"}),
}
TABLES_LEFT_OUT = frozenset(
    {
        *("embed_failure", "index_log", "collection", "unused_embedding", "budget_override", "query_vector"),
        *("note_revision", "inbox", "preference", "quota_use", "review_card", "digest", "blob", "attachment"),
        *("writeback", "writeback_push"),
    }
)

_OF_MODEL = """
embedding WHERE embedding.model = :model AND (:spaces IS NULL OR EXISTS (
    SELECT 1 FROM chunk JOIN note ON note.key = chunk.note
    WHERE chunk.text_hash = embedding.text_hash AND note.space IN (SELECT value FROM json_each(:spaces))))
"""


def rows(connection: apsw.Connection, name: str, texts: Collection[str], spaces: str | None) -> apsw.Cursor:
    """The rows of a mart, as its export lists the columns. Those of `texts` come as bytes: no driver that wants UTF-8,
    or stops at a NUL, may be in the way of a text."""
    export = EXPORTS[name]
    columns = (f"CAST({what} AS BLOB)" if column in texts else what for column, what in export.columns.items())
    return connection.execute(f"SELECT {', '.join(columns)} FROM {export.rows}", {"spaces": spaces})


def models(connection: apsw.Connection, spaces: str | None) -> list[Model]:
    """The models that have vectors."""
    live = model_choice.live_key(connection)
    found = []
    keys: Iterator[tuple[int, str]] = connection.execute("SELECT id, key FROM model ORDER BY id")
    for number, key in list(keys):
        bound = {"model": number, "spaces": spaces}
        size: int | None = connection.execute(f"SELECT length(vector) FROM {_OF_MODEL} LIMIT 1", bound).get
        if size:
            found.append(Model(number, key, size // 4, key == live))
    return found


def all_vectors(connection: apsw.Connection, model: Model, spaces: str | None) -> Iterator[tuple[bytes, bytes]]:
    """(hash of the text, vector) of each vector of whatever length, in the order of the hashes."""
    rows: Iterator[tuple[bytes, bytes]] = connection.execute(
        f"SELECT text_hash, vector FROM {_OF_MODEL} ORDER BY text_hash", {"model": model.id, "spaces": spaces}
    )
    return rows


def vectors(connection: apsw.Connection, model: Model, spaces: str | None) -> Iterator[tuple[bytes, bytes]]:
    """(hash of the text, vector) of each vector that is as long as the first; another length is damage."""
    rows: Iterator[tuple[bytes, bytes]] = connection.execute(
        f"SELECT text_hash, vector FROM {_OF_MODEL} AND length(vector) = :size ORDER BY id",
        {"model": model.id, "spaces": spaces, "size": 4 * model.dims},
    )
    return rows
