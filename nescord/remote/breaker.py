"""A breaker for outages: after some failures in a row a model elsewhere is left alone, and then tried by one call.

What is open is told in `run/gemini.json`, so that a process that begins meanwhile does not wait for a time-out of its
own, and `nescord status` can say it. Where the file cannot be written, each process finds out by itself.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from nescord import durable
from nescord.errors import (
    BlockedError,
    OutageError,
    RateLimitedError,
    RemoteError,
    RemoteRefusedError,
    WrongAnswerError,
)
from nescord.times import utc_text

Phase = Literal["closed", "open", "half-open"]

FAILURES_TO_OPEN = 5
# The first pause; each trial that fails doubles it, up to the longest.
PAUSE, LONGEST_PAUSE = 30.0, 300.0
_NAME = "gemini.json"
# Who was told no has been answered: that is no outage.
_ANSWERED = (RateLimitedError, RemoteRefusedError, WrongAnswerError, BlockedError)


@dataclass(frozen=True, slots=True)
class Outage:
    """A model that is left alone: since when, until when (Unix time), for how long each time, and why."""

    since: float
    until: float
    pause: float
    reason: str


_STORED = TypeAdapter(dict[str, Outage])


def outages(run: Path) -> dict[str, Outage]:
    """The models that are left alone at this moment, or wait for their trial, by name; for whoever shows it."""
    try:
        return _STORED.validate_json((run / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}


def phase_of(outage: Outage | None, now: float | None = None) -> Phase:
    """closed: all is well. open: no call is made. half-open: the next call is a trial."""
    if outage is None:
        return "closed"
    return "open" if (time.time() if now is None else now) < outage.until else "half-open"


class Breaker:
    """The breaker of one model, for all threads of this process and, by its file, for others."""

    def __init__(self, run: Path, model: str, *, clock: Callable[[], float] = time.time) -> None:
        self._run, self._model, self._clock = run, model, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._is_on_trial = False
        # What this process knows if the file cannot be written.
        self._own: Outage | None = None

    @property
    def phase(self) -> Phase:
        return phase_of(self._outage(), self._clock())

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """The block is one call; how it ends decides.

        Raises:
            OutageError: the call must not be made now.
        """
        self._enter()
        try:
            yield
        except RemoteError as error:
            self._failed(error)
            raise
        except _ANSWERED:
            self._succeeded()
            raise
        except BaseException:
            with self._lock:  # it was not made, or nobody knows: the next one is the trial
                self._is_on_trial = False
            raise
        self._succeeded()

    def check(self) -> None:
        """Whether a call might be made at this moment, for who has to wait before it.

        Raises:
            OutageError: it must not.
        """
        with self._lock:
            self._is_trial()

    def _enter(self) -> None:
        with self._lock:
            self._is_on_trial = self._is_trial()

    def _is_trial(self) -> bool:
        """Whether the next call is the one that tries."""
        outage = self._outage()
        if outage is None:
            return self._is_on_trial
        if phase_of(outage, self._clock()) == "open" or self._is_on_trial:
            until = utc_text(datetime.fromtimestamp(outage.until, UTC))
            raise OutageError(
                f"{self._model} has not answered since {utc_text(datetime.fromtimestamp(outage.since, UTC))} "
                f"({outage.reason}): it is asked again after {until}"
            )
        return True

    def _succeeded(self) -> None:
        with self._lock:
            self._failures = 0
            self._is_on_trial = False
            if self._outage() is not None:
                self._tell(None)

    def _failed(self, error: RemoteError) -> None:
        with self._lock:
            self._failures += 1
            outage, now = self._outage(), self._clock()
            if self._is_on_trial and outage is not None:
                pause = min(LONGEST_PAUSE, outage.pause * 2)
                self._tell(Outage(outage.since, now + pause, pause, str(error)))
            elif outage is None and self._failures >= FAILURES_TO_OPEN:
                self._tell(Outage(now, now + PAUSE, PAUSE, str(error)))
            self._is_on_trial = False

    def _outage(self) -> Outage | None:
        outage = outages(self._run).get(self._model, self._own)
        if outage is not None and outage.until - self._clock() > LONGEST_PAUSE:
            return None  # the clock was set back: what it said of the future means nothing
        return outage

    def _tell(self, outage: Outage | None) -> None:
        self._failures = 0
        known = outages(self._run)
        known.pop(self._model, None)
        if outage is not None:
            known[self._model] = outage
        try:
            durable.make_folder(self._run)
            durable.tell(self._run / _NAME, json.dumps(_STORED.dump_python(known), ensure_ascii=False).encode("utf-8"))
        except OSError:  # no reason not to answer
            self._own = outage
        else:
            self._own = None


@lru_cache(64)
def breaker_of(run: Path, model: str) -> Breaker:
    """The one breaker of that model in this process."""
    return Breaker(run, model)
