"""How fast a model elsewhere may be asked: requests and tokens a minute, and how many calls at once. All of it waits.

A bucket fills at a little less than the limit and holds only a few seconds of it. A full minute in it would allow twice
the limit in the first one, and Google counts minutes: so no minute holds more than its limit, wherever it begins.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

from nescord.errors import RateLimitedError

if TYPE_CHECKING:
    from nescord.settings import Settings

# Of a minute's limit, what a bucket holds; the rest of the limit is the rate at which it fills.
HELD = 0.04
_MINUTE = 60.0


class NoTurnError(RateLimitedError):
    """A call would have to wait for its turn for longer than somebody waits for it. It was not made."""


class TokenBucket:
    """A limit a minute. What is more than it can hold is given when it is full, and what comes next waits for the rest,
    too. Not safe to use from many threads."""

    def __init__(self, per_minute: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = max(1.0, per_minute * HELD)
        self._rate = max(per_minute - self.size, per_minute / 2) / _MINUTE
        self._clock = clock
        self._level = self.size
        self._filled_at = clock()

    def seconds_until(self, amount: float) -> float:
        """How long until `amount` may be used."""
        now = self._clock()
        self._level = min(self.size, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        missing = min(amount, self.size) - self._level
        # A tenth of a unit is no reason to wait: sums of floats never quite reach the brim.
        return missing / self._rate if missing > 1e-6 else 0.0

    def use(self, amount: float) -> None:
        self._level -= amount

    def give_back(self, amount: float) -> None:
        self._level = min(self.size, self._level + amount)


class Pace:
    """The limits of one model, for all threads of this process. Who waits first is served first, but those that a
    person waits for come before all others."""

    def __init__(self, requests: float, tokens: float, parallel: int, model: str = "the model") -> None:
        self._model = model
        self._requests, self._tokens = TokenBucket(requests), TokenBucket(tokens)
        self._free = parallel
        self._changed = threading.Condition()
        self._waiting: list[tuple[bool, int]] = []
        self._numbers = count()

    @contextmanager
    def turn(self, tokens: int, *, within: float | None = None) -> Iterator[None]:
        """Wait until a call of so many tokens may be made; the block is the call. With `within`, a person waits.

        Raises:
            NoTurnError: it may not be made within so many seconds.
        """
        self._take(tokens, within)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def give_back(self, tokens: int, *, requests: int = 0) -> None:
        """Of a call so many tokens were not used after all."""
        with self._changed:
            self._tokens.give_back(tokens)
            self._requests.give_back(requests)
            self._changed.notify_all()

    def _take(self, tokens: int, within: float | None) -> None:
        gives_up_at = math.inf if within is None else time.monotonic() + within
        with self._changed:
            me = (within is None, next(self._numbers))
            insort(self._waiting, me)
            try:
                while (seconds := self._seconds_until(me, tokens)) > 0:
                    left = gives_up_at - time.monotonic()
                    if left <= 0 or left < seconds < math.inf:
                        needed = "" if seconds == math.inf else f", and this one would have to wait {seconds:.0f} s"
                        raise NoTurnError(
                            f"{self._model} is being asked as often as NESCORD_GEMINI_REQUESTS_PER_MINUTE, "
                            f"NESCORD_GEMINI_TOKENS_PER_MINUTE and NESCORD_GEMINI_PARALLEL allow{needed}"
                        )
                    wait = min(seconds, left)
                    self._changed.wait(None if wait == math.inf else wait)
                self._free -= 1
                self._tokens.use(tokens)
                self._requests.use(1)
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()

    def _seconds_until(self, me: tuple[bool, int], tokens: int) -> float:
        """Infinite where it is another that must end or go first."""
        if self._waiting[0] != me or not self._free:
            return math.inf
        return max(self._tokens.seconds_until(tokens), self._requests.seconds_until(1))


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
def _pace(_endpoint: str, model: str, requests: int, tokens: int, parallel: int) -> Pace:
    return Pace(requests, tokens, parallel, model)
