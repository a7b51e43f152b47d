"""The steps of `benchmarks.scale`, each in a process of its own.

    python -m benchmarks.scale_steps STEP FOLDER CHUNKS SEED

A step works in FOLDER (`vault`, `kb`, `queries.json`) and prints what it has found as one JSON line. Who measures CPU,
memory and time is the process that started it. Vectors are drawn at random, for no model makes a million in an hour,
with the mean and the covariance of some real ones: those without any order are twice as hard for a graph.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from benchmarks.measure import percentile

CHUNKS_A_NOTE = 3.28
"""Of a generated vault; the true number is in the figures."""
QUERIES = 40
REAL = 512
"""Texts that are embedded by the local model, for the others to be drawn like them."""
_BATCH = 5_000
_ROUNDS = 3
_SHARE_EDITED = 0.01
_PATIENCE = 600.0
_SHOWN = 10
# Ingest looks again at what was written less than two seconds before it.
_NOT_RACY = 2.5

Figures = dict[str, object]


class Place:
    """Where a size is worked on."""

    def __init__(self, folder: Path, chunks: int, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.notes = max(20, round(chunks / CHUNKS_A_NOTE))
        self.vault, self.data = folder / "vault", folder / "kb"

    def queries(self) -> list[str]:
        found: list[str] = json.loads((self.folder / "queries.json").read_text("utf-8"))
        return found


def generate(at: Place) -> Figures:
    from benchmarks import vault

    facts = vault.generate(at.vault, at.notes, at.seed)
    queries = [query for lang in ("ja", "en") for query in vault.sample_queries(at.vault, QUERIES, at.seed, lang)]
    (at.folder / "queries.json").write_text(json.dumps(queries, ensure_ascii=False), "utf-8")
    time.sleep(_NOT_RACY)
    return {"notes": facts.notes, "bytes": facts.bytes, "queries": len(queries)}


def ingest(at: Place) -> Figures:
    """Notes and words, without a model."""
    return _ingest(at, "none")


def unchanged(at: Place) -> Figures:
    """With a model, as somebody has it: it is not loaded, for nothing waits for it."""
    figures = _ingest(at, "local")
    if figures["read"]:
        raise RuntimeError(f"something was to be done: {figures}")
    return figures


def _ingest(at: Place, embedder: Literal["none", "local"]) -> Figures:
    from nescord import KnowledgeManager, Settings

    with KnowledgeManager.open(Settings(data_dir=at.data, embedder=embedder)) as km:
        report = km.ingest(at.vault)
        chunks = km.status().chunks
    figures: Figures = {"added": report.added, "changed": report.changed, "read": report.files_read, "chunks": chunks}
    return figures | {"chunks_added": report.chunks_added}


def real(at: Place) -> Figures:
    """The vectors of a few texts, by the local model."""
    import numpy as np

    from nescord import KnowledgeManager, Settings
    from nescord.catalog import vectors as sql
    from nescord.embedding.local import LocalEmbedder
    from nescord.embedding.service import embedding_input

    settings = Settings(data_dir=at.data, embedder="none")
    with (
        KnowledgeManager.open_existing(settings) as km,
        km._base.verb() as catalog,
        catalog.read() as connection,
    ):
        texts = sql.pending(connection, 0, REAL)
    vectors = LocalEmbedder().embed_documents([embedding_input(one.title, one.headings, one.text) for one in texts])
    np.save(at.folder / "real.npy", vectors)
    return {"embedded": len(vectors)}


def fill(at: Place) -> Figures:
    """As benchmarks.hybrid.fill, but drawn like real vectors, and what has its own is not looked at again."""
    import numpy as np

    from nescord import KnowledgeManager, Settings
    from nescord.catalog import vectors as sql
    from nescord.embedding.local import LocalEmbedder

    rng, stored, model_key = np.random.default_rng(at.seed), 0, LocalEmbedder.model_key
    some = np.load(at.folder / "real.npy")
    mean = some.mean(axis=0)
    spread = (some - mean) / np.float32(np.sqrt(len(some)))
    with KnowledgeManager.open_existing(Settings(data_dir=at.data, embedder="none")) as km, km._base.verb() as catalog:
        with catalog.write() as connection:
            model = sql.add_model(connection, model_key)
        while True:
            with catalog.write() as connection:
                texts = sql.pending(connection, model, _BATCH)
                if not texts:
                    sql.set_embedded_through(connection, model, sql.last_chunk(connection))
                    return {"stored": stored, "indexable": sql.count_indexable(connection, model)}
                rows = mean + rng.standard_normal((len(texts), len(some)), np.float32) @ spread
                rows = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype("<f4")
                hashes = (text.text_hash for text in texts)
                sql.store(connection, model, list(zip(hashes, map(np.ndarray.tobytes, rows), strict=True)))
                sql.set_embedded_through(connection, model, texts[-1].chunk)
                stored += len(texts)


def drain(at: Place) -> Figures:
    from nescord import KnowledgeManager, Settings

    with KnowledgeManager.open_existing(Settings(data_dir=at.data, embedder="local")) as km:
        report = km.drain()
        if report.degraded:
            raise RuntimeError("; ".join(report.degraded))
    return {"indexed": report.indexed}


def keyword(at: Place) -> Figures:
    return _asked(at, "keyword", "exact")[0]


def exact(at: Place) -> Figures:
    figures, hits = _asked(at, "vector", "exact")
    (at.folder / "exact.json").write_text(json.dumps(hits), "utf-8")
    return figures


def filtered(at: Place) -> Figures:
    """Only notes of a tag that few notes have: what a filter, or a small space of a large base, costs."""
    import apsw

    connection = apsw.Connection(str(at.data / "nescordbot.db"), flags=apsw.SQLITE_OPEN_READONLY)
    tag: str = connection.execute("SELECT name FROM tag GROUP BY name ORDER BY count(*), name LIMIT 1").get
    connection.close()
    return _asked(at, "hybrid", "exact", tags=(tag,))[0]


def hybrid(at: Place) -> Figures:
    return _asked(at, "hybrid", "exact")[0]


def chroma(at: Place) -> Figures:
    """By meaning, beside a Chroma server as `nescord services` runs it; its memory apart from ours."""
    figures, hits = _served(at, "vector")
    best = json.loads((at.folder / "exact.json").read_text("utf-8"))
    found = [len(set(one) & set(other)) / len(other) for one, other in zip(hits, best, strict=True) if other]
    return figures | {"of the exact ten": round(sum(found) / len(found), 3)}


def hybrid_chroma(at: Place) -> Figures:
    return _served(at, "hybrid")[0]


def edit(at: Place) -> Figures:
    from benchmarks import vault

    edited = vault.edit(at.vault, _SHARE_EDITED, at.seed)
    time.sleep(_NOT_RACY)
    return {"edited": len(edited)}


def restore(at: Place) -> Figures:
    """The newest snapshot put together and held against its hashes, in one file that is then removed."""
    from nescord.backup.copies import stage
    from nescord.backup.store import BackupStore

    store, target = BackupStore(at.data / "backups"), at.folder / "restored.db"
    target.unlink(missing_ok=True)
    stage(store, store.manifest(store.ids()[-1]), target)
    size = target.stat().st_size
    target.unlink()
    return {"bytes": size}


def words(at: Place) -> Figures:
    """The full-text index made anew, as after a change of the tokenizer."""
    from nescord import KnowledgeManager, Settings
    from nescord.catalog import fulltext

    settings = Settings(data_dir=at.data, embedder="none")
    with (
        KnowledgeManager.open_existing(settings) as km,
        km._base.verb() as catalog,
        catalog.write() as connection,
    ):
        fulltext.rebuild(connection)
        rows: int = connection.execute("SELECT count(*) FROM chunk_fts_docsize").get
    return {"rows": rows}


def _asked(
    at: Place,
    mode: str,
    vector: str,
    server: int | None = None,
    tags: tuple[str, ...] = (),
    **settings: object,
) -> tuple[Figures, list[list[str]]]:
    """Milliseconds of a query: each once to warm everything, then the best of some rounds. And the notes it found."""
    from nescord import KnowledgeManager, Settings

    queries = at.queries()
    options = {"data_dir": at.data, "embedder": "local", "vector": vector, "search_events": "off"} | settings
    walls, spent = [[0.0] * len(queries) for _ in range(_ROUNDS)], [[0.0] * len(queries) for _ in range(_ROUNDS)]
    with KnowledgeManager.open_existing(Settings(**options)) as km:
        begun = time.perf_counter()
        first = km.search(queries[0], mode=mode, tags=tags)
        cold = time.perf_counter() - begun
        hits = [km.search(query, mode=mode, limit=_SHOWN, tags=tags) for query in queries]
        before = _cpu_of(server)
        for round_ in range(_ROUNDS):
            for number, query in enumerate(queries):
                wall, cpu = time.perf_counter_ns(), time.process_time_ns()
                km.search(query, mode=mode, tags=tags)
                walls[round_][number] = (time.perf_counter_ns() - wall) / 1e6
                spent[round_][number] = (time.process_time_ns() - cpu) / 1e6
        served = _cpu_of(server) - before
    degraded = {reason for each in (first, *hits) for reason in each.degraded}
    if degraded:
        raise RuntimeError("; ".join(degraded))
    wall_ms, cpu_ms = ([min(times) for times in zip(*rounds, strict=True)] for rounds in (walls, spent))
    figures: Figures = {"first_s": round(cold, 3), "index": first.index_kind, "own_rss_mb": _most_resident(os.getpid())}
    for name, times in (("wall", wall_ms), ("cpu", cpu_ms)):
        figures |= {f"{name}_p{share}_ms": round(percentile(times, share / 100), 3) for share in (50, 95)}
    if server:
        figures["server_cpu_ms"] = round(served / len(queries) / _ROUNDS * 1000, 3)
    return figures, [[hit.note_id for hit in each] for each in hits]


def _served(at: Place, mode: str) -> tuple[Figures, list[list[str]]]:
    with _server(at) as (url, pid):
        figures, hits = _asked(at, mode, "chroma", pid, chroma_url=url)
        return figures | {"server_rss_mb": _most_resident(pid)}, hits


@contextmanager
def _server(at: Place) -> Iterator[tuple[str, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    folders = str(at.data / "chroma"), str(at.data / "run")
    program = [sys.executable, "-m", "nescord.index.server", *folders, str(port)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        try:
            _wait_for(url, child)
            yield url, child.pid
        finally:
            child.terminate()
            child.wait()


def _wait_for(url: str, child: subprocess.Popen[bytes]) -> None:
    from nescord.errors import ServiceUnavailableError
    from nescord.index.http import HttpStore

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            HttpStore(url).close()
            return
        except ServiceUnavailableError:
            if child.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _cpu_of(pid: int | None) -> float:
    """Seconds so far (Linux); 0 for None."""
    if pid is None:
        return 0.0
    ticks = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _most_resident(pid: int) -> int:
    """MiB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


STEPS: dict[str, Callable[[Place], Figures]] = {
    "generate": generate,
    "ingest": ingest,
    "unchanged": unchanged,
    "real": real,
    "fill": fill,
    "drain": drain,
    "keyword": keyword,
    "exact": exact,
    "hybrid": hybrid,
    "filtered": filtered,
    "chroma": chroma,
    "hybrid_chroma": hybrid_chroma,
    "edit": edit,
    "restore": restore,
    "words": words,
}


def main() -> None:
    step, folder, chunks, seed = sys.argv[1:]
    print(json.dumps(STEPS[step](Place(Path(folder), int(chunks), int(seed)))))


if __name__ == "__main__":
    main()
