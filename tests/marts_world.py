"""Knowledge bases of every kind for the tests of marts, and what the tests ask of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from nescord import KnowledgeManager, Settings, marts
from nescord.catalog.database import Catalog

if TYPE_CHECKING:
    import duckdb

SECRET = "xylophone"
DIMS = 4


def settings_of(data: Path) -> Settings:
    return Settings(data_dir=data, embedder="none", lock_timeout=5)


def begun(data: Path, *texts: str, space: str = "personal") -> Settings:
    """A knowledge base with a captured note for each text."""
    settings = settings_of(data)
    with KnowledgeManager.open(settings) as km:
        for text in texts:
            km.capture(text, space=space)
    return settings


@contextmanager
def written(settings: Settings) -> Iterator[apsw.Connection]:
    """A write transaction of its database."""
    assert settings.data_dir is not None
    with Catalog(settings.data_dir / "nescordbot.db") as catalog, catalog.write() as connection:
        yield connection


def embed(settings: Settings, key: str = "made|up|4|search|1", dims: int = DIMS) -> None:
    """A vector for every text: its n-th number is that of its row plus n."""
    with written(settings) as connection:
        connection.execute("INSERT OR IGNORE INTO model (key) VALUES (?)", (key,))
        model = connection.execute("SELECT id FROM model WHERE key = ?", (key,)).get
        hashes = connection.execute("SELECT DISTINCT text_hash FROM chunk ORDER BY id").fetchall()
        for number, (text_hash,) in enumerate(hashes):
            vector = struct.pack(f"<{dims}f", *(number + place for place in range(dims)))
            connection.execute(
                "INSERT OR IGNORE INTO embedding (model, text_hash, vector) VALUES (?, ?, ?)",
                (model, text_hash, vector),
            )


def rows(settings: Settings, query: str, **options: str) -> list[tuple[Any, ...]]:
    """The answer of the current marts."""
    with marts.connect(settings, **options) as connection:
        return connection.sql(query).fetchall()


def described(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    """The columns of a view with their types."""
    return [(name, kind) for name, kind, *_ in connection.sql(f"DESCRIBE {table}").fetchall()]


def children_of(pid: int) -> Sequence[int]:
    """The processes that it has started and that live."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if os.path.exists(f"/proc/{child}")]
