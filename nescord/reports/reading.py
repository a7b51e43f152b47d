"""How a notebook opens the marts: by its parameters, with moments that can be, and narrowed to one space where that is
asked for.

Notes say themselves when they were written, and some say year 1 or 9999. A plot cannot draw that, and what "came in the
last 30 days" must not count it, so no notebook gets to see it.
"""

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
_VECTORS = f"text_hash IN (SELECT text_hash FROM {{marts}}.chunks WHERE {_OF_A_SPACE})"
_SOON = "INTERVAL 1 HOUR"  # clocks differ, and a build goes on after it began
_MOMENTS = ("created_at", "updated_at")


def open_marts(data_dir: str = "", generation: str = "", space: str = "") -> duckdb.DuckDBPyConnection:
    """The marts of a data folder, as DuckDB views.

    When a note was made or changed is NULL in them where it says something before 1900, or after the build.

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
    [(database,)] = connection.sql("SELECT current_database()").fetchall()
    words = {"marts": f'"{database}".main', "space": "'" + space.replace("'", "''") + "'"}  # a view takes no parameters
    _date(connection, words, "space = {space}" if space else "true")
    if space:
        _narrow(connection, words)
    return connection


def undated(connection: duckdb.DuckDBPyConnection) -> int:
    """How many living notes have no moment of creation or change that could be: these are missing from what goes by
    time."""
    either = " OR ".join(f"{moment} IS NULL" for moment in _MOMENTS)
    [(count,)] = connection.sql(f"SELECT count(*) FROM notes WHERE trashed_at IS NULL AND ({either})").fetchall()
    return int(count)


def _date(connection: duckdb.DuckDBPyConnection, words: dict[str, str], condition: str) -> None:
    """Hide the notes by a view of them without moments that cannot be."""
    [(built_at,)] = connection.sql("SELECT built_at::VARCHAR FROM mart").fetchall()
    now = f"TIMESTAMPTZ '{built_at}'"
    moments = ", ".join(
        f"CASE WHEN {each} BETWEEN TIMESTAMPTZ '1900-01-01 00:00:00+00' AND {now} + {_SOON} "
        f"THEN least({each}, {now}) END AS {each}"
        for each in _MOMENTS
    )
    connection.execute(
        f"CREATE TEMP VIEW notes AS SELECT * REPLACE ({moments}) FROM {words['marts']}.notes "
        f"WHERE {condition.format(**words)}"
    )


def _narrow(connection: duckdb.DuckDBPyConnection, words: dict[str, str]) -> None:
    """Hide the views by others of the same name: DuckDB looks at those that are its connection's own first."""
    models = connection.sql(
        "SELECT DISTINCT view_name FROM duckdb_views() WHERE NOT internal AND view_name LIKE 'embeddings%'"
    ).fetchall()
    for view, condition in (_NARROW | {view: _VECTORS for (view,) in sorted(models)}).items():
        connection.execute(
            f"CREATE TEMP VIEW {view} AS SELECT * FROM {words['marts']}.{view} WHERE {condition.format(**words)}"
        )
