"""How fast a model elsewhere may be asked: requests and tokens a minute, and how many calls at once. All of it waits.

A bucket fills at a little less than the limit and holds only a few seconds of it. A full minute in it would allow twice
the limit in the first one, and Google counts minutes: so no minute holds more than its limit, wherever it begins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nescord.settings import Settings

# Of a minute's limit, what a bucket holds; the rest of the limit is the rate at which it fills.
HELD = 0.04
_MINUTE = 60.0


class TokenBucket:
    """A limit a minute. `take` waits, and who waits first is served first.

    What is more than a bucket can hold is given when it is full, and what comes next waits for the rest, too.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.size = max(1.0, per_minute * HELD)
        self._rate = max(per_minute - self.size, per_minute / 2) / _MINUTE
        self._clock, self._sleep = clock, sleep
        self._level = self.size
        self._filled_at = clock()
        self._turn = threading.Lock()

    def take(self, amount: float) -> float:
        """Wait until `amount` may be used, and use it. The seconds waited."""
        needed = min(amount, self.size)
        waited = 0.0
        with self._turn:
            self._fill()
            # A tenth of a unit is no reason to wait: sums of floats never quite reach the brim.
            while (missing := needed - self._level) > 1e-6:
                seconds = missing / self._rate
                self._sleep(seconds)
                waited += seconds
                self._fill()
            self._level -= amount
        return waited

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self.size, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now


class Pace:
    """The limits of one model, for all threads of this process."""

    def __init__(self, requests: float, tokens: float, parallel: int) -> None:
        self._requests = TokenBucket(requests)
        self._tokens = TokenBucket(tokens)
        self._room = threading.BoundedSemaphore(parallel)

    @contextmanager
    def turn(self, tokens: int) -> Iterator[None]:
        """Wait until a call of so many tokens may be made; the block is the call."""
        with self._room:
            self._tokens.take(tokens)
            self._requests.take(1)
            yield


def tokens_of_a_request(settings: Settings) -> int:
    """More tokens than this in one request would make the ones after it wait in jerks."""
    return max(1, int(settings.gemini_tokens_per_minute * HELD))


def pace_of(settings: Settings, model: str) -> Pace:
    """The one pace of that model in this process: Google's limits are by model."""
    return _pace(
        settings.gemini_endpoint or "",
        model,
        settings.gemini_requests_per_minute,
        settings.gemini_tokens_per_minute,
        settings.gemini_parallel,
    )


@lru_cache(64)
def _pace(_endpoint: str, _model: str, requests: int, tokens: int, parallel: int) -> Pace:
    return Pace(requests, tokens, parallel)
