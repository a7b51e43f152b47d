"""SQL of queries that were asked: their vectors, so that none is paid for twice, and whether notes had an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass

import apsw

# About a year of thirty a day: by a bot that somebody floods the database must not grow for ever.
MOST_QUESTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked, where (None: everywhere), how it was answered, and whether the notes had an answer."""

    at: str
    spaces: frozenset[str] | None
    text: str
    mode: str
    is_answered: bool


def vector(connection: apsw.Connection, model: int, text_hash: bytes) -> tuple[bytes, str] | None:
    """The vector of a query and when it was last of use; None where it is not known."""
    row: tuple[bytes, str] | None = connection.execute(
        "SELECT vector, used_at FROM query_vector WHERE model = ? AND text_hash = ?", (model, text_hash)
    ).get
    return row


def keep_vector(
    connection: apsw.Connection, model: int, text_hash: bytes, vector: bytes, used_at: str, most: int
) -> None:
    """Keep the vector of a query, or that it was of use again; of all, the `most` that were of use last."""
    connection.execute(
        "INSERT INTO query_vector VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET used_at = excluded.used_at",
        (model, text_hash, vector, used_at),
    )
    connection.execute(
        "DELETE FROM query_vector WHERE rowid IN "
        "(SELECT rowid FROM query_vector ORDER BY used_at DESC, rowid DESC LIMIT -1 OFFSET ?)",
        (most,),
    )


def note_question(connection: apsw.Connection, question: Question) -> None:
    """Remember what was asked; of all, the newest MOST_QUESTIONS."""
    spaces = None if question.spaces is None else json.dumps(sorted(question.spaces))
    connection.execute(
        "INSERT INTO question (at, spaces, text, mode, is_answered) VALUES (?, ?, ?, ?, ?)",
        (question.at, spaces, question.text, question.mode, question.is_answered),
    )
    connection.execute("DELETE FROM question WHERE id <= ?", (connection.last_insert_rowid() - MOST_QUESTIONS,))
