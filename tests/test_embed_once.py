"""What has its vector is neither pending, nor put aside, nor paid for again, whoever had it embedded, and when."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes.gemini import FakeGemini
from remote_world import TroubledGemini, notes, sent_twice, settings_for

from nescord import KnowledgeManager
from nescord.backup.create import create
from nescord.backup.restore import restore
from nescord.catalog import vectors as vectors_sql
from nescord.embed import EmbedProgress, embed_pending
from nescord.embedding.claims import claimed
from nescord.embedding.pieces import Later
from nescord.ingest import IngestOptions
from nescord.remote.calls import Caller, Patience
from tests.survival import settings
from tests.vaults import open_base, write_notes

POISON = {"Poison.md": "# 毒\n\nThis one holds ricin, 毒のある豆。\n"}
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of a patient call in hundredths of a second."""
    monkeypatch.setitem(Caller.__init__.__kwdefaults__, "behind", Patience(attempts=7, seconds=20.0, first=0.005))


def let_be_asked_again(km: KnowledgeManager) -> None:
    """The time of what was put aside has come."""
    with km._base.verb() as catalog, catalog.write() as connection:
        connection.execute("UPDATE embed_failure SET retry_at = ? WHERE retry_at IS NOT NULL", (LONG_AGO,))


def failures(km: KnowledgeManager) -> int:
    with km._base.verb() as catalog, catalog.read() as connection:
        count: int = connection.execute("SELECT count(*) FROM embed_failure").get
        return count


def test_a_flow_does_not_ask_for_what_a_capture_has_had_embedded_meanwhile(tmp_path: Path) -> None:
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        theirs = km.capture("豆腐を三丁切って、昆布の出汁で静かに煮る。")
        km.capture("The ferry leaves the harbour before the tide turns.")
        with km.pending_work() as work:
            km.embed_note(theirs.id)
            (batch,) = work.batches
            answers = work.embed_batch(batch)
            assert [type(answer) for answer in answers] == [Later, bytes]
            assert work.store_batch(batch, answers) == (1, 0)
        assert sent_twice(gemini) == {}
        assert (km.meaning().embeddings, km.meaning().pending, failures(km)) == (2, 0, 0)


@pytest.fixture
def without_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system or a disk that has no such locks: nobody waits, and one look is all that there is."""
    monkeypatch.delattr(fcntl, "F_OFD_SETLK")


@pytest.mark.usefixtures("without_claims")
@pytest.mark.parametrize("by_flow", [False, True])
def test_nor_for_what_was_put_aside_and_then_embedded_with_its_note(tmp_path: Path, by_flow: bool) -> None:
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        first, second = (km.capture(f"ricin 豆 {word}") for word in ("one", "two"))
        km.catch_up()
        assert km.meaning().put_aside == 2
        let_be_asked_again(km)
        gemini.trouble.clear()
        gemini.forget()
        if by_flow:
            with km.pending_work() as work:
                km.embed_note(second.id)
                for batch in work.batches:
                    work.store_batch(batch, work.embed_batch(batch))
        else:
            with km._base.verb() as catalog:

                def embed_the_other(_: EmbedProgress) -> None:
                    if len(gemini.texts_embedded) == 1:
                        km.embed_note(second.id)

                service = km._base.meaning.choice(catalog).live
                embed_pending(catalog, service, progress=embed_the_other)
        assert first.id != second.id
        assert len(gemini.texts_embedded) == 2
        assert sent_twice(gemini) == {}
        assert (km.meaning().embeddings, km.meaning().pending, failures(km)) == (2, 0, 0)


def test_nor_for_what_a_capture_is_asking_for_at_this_moment(tmp_path: Path) -> None:
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini, gemini_timeout=10)) as km,
    ):
        note = km.capture("ricin 豆")
        km.catch_up()
        let_be_asked_again(km)
        gemini.trouble.clear()
        gemini.forget()
        gemini.latency = 1.0
        with ThreadPoolExecutor(1) as pool:
            of_the_capture = pool.submit(km.embed_note, note.id)
            while not (km.budget.state().reserved or of_the_capture.done()):  # until it is being asked for
                threading.Event().wait(0.01)
            km.catch_up()
            assert of_the_capture.result(10).embedded == 1
        assert sum(gemini.texts_embedded.values()) == 1
        assert (km.meaning().embeddings, km.meaning().pending, failures(km)) == (1, 0, 0)


@pytest.mark.parametrize("first", ["the capture", "the run", "the flow"])
def test_nor_for_what_another_process_is_asking_for_at_this_moment(tmp_path: Path, first: str) -> None:
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini, gemini_timeout=10)) as km:
        note = km.capture("豆腐を三丁切って、昆布の出汁で静かに煮る。")
        gemini.latency = 1.0

        def of_the_flow() -> None:
            with km.pending_work() as work:
                for batch in work.batches:
                    work.store_batch(batch, work.embed_batch(batch))

        begin = {"the capture": lambda: km.embed_note(note.id), "the run": km.catch_up, "the flow": of_the_flow}[first]
        with (
            open_base(tmp_path / "kb", **settings_for(gemini, gemini_timeout=10)) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            under_way = pool.submit(begin)
            while not (km.budget.state().reserved or under_way.done()):  # until it is being asked for
                threading.Event().wait(0.01)
            assert not under_way.done()
            if first == "the capture":
                other.catch_up()
            else:
                other.embed_note(note.id)
            # Whoever waited goes on when the vector is stored, which is before the other one is done with everything.
            assert (other.meaning().embeddings, other.meaning().pending) == (1, 0)
            under_way.result(30)
        assert sum(gemini.texts_embedded.values()) == 1
        assert (km.meaning().embeddings, km.meaning().pending, failures(km)) == (1, 0, 0)


def test_a_batch_that_failed_or_is_tried_again_waits_for_nobody(tmp_path: Path) -> None:
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        km.capture("豆腐を三丁切って、昆布の出汁で静かに煮る。")
        begun = time.monotonic()
        with km.pending_work() as work:
            (batch,) = work.batches
            work.embed_batch(batch)
            answers = work.embed_batch(batch)
            assert work.store_batch(batch, answers) == (1, 0)
        assert time.monotonic() - begun < 60


def test_what_a_killed_process_was_asking_for_is_asked_for_at_once(tmp_path: Path) -> None:
    file = tmp_path / "claims"
    code = (
        "import sys\nfrom pathlib import Path\nfrom nescord.embedding.claims import claimed\n"
        "with claimed(Path(sys.argv[1]), 'model', [b'text', b'other']):\n    print('held', flush=True)\n    input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        begun = time.monotonic()
        with claimed(file, "model", [b"another text"]):
            assert time.monotonic() - begun < 1
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(_claim, file)
            time.sleep(0.3)
            assert not waiting.done()
            process.kill()
            waiting.result(5)


def _claim(file: Path) -> None:
    with claimed(file, "model", [b"text"]):
        pass


@pytest.mark.usefixtures("without_claims")
def test_a_failure_is_not_written_beside_a_vector_that_came_meanwhile(tmp_path: Path) -> None:
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        note = km.capture("ricin 豆")
        with km.pending_work() as work:
            (batch,) = work.batches
            answers = work.embed_batch(batch)
            assert isinstance(answers[0], Later)
            gemini.trouble.clear()
            km.embed_note(note.id)
            work.store_batch(batch, answers)
        assert (km.meaning().embeddings, km.meaning().pending, failures(km)) == (1, 0, 0)
        gemini.forget()
        assert km.catch_up().embedded == 0
        assert not gemini.calls


def test_a_vector_that_a_restore_carries_over_ends_the_failure_of_its_text(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", POISON | notes(3))
    with TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini:
        reach = settings_for(gemini)
        with open_base(tmp_path / "kb", **reach) as km:
            km.ingest(tmp_path / "vault")
            assert km.meaning().put_aside == 1
            let_be_asked_again(km)
            snapshot = create(km._base).id
            gemini.trouble.clear()
            assert km.ingest(tmp_path / "vault").embedded == 1
        restore(settings(tmp_path / "kb", **reach), snapshot)
        gemini.forget()
        with open_base(tmp_path / "kb", **reach) as km:
            assert failures(km) == 0
            assert (km.meaning().embeddings, km.meaning().pending, km.meaning().put_aside) == (4, 0, 0)
            km.resume()
            assert km.ingest(tmp_path / "vault").embedded == 0
            assert not gemini.calls


def test_where_both_stand_all_the_same_the_vector_counts(tmp_path: Path) -> None:
    """As in a database that an earlier version has left."""
    write_notes(tmp_path / "vault", notes(3))
    with FakeGemini() as gemini, open_base(tmp_path / "kb", **settings_for(gemini)) as km:
        km.ingest(tmp_path / "vault")
        for retry_at in (LONG_AGO, "2999-01-01T00:00:00Z", None):
            with km._base.verb() as catalog, catalog.write() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO embed_failure SELECT model, text_hash, 'away', ?, ? FROM embedding",
                    (LONG_AGO, retry_at),
                )
            status = km.meaning()
            assert (status.pending, status.put_aside, status.refused) == (0, 0, 0)
            assert km.plan_migration("gemini").texts == 0
            assert km.search("harbour", mode="hybrid").degraded == ()
            with km.pending_work() as work:
                assert work.batches == []
            asked = len(gemini.calls_of("batchEmbedContents"))
            assert km.ingest(tmp_path / "vault").embedded == 0
            assert len(gemini.calls_of("batchEmbedContents")) == asked


def test_a_text_that_was_put_aside_and_then_edited_away_is_waited_for_by_nobody(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", POISON | notes(3))
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        km.ingest(tmp_path / "vault")
        assert km.meaning().put_aside == 1
        write_notes(tmp_path / "vault", {"Poison.md": "# 毒\n\n無害な豆。\n"})
        let_be_asked_again(km)
        assert km.ingest(tmp_path / "vault").pending == 0
        assert km.search("harbour", mode="hybrid").degraded == ()
        with km._base.verb() as catalog, catalog.read() as connection:
            model = vectors_sql.model_id(connection, km.meaning().model_key) or 0
            assert vectors_sql.is_embedded_through(connection, model)
            assert vectors_sql.count_pending(connection, model) == len(vectors_sql.due(connection, model)) == 0
        assert km.forget_refusals() == 0
        assert failures(km) == 0


def test_a_text_whose_time_has_come_is_in_the_estimate_of_what_embedding_costs(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", POISON)
    with (
        TroubledGemini(trouble={"ricin": "wrong_length"}) as gemini,
        open_base(tmp_path / "kb", **settings_for(gemini)) as km,
    ):
        km.ingest(tmp_path / "vault")
        texts = []
        for _ in range(2):
            cost = km.ingest(tmp_path / "vault", options=IngestOptions(dry_run=True)).cost
            assert cost is not None
            texts.append((cost.warm.texts, km.plan_migration("gemini").texts))
            let_be_asked_again(km)
        assert texts == [(0, 0), (1, 1)]
