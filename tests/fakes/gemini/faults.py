"""What goes wrong in the fake, when it is told to: which of the next calls are struck, and by what."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["timeout", "reset", "lost", "cut", "short", "long", "wrong_length", "nan", "zero", "garbage", "empty"]
"""timeout: no answer for `hang` seconds, and nothing was done. reset: the connection breaks, nothing was done.
lost: it was done and counted, and the connection breaks before the answer. cut: the answer breaks off half-way.
short, long: one vector too few, too many. wrong_length, nan, zero: the last one is a number short, holds NaN, is 0.
garbage: 200 with HTML, as of a captive portal. empty: 200 with {}."""


@dataclass(slots=True)
class _Plan:
    kinds: Sequence[int | Fault]
    left: int | None
    rate: float | None
    after: int
    method: str | None
    body: str | None
    retry_after: float | None
    dice: random.Random


@dataclass(frozen=True, slots=True)
class Strike:
    """One call that goes wrong: the HTTP status or the fault, and what is said."""

    kind: int | Fault
    body: str | None = None
    retry_after: float | None = None


@dataclass
class Faults:
    """The plans in force; the first that applies to a call strikes it. `struck` counts by kind."""

    struck: Counter[int | Fault] = field(default_factory=Counter)
    _plans: list[_Plan] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(
        self,
        status: int | Fault | Sequence[int | Fault],
        *,
        next: int | None,  # noqa: A002 - reads as fail(next=3)
        rate: float | None,
        after: int,
        method: str | None,
        body: str | None,
        retry_after: float | None,
        seed: int,
    ) -> None:
        kinds = [status] if isinstance(status, int | str) else list(status)
        left = 1 if next is None and rate is None else next
        with self._lock:
            self._plans.append(_Plan(kinds, left, rate, after, method, body, retry_after, random.Random(seed)))

    def clear(self) -> None:
        with self._lock:
            self._plans.clear()

    def strike(self, method: str) -> Strike | None:
        """What happens to this call; counts it."""
        with self._lock:
            for plan in self._plans:
                if (plan.method and plan.method != method) or plan.left == 0:
                    continue
                if plan.after:
                    plan.after -= 1
                    continue
                if plan.rate is not None and plan.dice.random() >= plan.rate:
                    continue
                if plan.left is not None:
                    plan.left -= 1
                kind = plan.dice.choice(plan.kinds)
                self.struck[kind] += 1
                return Strike(kind, plan.body, plan.retry_after)
        return None


@dataclass(slots=True)
class Limit:
    """So many requests and tokens within any `seconds`; None is without limit."""

    requests: int | None = None
    tokens: int | None = None
    seconds: float = 60.0
    _window: deque[tuple[float, int]] = field(default_factory=deque)

    def refuses(self, tokens: int) -> bool:
        """Whether one more of so many tokens is too much; counts it if not."""
        now = time.monotonic()
        while self._window and self._window[0][0] <= now - self.seconds:
            self._window.popleft()
        if self.requests is not None and len(self._window) >= self.requests:
            return True
        if self.tokens is not None and sum(used for _, used in self._window) + tokens > self.tokens:
            return True
        self._window.append((now, tokens))
        return False
