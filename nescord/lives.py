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
    # So many deaths within that time, and it is left alone for a while. Starts that fail take none of it.
    deaths: int = 5
    within: float = 300
    # From then on it is tried once after each such rest, until it was well.
    rest: float = 300
    # A service that was ready for so long is well: the pauses begin anew.
    well_after: float = 60
    probe_pause: float = 0.25
    watch_pause: float = 5
    # Not answering for so long, it hangs. A busy machine made servers wait for a minute.
    hangs_after: float = 120
    # For so long the next service waits for the first try of the one before it.
    queue: float = 60
    # For so long all of them together may take to stop. A platform kills a container after 40 s or 60 s.
    stop_within: float = 34
    # So often it is told that all goes on, and what was left to us is reaped.
    beat: float = 30


PATIENT = Policy()
# What a child ends with where only a person can mend it (EX_NOPERM and EX_CONFIG of sysexits.h). That is no illness: it
# is tried again after a rest, and counts for nothing.
FOR_A_PERSON = frozenset({77, 78})


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
        # Too many deaths, and not well since.
        self.is_sick = False
        self.state = ServiceState(
            service.name, "waiting", None, _now(), restarts=0, reason="", is_required=service.required
        )
        self._policy = policy
        self._deaths: deque[float] = deque()
        self._pause = 0.0
        self._ready_at: float | None = None

    def begin(self) -> None:
        """The next life."""
        self.ask_for_restart.clear()
        self.lives += 1
        self._ready_at = None

    def get_ready(self) -> None:
        """It is ready now."""
        self.is_down.clear()
        self.is_ready.set()
        self.was_tried.set()
        self._ready_at = time.monotonic()

    def change(self, state: State, reason: str, pid: int | None) -> bool:
        """Take note of how it is now; whether that is news."""
        before = self.state
        since = before.since if state == before.state else _now()
        restarts = max(self.lives - 1, 0)
        self.state = replace(before, state=state, pid=pid, since=since, restarts=restarts, reason=reason)
        return self.state != before

    def die(self, begun: float) -> float:
        """Count the death of a life that begun then, and see whether it `is_sick`; how long to wait for the next."""
        now, policy = time.monotonic(), self._policy
        if self._ready_at is None:
            # A start that fails may take minutes: that is no time in which it was alive.
            self._deaths = deque(death + now - begun for death in self._deaths)
        elif now - self._ready_at > policy.well_after:
            self.is_sick, self._pause = False, 0
        self._deaths.append(now)
        while now - self._deaths[0] > policy.within:
            self._deaths.popleft()
        if self.is_sick or len(self._deaths) >= policy.deaths:
            self.is_sick, self._pause = True, 0
            self._deaths.clear()
            return policy.rest
        self._pause = min(2 * self._pause, policy.longest_pause) or policy.first_pause
        return self._pause


def _now() -> str:
    return utc_text(datetime.now(UTC))
