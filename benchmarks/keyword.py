"""Keyword search beside raw FTS5: the same query, ranked by FTS5 alone, against everything a person gets.

The yardstick is `SELECT rowid, rank … MATCH … ORDER BY rank LIMIT 50` plus reading the ten best chunks with their
notes; ours adds the parsing of the query, filters, the best chunk per note and a marked snippet for each hit.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw

from benchmarks.measure import percentile
from benchmarks.vault import sample_queries
from nescord import KnowledgeManager, Settings
from nescord.query import parse_query

_RANK = "SELECT rowid, rank FROM chunk_fts WHERE chunk_fts MATCH ? ORDER BY rank LIMIT 50"
_SHOW = (
    "SELECT chunk.text, note.title, note.path FROM chunk JOIN note ON note.key = chunk.note "
    "WHERE chunk.id IN ({})".format(", ".join("?" * 10))
)


def raw_search(connection: apsw.Connection, expression: str) -> int:
    """The yardstick: how many chunks were ranked."""
    ranked = connection.execute(_RANK, (expression,)).fetchall()
    best = [rowid for rowid, _ in ranked[:10]]
    connection.execute(_SHOW, (*best, *[None] * (10 - len(best)))).fetchall()
    return len(ranked)


def run(data_dir: Path, vault: Path, count: int = 150, seed: int = 5) -> dict[str, float]:
    """Figures over `count` keyword-like queries in each language, in CPU milliseconds; the database is warm."""
    queries = [query for lang in ("ja", "en") for query in sample_queries(vault, count, seed, lang)]
    zone = ZoneInfo("UTC")
    ours: list[float] = []
    raw: list[float] = []
    found = 0
    with KnowledgeManager.open_existing(Settings(data_dir=data_dir, embedder="none")) as km:
        connection = apsw.Connection(str(data_dir / "nescordbot.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.pragma("cache_size", -16_000)
        for query in queries * 2:
            expression = " OR ".join(term.match for term in parse_query(query, zone).terms)
            for action, times in (
                (lambda e=expression: raw_search(connection, e), raw),
                (lambda q=query: km.search(q, mode="keyword"), ours),
            ):
                begun = time.process_time_ns()
                result = action()
                times.append((time.process_time_ns() - begun) / 1e6)
            found += bool(result)
        connection.close()
    half = len(queries)  # the first round warms the caches
    ours, raw = ours[half:], raw[half:]
    return {
        "queries": len(queries),
        "share of them that found something": found / (2 * half),
        "raw FTS5 p50, CPU ms": statistics.median(raw),
        "ours p50, CPU ms": statistics.median(ours),
        "ours / raw p50 (aim <= 1.5)": statistics.median(ours) / statistics.median(raw),
        "raw FTS5 p95, CPU ms": percentile(raw, 0.95),
        "ours p95, CPU ms": percentile(ours, 0.95),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "kb"
        with KnowledgeManager.open(Settings(data_dir=home, embedder="none")) as manager:
            manager.ingest(sys.argv[1])
        for name, value in run(home, Path(sys.argv[1])).items():
            print(f"{name:45} {value:12,.3f}")
