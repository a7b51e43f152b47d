"""The full-text index over chunks: contentless FTS5, whose rows are chunk ids and whose text is normalised by us.

A plain INSERT of an existing rowid keeps its old words for ever, so rows are written with INSERT OR REPLACE. FTS5's
own `rebuild` needs the content that a contentless table has not: `rebuild()` drops, creates and inserts from `chunk`.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from nescord.words import TOKENIZER, TOKENIZER_VERSION, index_text, normalise

# bm25 weights of title, headings and text: a word in the title says more than one in passing.
WEIGHTS = (4.0, 2.0, 1.0)

_TABLE = f"""
DROP TABLE IF EXISTS chunk_fts;
CREATE VIRTUAL TABLE chunk_fts USING fts5(
    title, headings, text, content = '', contentless_delete = 1, tokenize = '{" ".join(TOKENIZER)}'
);
INSERT INTO chunk_fts (chunk_fts, rank) VALUES ('rank', 'bm25({", ".join(map(str, WEIGHTS))})');
"""

_INSERT = "INSERT OR REPLACE INTO chunk_fts (rowid, title, headings, text) VALUES (?, ?, ?, ?)"

_ALL = """
SELECT chunk.id, note.title, note_text.aliases, chunk.headings, chunk.text
FROM chunk JOIN note ON note.key = chunk.note JOIN note_text ON note_text.note = note.key
ORDER BY chunk.id
"""


def add_functions(connection: apsw.Connection) -> None:
    """Give SQL `fold_contains(needle, text, …)`: whether one of the texts, normalised, holds the needle."""
    connection.create_scalar_function("fold_contains", _fold_contains, deterministic=True)


def is_current(connection: apsw.Connection) -> bool:
    """Whether the index exists and was made by this version of the tokenizer."""
    if connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").get == 0:
        return False
    return bool(connection.execute("SELECT value FROM meta WHERE name = 'tokenizer'").get == TOKENIZER_VERSION)


def rebuild(connection: apsw.Connection) -> None:
    """Drop the index and write it anew from the chunks (2.5 CPU s for 25,000); inside the caller's transaction."""
    connection.execute(_TABLE)
    reader = connection.execute(_ALL)
    connection.executemany(
        _INSERT,
        (
            (key, index_title(title, aliases), index_text(headings), index_text(text))
            for key, title, aliases, headings, text in reader
        ),
    )
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('tokenizer', ?)", (TOKENIZER_VERSION,))


def not_indexed(connection: apsw.Connection) -> list[int]:
    """The chunks that the index lacks. (FTS5's own integrity-check is weak without content.)"""
    rows = connection.execute("SELECT id FROM chunk EXCEPT SELECT id FROM chunk_fts_docsize")
    return [int(chunk) for (chunk,) in rows]


def only_indexed(connection: apsw.Connection) -> list[int]:
    """The rows of the index that belong to no chunk."""
    rows = connection.execute("SELECT id FROM chunk_fts_docsize EXCEPT SELECT id FROM chunk")
    return [int(row) for (row,) in rows]


def index_title(title: str, aliases: str) -> str:
    """The index text of a title together with the note's aliases (JSON text; its punctuation separates words)."""
    return index_text(title) if aliases == "[]" else index_text(f"{title}\n{aliases}")


def insert(connection: apsw.Connection, rows: Iterable[tuple[int, str, str, str]]) -> None:
    """Index (chunk id, title, headings, text), each already passed through `index_text`."""
    connection.executemany(_INSERT, rows)


def delete(connection: apsw.Connection, chunk_ids: Iterable[int]) -> None:
    """Take chunks out of the index."""
    connection.executemany("DELETE FROM chunk_fts WHERE rowid = ?", ((chunk_id,) for chunk_id in chunk_ids))


def _fold_contains(*values: apsw.SQLiteValue) -> bool:
    needle, *texts = map(str, values)
    return any(needle in normalise(text) for text in texts)
