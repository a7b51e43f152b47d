"""The breaker: an outage is noticed once, told to other processes, and ended by one call that works."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nescord.errors import BudgetError, OutageError, RateLimitedError, RemoteError, RemoteRefusedError, is_transient
from nescord.remote.breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, PAUSE, Breaker, outages, phase_of

MODEL = "gemini-embedding-001"


@dataclass
class World:
    """A run folder and a clock that tests set."""

    run: Path
    now: float = 1_800_000_000.0
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = self.other()

    def other(self, model: str = MODEL) -> Breaker:
        """The breaker as another process has it."""
        return Breaker(self.run, model, clock=lambda: self.now)

    def call(self, error: Exception | None = None, breaker: Breaker | None = None) -> None:
        with (breaker or self.breaker).attempt():
            if error:
                raise error

    def fail(self, times: int = FAILURES_TO_OPEN) -> None:
        for _ in range(times):
            with pytest.raises(RemoteError):
                self.call(RemoteError("503"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "run")


def test_failures_in_a_row_open_it(world: World) -> None:
    world.fail(FAILURES_TO_OPEN - 1)
    world.call()
    world.fail(FAILURES_TO_OPEN - 1)
    assert world.breaker.phase == "closed"
    world.fail(1)
    assert world.breaker.phase == "open"
    with pytest.raises(OutageError, match="503") as caught:
        world.call()
    assert "2027-01-15T08:00:30Z" in str(caught.value)
    assert is_transient(caught.value)


def test_one_call_tries_and_ends_it(world: World) -> None:
    world.fail()
    world.now += PAUSE
    assert world.breaker.phase == "half-open"
    world.call()
    assert world.breaker.phase == "closed"
    assert outages(world.run) == {}


def test_each_trial_that_fails_doubles_the_pause(world: World) -> None:
    world.fail()
    pauses = []
    for _ in range(6):
        world.now = outages(world.run)[MODEL].until
        world.fail(1)
        pauses.append(outages(world.run)[MODEL].until - world.now)
    assert pauses == [60, 120, 240, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_only_one_call_tries(world: World) -> None:
    world.fail()
    world.now += PAUSE
    entered, leave = threading.Event(), threading.Event()

    def trial() -> None:
        with world.breaker.attempt():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=trial)
    thread.start()
    assert entered.wait(10)
    with pytest.raises(OutageError):
        world.call()
    leave.set()
    thread.join()
    world.call()


@pytest.mark.parametrize("error", [RateLimitedError("429"), RemoteRefusedError("bad key")])
def test_who_was_told_no_has_been_answered(world: World, error: Exception) -> None:
    for _ in range(3 * FAILURES_TO_OPEN):
        with suppress(type(error)):
            world.call(error)
    assert world.breaker.phase == "closed"
    world.fail()
    world.now += PAUSE
    with pytest.raises(type(error)):
        world.call(error)
    assert world.breaker.phase == "closed"


def test_a_trial_that_was_not_made_leaves_the_next_one_to_try(world: World) -> None:
    world.fail()
    world.now += PAUSE
    with pytest.raises(BudgetError):
        world.call(BudgetError("spent"))
    assert world.breaker.phase == "half-open"
    world.call()
    assert world.breaker.phase == "closed"


def test_another_process_learns_of_the_outage_and_of_its_end(world: World) -> None:
    world.fail()
    other = world.other()
    with pytest.raises(OutageError):
        world.call(breaker=other)
    world.now += PAUSE
    world.call(breaker=other)
    assert world.breaker.phase == "closed"
    world.call()


def test_models_are_on_their_own(world: World) -> None:
    world.fail()
    another = world.other("gemini-3.5-flash-lite")
    world.call(breaker=another)
    assert world.breaker.phase == "open"
    assert set(outages(world.run)) == {MODEL}
    assert phase_of(outages(world.run)[MODEL], world.now) == "open"
    assert phase_of(None) == "closed"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"gemini-embedding-001": 3}', b"\xff"])
def test_a_file_that_says_nothing_is_no_outage(world: World, content: bytes) -> None:
    world.run.mkdir()
    (world.run / "gemini.json").write_bytes(content)
    assert outages(world.run) == {}
    world.call()
    world.fail()
    assert world.breaker.phase == "open"


def test_a_folder_that_cannot_be_written_keeps_it_to_the_process(world: World) -> None:
    world.run.write_text("a file where the folder should be", encoding="utf-8")
    world.fail()
    with pytest.raises(OutageError):
        world.call()
    assert outages(world.run) == {}
    world.now += PAUSE
    world.call()
    assert world.breaker.phase == "closed"


def test_a_clock_that_was_set_back_does_not_keep_it_open(world: World) -> None:
    world.fail()
    world.now -= 86_400
    assert world.breaker.phase == "closed"
    world.call()
