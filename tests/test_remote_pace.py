"""The pace of calls: no minute holds more than its limit, nearly all of it is used, and who waits first goes first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import Settings
from nescord.remote.pace import HELD, NoTurnError, Pace, TokenBucket, pace_of, tokens_of_a_request


@dataclass
class Clock:
    """Time that passes only when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def bucket(per_minute: float, clock: Clock) -> TokenBucket:
    return TokenBucket(per_minute, clock=clock)


def take(tokens: TokenBucket, clock: Clock, amount: float) -> float:
    """Wait, and use it; the seconds waited."""
    seconds = tokens.seconds_until(amount)
    clock.now += seconds
    assert not tokens.seconds_until(amount)
    tokens.use(amount)
    return seconds


def most_in_a_minute(taken: list[tuple[float, float]]) -> float:
    """The most that was taken within any 60 seconds."""
    most = within = 0.0
    window: deque[tuple[float, float]] = deque()
    for at, amount in taken:
        window.append((at, amount))
        within += amount
        while window[0][0] <= at - 60:
            within -= window.popleft()[1]
        most = max(most, within)
    return most


@given(st.lists(st.tuples(st.integers(1, 1200), st.floats(0, 20)), min_size=1, max_size=120))
def test_no_minute_holds_more_than_its_limit(calls: list[tuple[int, float]]) -> None:
    clock = Clock()
    tokens = bucket(30_000, clock)
    taken = []
    for amount, pause in calls:
        clock.now += pause
        take(tokens, clock, amount)
        taken.append((clock.now, float(amount)))
    assert most_in_a_minute(taken) <= 30_000


def test_who_always_has_work_gets_nearly_all_of_the_limit() -> None:
    for per_minute, amount in ((30_000, 1000), (30_000, 37), (100, 1), (1, 1), (7, 1)):
        clock = Clock()
        tokens, taken = bucket(per_minute, clock), []
        while clock.now < 1000 + 600:
            take(tokens, clock, amount)
            taken.append((clock.now, float(amount)))
        used = sum(amount for _, amount in taken) / (per_minute * 10)
        # A bucket cannot hold less than one request, and of a limit of one or two a minute that is much.
        assert used > (0.93 if per_minute > 10 else 0.49)
        assert most_in_a_minute(taken) <= max(per_minute, 2)


def test_what_is_larger_than_the_bucket_is_given_and_paid_back_by_the_next() -> None:
    clock = Clock()
    tokens = bucket(30_000, clock)
    assert take(tokens, clock, 20_000) == 0
    assert 38 < take(tokens, clock, tokens.size) < 45


def test_what_is_given_back_can_be_used_and_no_more_than_fits() -> None:
    clock = Clock()
    tokens = bucket(30_000, clock)
    take(tokens, clock, 20_000)
    tokens.give_back(20_000)
    tokens.give_back(20_000)
    assert take(tokens, clock, tokens.size) == 0
    assert tokens.seconds_until(1) > 0


def in_turn(pace: Pace, calls: Sequence[tuple[int, float | None]], order: list[int]) -> list[threading.Thread]:
    """Threads that wait for turns, one after the other: of so many tokens, and for how long at most."""

    def call(number: int, tokens: int, within: float | None) -> None:
        with pace.turn(tokens, within=within):
            order.append(number)

    threads = []
    for number, (tokens, within) in enumerate(calls):
        threads.append(threading.Thread(target=call, args=(number, tokens, within)))
        threads[-1].start()
        time.sleep(0.03)
    return threads


def test_who_waits_first_goes_first() -> None:
    pace, order = Pace(1_000_000, 600, 9), list[int]()
    with pace.turn(24):
        threads = in_turn(pace, [(4, None)] * 5, order)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_person_goes_first() -> None:
    pace, order = Pace(1_000_000, 600, 2), list[int]()
    with pace.turn(24):
        threads = in_turn(pace, [(8, None), (8, None), (1, 5.0)], order)
    for thread in threads:
        thread.join()
    assert order == [2, 0, 1]


def test_a_person_takes_the_next_place_whoever_waits_for_one() -> None:
    pace, order = Pace(1_000_000, 1_000_000, 1), list[int]()
    with pace.turn(1):
        threads = in_turn(pace, [(1, None), (1, None), (1, 5.0)], order)
        assert order == []
    for thread in threads:
        thread.join()
    assert order[0] == 2


def test_a_person_does_not_wait_for_long_and_takes_nothing_then() -> None:
    pace = Pace(1_000_000, 600, 1)
    with pace.turn(60):
        begun = time.monotonic()
        with pytest.raises(NoTurnError, match="TOKENS_PER_MINUTE"), pace.turn(1, within=0.2):
            pass
        assert 0.2 <= time.monotonic() - begun < 1
    begun = time.monotonic()
    with pytest.raises(NoTurnError, match="wait 4 s"), pace.turn(1, within=2):
        pass
    assert time.monotonic() - begun < 1, "what is known to take longer is not waited for"
    pace.give_back(60)
    with pace.turn(24, within=0):
        pass


def test_no_more_calls_at_once_than_allowed() -> None:
    pace = Pace(1_000_000, 1_000_000_000, 3)
    at_once, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal at_once, most
        with pace.turn(1):
            with lock:
                at_once += 1
                most = max(most, at_once)
            time.sleep(0.02)
            with lock:
                at_once -= 1

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3


def test_a_model_has_one_pace_in_a_process_and_models_do_not_share_it() -> None:
    settings = Settings(gemini_endpoint="http://127.0.0.1:1")
    assert pace_of(settings, "a") is pace_of(settings, "a")
    assert pace_of(settings, "a") is not pace_of(settings, "b")
    assert tokens_of_a_request(settings) == 30_000 * HELD
