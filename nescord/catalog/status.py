"""SQL of what `nescord status` counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apsw


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of what is stored; `failed` files are not stored, `warned` ones are; `bytes` is the database's size."""

    notes: int
    chunks: int
    trashed: int
    failed: int
    warned: int
    sources: int
    languages: dict[str, int]
    bytes: int
    schema: int
    sqlite: str
    last_ingest: str


def counts(connection: apsw.Connection) -> dict[str, int]:
    """How much is stored that a lost volume would lack: living notes and chunks."""
    notes = connection.execute("SELECT count(*) FROM note WHERE trashed_at IS NULL").get
    return {"notes": notes, "chunks": connection.execute("SELECT count(*) FROM chunk").get}


def status(connection: apsw.Connection) -> Status:
    """Count everything once, in the caller's transaction."""
    notes, trashed = connection.execute(
        "SELECT count(*) FILTER (WHERE trashed_at IS NULL), count(*) FILTER (WHERE trashed_at IS NOT NULL) FROM note"
    ).get
    failed, warned = connection.execute(
        "SELECT count(*) FILTER (WHERE NOT stored), count(*) FILTER (WHERE stored) FROM failure"
    ).get
    languages: Iterable[tuple[str, int]] = connection.execute(
        "SELECT lang, count(*) FROM note WHERE trashed_at IS NULL GROUP BY lang ORDER BY count(*) DESC, lang"
    )
    sources, last = connection.execute(
        "SELECT count(*), coalesce(max(ingested_at), '') FROM source WHERE removed_at IS NULL"
    ).get
    return Status(
        notes=notes,
        chunks=connection.execute("SELECT count(*) FROM chunk").get,
        trashed=trashed,
        failed=failed,
        warned=warned,
        sources=sources,
        languages={str(lang): int(count) for lang, count in languages},
        bytes=connection.pragma("page_count") * connection.pragma("page_size"),
        schema=connection.pragma("user_version"),
        sqlite=apsw.sqlite_lib_version(),
        last_ingest=last,
    )
