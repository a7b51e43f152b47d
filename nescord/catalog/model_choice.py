"""Which model's vectors answer: the live one. It is written down when something is first embedded, and changed only by
`nescord index migrate`, in one transaction with the collections that follow it."""

from __future__ import annotations

import apsw

from nescord.catalog import vectors as vectors_sql

_ROW = "live_model"
# A knowledge base of a time when there was one model, and nothing to choose.
_WITH_MOST = (
    "SELECT model.key FROM model JOIN embedding ON embedding.model = model.id "
    "GROUP BY model.id ORDER BY count(*) DESC, model.id LIMIT 1"
)


def live_key(connection: apsw.Connection) -> str | None:
    """The key of the live model; None while nothing is embedded."""
    key: str | None = connection.execute("SELECT value FROM meta WHERE name = ?", (_ROW,)).get
    if key is None:
        key = connection.execute(_WITH_MOST).get
    return key


def begin(connection: apsw.Connection) -> None:
    """Write down the live model, if anything is embedded: from now on others may get vectors, too."""
    if not is_written(connection) and (key := live_key(connection)):
        _put(connection, key)


def is_written(connection: apsw.Connection) -> bool:
    """Whether the live model is written down."""
    return connection.execute("SELECT 1 FROM meta WHERE name = ?", (_ROW,)).get is not None


def swap(connection: apsw.Connection, key: str) -> bool:
    """Let this model be the live one, and the collections of all others go; false, and nothing is changed, while some
    chunk waits for a vector of it. Its vectors stay, as those of the others do: they are free to come back to."""
    model = vectors_sql.add_model(connection, key)
    if vectors_sql.pending(connection, model, 1):
        return False
    vectors_sql.set_embedded_through(connection, model, vectors_sql.last_chunk(connection))
    _put(connection, key)
    connection.execute("UPDATE collection SET state = 'old' WHERE model <> ?", (model,))
    return True


def _put(connection: apsw.Connection, key: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_ROW, key))
