"""SQL of what was searched for."""

from __future__ import annotations

import json
from dataclasses import dataclass

import apsw

# Some 20 MB: whoever searches without a pause, by a script say, must not fill the disk before the next maintenance.
MOST_EVENTS = 100_000


@dataclass(frozen=True, slots=True)
class SearchEvent:
    """A search: when, by whom and where (None: everywhere), as it was typed, how it was answered, by how many notes, in
    how many milliseconds, and what could not be asked."""

    at: str
    who: str
    spaces: frozenset[str] | None
    query: str
    mode: str
    hits: int
    milliseconds: float
    degraded: tuple[str, ...]


def note(connection: apsw.Connection, event: SearchEvent) -> None:
    """Remember a search; of all, the newest MOST_EVENTS."""
    spaces = None if event.spaces is None else json.dumps(sorted(event.spaces))
    connection.execute(
        "INSERT INTO search_event (at, who, spaces, query, mode, hits, milliseconds, degraded) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(event.at, event.who, spaces, event.query, event.mode),
            *(event.hits, event.milliseconds, "\n".join(event.degraded)),
        ),
    )
    connection.execute("DELETE FROM search_event WHERE id <= ?", (connection.last_insert_rowid() - MOST_EVENTS,))


def count(connection: apsw.Connection, before: str = "~") -> int:
    """How many searches are remembered, or are from before that moment."""
    found: int = connection.execute("SELECT count(*) FROM search_event WHERE at < ?", (before,)).get
    return found


def forget(connection: apsw.Connection, before: str, limit: int) -> int:
    """Forget up to `limit` searches from before that moment; how many it were."""
    connection.execute(
        "DELETE FROM search_event WHERE id IN (SELECT id FROM search_event WHERE at < ? ORDER BY at LIMIT ?)",
        (before, limit),
    )
    return connection.changes()
