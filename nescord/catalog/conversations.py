"""SQL of questions that were asked through Discord, with the answers that people were shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import apsw


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A row of `conversation`. `spaces` is a JSON array; `citations` that of citations (nescord/conversations.py)."""

    id: str
    at: str
    who: str
    spaces: str
    is_shared: bool
    question: str
    answer: str
    citations: str
    previous: str
    is_useful: bool | None


def keep(connection: apsw.Connection, row: StoredConversation) -> bool:
    """Keep a conversation, or what became of it when it was answered once more; false where it is somebody else's."""
    connection.execute(
        "INSERT INTO conversation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at, "
        "spaces = excluded.spaces, is_shared = excluded.is_shared, question = excluded.question, "
        "answer = excluded.answer, citations = excluded.citations, previous = excluded.previous "
        "WHERE who = excluded.who",
        (
            *(row.id, row.at, row.who, row.spaces, row.is_shared, row.question, row.answer),
            *(row.citations, row.previous, row.is_useful),
        ),
    )
    return connection.changes() > 0


def find(connection: apsw.Connection, wanted: str, since: str) -> StoredConversation | None:
    """The conversation with that id, unless it is older than `since`."""
    row = connection.execute("SELECT * FROM conversation WHERE id = ? AND at >= ?", (wanted, since)).fetchone()
    if row is None:
        return None
    key, at, who, spaces, is_shared, question, answer, citations, previous, is_useful = row
    return StoredConversation(
        *(str(key), str(at), str(who), str(spaces), bool(is_shared)),
        *(str(question), str(answer), str(citations), str(previous)),
        None if is_useful is None else bool(is_useful),
    )


def rate(connection: apsw.Connection, wanted: str, *, is_useful: bool) -> None:
    """What somebody thinks of the answer; the last word counts."""
    connection.execute("UPDATE conversation SET is_useful = ? WHERE id = ?", (is_useful, wanted))


def count(connection: apsw.Connection, before: str = "~") -> int:
    """How many conversations there are, or are from before that moment."""
    found: int = connection.execute("SELECT count(*) FROM conversation WHERE at < ?", (before,)).get
    return found


def forget(connection: apsw.Connection, before: str, limit: int) -> int:
    """Forget up to `limit` conversations from before that moment; how many it were."""
    connection.execute(
        "DELETE FROM conversation WHERE id IN (SELECT id FROM conversation WHERE at < ? ORDER BY at LIMIT ?)",
        (before, limit),
    )
    return connection.changes()


def forget_citing(connection: apsw.Connection, note_ids: Iterable[str]) -> int:
    """Forget the conversations, whosever they are, whose answers quote one of these notes; how many it were."""
    connection.execute(
        "DELETE FROM conversation WHERE EXISTS (SELECT 1 FROM json_each(citations) AS citation "
        "WHERE citation.value ->> 'note_id' IN (SELECT value FROM json_each(?)))",
        (json.dumps(list(note_ids)),),
    )
    return connection.changes()
