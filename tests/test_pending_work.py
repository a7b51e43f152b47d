"""Pending texts in batches that someone else embeds: stored once and in order, whatever a batch comes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nescord.catalog.database import Catalog
from nescord.embed import PendingWork, embed_pending, is_done, pending_work
from nescord.embedding.service import EmbeddingService
from nescord.errors import EmbeddingError
from tests.hashing_embedder import REFUSED, CountingEmbedder, HashingEmbedder
from tests.vaults import open_base, write_notes

SAME = "This paragraph stands in several notes, word for word."


@contextmanager
def catalog_of(folder: Path, notes: dict[str, str]) -> Iterator[Catalog]:
    """The catalog of a knowledge base with these notes, of which none is embedded."""
    (folder / "vault").mkdir(exist_ok=True)
    write_notes(folder / "vault", notes)
    with open_base(folder / "kb", embedder="none") as knowledge:
        knowledge.ingest(folder / "vault")
    with Catalog(folder / "kb" / "nescordbot.db") as catalog:
        yield catalog


def finish(work: PendingWork) -> list[tuple[int, int]]:
    return [work.store_batch(batch, work.embed_batch(batch)) for batch in work.batches]


def numbered(count: int) -> dict[str, str]:
    return {f"{number}.md": f"note {number} of its own words" for number in range(count)}


def test_every_text_is_in_one_batch_and_asked_for_once(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    with catalog_of(tmp_path, numbered(7) | {"a.md": SAME, "b.md": SAME}) as catalog:
        with pending_work(catalog, EmbeddingService(embedder), size=3) as work:
            assert [len(batch) for batch in work.batches] == [3, 3, 2]
            assert finish(work) == [(3, 0), (3, 0), (2, 0)]
        assert len(embedder.asked) == len(set(embedder.asked)) == 8
        assert is_done(catalog, embedder.model_key)
        with pending_work(catalog, EmbeddingService(embedder)) as work:
            assert work.batches == []


def test_a_refused_text_fails_neither_its_batch_nor_the_next_run(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    with catalog_of(tmp_path, numbered(4) | {"bad.md": f"{REFUSED} it says"}) as catalog:
        with pending_work(catalog, EmbeddingService(embedder)) as work:
            assert finish(work) == [(4, 1)]
        assert is_done(catalog, embedder.model_key)
        assert embed_pending(catalog, EmbeddingService(embedder)).refused == 0


def test_the_next_run_embeds_exactly_what_an_interrupted_one_has_not_stored(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    with catalog_of(tmp_path, numbered(7)) as catalog:
        with pending_work(catalog, EmbeddingService(embedder), size=3) as work:
            work.store_batch(work.batches[0], work.embed_batch(work.batches[0]))
            work.embed_batch(work.batches[1])  # and here it ends
        with pytest.raises(EmbeddingError, match="has ended"):
            work.embed_batch(work.batches[2])
        counting = CountingEmbedder()
        assert embed_pending(catalog, EmbeddingService(counting)).embedded == 4
        assert len(counting.asked) == 4


def test_a_note_that_comes_meanwhile_is_pending_afterwards(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    with (
        catalog_of(tmp_path, numbered(3)) as catalog,
        pending_work(catalog, EmbeddingService(embedder)) as work,
    ):
        with catalog_of(tmp_path, {"late.md": "a late note"}):
            pass
        assert finish(work) == [(3, 0)]
        assert not is_done(catalog, embedder.model_key)
        assert embed_pending(catalog, EmbeddingService(embedder)).embedded == 1
