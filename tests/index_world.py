"""A knowledge base with chunks and vectors but no model, for tests of what follows it.

Also the processes of those tests: `python tests/index_world.py VERB DATA_DIR …`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from nescord.catalog import vectors as sql
from nescord.catalog.database import Catalog
from nescord.embedding import Vectors
from nescord.home import DataFolder
from nescord.index import drain, need
from nescord.index import service as services
from nescord.index.chroma import ChromaDBService
from nescord.index.drain import DrainReport
from nescord.locks import Locks
from nescord.settings import Settings

DIMS = 16
MODEL = "test|random|16|similarity|1"
PREFIX = "nescord_knowledge"


class World:
    """The truth, and the verbs that change it."""

    def __init__(self, data: Path, *, url: str | None = None, vector: str = "auto") -> None:
        data.mkdir(exist_ok=True)
        (data / "run").mkdir(exist_ok=True)
        self.settings = Settings(data_dir=data, chroma_url=url, vector=vector, lock_timeout=20)
        self.folder = DataFolder.at(self.settings)
        self.locks = Locks(self.folder.run, timeout=20)
        self.catalog = Catalog(self.folder.database)
        if self.catalog.is_behind:
            self.catalog.bring_up_to_date(self.folder.backups)
        with self.catalog.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO source (id, name, kind, root, space) VALUES (1, 's', 'folder', '', 'p')"
            )
            connection.execute(
                "INSERT OR IGNORE INTO note VALUES "
                "(1, 'n', 1, 'p', NULL, 0, 0, 0, 0, x'', '', 'en', '', 'p', 'permanent', 'us', '', '', '', NULL)"
            )
            self.model = sql.add_model(connection, MODEL)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.catalog.close()

    def add(self, count: int, *, group: str = "other", vectors: Vectors | None = None) -> list[int]:
        """New chunks with vectors, as T1 and T2 would."""
        if vectors is None:
            with self.catalog.read() as connection:
                # Random, yet the same in every run: which of two is nearer must not hang on their last bits.
                vectors = random_vectors(count, seed=sql.last_seq(connection))
        ids = []
        with self.catalog.write() as connection:
            for vector in vectors:
                text_hash = vector.tobytes()[:16]
                connection.execute(
                    'INSERT INTO chunk (note, ordinal, headings, text, text_hash, start, "end", language_group) '
                    "VALUES (1, 0, '', '', ?, 0, 0, ?)",
                    (text_hash, group),
                )
                ids.append(connection.last_insert_rowid())
                sql.store(connection, self.model, [(text_hash, vector.tobytes())])
        return ids

    def delete(self, ids: Sequence[int]) -> None:
        with self.catalog.write() as connection:
            for chunk in ids:
                connection.execute(
                    "INSERT INTO index_log (op, chunk, language_group) "
                    "SELECT 'delete', id, language_group FROM chunk WHERE id = ?",
                    (chunk,),
                )
                connection.execute("DELETE FROM chunk WHERE id = ?", (chunk,))

    def drain(self) -> DrainReport:
        with self.open() as service:
            return drain.drain(self.catalog, service, MODEL, prefix=PREFIX)

    def open(self) -> AbstractContextManager[ChromaDBService]:
        return services.open_service(self.settings, self.folder, self.locks)

    def needs_drain(self) -> bool:
        with self.catalog.read() as connection:
            behind = sql.count_behind(connection, self.model)
            return need.needs_drain(connection, self.settings, self.folder, self.locks, self.model, behind)

    def collections(self) -> dict[str, sql.Collection]:
        with self.catalog.read() as connection:
            return {row.language_group: row for row in sql.collections(connection) if row.state == "live"}

    def truth(self) -> dict[str, set[int]]:
        with self.catalog.read() as connection:
            return {
                group: {chunk for chunk, _, _ in sql.all_vectors(connection, self.model, group)}
                for group in sql.LANGUAGE_GROUPS
            }

    def tables(self) -> list[tuple[object, ...]]:
        """All that an index must never change."""
        with self.catalog.read() as connection:
            return [
                row
                for table in ("note", "chunk", "embedding", "model", "meta", "source")
                for row in connection.execute(f"SELECT * FROM {table}")
            ]

    def assert_right(self, service: ChromaDBService) -> None:
        """The live collections hold what SQLite holds, and give all of it."""
        live = self.collections()
        truth = self.truth()
        assert set(live) == set(truth)
        assert set(service.collections()) == {row.name for row in live.values()}
        for group, ids in truth.items():
            assert service.ids(live[group].name) == ids
            assert len(service.all_found(live[group].name, DIMS)) == service.count(live[group].name)


def random_vectors(count: int, dims: int = DIMS, seed: int | None = None) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def unlike(count: int, dims: int) -> Vectors:
    """As texts are: most are like the common one, and some like no other, which few graphs of neighbours lead to."""
    numbers = np.random.default_rng(3)
    unlikeness = 0.5 * np.exp(numbers.normal(0, 0.3, (count, 1)))
    rows = numbers.standard_normal(dims) + unlikeness * numbers.standard_normal((count, dims))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _main() -> None:
    verb, data = sys.argv[1], Path(sys.argv[2])
    with World(data) as world:
        if verb == "drain":
            with world.open() as service:
                print("open", flush=True)
                drain.drain(world.catalog, service, MODEL, prefix=PREFIX)
        elif verb == "rebuild":
            with world.open() as service:
                print("open", flush=True)
                drain.rebuild(world.catalog, service, MODEL, prefix=PREFIX)
        elif verb == "hold":
            with world.open() as service:
                for line in sys.stdin:
                    drain.drain(world.catalog, service, MODEL, prefix=PREFIX)
                    print(sorted(service.ids(world.collections()[line.strip()].name)), flush=True)
        elif verb == "write":
            for line in sys.stdin:
                what, *numbers = line.split()
                if what == "add":
                    print(world.add(1, vectors=random_vectors(1, seed=int(numbers[0]))), flush=True)
                else:
                    world.delete([int(number) for number in numbers])
                    print("done", flush=True)
        elif verb == "die":  # without a clean close
            with world.open():
                print("open", flush=True)
                time.sleep(60)


if __name__ == "__main__":
    _main()
