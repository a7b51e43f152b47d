"""One way for every call to a model elsewhere: breaker and budget, pace, both again, the call, and what it has cost.

A call that may pass is repeated, by stamina: after as long as the answer says, or else after a random while that grows.
Who waits for a person gives up early, who works in the background has patience. Each attempt is paid for by itself:
- refused with 4xx or 5xx, or never sent: nothing, for Google bills requests that succeed;
- broken off, timed out, or not understood: its estimate, for it may have been done;
- answered: what the answer says, or the estimate where it says nothing.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from nescord.budget import Purpose
from nescord.errors import (
    BlockedError,
    OutageError,
    RateLimitedError,
    RemoteError,
    RemoteRefusedError,
    WrongAnswerError,
)
from nescord.home import DataFolder
from nescord.remote.breaker import breaker_of
from nescord.remote.pace import NoTurnError, pace_of

if TYPE_CHECKING:
    from nescord.budget import Budget, Reservation
    from nescord.remote.pace import Pace
    from nescord.settings import Settings

_log = logging.getLogger(__name__)
# Where nobody has set up logging, Python would print stamina's word of each wait.
logging.getLogger("stamina").addHandler(logging.NullHandler())
Result = TypeVar("Result")
Piece = TypeVar("Piece")

_for_whom: ContextVar[str] = ContextVar("for_whom", default="")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is made at most, how long it may wait all in all, and about its first and longest wait."""

    attempts: int
    seconds: float
    first: float = 0.5
    longest: float = 20.0


# A person waits for it, and search goes on by words, an answer by passages, without it.
IN_FRONT = Patience(attempts=3, seconds=8.0, first=0.25)
# Nobody waits, and a quota of Google's is a minute.
BEHIND = Patience(attempts=7, seconds=240.0)
_WAITED_FOR = frozenset({Purpose.EMBED_QUERY, Purpose.ANSWER, Purpose.REWRITE, Purpose.SUMMARY, Purpose.TAGS})
# How long a person waits for a turn: search goes on by words at once, and a written answer is worth some seconds.
_TURN_OF_A_QUERY, _TURN_OF_A_TEXT = 2.0, 15.0
# A model that answers wrongly is paid for it each time.
_WRONG_ANSWERS = 2


@contextmanager
def on_behalf_of(who: str) -> Iterator[None]:
    """Calls within the block are written down for `who` (`user:42`, `guild:7`), unless they say otherwise."""
    token = _for_whom.set(who)
    try:
        yield
    finally:
        _for_whom.reset(token)


class Caller:
    """How the models elsewhere are called, for all threads of a process.

    `in_front` is the patience of calls that a person waits for, `behind` that of all others.
    """

    def __init__(
        self,
        settings: Settings,
        budget: Callable[[], Budget],
        *,
        in_front: Patience = IN_FRONT,
        behind: Patience = BEHIND,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._in_front, self._behind = in_front, behind
        self._run = DataFolder.at(settings).run

    def call(
        self,
        purpose: Purpose,
        model: str,
        estimate: int,
        do: Callable[[], tuple[Result, int | None]],
        *,
        who: str | None = None,
    ) -> Result:
        """The result of `do`, which makes one request and returns its result and the tokens it has cost, if it knows.

        Raises:
            BudgetError: it must not be made. OutageError, NoTurnError: not now. RateLimitedError, RemoteError,
                WrongAnswerError: it was made as often as there is patience for. RemoteRefusedError, BlockedError: it is
                of no use.
        """

        def once() -> Result:
            with ExitStack() as call:
                reservation = self._begin(call, purpose, model, estimate, who)
                result, tokens = do()
                reservation.settle(estimate if tokens is None else tokens)
                return result

        return _patiently(self._patience(purpose), once)

    def stream(
        self,
        purpose: Purpose,
        model: str,
        estimate: int,
        do: Callable[[], Iterator[Piece]],
        tokens_of: Callable[[Piece], int | None],
        *,
        who: str | None = None,
    ) -> Iterator[Piece]:
        """The pieces of a stream that `do` opens. It is repeated only until its first piece has come.

        A piece may say, by `tokens_of`, what the stream has cost; without any that does, or when it breaks off, it
        counts with its estimate. Raises as `call`; what breaks off later is a RemoteError at that piece.
        """

        def once() -> tuple[Reservation, list[Piece], Iterator[Piece]]:
            with ExitStack() as call:
                reservation = self._begin(call, purpose, model, estimate, who)
                pieces = do()
                # The turn ends with the first piece: a slow reader keeps nobody else from asking.
                return reservation, list(islice(pieces, 1)), pieces

        reservation, first, rest = _patiently(self._patience(purpose), once)
        return self._rest(reservation, estimate, first, rest, tokens_of)

    def _rest(
        self,
        reservation: Reservation,
        estimate: int,
        first: list[Piece],
        rest: Iterator[Piece],
        tokens_of: Callable[[Piece], int | None],
    ) -> Iterator[Piece]:
        cost, is_whole = None, False
        try:
            for pieces in (first, rest):
                for piece in pieces:
                    cost = tokens_of(piece) or cost
                    yield piece
            is_whole = True
        except BlockedError as error:
            cost, is_whole = error.tokens or cost, True
            raise
        finally:
            reservation.settle(cost if is_whole and cost is not None else max(estimate, cost or 0))

    def _patience(self, purpose: Purpose) -> Patience:
        return self._in_front if purpose in _WAITED_FOR else self._behind

    def _begin(self, call: ExitStack, purpose: Purpose, model: str, estimate: int, who: str | None) -> Reservation:
        """What every call goes through before it is made; `call` is left when it has ended."""
        breaker, budget = breaker_of(self._run, model), self._budget()
        pace, who = pace_of(self._settings, model), _for_whom.get() if who is None else who
        # Who is refused does not wait for it.
        breaker.check()
        state = budget.state()
        if purpose in state.off or state.total + estimate > state.limit:
            budget.reserve(purpose, model, estimate, who=who).settle(0)  # says why not
        # Then the turn: who waits holds none of the month's tokens, and learns of an outage that began meanwhile.
        call.enter_context(pace.turn(estimate, within=_longest_turn(purpose)))
        try:
            call.enter_context(breaker.attempt())
            reservation = budget.reserve(purpose, model, estimate, who=who)
        except BaseException:
            pace.give_back(estimate, requests=1)
            raise
        call.enter_context(_settled(reservation, estimate, pace))
        return reservation


def _longest_turn(purpose: Purpose) -> float | None:
    """How long a call may wait for its turn; None, as long as it takes."""
    if purpose not in _WAITED_FOR:
        return None
    return _TURN_OF_A_QUERY if purpose is Purpose.EMBED_QUERY else _TURN_OF_A_TEXT


@contextmanager
def _settled(reservation: Reservation, estimate: int, pace: Pace) -> Iterator[None]:
    """A call that fails is settled with what that costs, and the pace gets back the rest. One that ends well settles
    itself."""
    try:
        yield
    except BaseException as error:
        cost = _cost_of(error, estimate)
        reservation.settle(cost)
        pace.give_back(max(0, estimate - cost))
        raise


def _cost_of(error: BaseException, estimate: int) -> int:
    if isinstance(error, RateLimitedError | RemoteRefusedError):
        return 0
    if isinstance(error, BlockedError):
        return error.tokens
    if isinstance(error, RemoteError):
        return estimate if error.may_be_billed else 0
    return estimate


def _patiently(patience: Patience, once: Callable[[], Result]) -> Result:
    """`once`, again and again as long as it may pass and there is patience for it."""
    import stamina

    gives_up_at = time.monotonic() + patience.seconds
    failures = wrong = 0

    def wait(error: Exception) -> bool | float:
        nonlocal failures, wrong
        failures += 1
        if isinstance(error, WrongAnswerError):
            wrong += 1
            if wrong >= _WRONG_ANSWERS:
                return False
        elif isinstance(error, OutageError | NoTurnError) or not isinstance(error, RateLimitedError | RemoteError):
            return False
        seconds = _wait(error, failures, patience)
        if time.monotonic() + seconds > gives_up_at:
            return False
        _log.info("%s: asked again in %.1f s", error, seconds)
        return seconds

    for attempt in stamina.retry_context(on=wait, attempts=patience.attempts, timeout=None):
        with attempt:
            return once()
    raise AssertionError("stamina raises the last error")


def _wait(error: Exception, failures: int, patience: Patience) -> float:
    """As long as the answer says and a little more, so that not all come at once; else any time up to a limit that
    doubles ("full jitter", Brooker, Exponential Backoff and Jitter, AWS 2015)."""
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        return error.retry_after + random.uniform(0, 0.1 * error.retry_after + 0.1)
    return random.uniform(0, min(patience.longest, patience.first * 2**failures))
