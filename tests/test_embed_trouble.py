"""Texts that a model elsewhere fails on: they hold up no other, cost little, are told, and are asked for again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli_runs import nescord
from fakes.gemini import FakeGemini, Fault
from remote_world import TroubledGemini, notes, sent_twice, settings_for

from nescord import KnowledgeManager
from nescord.embedding import remote
from nescord.embedding.turns import OnceForAll
from nescord.errors import NescordError, RemoteError
from nescord.remote import breaker
from nescord.remote.calls import Caller, Patience
from tests.vaults import open_base, write_notes

POISON = {"Poison.md": "# 毒\n\nThis one holds ricin, 毒のある豆。\n"}
BAD_REQUEST = '{"error": {"code": 400, "message": "Enable billing on your project.", "status": "FAILED_PRECONDITION"}}'


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several requests for a few notes, and the waits of a patient call in hundredths of a second."""
    monkeypatch.setattr(remote, "_MOST_TOKENS", 1_500)
    monkeypatch.setattr(breaker, "PAUSE", 0.2)
    defaults = Caller.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "behind", Patience(attempts=7, seconds=20.0, first=0.005))


def until_nothing_is_pending(km: KnowledgeManager, vault: Path, runs: int) -> int:
    """How many runs it took; the pause of an outage is waited for in between."""
    for run in range(1, runs + 1):
        if km.ingest(vault).pending == 0:
            return run
        threading.Event().wait(0.3)
    return runs + 1


@pytest.mark.parametrize("trouble", [500, "lost"])
def test_a_text_that_no_answer_ever_comes_for_holds_up_no_other(tmp_path: Path, trouble: int | Fault) -> None:
    write_notes(tmp_path / "vault", POISON | notes(40))
    with (
        TroubledGemini(trouble={"ricin": trouble}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        assert until_nothing_is_pending(km, tmp_path / "vault", runs=3) <= 3
        assert gemini.struck[trouble]
        status = km.meaning()
        assert (status.pending, status.put_aside, status.refused) == (0, 1, 0)
        assert status.embeddings >= 40
        (told,) = status.degraded
        assert told.startswith("vector: 1 text is put aside until 20")
        gemini.forget()
        report = km.ingest(tmp_path / "vault")
        assert (report.embedded, report.degraded) == (0, [told])
        assert not gemini.calls
        gemini.trouble.clear()
        assert km.forget_refusals() == 1
        report = km.ingest(tmp_path / "vault")
        assert (report.embedded, report.pending, report.degraded) == (1, 0, [])
        assert km.meaning().put_aside == 0


@pytest.mark.parametrize("trouble", ["wrong_length", "long"])
def test_a_text_that_is_answered_wrongly_is_put_aside_and_not_paid_for_in_each_run(
    tmp_path: Path, trouble: Fault
) -> None:
    write_notes(tmp_path / "vault", POISON | notes(20))
    with (
        TroubledGemini(trouble={"ricin": trouble}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck[trouble] > 1
        assert report.pending == 0
        assert km.meaning().put_aside == 1
        assert km.meaning().embeddings == report.embedded >= 20
        billed = gemini.tokens_billed
        km.ingest(tmp_path / "vault")
        assert gemini.tokens_billed == billed


def test_an_outage_puts_no_text_aside_however_many_runs_meet_it(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"One.md": "# One\n\nThe only new note of the day.\n"})
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail(500, rate=1.0)
        for _ in range(3):
            report = km.ingest(tmp_path / "vault")
            assert (report.pending, km.meaning().put_aside) == (1, 0)
            assert report.degraded
            threading.Event().wait(0.9)  # longer than the pause, also when the trial has doubled it
        assert gemini.struck[500] > 5, "nothing was tried after the first pause"
        gemini.heal()
        threading.Event().wait(0.9)
        report = km.ingest(tmp_path / "vault")
        assert (report.embedded, report.pending, report.degraded) == (1, 0, [])


def test_an_outage_that_begins_while_texts_come_last_puts_none_of_them_aside(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", POISON | notes(2))
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        km.ingest(tmp_path / "vault")
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute("UPDATE embed_failure SET retry_at = '2026-01-01T00:00:00Z'")
        gemini.trouble.clear()
        gemini.fail(500, rate=1.0)
        # Three failures in a row of a question, and the text's own two are the fifth.
        assert "could not answer" in km.search("harbour").degraded[0]
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck[500] == 5
        assert (report.pending, km.meaning().put_aside) == (1, 0)
        assert any("has not answered since" in reason for reason in report.degraded)


def test_a_text_that_brings_about_the_outage_all_alone_is_put_aside_and_leaves_the_model_at_work(
    tmp_path: Path,
) -> None:
    write_notes(tmp_path / "vault", notes(2))
    with (
        TroubledGemini(trouble={"ricin": 500}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        assert km.ingest(tmp_path / "vault").pending == 0
        write_notes(tmp_path / "vault", POISON)
        assert km.ingest(tmp_path / "vault").pending == 1
        assert "has not answered since" in km.search("harbour").degraded[0]
        threading.Event().wait(0.3)
        assert km.ingest(tmp_path / "vault").pending == 0
        assert km.meaning().put_aside == 1
        assert not any("has not answered since" in reason for reason in km.meaning().degraded)
        assert km.search("豆腐", mode="vector")


def test_answers_that_are_all_wrong_are_nobody_s_fault_and_stop_the_run(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(20))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.fail("wrong_length", rate=1.0)
        report = km.ingest(tmp_path / "vault")
        # Two requests at once and one more that had begun, each asked twice, with the harmless text after it.
        assert 0 < gemini.struck["wrong_length"] <= 12
        assert report.pending > 0
        assert any("NESCORD_GEMINI_DIMS" in reason for reason in report.degraded)
        gemini.heal()
        assert km.ingest(tmp_path / "vault").pending == 0


def test_a_text_is_asked_for_again_when_its_time_has_come(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", POISON)
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        km.ingest(tmp_path / "vault")
        assert km.meaning().put_aside == 1
        gemini.trouble.clear()
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute("UPDATE embed_failure SET retry_at = '2026-01-01T00:00:00Z'")
        assert (km.meaning().put_aside, km.meaning().pending) == (0, 1)
        assert km.ingest(tmp_path / "vault").embedded == 1
        assert (km.meaning().put_aside, km.meaning().pending) == (0, 0)


def test_an_account_that_is_closed_after_a_success_refuses_no_text_for_good(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(2))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        assert km.ingest(tmp_path / "vault").pending == 0
        gemini.fail(400, rate=1.0, body=BAD_REQUEST)
        write_notes(tmp_path / "vault", notes(12))
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck[400]
        assert (report.refused, km.meaning().refused) == (0, 0)
        assert report.pending > 0
        assert any("harmless text is refused as well" in reason for reason in report.degraded)
        gemini.heal()
        report = km.ingest(tmp_path / "vault")
        assert (report.pending, report.degraded) == (0, [])


def test_refused_texts_are_told_and_can_be_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "auto")
    write_notes(tmp_path / "vault", POISON | notes(4))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        gemini.block("ricin")
        assert km.ingest(tmp_path / "vault").refused == 1
        assert km.meaning().refused == 1
        assert km.meaning().degraded == ("vector: 1 text is refused by the model (nescord index retry asks again)",)
        gemini.heal()
        assert km.ingest(tmp_path / "vault").embedded == 0
        told = nescord("--data-dir", tmp_path / "kb", "index", "status")
        assert "texts without one\t1 refused, 0 put aside" in told.out
        assert nescord("--data-dir", tmp_path / "kb", "index", "retry", "--json").document == {"texts": 1}
        assert km.ingest(tmp_path / "vault").embedded == 1
        assert (km.meaning().refused, km.meaning().degraded) == (0, ())
        assert nescord("--data-dir", tmp_path / "kb", "index", "retry").out == "no text was refused or put aside\n"


@pytest.mark.parametrize("by_flow", [False, True])
def test_what_was_answered_before_a_failure_is_kept_by_captures_and_flows(tmp_path: Path, by_flow: bool) -> None:
    """The text is refused, its first half answered, and then the key is refused."""
    first = "The harbour is quiet. " * 60
    last = "ricin 毒 " * 60
    write_notes(tmp_path / "vault", {"One.md": f"# One\n\n{first}\n\n# Two\n\n{first}!\n\n# Three\n\n{last}\n"})
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        km.commit(km.plan(tmp_path / "vault"))
        gemini.block("ricin")
        gemini.fail(403, after=2, rate=1.0, method="batchEmbedContents")
        if by_flow:
            with km.pending_work() as work:
                (batch,) = work.batches
                work.store_batch(batch, work.embed_batch(batch))
        else:
            (note,) = km.search("harbour", mode="keyword")
            with pytest.raises(NescordError, match="GEMINI_API_KEY"):
                km.embed_note(note.note_id)
        assert gemini.struck[403]
        assert km.meaning().embeddings == sum(gemini.texts_embedded.values()) > 0
        gemini.heal()
        km.ingest(tmp_path / "vault")
        assert km.meaning().pending == 0
        assert sent_twice(gemini) == {}


def test_a_flow_goes_on_with_the_other_batches(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", POISON | notes(20))
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        km.commit(km.plan(tmp_path / "vault"))
        for _ in range(2):
            with km.pending_work() as work:
                for batch in work.batches:
                    work.store_batch(batch, work.embed_batch(batch))
        assert gemini.struck["wrong_length"]
        status = km.meaning()
        assert (status.pending, status.put_aside) == (0, 1)
        assert status.embeddings >= 20


def at_once(*calls: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_a_capture_beside_an_ingest_sends_nothing_twice(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(12))
    with FakeGemini(latency=0.3) as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        km.commit(km.plan(tmp_path / "vault"))
        found = [hit.note_id for hit in km.search("harbour", mode="keyword", limit=20)]
        assert len(found) == 6
        at_once(km.catch_up, *[lambda note=note: km.embed_note(note) for note in found])
        assert km.meaning().pending == 0
        assert sent_twice(gemini) == {}


def test_what_another_process_has_embedded_meanwhile_is_not_asked_for(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(60))
    with (
        FakeGemini(latency=0.2) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
        # As in a process of its own: nothing is shared but the database, not even the pace.
        open_base(tmp_path / "kb", **settings_for(gemini, gemini_parallel=3)) as other,
    ):
        km.commit(km.plan(tmp_path / "vault"))
        with km.pending_work() as work:
            last = work.batches[-1][-1].title
        (note,) = [hit.note_id for hit in km.search(last, mode="keyword", limit=60) if hit.title == last]
        with ThreadPoolExecutor(1) as pool:
            catching_up = pool.submit(km.catch_up)
            while not gemini.calls:
                threading.Event().wait(0.01)
            assert other.embed_note(note).embedded == 1
            assert not catching_up.done()
        assert km.meaning().pending == 0
        assert sent_twice(gemini) == {}


def test_one_question_of_three_at_once_is_one_call(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", notes(4))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        km.ingest(tmp_path / "vault")
        gemini.forget()
        gemini.latency = 0.5
        found = at_once(*[lambda: km.search("豆腐の煮方", mode="vector")] * 3)
        assert all(found)
        assert len(gemini.calls) == 1


@pytest.mark.parametrize("is_error_shared", [False, True])
def test_who_waits_for_another_s_failure_fails_with_it_or_asks(is_error_shared: bool) -> None:
    once = OnceForAll[int](is_error_shared=is_error_shared)
    begun, go_on = threading.Event(), threading.Event()

    def fail(_: list[str]) -> list[int]:
        begun.set()
        go_on.wait(5)
        raise RemoteError("away")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once.find, ["a", "b"], fail)
        begun.wait(5)
        second = pool.submit(once.find, ["b", "c"], lambda some: [ord(one) for one in some])
        go_on.set()
        with pytest.raises(RemoteError):
            first.result(5)
        if is_error_shared:
            with pytest.raises(RemoteError):
                second.result(5)
        else:
            assert second.result(5) == [98, 99]
    assert once.find(["a"], lambda some: [1]) == [1]


@pytest.mark.parametrize("fault", ["zero", "nan"])
def test_a_vector_that_is_none_twice_is_refused(tmp_path: Path, fault: Fault) -> None:
    write_notes(tmp_path / "vault", POISON | notes(4))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini, gemini_parallel=1)) as km:
        gemini.fail(fault, next=2, method="batchEmbedContents")
        report = km.ingest(tmp_path / "vault")
        assert gemini.struck[fault] == 2
        assert (report.refused, report.pending, km.meaning().refused) == (1, 0, 1)
