"""Hybrid search beside its bare queries, in one process over many chunks.

    python -m benchmarks.hybrid [--notes 12000] [--seed 1]

Vectors are random, so that tens of thousands of chunks need not be embedded: what is measured is time, not quality. The
yardstick is the sum of FTS5's own ranking of the same expression (best 50), one numpy product over all vectors with its
50 best, and reading ten chunks. Queries are embedded beforehand (the service remembers them from the round that warms
everything); CPU milliseconds, the median of warm queries.

The product is numpy's `vecdot`, on one thread: OpenBLAS would share `rows @ vector` among threads that spin after it,
and what that costs (shown, too) is between 1 and 11 ms by what the machine does besides. "In turn" is the yardstick as
a search finds it, with the caches of the CPU emptied by 80 MB of vectors between one query's words and the next's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw
import numpy as np

from benchmarks.keyword import raw_search
from benchmarks.vault import generate, sample_queries
from nescord import KnowledgeManager, Settings
from nescord.catalog import vectors as sql
from nescord.embedding.local import LocalEmbedder
from nescord.query import by_parts, parse_query, telling

_BATCH = 5_000


def fill(data: Path, seed: int) -> int:
    """Give every chunk a random vector of the local model; how many there are."""
    rng = np.random.default_rng(seed)
    embedder = LocalEmbedder()
    settings = Settings(data_dir=data, embedder="none")
    with KnowledgeManager.open_existing(settings) as km, km._base.verb() as catalog:
        with catalog.write() as connection:
            model = sql.add_model(connection, embedder.model_key)
        while True:
            with catalog.write() as connection:
                texts = sql.pending(connection, model, _BATCH)
                if not texts:
                    sql.set_embedded_through(connection, model, sql.last_chunk(connection))
                    return sql.count_indexable(connection, model)
                rows = rng.standard_normal((len(texts), embedder.dims)).astype("<f4")
                rows /= np.linalg.norm(rows, axis=1)[:, None]
                hashes = (text.text_hash for text in texts)
                sql.store(connection, model, list(zip(hashes, map(np.ndarray.tobytes, rows), strict=True)))


def median_ms(action: Callable[[str], object], queries: list[str]) -> float:
    """CPU milliseconds of a query, the median, after a round that warms everything."""
    times = []
    for query in queries * 2:
        begun = time.process_time_ns()
        action(query)
        times.append((time.process_time_ns() - begun) / 1e6)
    return statistics.median(times[len(queries) :])


def run(notes: int, seed: int, scratch: Path) -> dict[str, float]:
    """All figures."""
    vault, data = scratch / "vault", scratch / "kb"
    generate(vault, notes, seed)
    with KnowledgeManager.open(Settings(data_dir=data, embedder="none")) as km:
        km.ingest(vault)
    chunks = fill(data, seed)
    queries = [query for lang in ("ja", "en") for query in sample_queries(vault, 40, seed, lang)]
    rows = np.random.default_rng(seed).standard_normal((chunks, 512)).astype(np.float32)
    raw = apsw.Connection(str(data / "nescordbot.db"), flags=apsw.SQLITE_OPEN_READONLY)
    raw.pragma("cache_size", -16_000)
    zone = ZoneInfo("UTC")

    def bare_words(query: str) -> object:
        return raw_search(raw, by_parts(telling(parse_query(query, zone).terms)))

    def bare_scan(query: str) -> object:
        scores = np.vecdot(rows, rows[hash(query) % chunks])
        return np.argpartition(scores, -50)[-50:]

    def threaded_scan(query: str) -> object:
        scores = rows @ rows[hash(query) % chunks]
        return np.argpartition(scores, -50)[-50:]

    def in_turn(query: str) -> object:
        return bare_words(query), bare_scan(query)

    with KnowledgeManager.open(Settings(data_dir=data, embedder="local", vector="exact")) as km:
        words, scan = median_ms(bare_words, queries), median_ms(bare_scan, queries)
        turns = median_ms(in_turn, queries)
        threaded = median_ms(threaded_scan, queries)
        vector = median_ms(lambda query: km.search(query, mode="vector"), queries)
        hybrid = median_ms(km.search, queries)
    raw.close()
    return {
        "chunks": chunks,
        "bare FTS5, CPU ms": words,
        "bare numpy scan, CPU ms": scan,
        "the same shared among BLAS threads, CPU ms": threaded,
        "bare FTS5 and bare scan in turn, CPU ms": turns,
        "search by meaning, CPU ms": vector,
        "hybrid search, CPU ms": hybrid,
        "hybrid / sum of the bare queries (aim <= 1.3)": hybrid / (words + scan),
        "hybrid / the bare queries in turn": hybrid / turns,
    }


def main() -> None:
    """Measure and print, as a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| figure | value |\n|---|---|")
        for name, value in run(asked.notes, asked.seed, Path(folder)).items():
            print(f"| {name} | {value:,.3f} |")


if __name__ == "__main__":
    main()
