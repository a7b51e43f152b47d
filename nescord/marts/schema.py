"""The marts as whoever asks them sees them: tables, columns, types. docs/notebooks.md says what each means.

Names are an interface: notebooks and people's own queries name them. What a column is made from stands in
`catalog/marts.py` (of the database) and `outside.py` (of what lies beside it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FORMAT = 1
"""Of the layout and the columns; a reader refuses another."""

Type = Literal["VARCHAR", "VARCHAR[]", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN", "TIMESTAMPTZ", "DATE", "BLOB"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `is_written` marks what people wrote, in their words: it is NULL in marts without texts."""

    name: str
    type: Type
    is_written: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: one Parquet file of a generation, and a view of that name."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _table(name: str, columns: str) -> Table:
    """From lines of `column TYPE`, with a star behind what people wrote."""
    found = []
    for each in columns.split(","):
        column, kind, *star = each.split()
        found.append(Column(column, kind, bool(star)))  # type: ignore[arg-type]  # a test compares with DuckDB's
    return Table(name, tuple(found))


CATALOG_TABLES: tuple[Table, ...] = (
    _table(
        "notes",
        """note_id VARCHAR, source VARCHAR, source_kind VARCHAR, path VARCHAR *, title VARCHAR *, lang VARCHAR,
        author VARCHAR, space VARCHAR, kind VARCHAR, owner VARCHAR, created_at TIMESTAMPTZ, updated_at TIMESTAMPTZ,
        trashed_at TIMESTAMPTZ, chars INTEGER, words INTEGER, chunks INTEGER, tags VARCHAR[], text VARCHAR *""",
    ),
    _table(
        "chunks",
        """chunk_id BIGINT, note_id VARCHAR, ordinal INTEGER, headings VARCHAR *, chars INTEGER, lang_group VARCHAR,
        text_hash BLOB, text VARCHAR *""",
    ),
    _table(
        "links",
        "from_note VARCHAR, ordinal INTEGER, kind VARCHAR, target VARCHAR *, to_note VARCHAR",
    ),
    _table("tags", "note_id VARCHAR, tag VARCHAR"),
    _table(
        "failures",
        """source VARCHAR, path VARCHAR *, reason VARCHAR, stored BOOLEAN, first_seen TIMESTAMPTZ,
        last_seen TIMESTAMPTZ""",
    ),
    _table(
        "events_search",
        """happened_at TIMESTAMPTZ, who VARCHAR, spaces VARCHAR[], query VARCHAR *, mode VARCHAR, hits INTEGER,
        milliseconds DOUBLE, degraded VARCHAR[]""",
    ),
    _table("questions", "happened_at TIMESTAMPTZ, spaces VARCHAR[], text VARCHAR *, mode VARCHAR, is_answered BOOLEAN"),
    _table(
        "conversations",
        "happened_at TIMESTAMPTZ, who VARCHAR, is_shared BOOLEAN, is_useful BOOLEAN, question VARCHAR *",
    ),
    _table("reviews", "happened_at TIMESTAMPTZ, who VARCHAR, note_id VARCHAR, rating INTEGER"),
    _table(
        "ledger",
        """id VARCHAR, happened_at TIMESTAMPTZ, day DATE, model VARCHAR, purpose VARCHAR, who VARCHAR, estimate BIGINT,
        tokens BIGINT, settled_at TIMESTAMPTZ""",
    ),
)
OUTSIDE_TABLES: tuple[Table, ...] = (
    _table(
        "backups",
        """id VARCHAR, created_at TIMESTAMPTZ, status VARCHAR, bytes_added BIGINT, bytes_total BIGINT, seconds DOUBLE,
        drilled_at TIMESTAMPTZ, drill_ok BOOLEAN, off_site BOOLEAN""",
    ),
    _table(
        "verifications",
        """happened_at TIMESTAMPTZ, deep BOOLEAN, ok BOOLEAN, checks INTEGER, warned INTEGER, failed INTEGER,
        seconds DOUBLE""",
    ),
    _table("verification_checks", "happened_at TIMESTAMPTZ, name VARCHAR, status VARCHAR, value VARCHAR"),
    _table(
        "events_flow",
        """run_id VARCHAR, flow VARCHAR, name VARCHAR, state VARCHAR, started TIMESTAMPTZ, ended TIMESTAMPTZ,
        seconds DOUBLE, retries INTEGER, trigger VARCHAR""",
    ),
    _table("volume", "happened_at TIMESTAMPTZ, free_bytes BIGINT, database_bytes BIGINT, notes INTEGER"),
)
TABLES = CATALOG_TABLES + OUTSIDE_TABLES
