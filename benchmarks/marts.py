"""What building marts costs beside reading the same rows bare, on a knowledge base of any size.

python -m benchmarks.marts DATA_DIR [--chunks 40000 --dims 512]

Without a knowledge base at DATA_DIR one is made there: a vault from a seed, and random vectors (which compress no
better than real ones, and cost no model). "bare" is a process that opens the live database and fetches what the marts
are made from, and does nothing with it; "arrow" fetches it from a copy into Arrow arrays as other programs would (ADBC;
a cursor for the vectors), and writes nothing either. "unchanged" is a second build,
whose vectors are those of the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import vault
from nescord import KnowledgeManager, Settings
from nescord.catalog.database import Catalog
from nescord.catalog.snapshot import snapshot
from nescord.home import DataFolder
from nescord.opened import OpenBase

_CHUNKS_PER_NOTE = 3.1
_BARE = """
import sys
from pathlib import Path
from nescord.catalog import marts
from nescord.catalog.database import Catalog

with Catalog(Path(sys.argv[1])) as catalog, catalog.read() as connection:
    for name in marts.EXPORTS:
        for _ in marts.rows(connection, name, (), None):
            pass
    for model in marts.models(connection, None):
        for _ in marts.vectors(connection, model, None):
            pass
"""
_ARROW = """
import sqlite3, sys
import adbc_driver_sqlite.dbapi
import numpy as np
import pyarrow as pa
from nescord.catalog import marts

with adbc_driver_sqlite.dbapi.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    for export in marts.EXPORTS.values():
        columns = ", ".join(f"coalesce({what}, '')" for what in export.columns.values())
        cursor.execute(f"SELECT {columns} FROM {export.rows}".replace(":spaces", "NULL"))
        for _ in cursor.fetch_record_batch():
            pass
rows = sqlite3.connect(sys.argv[1]).execute("SELECT text_hash, vector FROM embedding ORDER BY id")
while some := rows.fetchmany(4096):
    numbers = np.frombuffer(b"".join(vector for _, vector in some), np.float32)
    pa.FixedSizeListArray.from_arrays(pa.array(numbers), len(numbers) // len(some))
"""
_BUILD = """
import sys
from pathlib import Path
from nescord import marts
from nescord.settings import Settings

marts.build(Settings(data_dir=Path(sys.argv[1]).parent))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """A process with all it has started: CPU and wall seconds, and the most memory that one of them had, in MiB."""

    cpu: float
    wall: float
    peak: int


def main() -> None:
    """Three runs of each, the least of them; noise only ever adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--chunks", type=int, default=40_000)
    parser.add_argument("--dims", type=int, default=512)
    asked = parser.parse_args()
    settings = Settings(data_dir=asked.data, embedder="none")
    folder = DataFolder.at(settings)
    if not folder.has_begun():
        _make(settings, asked.chunks, asked.dims)
    with KnowledgeManager.open_existing(settings) as km:
        status = km.status()
        print(f"{status.notes:,} notes, {status.chunks:,} chunks, database {status.bytes / 1e6:,.0f} MB")
    bare = _least(lambda: _cost(_BARE, folder.database))
    arrow = _least(lambda: _cost(_ARROW, _copy_of(folder)))
    changed = _least(lambda: _after_a_change(folder))
    unchanged = _least(lambda: _cost(_BUILD, folder.database))
    for name, cost in (("bare", bare), ("arrow", arrow), ("build", changed), ("unchanged", unchanged)):
        print(
            f"{name:>10}  {cost.cpu:6.2f} CPU s  {cost.wall:6.2f} s  {cost.peak:5} MiB peak"
            f"  {cost.cpu / bare.cpu:4.1f} x CPU  {cost.wall / bare.wall:4.1f} x time"
        )
    size = sum(path.stat().st_size for path in folder.marts.rglob("*.parquet")) / 1e6
    print(f"{size:,.0f} MB in {len(list(folder.marts.iterdir())) - 1} generations, links counted twice")


def _least(measure: Callable[[], Cost]) -> Cost:
    return min((measure() for _ in range(3)), key=lambda cost: cost.cpu)


def _after_a_change(folder: DataFolder) -> Cost:
    """The build when some vector is another one."""
    with Catalog(folder.database) as catalog, catalog.write() as connection:
        connection.execute(
            "UPDATE embedding SET id = (SELECT max(id) + 1 FROM embedding) WHERE id = (SELECT min(id) FROM embedding)"
        )
    return _cost(_BUILD, folder.database)


def _copy_of(folder: DataFolder) -> Path:
    copy = folder.path.with_name("copy.db")
    copy.unlink(missing_ok=True)
    with Catalog(folder.database) as catalog, catalog.read() as connection:
        snapshot(connection, copy)
    return copy


def _cost(code: str, database: Path) -> Cost:
    # Compiled modules are kept, as on any machine that has run this before.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(database.parent.with_name("pycache"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(database)], env=env)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - begun, usage.ru_maxrss // 1024)


def _make(settings: Settings, chunks: int, dims: int) -> None:
    place = DataFolder.at(settings).path.with_name("vault")
    vault.generate(place, round(chunks / _CHUNKS_PER_NOTE), seed=1)
    with KnowledgeManager.open(settings) as km:
        km.ingest(place)
    rng = np.random.default_rng(1)
    base = OpenBase(DataFolder.find(settings), settings, is_new=False)
    with base.verb() as catalog, catalog.write() as connection:
        hashes = connection.execute("SELECT DISTINCT text_hash FROM chunk").fetchall()
        connection.execute("INSERT INTO model (key) VALUES (?)", (f"made|up|{dims}|search|1",))
        made = ((text_hash, rng.standard_normal(dims, dtype=np.float32).tobytes()) for (text_hash,) in hashes)
        connection.executemany("INSERT INTO embedding (model, text_hash, vector) VALUES (1, ?, ?)", made)
    base.close()


if __name__ == "__main__":
    main()
