"""What a supervisor keeps running, and what it knows about each service while it does."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nescord.service_state import ServiceState, State
from nescord.times import utc_text


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the supervisor is, in seconds."""

    first_pause: float = 1
    longest_pause: float = 30
    # So many deaths within that time, and it is left alone for a while.
    deaths: int = 5
    within: float = 300
    rest: float = 300
    # A service that ran for so long is well: the pauses begin anew.
    well_after: float = 60
    probe_pause: float = 0.25
    watch_pause: float = 5
    # Not answering for so long, it hangs. A busy machine made servers wait for a minute.
    hangs_after: float = 120
    # For so long the next service waits for the first try of the one before it.
    queue: float = 60


PATIENT = Policy()


@dataclass(frozen=True, slots=True)
class Child:
    """What to run for one life of a service, and how to know that it is ready.

    `close` is called once it is started, `tell` with True when it is ready and with False when it no longer is.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    cwd: Path | None = None
    pass_fds: tuple[int, ...] = ()
    close: Callable[[], None] = lambda: None
    tell: Callable[[bool], None] = lambda is_ready: None


@dataclass(frozen=True, slots=True)
class Service:
    """Something to keep running; `prepare` is called for each of its lives.

    `needs` names the service without which it cannot run, and with which it is restarted. Without one that is
    `required`, and that dies again and again, it is better to end.
    """

    name: str
    prepare: Callable[[], Child]
    ready_within: float
    grace: float
    needs: str = ""
    required: bool = False


class Life:
    """What is known about a service that is kept running."""

    def __init__(self, service: Service, policy: Policy) -> None:
        self.service = service
        self.is_ready = asyncio.Event()
        self.is_down = asyncio.Event()
        self.is_down.set()
        self.was_tried = asyncio.Event()
        self.ask_for_restart = asyncio.Event()
        self.lives = 0
        self.state = ServiceState(
            service.name, "waiting", None, _now(), restarts=0, reason="", is_required=service.required
        )
        self._policy = policy
        self._deaths: deque[float] = deque()
        self._pause = 0.0

    def change(self, state: State, reason: str, pid: int | None) -> bool:
        """Take note of how it is now; whether that is news."""
        before = self.state
        since = before.since if state == before.state else _now()
        restarts = max(self.lives - 1, 0)
        self.state = replace(before, state=state, pid=pid, since=since, restarts=restarts, reason=reason)
        return self.state != before

    def dies_often(self) -> bool:
        """Count a death; whether it was one too many. Then the count begins anew."""
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > self._policy.within:
            self._deaths.popleft()
        if len(self._deaths) < self._policy.deaths:
            return False
        self._deaths.clear()
        self._pause = 0
        return True

    def next_pause(self, lived: float) -> float:
        """How long to wait after a death: longer each time, unless it was well before."""
        policy, before = self._policy, self._pause
        is_first = lived > policy.well_after or not before
        self._pause = policy.first_pause if is_first else min(2 * before, policy.longest_pause)
        return self._pause


def _now() -> str:
    return utc_text(datetime.now(UTC))
