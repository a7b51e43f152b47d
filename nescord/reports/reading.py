"""How a notebook opens the marts: by its parameters, and narrowed to one space where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nescord import marts
from nescord.settings import Settings

if TYPE_CHECKING:
    import duckdb

# What marts that were built of one space alone would hold, view by view.
_WITHIN = "spaces IS NOT NULL AND len(list_filter(spaces, lambda each: each <> {space})) = 0"
_OF_A_SPACE = "note_id IN (SELECT note_id FROM {marts}.notes WHERE space = {space})"
_NARROW = {
    "notes": "space = {space}",
    "chunks": _OF_A_SPACE,
    "chunk_vectors": _OF_A_SPACE,
    "tags": _OF_A_SPACE,
    "links": "from_note IN (SELECT note_id FROM {marts}.notes WHERE space = {space})",
    # Which space a file that never became a note belongs to is known by the other notes of its source.
    "failures": "source IN (SELECT source FROM {marts}.notes GROUP BY 1 HAVING bool_and(space = {space}))",
    "events_search": _WITHIN,
    "questions": _WITHIN,
    "conversations": "who = {space}",
    "reviews": f"who = {{space}} AND {_OF_A_SPACE}",
    "ledger": "who = {space}",
    "backups": "false",
    "verifications": "false",
    "verification_checks": "false",
    "events_flow": "false",
    "volume": "false",
}


def open_marts(data_dir: str = "", generation: str = "", space: str = "") -> duckdb.DuckDBPyConnection:
    """The marts of a data folder, as DuckDB views.

    Args:
        data_dir: the data folder; empty: the one that the environment names.
        generation: one of the kept generations; empty: the newest.
        space: only notes of this space and what belongs to them; what a whole knowledge base has (backups, runs of
            flows) is then empty. Empty: all.

    Raises:
        NoMartsError: none were built yet.
        UsageError: no such generation; DuckDB is not installed.
    """
    connection = marts.connect(Path(data_dir) if data_dir else Settings(), generation=generation)
    if space:
        _narrow(connection, space)
    return connection


def _narrow(connection: duckdb.DuckDBPyConnection, space: str) -> None:
    """Hide the views by others of the same name: DuckDB looks at those that are its connection's own first."""
    [(database,)] = connection.sql("SELECT current_database()").fetchall()
    words = {"marts": f'"{database}".main', "space": "'" + space.replace("'", "''") + "'"}  # a view takes no parameters
    for view, condition in _NARROW.items():
        connection.execute(
            f"CREATE TEMP VIEW {view} AS SELECT * FROM {words['marts']}.{view} WHERE {condition.format(**words)}"
        )
