"""SQL of spaced reviews: when a person should see which note again, and how it went each time.

A card is asked for together with its note, so one whose note is gone or in another space is as good as none.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import Scope

_LIVING = "note.trashed_at IS NULL AND (:spaces IS NULL OR note.space IN (SELECT value FROM json_each(:spaces)))"
_DUE = (
    "FROM review_card JOIN note ON note.id = review_card.note_id "
    f"WHERE review_card.who = :who AND review_card.due <= :now AND {_LIVING}"
)
_ORPHANED = "NOT EXISTS (SELECT 1 FROM note WHERE note.id = {table}.note_id)"


def due(connection: apsw.Connection, who: str, scope: Scope, now: str) -> str | None:
    """The note whose card is due for the longest time."""
    note_id: str | None = connection.execute(
        f"SELECT note_id {_DUE} ORDER BY due, note_id LIMIT 1", {"who": who, "now": now, "spaces": spaces_json(scope)}
    ).get
    return note_id


def count_due(connection: apsw.Connection, who: str, scope: Scope, now: str) -> int:
    """How many cards are due."""
    count: int = connection.execute(
        f"SELECT count(*) {_DUE}", {"who": who, "now": now, "spaces": spaces_json(scope)}
    ).get
    return count


def newest_without(connection: apsw.Connection, who: str, scope: Scope) -> str | None:
    """The newest note that `who` has no card of."""
    note_id: str | None = connection.execute(
        f"SELECT id FROM note WHERE {_LIVING} AND NOT EXISTS "
        "(SELECT 1 FROM review_card WHERE who = :who AND note_id = note.id) "
        "ORDER BY created_at DESC, id DESC LIMIT 1",
        {"who": who, "spaces": spaces_json(scope)},
    ).get
    return note_id


def count_begun(connection: apsw.Connection, who: str, since_ms: int) -> int:
    """How many cards `who` has begun since then: FSRS numbers a card by the millisecond in which it was made."""
    count: int = connection.execute(
        "SELECT count(*) FROM review_card WHERE who = ? AND card ->> 'card_id' >= ?", (who, since_ms)
    ).get
    return count


def card(connection: apsw.Connection, who: str, note_id: str) -> tuple[str, str] | None:
    """The card as JSON, and when it is due."""
    row: tuple[str, str] | None = connection.execute(
        "SELECT card, due FROM review_card WHERE who = ? AND note_id = ?", (who, note_id)
    ).get
    return row


def keep(connection: apsw.Connection, who: str, note_id: str, card: str, due: str) -> None:
    """The card as it is now."""
    connection.execute(
        "INSERT INTO review_card VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET card = excluded.card, due = excluded.due",
        (who, note_id, card, due),
    )


def note_review(connection: apsw.Connection, at: str, who: str, note_id: str, rating: int) -> None:
    """Remember how it went, from 1 (again) to 4 (easy): a better scheduler may be fitted to it one day."""
    connection.execute(
        "INSERT INTO review_event (at, who, note_id, rating) VALUES (?, ?, ?, ?)", (at, who, note_id, rating)
    )


def count(connection: apsw.Connection) -> int:
    """How many cards there are."""
    found: int = connection.execute("SELECT count(*) FROM review_card").get
    return found


def count_orphans(connection: apsw.Connection) -> int:
    """How many of them are of notes that are gone for good."""
    found: int = connection.execute(
        f"SELECT count(*) FROM review_card WHERE {_ORPHANED.format(table='review_card')}"
    ).get
    return found


def forget_orphans(connection: apsw.Connection) -> None:
    """Forget the cards and the reviews of notes that are gone for good."""
    for table in ("review_card", "review_event"):
        connection.execute(f"DELETE FROM {table} WHERE {_ORPHANED.format(table=table)}")


def forget(connection: apsw.Connection, note_ids: Iterable[str]) -> None:
    """Forget the cards and the reviews of these notes, whosever they are."""
    rows = [(note_id,) for note_id in note_ids]
    for table in ("review_card", "review_event"):
        connection.executemany(f"DELETE FROM {table} WHERE note_id = ?", rows)
