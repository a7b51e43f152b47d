"""What the vector indexes cost beside the bare thing: `python -m benchmarks.index [--chunks 40000]`.

Random unit vectors, which no model is needed for: drain against Chroma's own bulk add, Chroma's queries through our
door against its own, the exact scan against a bare numpy product. CPU seconds of one run, as ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.measure import best_of, clock
from nescord.catalog import vectors as sql
from nescord.catalog.database import Catalog
from nescord.embedding import Vectors
from nescord.home import DataFolder
from nescord.index import drain
from nescord.index.chroma import BATCH
from nescord.index.door import ChromaIndex
from nescord.index.exact import ExactIndex
from nescord.index.service import open_service
from nescord.index.store import HNSW
from nescord.locks import Locks
from nescord.settings import Settings

_MODEL = "benchmark|random|512|similarity|1"
_K = 50
_QUERIES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--dims", type=int, default=512)
    options = parser.parse_args()
    os.environ["ANONYMIZED_TELEMETRY"] = "False"
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(_measure(Path(place), options.chunks, options.dims), indent=2))


def _measure(place: Path, chunks: int, dims: int) -> dict[str, float]:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((chunks, dims), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:: max(1, chunks // _QUERIES)][:_QUERIES] + rng.standard_normal((_QUERIES, dims)) * 0.02
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    figures: dict[str, float] = {"chunks": chunks, "dims": dims}

    def note(name: str, ours: float, bare: float) -> None:
        figures[f"{name}, CPU s"], figures[f"{name}, bare"] = round(ours, 4), round(bare, 4)
        figures[f"{name}, ratio"] = round(ours / bare, 3)

    settings = Settings(data_dir=place / "data", vector="chroma")
    folder = DataFolder.at(settings)
    folder.run.mkdir(parents=True)
    with Catalog(folder.database) as catalog:
        catalog.bring_up_to_date(folder.backups)
        model = _fill(catalog, vectors)
        with _bare_collections(place / "bare") as add_and_query:
            add, query = add_and_query
            with clock() as bare_add:
                add(vectors)
            with open_service(settings, folder, Locks(folder.run, timeout=5)) as service:
                with clock() as ours:
                    drain.drain(catalog, service, _MODEL, prefix="benchmark")
                note("drain", ours.cpu, bare_add.cpu)
                figures["drain, chunks per CPU s"] = round(chunks / ours.cpu)
                index = ChromaIndex(service, model)
                with catalog.read() as connection:
                    ours = best_of(3, lambda: [index.query(connection, row, _K) for row in queries])
                bare = best_of(3, lambda: [query(row) for row in queries])
                note(f"{_QUERIES} Chroma queries of both groups", ours.cpu, bare.cpu)
        exact = ExactIndex(model)
        with catalog.read() as connection:
            with clock() as first:
                exact.query(connection, queries[0], _K)
            figures["exact scan, first query with load, CPU s"] = round(first.cpu, 4)
            ours = best_of(3, lambda: [exact.query(connection, row, _K) for row in queries])
        bare = best_of(3, lambda: [_bare_scan(vectors, row) for row in queries])
        note(f"{_QUERIES} exact scans", ours.cpu, bare.cpu)
    return figures


def _group(number: int) -> str:
    return sql.LANGUAGE_GROUPS[number % 2]


def _fill(catalog: Catalog, vectors: Vectors) -> int:
    with catalog.write() as connection:
        model = sql.add_model(connection, _MODEL)
        connection.execute("INSERT INTO source (id, name, kind, root, space) VALUES (1, 's', 'folder', '', 'personal')")
        connection.execute(
            "INSERT INTO note VALUES "
            "(1, 'n', 1, 'p', NULL, 0, 0, 0, 0, x'', '', 'en', '', 'personal', 'permanent', 'us', '', '', '', NULL)"
        )
        connection.executemany(
            'INSERT INTO chunk (note, ordinal, headings, text, text_hash, start, "end", language_group) '
            "VALUES (1, ?1, '', '', ?2, 0, 0, ?3)",
            ((number, number.to_bytes(16, "big"), _group(number)) for number in range(len(vectors))),
        )
        sql.store(
            connection, model, [(number.to_bytes(16, "big"), row.tobytes()) for number, row in enumerate(vectors)]
        )
    return model


@contextmanager
def _bare_collections(path: Path) -> Iterator[tuple[Callable[[Vectors], None], Callable[[Vectors], object]]]:
    """Chroma as one would use it without us: the same settings, batches and halves."""
    import chromadb

    with chromadb.PersistentClient(path=str(path)) as client:
        halves = [
            client.create_collection(f"bare-{group}", configuration={"hnsw": dict(HNSW)}, embedding_function=None)
            for group in sql.LANGUAGE_GROUPS
        ]

        def add(vectors: Vectors) -> None:
            for number, half in enumerate(halves):
                rows = vectors[number::2]
                for start in range(0, len(rows), BATCH):
                    batch = rows[start : start + BATCH]
                    half.add(ids=[str(start + place) for place in range(len(batch))], embeddings=batch)

        def query(vector: Vectors) -> object:
            return [half.query(query_embeddings=[vector], n_results=_K, include=["distances"]) for half in halves]

        yield add, query


def _bare_scan(vectors: Vectors, query: Vectors) -> object:
    """The product, and the best of each half."""
    scores = vectors @ query
    return [np.argpartition(scores[half::2], -_K)[-_K:] for half in (0, 1)]


if __name__ == "__main__":
    main()
