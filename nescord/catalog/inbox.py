"""SQL of the inbox: interactions that were accepted, until they are done."""

from __future__ import annotations

from typing import NamedTuple

import apsw


class InboxRow(NamedTuple):
    """A row as it is stored: `payload` is JSON in UTF-8, times are ISO 8601 in UTC to the microsecond."""

    id: str
    kind: str
    who: str
    payload: bytes
    token: str
    note_id: str
    accepted_at: str
    expires_at: str


_COLUMNS = ", ".join(InboxRow._fields)


def add(connection: apsw.Connection, row: InboxRow) -> bool:
    """Keep a row; whether its id was not there before, done or not."""
    connection.execute(
        f"INSERT INTO inbox ({_COLUMNS}) VALUES (?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", row
    )
    return connection.changes() == 1


def finish(connection: apsw.Connection, accepted_id: str, when: str) -> None:
    """Delete what a row says and keep its id."""
    connection.execute(
        "UPDATE inbox SET payload = '', token = '', done_at = ? WHERE id = ? AND done_at IS NULL", (when, accepted_id)
    )


def open_rows(connection: apsw.Connection) -> list[InboxRow]:
    """The rows that are not done, the oldest first."""
    # As bytes: what is no UTF-8 any more would end the reading of all rows.
    columns = _COLUMNS.replace("payload", "CAST(payload AS BLOB)")
    rows = connection.execute(f"SELECT {columns} FROM inbox WHERE done_at IS NULL ORDER BY accepted_at, id")
    return [InboxRow(*row) for row in rows]


def prune(connection: apsw.Connection, before: str) -> int:
    """Delete the rows that were done before that moment; how many it were."""
    connection.execute("DELETE FROM inbox WHERE done_at < ?", (before,))
    return connection.changes()
