"""The local model on the sample vault, and that equal text is embedded once, ever."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from tests.hashing_embedder import CountingEmbedder
from tests.vaults import SAMPLE, open_base


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeManager]:
    folder = tmp_path_factory.mktemp("local")
    with open_base(folder / "kb", embedder="local", vector="exact") as km:
        report = km.ingest(SAMPLE / "vault")
        assert report.embedded > 0
        assert (report.pending, report.degraded) == (0, [])
        yield km


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("自転車のチェーン交換の目安", "HowTo/Bike chain.md"),
        ("how much New Year's money for the kids", "家族/お年玉と贈答.md"),
    ],
)
@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_a_note_is_found_by_a_question_in_the_other_language(
    local: KnowledgeManager, query: str, path: str, mode: str
) -> None:
    hits = local.search(query, mode=mode, limit=3)
    assert path in [hit.path for hit in hits]
    assert local.search(query, mode="keyword", limit=3) != hits
    assert path not in [hit.path for hit in local.search(query, mode=mode, limit=100, same_language=True)]


def test_a_capture_is_found_by_meaning_once_it_is_embedded(local: KnowledgeManager) -> None:
    note = local.capture("The neighbour lends us his ladder until the roof is mended")
    assert note.id not in [hit.note_id for hit in local.search("隣の人に借りた梯子", mode="vector", limit=5)]
    assert local.catch_up().embedded == 1
    assert note.id in [hit.note_id for hit in local.search("隣の人に借りた梯子", mode="vector", limit=5)]


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE / "vault", tmp_path / "vault"))


def test_nothing_is_embedded_twice_by_ingests_and_renames(tmp_path: Path) -> None:
    vault = copied(tmp_path)
    model = CountingEmbedder()
    with open_base(tmp_path / "kb", embedder=model, vector="exact") as km:
        first = km.ingest(vault)
        assert first.embedded == len(model.asked) == km.meaning().embeddings > 0
        model.asked.clear()
        assert km.ingest(vault).embedded == 0
        notes = sorted(vault.rglob("*.md"))[:10]
        for number, note in enumerate(notes):
            note.rename(note.with_name(f"renamed {number}.md"))
        report = km.ingest(vault)
        assert report.renamed == len(notes)
        assert (report.embedded, model.asked) == (0, [])
        assert (report.pending, km.meaning().pending) == (0, 0)


def test_an_index_is_rebuilt_without_embedding_anything(tmp_path: Path) -> None:
    model = CountingEmbedder()
    with open_base(tmp_path / "kb", embedder=model) as km:
        km.ingest(copied(tmp_path))
        assert km.meaning().index_kind == "chroma"
        model.asked.clear()
        km.rebuild_index()
        assert model.asked == []
        assert km.meaning().behind == 0


def test_a_model_that_is_switched_away_and_back_embeds_nothing_again(tmp_path: Path) -> None:
    vault = copied(tmp_path)
    asked = {}
    for turn, name in enumerate(("one", "two", "one", "two")):
        model = CountingEmbedder(name)
        with open_base(tmp_path / "kb", embedder=model, vector="exact") as km:
            if turn:
                asked[turn] = km.migrate(model.model_key).embedded
                assert km.ingest(vault).embedded == 0
            else:
                asked[turn] = km.ingest(vault).embedded
            assert len(model.asked) == asked[turn]
            hits = km.search("plum", mode="vector")
            assert hits
            assert hits.degraded == ()
    assert asked[0] == asked[1] > 0
    assert asked[2] == asked[3] == 0
