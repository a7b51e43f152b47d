"""What goes wrong when a test says so: rate limits, errors, lost answers, slow callbacks; and Discord's own buckets."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["limit", "status", "reset", "lost", "hold"]
"""limit: 429. status: that HTTP status. reset: the connection breaks, nothing was done. lost: it was done, and the
connection breaks before the answer. hold: it is looked at only after so many seconds."""


@dataclass(slots=True)
class Strike:
    """One request that goes wrong. `route` is a part of "METHOD /template", such as "PATCH /webhooks" or "callback"."""

    kind: Kind
    route: str
    left: int
    seconds: float = 0.0
    status: int = 500
    is_global: bool = False
    by_cloudflare: bool = False


@dataclass
class Faults:
    """The strikes in force; the first that fits a request takes it. `struck` counts by kind."""

    latency: float = 0.0
    is_token_refused: bool = False
    identify_closes: deque[int] = field(default_factory=deque)
    handshakes_refused: int = 0
    replayed_again: int = 0
    has_acks: bool = True
    struck: Counter[Kind] = field(default_factory=Counter)
    _strikes: list[Strike] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, strike: Strike) -> None:
        with self._lock:
            self._strikes.append(strike)

    def clear(self) -> None:
        with self._lock:
            self._strikes.clear()
        self.latency, self.is_token_refused, self.has_acks = 0.0, False, True
        self.identify_closes.clear()
        self.handshakes_refused = self.replayed_again = 0

    def strike(self, route: str) -> Strike | None:
        """What happens to this request; counts it."""
        with self._lock:
            for strike in self._strikes:
                if strike.left > 0 and strike.route in route:
                    strike.left -= 1
                    self.struck[strike.kind] += 1
                    return strike
        return None


@dataclass(frozen=True, slots=True)
class Room:
    """What a bucket has left, for the X-RateLimit headers; `is_over`: the request is one too many."""

    bucket: str
    limit: int
    remaining: int
    reset_after: float
    is_over: bool

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Bucket": self.bucket,
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{time.time() + self.reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{self.reset_after:.3f}",
        }


@dataclass
class Buckets:
    """Discord's limits by route and major parameter, roughly as they are: a client that reads the headers gets no 429.

    Callbacks of interactions have none.
    """

    limits: dict[str, tuple[int, float]] = field(
        default_factory=lambda: {"/webhooks": (5, 2.0), "POST /channels/{channel_id}/messages": (5, 5.0), "": (50, 1.0)}
    )
    _begun: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def take(self, route: str, major: str) -> Room | None:
        """Count a request; None where there is no limit."""
        if "/interactions" in route:
            return None
        limit, seconds = next(value for part, value in self.limits.items() if part in route)
        key, now = (route, major), time.monotonic()
        began, used = self._begun.get(key, (now, 0))
        if now - began >= seconds:
            began, used = now, 0
        reset_after = began + seconds - now
        bucket = f"{hash(route) & 0xFFFFFFFF:08x}"
        if used >= limit:
            return Room(bucket, limit, 0, reset_after, is_over=True)
        self._begun[key] = (began, used + 1)
        return Room(bucket, limit, limit - used - 1, reset_after, is_over=False)
