"""Another model in place of the live one: the cost is shown, an interruption costs nothing, the swap is one step."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
from cli_runs import nescord
from fakes.gemini import FakeGemini
from remote_world import environment_for, killed, notes, sent_twice, settings_for
from survival import SOAK, new_rng

from nescord import KnowledgeManager, Settings, embed, migrating
from nescord.catalog import model_choice
from nescord.catalog import vectors as vectors_sql
from nescord.embedding import remote
from nescord.embedding.service import key_of
from nescord.errors import BudgetError, EmbeddingUnavailableError, UsageError
from nescord.index.service import open_service
from tests.hashing_embedder import CountingEmbedder, HashingEmbedder
from tests.vaults import open_base, write_notes

_SMALL_REQUESTS = (
    "import sys; from nescord.cli import run; from nescord.embedding import remote\n"
    "remote._MOST_TOKENS = 1_500; sys.exit(run(sys.argv[1:]))"
)


def ingested(folder: Path, embedder: HashingEmbedder, *, count: int = 20, **settings: object) -> KnowledgeManager:
    write_notes(folder / "vault", notes(count))
    km = open_base(folder / "kb", embedder=embedder, **{"vector": "exact", **settings})
    assert km.ingest(folder / "vault").embedded
    return km


def live(km: KnowledgeManager) -> str | None:
    with km._base.verb() as catalog, catalog.read() as connection:
        return model_choice.live_key(connection)


def test_the_new_model_answers_when_all_is_there_and_the_way_back_costs_nothing(tmp_path: Path) -> None:
    one, two = CountingEmbedder("one"), CountingEmbedder("two")
    with ingested(tmp_path, one) as km:
        before = [hit.path for hit in km.search("豆腐", mode="vector", limit=20)]
    with open_base(tmp_path / "kb", embedder=two, vector="exact") as km:
        plan = km.plan_migration(two.model_key)
        assert (plan.live_key, plan.model_key, plan.texts, plan.left) == (one.model_key, two.model_key, 20, None)
        report = km.migrate(two.model_key)
        assert (report.is_live, report.embedded, report.refused, report.pending) == (True, 20, 0, 0)
        assert live(km) == two.model_key
        hits = km.search("豆腐", mode="vector")
        assert hits
        assert hits.degraded == ()
        assert km.ingest(tmp_path / "vault").embedded == 0
    asked = len(one.asked)
    with open_base(tmp_path / "kb", embedder=one, vector="exact") as km:
        assert km.plan_migration(one.model_key).texts == 0
        assert km.migrate(one.model_key).is_live
        assert len(one.asked) == asked
        assert [hit.path for hit in km.search("豆腐", mode="vector", limit=20)] == before


def test_an_interrupted_migration_goes_on_and_the_old_model_answers_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BATCH_TEXTS", 4)
    one, two = CountingEmbedder("one"), CountingEmbedder("two")
    ingested(tmp_path, one).close()
    with open_base(tmp_path / "kb", embedder=two, vector="exact") as km:
        report = km.migrate(two.model_key, stop=lambda: len(two.asked) >= 8)
        assert (report.is_live, report.embedded, report.pending) == (False, 8, 12)
        assert live(km) == one.model_key
    with open_base(tmp_path / "kb", embedder=one, vector="exact") as km:
        assert km.search("ferry", mode="vector").degraded == ()
        write_notes(tmp_path / "vault", {"Late.md": "# Late\n\nIt came in between.\n"})
        assert km.ingest(tmp_path / "vault").embedded == 1
    with open_base(tmp_path / "kb", embedder=two, vector="exact") as km:
        assert km.migrate(two.model_key).embedded == 13
        assert len(two.asked) == len(set(two.asked)) == 21
        assert live(km) == two.model_key


def test_what_is_captured_in_the_midst_of_it_is_embedded_before_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BATCH_TEXTS", 4)
    monkeypatch.setattr(migrating, "_PAUSE", 0.01)
    ingested(tmp_path, HashingEmbedder("one")).close()
    with open_base(tmp_path / "kb", embedder=HashingEmbedder("two"), vector="exact") as km:
        captured = []

        def capture(_: object) -> None:
            if len(captured) < 3:
                captured.append(km.capture(f"Thought number {len(captured)} 考え").id)

        report = km.migrate(km._base.meaning.models.own.model_key, progress=capture)  # type: ignore[union-attr]
        assert report.is_live
        assert report.embedded == 23
        assert km.meaning().pending == 0
        assert set(captured) <= {hit.note_id for hit in km.search("thought", mode="vector", limit=100)}


def test_an_ingest_has_its_turn_while_a_migration_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BATCH_TEXTS", 1)
    monkeypatch.setattr(migrating, "_TURN", 0.2)
    two = HashingEmbedder("two")
    ingested(tmp_path, HashingEmbedder("one"), count=40).close()
    done = threading.Event()

    def pace(_: object) -> None:
        if not done.is_set():
            done.wait(0.1)

    with (
        open_base(tmp_path / "kb", embedder=two, vector="exact") as km,
        open_base(tmp_path / "kb", embedder=HashingEmbedder("one"), vector="exact", lock_timeout=10) as other,
    ):
        reports = []
        migration = threading.Thread(
            target=lambda: reports.append(km.migrate(two.model_key, progress=pace)), daemon=True
        )
        migration.start()
        write_notes(tmp_path / "vault", {"Late.md": "# Late\n\nIt came in between.\n"})
        assert other.ingest(tmp_path / "vault").added == 1
        assert migration.is_alive()
        done.set()
        migration.join(60)
        assert reports[0].is_live
        assert reports[0].embedded == 41


def test_a_swap_is_refused_while_a_chunk_waits(tmp_path: Path) -> None:
    two = HashingEmbedder("two")
    with ingested(tmp_path, HashingEmbedder("one")) as km:
        before = live(km)
        with km._base.verb() as catalog, catalog.write() as connection:
            assert not model_choice.swap(connection, two.model_key)
        assert live(km) == before


def test_the_collections_of_the_new_model_are_complete_before_and_the_old_ones_go_after(tmp_path: Path) -> None:
    one, two = HashingEmbedder("one"), HashingEmbedder("two")
    ingested(tmp_path, one, vector="auto").close()
    with open_base(tmp_path / "kb", embedder=two) as km:
        assert km.migrate(two.model_key).degraded == ()
        status = km.meaning()
        assert (status.index_kind, status.index_count, status.behind) == ("chroma", 20, 0)

        def states() -> list[str]:
            with km._base.verb() as catalog, catalog.read() as connection:
                return sorted(known.state for known in vectors_sql.collections(connection))

        assert states() == ["live", "live", "old", "old"]
        km.maintain()
        assert states() == ["live", "live"]
        with open_service(km._base.settings, km.folder, km._base.locks) as chroma:
            assert len(chroma.collections()) == 2
        assert km.verify().ok


def test_a_migration_to_gemini_shows_its_cost_and_asks_and_pays_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_MOST_TOKENS", 1_500)
    write_notes(tmp_path / "vault", notes(20))
    with FakeGemini() as gemini:
        with open_base(tmp_path / "kb", embedder="local", vector="exact") as km:
            km.ingest(tmp_path / "vault")
        # 2,700 of 3,000 tokens: re-embedding is optional, and off from nine tenths on.
        with open_base(tmp_path / "kb", **settings_for(gemini, embedder="auto", gemini_monthly_limit=3_000)) as km:
            plan = km.plan_migration("gemini")
            assert gemini.calls == []
            assert plan.live_key == key_of("local", Settings())
            assert (plan.texts, plan.left) == (20, 2_700)
            assert plan.tokens > 3_000
            assert plan.usd == pytest.approx(plan.tokens * 0.15 / 1e6, rel=0.01)
            with pytest.raises(BudgetError, match="reembed"):
                km.migrate("gemini")
            assert 0 < km.budget.state().total <= 3_000
            assert live(km) == plan.live_key
            # Less than nine tenths may be left to what is no re-embedding.
            assert km.search("ferry", mode="vector").degraded == ()
        first = sum(gemini.texts_embedded.values())
        assert 0 < first < 20
        with open_base(tmp_path / "kb", **settings_for(gemini, embedder="auto")) as km:
            assert km.migrate("genai").embedded == 20 - first
            assert live(km) == key_of("gemini", Settings())
            assert {use.name for use in km.budget.use().purposes} == {"reembed"}
        assert sent_twice(gemini) == {}


def test_kill_9_of_a_migration_costs_the_requests_under_way(tmp_path: Path) -> None:
    rng = new_rng("kill -9 of a migration")
    kills = 20 if SOAK else 1
    write_notes(tmp_path / "vault", notes(70 * kills))
    with open_base(tmp_path / "kb", embedder="local", vector="exact") as km:
        km.ingest(tmp_path / "vault")
    with FakeGemini(latency=0.15) as gemini:
        settings = settings_for(gemini, embedder="auto")
        said = environment_for(settings | {"data_dir": tmp_path / "kb"})
        command = [sys.executable, "-c", _SMALL_REQUESTS, "index", "migrate", "--to", "gemini", "--yes"]
        done = sum(killed(gemini, command, said, rng) for _ in range(kills))
        with open_base(tmp_path / "kb", **settings) as km:
            assert live(km) == key_of("local", Settings())
            assert km.migrate("gemini").is_live
            assert km.meaning().pending == 0
            assert km.meaning().embeddings == len(gemini.texts_embedded) == 70 * kills
        again = sum(count - 1 for count in gemini.texts_embedded.values())
        print(f"{done} kills, {again} texts sent again")
        assert done
        # Two requests at a time, and seven texts in each.
        assert again <= done * 2 * 7


def test_what_cannot_be_migrated_to_is_said(tmp_path: Path) -> None:
    with ingested(tmp_path, HashingEmbedder("one"), count=2) as km:
        with pytest.raises(UsageError, match="NESCORD_EMBEDDER=local\\+e5"):
            km.plan_migration("local+e5")
        with pytest.raises(UsageError, match="local, e5, gemini, genai"):
            km.migrate("bert")
        with pytest.raises(EmbeddingUnavailableError, match="GEMINI_API_KEY"):
            km.plan_migration("gemini")


def test_the_command_shows_the_plan_asks_and_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_notes(tmp_path / "vault", notes(6))
    folder = tmp_path / "kb"
    with open_base(folder, embedder="local", vector="exact") as km:
        km.ingest(tmp_path / "vault")
    with FakeGemini() as gemini:
        monkeypatch.setenv("NESCORD_DATA_DIR", str(folder))
        monkeypatch.setenv("NESCORD_VECTOR", "exact")
        monkeypatch.setenv("NESCORD_EMBEDDER", "auto")
        monkeypatch.setenv("GEMINI_API_KEY", gemini.key)
        monkeypatch.setenv("NESCORD_GEMINI_ENDPOINT", gemini.url)
        monkeypatch.setenv("NESCORD_GEMINI_TOKENS_PER_MINUTE", "1000000")
        asked = nescord("index", "migrate", "--to", "gemini")
        assert asked.code == 2
        assert "tokens, $0.00" in asked.out
        assert "--yes" in asked.err
        assert gemini.calls == []
        done = nescord("--json", "index", "migrate", "--to", "gemini", "--yes")
        assert done.code == 0, done.err
        said = json.loads(done.out)
        assert (said["is_live"], said["embedded"], said["plan"]["texts"]) == (True, 6, 6)
        assert key_of("gemini", Settings()) in nescord("index", "status").out
        calls = len(gemini.calls)
        doctor = nescord("doctor")
        assert "has its library and a key" in doctor.out
        assert len(gemini.calls) == calls  # a word would cost
        again = nescord("index", "migrate", "--to", "gemini", "--yes")
        assert again.code == 0
        assert "it answers already" in again.out
        monkeypatch.setenv("NESCORD_EMBEDDER", "local")
        assert "nescord index migrate --to local" in nescord("search", "豆腐").err
