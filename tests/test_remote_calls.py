"""Every call to a model elsewhere: repeated by kind, paid for by what became of it, at its pace, and counted once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nescord.budget import Purpose
from nescord.errors import (
    BlockedError,
    BudgetError,
    NescordError,
    OutageError,
    RateLimitedError,
    RemoteError,
    RemoteRefusedError,
    WrongAnswerError,
)
from nescord.remote import calls
from nescord.remote.breaker import FAILURES_TO_OPEN, outages
from nescord.remote.calls import Patience, on_behalf_of
from nescord.remote.pace import NoTurnError, pace_of
from tests.fakes.gemini import FakeGemini
from tests.gemini_world import EMBEDDING, LIBRARIES, Called, called, embedder
from tests.vaults import REPOSITORY

NEW, QUERY, ANSWER = Purpose.EMBED_NEW, Purpose.EMBED_QUERY, Purpose.ANSWER


@pytest.fixture(scope="module")
def _running() -> Iterator[FakeGemini]:
    with FakeGemini() as gemini:
        yield gemini


@pytest.fixture
def gemini(_running: FakeGemini) -> FakeGemini:
    _running.heal()
    _running.forget()
    _running.latency = 0.0
    return _running


@pytest.fixture
def base(gemini: FakeGemini, tmp_path: Path) -> Iterator[Called]:
    with called(tmp_path / "kb", gemini) as running:
        yield running


class Script:
    """What a call does each time: raise an error, or return a result; the last one again and again."""

    def __init__(self, *ends: Exception | tuple[object, int | None]) -> None:
        self.ends = list(ends)
        self.at: list[float] = []

    def __call__(self) -> tuple[object, int | None]:
        self.at.append(time.monotonic())
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end


def call(base: Called, script: Callable[[], tuple[object, int | None]], purpose: Purpose = NEW) -> object:
    return base.caller.call(purpose, "m", 100, script)


def test_a_call_costs_what_the_answer_says_or_else_its_estimate(base: Called) -> None:
    assert call(base, Script(("a", 37))) == "a"
    assert call(base, Script(("b", None))) == "b"
    assert base.costs == [("embed_new", 37, 1), ("embed_new", 100, 1)]


@pytest.mark.parametrize(
    ("error", "cost"),
    [
        (RateLimitedError("429"), 0),
        (RemoteError("503"), 0),
        (RemoteError("cut", may_be_billed=True), 100),
        (RemoteRefusedError("key"), 0),
        (BlockedError("no"), 0),
        (BlockedError("no", tokens=4), 4),
        (WrongAnswerError("one vector too few"), 100),
        (ZeroDivisionError("a bug"), 100),
        (KeyboardInterrupt(), 100),
    ],
)
def test_a_call_that_fails_costs_what_became_of_it(
    gemini: FakeGemini, tmp_path: Path, error: Exception, cost: int
) -> None:
    def fail() -> tuple[object, int]:
        raise error

    with called(tmp_path / "kb", gemini, behind=Patience(attempts=1, seconds=1)) as base:
        with pytest.raises(type(error)):
            call(base, fail)
        assert base.costs == [("embed_new", cost, 1)]


@pytest.mark.parametrize("error", [RateLimitedError("429"), RemoteError("503")])
def test_what_may_pass_is_tried_again_and_each_attempt_is_a_row(base: Called, error: NescordError) -> None:
    script = Script(error, error, ("done", 50))
    assert call(base, script) == "done"
    assert base.costs == [("embed_new", 0, 1), ("embed_new", 0, 1), ("embed_new", 50, 1)]


@pytest.mark.parametrize(
    "error", [RemoteRefusedError("key"), BlockedError("no"), ZeroDivisionError("bug"), BudgetError("spent")]
)
def test_what_does_not_pass_is_tried_once(base: Called, error: Exception) -> None:
    script = Script(error)
    with pytest.raises(type(error)):
        call(base, script)
    assert len(script.at) == 1


def test_a_wrong_answer_is_asked_for_once_more_and_no_further(base: Called) -> None:
    script = Script(WrongAnswerError("short"), ("right", 100))
    assert call(base, script) == "right"
    script = Script(WrongAnswerError("short"))
    with pytest.raises(WrongAnswerError):
        call(base, script)
    assert len(script.at) == 2


def test_a_rate_limit_is_waited_for_as_long_as_it_says(base: Called) -> None:
    script = Script(RateLimitedError("429", retry_after=0.7), ("done", 1))
    call(base, script)
    assert 0.7 <= script.at[1] - script.at[0] < 2


def test_who_waits_for_a_person_does_not_wait_for_a_minute(base: Called) -> None:
    for purpose in (QUERY, ANSWER, Purpose.REWRITE):
        script = Script(RateLimitedError("429", retry_after=37), ("done", 1))
        started = time.monotonic()
        with pytest.raises(RateLimitedError):
            call(base, script, purpose)
        assert time.monotonic() - started < 2
        assert len(script.at) == 1


def test_waits_grow_and_are_random() -> None:
    behind = calls.BEHIND
    most = [max(calls._wait(RemoteError("503"), failures, behind) for _ in range(300)) for failures in range(1, 9)]
    limits = [min(behind.longest, behind.first * 2**failures) for failures in range(1, 9)]
    assert all(0.8 * limit < found <= limit for found, limit in zip(most, limits, strict=True))
    assert min(calls._wait(RemoteError("503"), 8, behind) for _ in range(300)) < 0.1 * behind.longest


def test_waiting_prints_nothing(gemini: FakeGemini, tmp_path: Path) -> None:
    gemini.fail(503)
    code = (
        "from nescord import KnowledgeManager; from nescord.embedding.service import key_of, open_model, wanted_name\n"
        "with KnowledgeManager.open() as km:\n"
        "    settings = km._base.settings; key = key_of(wanted_name(settings), settings)\n"
        "    print(open_model(key, settings, lambda: km.budget).embed(['猫']).shape)"
    )
    given = {"NESCORD_DATA_DIR": str(tmp_path / "kb"), "NESCORD_EMBEDDER": "genai", "NESCORD_VECTOR": "exact"}
    reach = {"NESCORD_GEMINI_ENDPOINT": gemini.url, "GEMINI_API_KEY": gemini.key}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, **given, **reach},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("(1, 768)\n", "")
    assert gemini.struck == {503: 1}


def test_a_call_that_the_budget_forbids_is_not_made(gemini: FakeGemini, tmp_path: Path) -> None:
    script = Script(("done", 1))
    with called(tmp_path / "kb", gemini, gemini_monthly_limit=50) as base, pytest.raises(BudgetError):
        call(base, script)
    assert script.at == []


def test_who_is_refused_does_not_wait_for_the_pace_and_uses_none_of_it(gemini: FakeGemini, tmp_path: Path) -> None:
    slow = {"gemini_tokens_per_minute": 6000, "gemini_monthly_limit": 50}
    with called(tmp_path / "kb", gemini, **slow) as base:
        pace = pace_of(base.settings, "m")
        with pace.turn(6000):
            pass  # a minute of it is gone
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(BudgetError):
                call(base, Script(("done", 1)))
        assert time.monotonic() - begun < 1
        pace.give_back(6000)
        assert not pace._tokens.seconds_until(240)
        assert base.costs == []


def test_during_an_outage_nobody_waits_for_the_pace(gemini: FakeGemini, tmp_path: Path) -> None:
    hasty = Patience(attempts=FAILURES_TO_OPEN + 1, seconds=9, first=0.01)
    with called(tmp_path / "kb", gemini, behind=hasty, gemini_tokens_per_minute=6003) as base:
        with pytest.raises(OutageError):
            call(base, Script(RemoteError("503")))
        with pace_of(base.settings, "m").turn(6000):
            pass  # a minute of it is gone
        begun = time.monotonic()
        with pytest.raises(OutageError):
            call(base, Script(("done", 1)))
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("error", "is_given_back"),
    [(RateLimitedError("429"), True), (RemoteError("503"), True), (RemoteError("cut", may_be_billed=True), False)],
)
def test_the_pace_gets_back_what_was_not_billed(
    gemini: FakeGemini, tmp_path: Path, error: NescordError, is_given_back: bool
) -> None:
    once = Patience(attempts=1, seconds=1)
    with called(tmp_path / "kb", gemini, behind=once, gemini_tokens_per_minute=2505) as base:
        with pytest.raises(type(error)):
            call(base, Script(error))
        assert (pace_of(base.settings, "m")._tokens.seconds_until(100) < 1) == is_given_back


def test_a_query_does_not_wait_behind_an_ingest(gemini: FakeGemini, tmp_path: Path) -> None:
    with called(tmp_path / "kb", gemini, gemini_tokens_per_minute=12_001, gemini_parallel=2) as base:
        ending = threading.Event()

        def ingest() -> None:
            while not ending.is_set():
                base.caller.call(NEW, "m", 200, Script(("done", 200)))

        threads = [threading.Thread(target=ingest) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        waited = []
        for _ in range(5):
            begun = time.monotonic()
            base.caller.call(QUERY, "m", 5, Script(("found", 5)))
            waited.append(time.monotonic() - begun)
        ending.set()
        for thread in threads:
            thread.join()
    assert max(waited) < 1, "four requests of one second each were before it"


def test_a_query_is_not_kept_waiting_longer_than_a_person_waits(gemini: FakeGemini, tmp_path: Path) -> None:
    with called(tmp_path / "kb", gemini, gemini_tokens_per_minute=6002) as base:
        call(base, Script(("done", 100)))
        base.caller.call(NEW, "m", 2000, Script(("done", 2000)))
        script, begun = Script(("found", 5)), time.monotonic()
        with pytest.raises(NoTurnError, match="TOKENS_PER_MINUTE"):
            call(base, script, QUERY)
        assert time.monotonic() - begun < calls._TURN_OF_A_QUERY + 1
        assert script.at == []
        assert base.costs == [("embed_new", 100, 1), ("embed_new", 2000, 1)]


def test_calls_are_written_down_for_whom_they_are_made(base: Called) -> None:
    with on_behalf_of("user:42"):
        call(base, Script(("a", 1)))
        base.caller.call(NEW, "m", 5, Script(("b", 2)), who="guild:7")
    call(base, Script(("c", 4)))
    assert {use.name: use.tokens for use in base.km.budget.use().people} == {"user:42": 1, "guild:7": 2, "": 4}


def test_an_outage_ends_the_waiting_and_is_told(base: Called) -> None:
    script = Script(RemoteError("503"))
    for kind in (RemoteError, OutageError):  # three attempts, and two
        with pytest.raises(kind, match="503"):
            call(base, script, QUERY)
    assert len(script.at) == FAILURES_TO_OPEN
    assert set(outages(base.km.folder.run)) == {"m"}
    with pytest.raises(OutageError):
        call(base, Script(("never", 1)))
    assert len(base.costs) == FAILURES_TO_OPEN, "a call that is not made is not paid for"
    assert base.caller.call(NEW, "another model", 1, Script(("works", 1))) == "works"


def test_a_stream_is_asked_for_again_only_before_its_first_piece(base: Called) -> None:
    opened = 0

    def open_stream() -> Iterator[int]:
        nonlocal opened
        opened += 1
        if opened == 1:
            raise RemoteError("503")
        yield 1
        yield 2
        raise RemoteError("cut", may_be_billed=True)

    pieces = base.caller.stream(ANSWER, "m", 100, open_stream, lambda piece: 10 * piece)
    assert [next(pieces), next(pieces)] == [1, 2]
    with pytest.raises(RemoteError):
        next(pieces)
    assert opened == 2
    assert base.costs == [("answer", 0, 1), ("answer", 100, 1)]


def test_a_stream_without_a_piece_ends_at_once(base: Called) -> None:
    assert list(base.caller.stream(ANSWER, "m", 100, lambda: iter(()), lambda _: None)) == []
    assert base.costs == [("answer", 100, 1)]


def test_a_slow_reader_of_a_stream_keeps_nobody_from_asking(gemini: FakeGemini, tmp_path: Path) -> None:
    with called(tmp_path / "kb", gemini, gemini_parallel=1) as base:
        pieces = base.caller.stream(ANSWER, "m", 1, lambda: iter([1, 2, 3]), lambda _: 1)
        assert next(pieces) == 1
        assert call(base, Script(("done", 1))) == "done"
        assert list(pieces) == [2, 3]


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_more_requests_at_once_than_the_setting_says(gemini: FakeGemini, tmp_path: Path, library: str) -> None:
    gemini.latency = 0.1
    model = embedder(library, gemini)
    with called(tmp_path / "kb", gemini, gemini_parallel=3) as base:

        def ask() -> None:
            base.caller.call(NEW, EMBEDDING, 5, lambda: (model.embed_documents(["猫"]), None))

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert gemini.most_at_once == 3
    assert len(gemini.calls) == 10


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_request_in_five_fails_and_no_text_is_sent_twice(gemini: FakeGemini, tmp_path: Path, library: str) -> None:
    gemini.fail((429, 500, 503, "reset"), rate=0.2, retry_after=0.05, seed=3)
    model = embedder(library, gemini)
    texts = [f"ノート {number} is about the cat" for number in range(200)]
    patience = Patience(attempts=12, seconds=60, first=0.01, longest=0.05)
    with called(tmp_path / "kb", gemini, behind=patience) as base:
        for first in range(0, 200, 5):
            some = texts[first : first + 5]
            found = base.caller.call(NEW, EMBEDDING, 50, lambda some=some: (model.embed_documents(some), None))
            assert found.shape == (5, 768)
        billed = [tokens for _, tokens, _ in base.costs]
    assert sum(gemini.struck.values()) >= 4, "no fault has happened"
    assert set(gemini.texts_embedded) == set(texts)
    assert set(gemini.texts_embedded.values()) == {1}
    assert len(billed) == len(gemini.calls)
    assert sum(billed) == 50 * (40 + gemini.struck["reset"]), "only what may have been done is paid for"
