"""The pace of calls: no minute holds more than its limit, nearly all of it is used, and who waits first goes first."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from nescord import Settings
from nescord.remote.pace import HELD, Pace, TokenBucket, pace_of, tokens_of_a_request


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def bucket(per_minute: float, clock: Clock) -> TokenBucket:
    return TokenBucket(per_minute, clock=clock, sleep=clock.sleep)


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
        tokens.take(amount)
        taken.append((clock.now, float(amount)))
    assert most_in_a_minute(taken) <= 30_000


def test_who_always_has_work_gets_nearly_all_of_the_limit() -> None:
    for per_minute, amount in ((30_000, 1000), (30_000, 37), (100, 1), (1, 1), (7, 1)):
        clock = Clock()
        tokens, taken = bucket(per_minute, clock), []
        while clock.now < 1000 + 600:
            tokens.take(amount)
            taken.append((clock.now, float(amount)))
        used = sum(amount for _, amount in taken) / (per_minute * 10)
        # A bucket cannot hold less than one request, and of a limit of one or two a minute that is much.
        assert used > (0.93 if per_minute > 10 else 0.49)
        assert most_in_a_minute(taken) <= max(per_minute, 2)


def test_what_is_larger_than_the_bucket_is_given_and_paid_back_by_the_next() -> None:
    clock = Clock()
    tokens = bucket(30_000, clock)
    assert tokens.take(20_000) == 0
    assert 38 < tokens.take(tokens.size) < 45


def test_who_waits_first_goes_first() -> None:
    tokens = TokenBucket(600)
    tokens.take(tokens.size)
    order: list[int] = []

    def take(number: int) -> None:
        tokens.take(4)
        order.append(number)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        time.sleep(0.03)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


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
