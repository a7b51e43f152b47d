"""A query is paid for once: what was asked lately is answered from the catalog, also when nothing may be called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nescord import KnowledgeManager, query_vectors
from nescord.budget import Purpose
from nescord.catalog import queries as queries_sql
from tests.budget_world import ledger, spend
from tests.fakes.gemini import FakeGemini
from tests.hashing_embedder import HashingEmbedder
from tests.vaults import open_base, write_notes

NOTES = {"猫.md": "# 猫\n\n猫が膝で寝る。\n", "budget.md": "# Budget\n\nThe money of the year is planned.\n"}


@pytest.fixture
def gemini() -> Iterator[FakeGemini]:
    with FakeGemini() as running:
        yield running


@contextmanager
def opened(folder: Path, gemini: FakeGemini, **more: object) -> Iterator[KnowledgeManager]:
    reach = {"gemini_endpoint": gemini.url, "gemini_api_key": gemini.key, "gemini_monthly_limit": 100_000}
    with open_base(folder / "data", embedder="gemini", vector="exact", **{**reach, **more}) as km:
        yield km


@pytest.fixture
def data(tmp_path: Path, gemini: FakeGemini) -> Path:
    write_notes(tmp_path / "vault", NOTES)
    with opened(tmp_path, gemini) as km:
        assert km.ingest(tmp_path / "vault").embedded == 2
    gemini.forget()
    return tmp_path


@pytest.mark.parametrize("query", ["子猫", "money plan"])
def test_a_query_is_asked_for_once_and_never_again(query: str, data: Path, gemini: FakeGemini) -> None:
    with opened(data, gemini) as km:
        first = km.search(query)
        assert not first.degraded
    assert [call.task for call in gemini.calls] == ["RETRIEVAL_QUERY"]
    with opened(data, gemini) as km:  # nothing is left in memory
        assert km.search(f"  {query} ") == first
        assert len(gemini.calls) == 1
        km.search(query + "?")
    assert len(gemini.calls) == 2


def test_with_the_budget_spent_a_known_query_is_answered_by_meaning_and_an_unknown_one_by_words(
    data: Path, gemini: FakeGemini
) -> None:
    with opened(data, gemini) as km:
        known = km.search("子猫")
        spend(km.budget, 100_000 - km.budget.state().total)
        assert km.search("子猫") == known
        unknown = km.search("膝")
    assert [hit.path for hit in unknown] == ["猫.md"]
    assert "embed_query is switched off until" in unknown.degraded[0]
    assert len(gemini.calls) == 1


def test_only_those_that_were_of_use_lately_are_kept(
    data: Path, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_vectors, "MOST_KEPT", 3)
    with opened(data, gemini) as km:
        for number in range(5):
            km.search(f"質問{number}")
        with km._base.verb() as catalog, catalog.read() as connection:
            assert connection.execute("SELECT count(*) FROM query_vector").get == 3
        gemini.forget()
    with opened(data, gemini) as km:
        km.search("質問4")
        assert not gemini.calls
        km.search("質問0")
        assert len(gemini.calls) == 1


def test_a_vector_that_is_of_use_again_is_kept_longer(data: Path, gemini: FakeGemini) -> None:
    with opened(data, gemini) as km, km._base.verb() as catalog:
        with catalog.write() as connection:
            connection.execute("INSERT INTO model (key) VALUES ('m')")
            model = connection.last_insert_rowid()
            for number, used in enumerate(("2026-11-01", "2026-11-02", "2026-11-03")):
                queries_sql.keep_vector(connection, model, bytes([number]), b"v", used, 10)
            queries_sql.keep_vector(connection, model, bytes([0]), b"v", "2026-11-04", 10)
            queries_sql.keep_vector(connection, model, bytes([9]), b"v", "2026-11-05", 3)
        with catalog.read() as connection:
            kept = [number for number in range(10) if queries_sql.vector(connection, model, bytes([number]))]
    assert kept == [0, 2, 9]


def test_a_model_in_this_process_needs_no_memory_for_queries(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", NOTES)
    with open_base(tmp_path / "data", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "vault")
        km.search("猫")
        with km._base.verb() as catalog, catalog.read() as connection:
            assert connection.execute("SELECT count(*) FROM query_vector").get == 0


def test_what_a_query_cost_is_in_the_ledger(data: Path, gemini: FakeGemini) -> None:
    with opened(data, gemini) as km:
        km.search("子猫")
        km.search("子猫")
    assert [purpose for purpose, _, is_settled in ledger(data / "data") if is_settled] == [
        Purpose.EMBED_NEW,
        Purpose.EMBED_QUERY,
    ]


def test_what_a_view_asks_for_is_entered_for_its_spaces_and_a_note_for_its_own(data: Path, gemini: FakeGemini) -> None:
    with opened(data, gemini) as km:
        note = km.capture("犬が庭で寝る。The dog.", space="user:42")
        km.embed_note(note.id)
        km.scoped({"user:42", "guild:7"}).search("dog")
        km.scoped({"guild:7"}).answer("子猫はどこ？")
        km.search("money")
    rows = ledger(data / "data", "purpose, who")
    assert [row for row in rows if row[0] != "answer"] == [
        ("embed_new", ""),  # of the ingest
        ("embed_new", "user:42"),
        ("embed_query", "guild:7,user:42"),
        ("embed_query", "guild:7"),
        ("embed_query", ""),
    ]
