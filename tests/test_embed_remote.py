"""Embedding by a model elsewhere: nothing is sent twice, nothing is lost, and what cannot be done now waits."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.gemini import FakeGemini, Fault
from remote_world import environment_for, killed, notes, sent_twice, settings_for
from survival import SOAK, new_rng

from nescord.embedding import Vectors, remote
from nescord.errors import RemoteError
from tests.hashing_embedder import REFUSED, HashingEmbedder
from tests.vaults import open_base, write_notes

NOTES = 2_000 if SOAK else 200


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several for a few notes."""
    monkeypatch.setattr(remote, "_MOST_TOKENS", 1_500)


# As much as is 5 % of many requests, for few: a fault must happen.
RATE = 0.05 if SOAK else 0.2
KILLS = 30 if SOAK else 2
_WORKER = (
    "import sys; from nescord import KnowledgeManager, Settings; from nescord.embedding import remote\n"
    "remote._MOST_TOKENS = 1_500\n"
    "with KnowledgeManager.open(Settings()) as km: km.ingest(sys.argv[1])"
)


def test_a_large_ingest_with_faults_embeds_every_text_once_and_loses_no_note(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(NOTES))
    with FakeGemini(hang=3) as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail([429, 500, "timeout"], rate=RATE, retry_after=0.1, method="batchEmbedContents", seed=3)
        report = km.ingest(tmp_path / "vault")
        print(f"{len(gemini.calls)} calls, struck: {dict(gemini.struck)}, {report.seconds:.1f} s")
        assert gemini.struck
        assert (report.added, report.failed, report.refused, report.pending) == (NOTES, 0, 0, 0)
        assert report.degraded == []
        assert report.embedded == len(gemini.texts_embedded)
        assert sent_twice(gemini) == {}
        gemini.heal()
        assert "Travel/Ferry 40.md" in [hit.path for hit in km.search("ferry number 40", limit=5)]
        assert [hit.path for hit in km.search("豆腐の煮方", mode="vector", limit=5)]


def test_an_outage_leaves_the_work_queued_and_is_told(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(6))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail(403, rate=1.0)
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck
        assert (report.added, report.embedded) == (6, 0)
        assert report.pending > 0
        (reason,) = report.degraded
        assert reason.startswith("vector: ")
        assert "GEMINI_API_KEY" in reason
        hits = km.search("harbour")
        assert hits
        assert hits.mode == "keyword"
        gemini.heal()
        report = km.ingest(tmp_path / "vault")
        assert (report.pending, report.degraded) == (0, [])
        assert sent_twice(gemini) == {}


def test_a_model_that_is_left_alone_after_many_failures_is_told_by_the_status(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(4))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        assert km.ingest(tmp_path / "vault").pending == 0
        gemini.fail(500, rate=1.0)
        for word in ("ferry", "豆腐"):
            hits = km.search(f"about the {word}")
            assert hits.mode == "keyword"
            assert hits.degraded
        assert gemini.struck[500] >= 5
        (reason,) = km.meaning().degraded
        assert "has not answered since" in reason
        write_notes(tmp_path / "vault", {"New.md": "# New\n\nIt has to wait.\n"})
        asked = len(gemini.calls)
        report = km.ingest(tmp_path / "vault")
        assert (report.added, report.pending, len(gemini.calls)) == (1, 1, asked)
        assert any("has not answered since" in reason for reason in report.degraded)


def test_a_spent_budget_leaves_the_work_queued_until_it_returns(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(40))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini, gemini_monthly_limit=5_000)) as km:
        report = km.ingest(tmp_path / "vault")
        assert report.added == 40
        assert report.pending > 0
        assert any("tokens" in reason for reason in report.degraded)
        assert km.budget.state().total <= 5_000
        assert km.search("ferry").degraded
        first = dict(gemini.texts_embedded)
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        report = km.ingest(tmp_path / "vault")
        assert (report.pending, report.degraded) == (0, [])
        assert not first.keys() & gemini.texts_embedded.keys()


def test_what_was_answered_is_stored_whatever_becomes_of_the_request_beside_it(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(100))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail(403, after=1, method="batchEmbedContents", rate=1.0)
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck
        assert report.embedded == len(gemini.texts_embedded) == km.meaning().embeddings > 0
        assert report.pending > 0
        gemini.heal()
        km.ingest(tmp_path / "vault")
        assert sent_twice(gemini) == {}
        assert km.meaning().pending == 0


def test_a_blocked_text_is_refused_alone(tmp_path: Path) -> None:
    texts = notes(20) | {"Bad.md": "# Bad\n\nThis one holds unspeakable words.\n"}
    write_notes(tmp_path / "vault", texts)
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.block("unspeakable")
        report = km.ingest(tmp_path / "vault")
        assert (report.added, report.refused, report.pending) == (21, 1, 0)
        assert km.meaning().embeddings == report.embedded >= 20
        assert [hit.path for hit in km.search("unspeakable", mode="keyword")] == ["Bad.md"]
        gemini.forget()
        assert km.ingest(tmp_path / "vault").embedded == 0
        assert not gemini.calls_of("batchEmbedContents")


class FailingEmbedder(HashingEmbedder):
    """Is away at the third call, and at no other."""

    calls = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        if self.calls == 3:
            raise RemoteError("the test model is away")
        return super().embed_documents(texts)


def test_what_halving_has_brought_is_kept_when_the_rest_fails(tmp_path: Path) -> None:
    # The last of eight is refused: all are asked for, then the first half, then the second.
    write_notes(tmp_path / "vault", {f"{number}.md": f"Text number {number}.\n" for number in range(7)})
    write_notes(tmp_path / "vault", {"8.md": f"{REFUSED}\n"})
    model = FailingEmbedder()
    with open_base(tmp_path / "kb", embedder=model, vector="exact") as km:
        report = km.ingest(tmp_path / "vault")
        assert model.calls == 3
        assert report.degraded == ["vector: the test model is away"]
        assert (report.embedded, report.refused, report.pending) == (4, 0, 4)
        report = km.ingest(tmp_path / "vault")
        assert (report.embedded, report.refused, report.pending) == (3, 1, 0)


@pytest.mark.parametrize("fault", ["zero", "nan"])
def test_a_vector_that_is_none_costs_its_own_text_only(tmp_path: Path, fault: Fault) -> None:
    write_notes(tmp_path / "vault", notes(20))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail(fault, next=1, method="batchEmbedContents")
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck[fault] == 1
        assert (report.refused, report.pending, report.degraded) == (0, 0, [])
        assert list(sent_twice(gemini).values()) == [2], "it is asked for once more, and by itself"


@pytest.mark.parametrize("fault", ["wrong_length", "short", "long", "garbage", "empty"])
def test_an_answer_that_is_none_is_not_stored_and_the_next_run_goes_on(tmp_path: Path, fault: Fault) -> None:
    write_notes(tmp_path / "vault", notes(8))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail(fault, next=1, method="batchEmbedContents")
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck[fault] == 1
        if report.pending:
            assert report.degraded
            report = km.ingest(tmp_path / "vault")
        assert (report.pending, report.degraded) == (0, [])
        status = km.meaning()
        assert status.embeddings == len(gemini.texts_embedded)
        assert km.verify().ok


def test_a_flow_gets_the_work_request_by_request_and_embeds_it_here(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(20))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        km.commit(km.plan(tmp_path / "vault"))
        with km.pending_work() as work:
            assert work.is_remote
            for number, batch in enumerate(work.batches, 1):
                assert work.store_batch(batch, work.embed_batch(batch)) == (len(batch), 0)
                assert len(gemini.calls_of("batchEmbedContents")) == number > 0
        assert number > 1
        assert km.drain().pending == 0
        with km.pending_work(second=True) as work:
            assert work.batches == []
        assert sent_twice(gemini) == {}


def test_secrets_do_not_leave_the_machine(tmp_path: Path) -> None:
    secret = "AKIA" + "IOSFODNN7QWERTYU"
    write_notes(tmp_path / "vault", {"Keys.md": f"# 鍵\n\naws_access_key_id = {secret}\n"})
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        assert km.ingest(tmp_path / "vault").pending == 0
        km.search(f"where is {secret}")
        assert gemini.calls
        assert secret not in json.dumps([[*call.texts] for call in gemini.calls])
        assert [hit.path for hit in km.search(secret, mode="keyword")] == ["Keys.md"]


def test_kill_9_costs_the_requests_under_way_and_the_ledger_has_them(tmp_path: Path) -> None:
    rng = new_rng("kill -9 of a remote ingest")
    count = 50 * KILLS
    write_notes(tmp_path / "vault", notes(count))
    with FakeGemini(latency=0.15) as gemini:
        settings = settings_for(gemini)
        command = [sys.executable, "-c", _WORKER, str(tmp_path / "vault")]
        said = environment_for(settings | {"data_dir": tmp_path / "kb"})
        kills = sum(killed(gemini, command, said, rng) for _ in range(KILLS))
        sent = sum(gemini.texts_embedded.values())
        with open_base(tmp_path / "kb", **settings) as km:
            before = km.meaning().embeddings
            report = km.ingest(tmp_path / "vault")
            assert (report.pending, report.degraded) == (0, [])
            assert km.meaning().embeddings == len(gemini.texts_embedded)
            unsettled = km.budget.use().unsettled
            spent = km.budget.state().total
        again = sum(count - 1 for count in gemini.texts_embedded.values())
        print(f"{kills} kills, {sent} texts sent, {before} of them stored; {again} sent again; {len(unsettled)} calls")
        assert kills
        assert 0 < before <= sent
        # Two requests at a time, and seven texts in each.
        assert again <= kills * 2 * 7
        assert len(unsettled) <= kills * 2
        assert again == 0 or unsettled
        assert spent >= gemini.tokens_billed * 0.9
