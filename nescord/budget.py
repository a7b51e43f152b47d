"""The owner's rule about what calls to models elsewhere may cost in a month, kept to the token.

A call is reserved with its estimate before it is made and settled with its cost after it. What is reserved and settled
never goes beyond the limit, however many processes call at once: each reservation looks and writes in one transaction
that no other can come between. A call whose process was killed counts with its estimate for ever.

From 90 % of the limit on, what can wait is off; from 95 %, all but embedding; from 100 %, everything, until the 1st of
the next month in the zone of the settings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord.backup import spent as spent_sums
from nescord.catalog import ledger as ledger_sql
from nescord.catalog.ledger import Override, Spent, Unsettled, Use
from nescord.errors import BudgetError, CatalogError, NescordError, UsageError
from nescord.identifiers import uuid7
from nescord.times import utc_text

if TYPE_CHECKING:
    import apsw

    from nescord.catalog.database import Catalog
    from nescord.notes import Scope
    from nescord.settings import Settings

_log = logging.getLogger(__name__)


class Purpose(StrEnum):
    """What a call is for, which decides how long it is allowed."""

    EMBED_NEW = "embed_new"
    EMBED_QUERY = "embed_query"
    ANSWER = "answer"
    REWRITE = "rewrite"
    SUMMARY = "summary"
    TAGS = "tags"
    REEMBED = "reembed"


OPTIONAL = frozenset({Purpose.SUMMARY, Purpose.TAGS, Purpose.REEMBED})
ESSENTIAL = frozenset({Purpose.EMBED_NEW, Purpose.EMBED_QUERY})


class Level(StrEnum):
    """How much of the limit is gone: below 90 %, from 90, from 95, from 100 % on."""

    FREE = "free"
    WARN = "warn"
    ESSENTIAL = "essential"
    OFF = "off"


_OFF = {
    Level.FREE: frozenset[Purpose](),
    Level.WARN: OPTIONAL,
    Level.ESSENTIAL: frozenset(Purpose) - ESSENTIAL,
    Level.OFF: frozenset(Purpose),
}


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The month at one moment. `used` tokens are settled, `reserved` are the estimates of calls without a known end;
    `limit` holds what was allowed on top, which `extra` says. `returns_at` is when the next month begins."""

    month: str
    limit: int
    extra: int
    used: int
    reserved: int
    returns_at: datetime

    @property
    def total(self) -> int:
        return self.used + self.reserved

    @property
    def share(self) -> float:
        """Of the limit; 1 where nothing is allowed at all."""
        return self.total / self.limit if self.limit else 1.0

    @property
    def level(self) -> Level:
        # In whole numbers: 95 % of a limit is not a sum of floats.
        for level, percent in ((Level.OFF, 100), (Level.ESSENTIAL, 95), (Level.WARN, 90)):
            if 100 * self.total >= percent * self.limit:
                return level
        return Level.FREE

    @property
    def off(self) -> frozenset[Purpose]:
        """The purposes that are switched off."""
        return _OFF[self.level]


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """What the month's tokens went to; `forecast` is what it comes to at its end if it goes on like this."""

    state: BudgetState
    days: list[Use]
    purposes: list[Use]
    models: list[Use]
    people: list[Use]
    unsettled: list[Unsettled]
    overrides: list[Override]
    forecast: int


class Reservation:
    """Tokens that a call may cost. Its end must be told by `settle`; else it counts as it is."""

    def __init__(self, budget: Budget, key: str, tokens: int) -> None:
        self.tokens = tokens
        self._budget = budget
        self._key = key

    def settle(self, tokens: int) -> None:
        """The call has cost this much. Only the first time counts."""
        self._budget.settle(self._key, tokens)


class Budget:
    """The budget of one knowledge base. Safe to use from many threads and processes.

    `verb` lends the catalog for one transaction, which must not be within another of the same thread: a call may take
    longer than a database stays in its place. `now` is the clock.
    """

    def __init__(
        self,
        verb: Callable[[], AbstractContextManager[Catalog]],
        backups: Path,
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._verb = verb
        self._backups = backups
        self._limit = settings.gemini_monthly_limit
        self._zone = ZoneInfo(settings.timezone)
        self._now = now

    @classmethod
    def of(cls, catalog: Catalog, settings: Settings) -> Budget:
        """For who keeps that catalog open and in its place; others take that of `OpenBase.budget`."""
        from nescord.home import DataFolder

        return cls(lambda: nullcontext(catalog), DataFolder.at(settings).backups, settings)

    def reserve(self, purpose: Purpose | str, model: str, tokens: int, *, who: str = "") -> Reservation:
        """Put tokens aside for a call to `model` that is about to be made, on behalf of `who` (`user:42`, `guild:7`).

        Raises:
            BudgetError: the call must not be made. CatalogError, LockTimeoutError: it cannot be recorded, and so must
                not be made either.
        """
        wanted, tokens = Purpose(purpose), max(0, tokens)
        now = self._now()
        key, day = str(uuid7()), now.astimezone(self._zone).date().isoformat()
        with self._verb() as catalog, catalog.write() as connection:
            self._recall(connection, day, now)
            state = self._state(connection, now)
            self._refuse(state, wanted, tokens)
            ledger_sql.reserve(connection, key, utc_text(now), day, model, wanted, who, tokens)
            self._remember(state.month, state.total + tokens)
        return Reservation(self, key, tokens)

    def settle(self, key: str, tokens: int) -> None:
        """What a reserved call has cost. Where that cannot be recorded, the estimate stays and the result is kept."""
        now = self._now()
        try:
            with self._verb() as catalog, catalog.write() as connection:
                if day := ledger_sql.day_of(connection, key):
                    self._recall(connection, day, now)  # before the sum goes down by what the estimate was too high
                    ledger_sql.settle(connection, key, max(0, tokens), utc_text(now))
                    self._remember(_month_of(day), ledger_sql.spent(connection, _month_of(day)).total)
        except NescordError as error:
            _log.warning("a call counts with its estimate, what it has cost could not be recorded: %s", error)

    def allow(self, tokens: int, until: datetime, who: str) -> Override:
        """Allow that many tokens a month beyond the limit until a moment; 0 takes back all that was allowed.

        Raises:
            UsageError: a negative number, or a moment that has passed.
        """
        now = self._now()
        if tokens < 0:
            raise UsageError(f"{tokens:,} tokens cannot be allowed: 0 takes back what was allowed before")
        if until <= now:
            raise UsageError(f"{until.isoformat(timespec='minutes')} has passed: nothing can be allowed until then")
        override = Override(utc_text(now), who, tokens, utc_text(until))
        with self._verb() as catalog, catalog.write() as connection:
            ledger_sql.allow(connection, override)
        return override

    def state(self) -> BudgetState:
        """How the month stands."""
        with self._verb() as catalog, catalog.read() as connection:
            return self._state(connection, self._now())

    def use(self) -> BudgetUse:
        """How the month stands, and what has been used for what."""
        now = self._now()
        with self._verb() as catalog, catalog.read() as connection:
            state = self._state(connection, now)
            return BudgetUse(
                state=state,
                days=ledger_sql.use_by(connection, "day", state.month),
                purposes=ledger_sql.use_by(connection, "purpose", state.month),
                models=ledger_sql.use_by(connection, "model", state.month),
                people=ledger_sql.use_by(connection, "who", state.month),
                unsettled=ledger_sql.unsettled(connection, state.month),
                overrides=ledger_sql.overrides(connection, utc_text(now)),
                forecast=self._forecast(state, now),
            )

    def _state(self, connection: apsw.Connection, now: datetime) -> BudgetState:
        here = now.astimezone(self._zone)
        month = here.strftime("%Y-%m")
        extra = sum(each.tokens for each in ledger_sql.overrides(connection, utc_text(now)))
        known = ledger_sql.spent(connection, month)
        settled = known.settled + self._forgotten(month, known)
        return BudgetState(month, self._limit + extra, extra, settled, known.reserved, _next_month(here))

    def _forgotten(self, month: str, known: Spent) -> int:
        """How much more was spent than this database knows, where it was put back, or begun anew, that month."""
        with self._told():
            return max(0, spent_sums.remembered(self._backups, month) - known.total)

    def _recall(self, connection: apsw.Connection, day: str, now: datetime) -> None:
        """Let the database know what is remembered beside it. Whoever writes down a new sum has to, before: what he
        writes is all that is remembered then."""
        month = _month_of(day)
        if forgotten := self._forgotten(month, ledger_sql.spent(connection, month)):
            ledger_sql.add_forgotten(connection, str(uuid7()), utc_text(now), day, forgotten)

    def _refuse(self, state: BudgetState, purpose: Purpose, tokens: int) -> None:
        if purpose not in state.off and state.total + tokens <= state.limit:
            return
        if not state.limit:
            raise BudgetError(f"{purpose} is switched off: GEMINI_MONTHLY_LIMIT is 0; search by words goes on")
        until = f"until {state.returns_at:%Y-%m-%d %H:%M} ({self._zone.key})"
        spent = f"{state.total:,} of {state.limit:,} tokens of {state.month} are spent"
        if purpose in state.off:
            why = f"{purpose} is switched off {until}: {spent} ({state.share:.1%})"
        else:
            why = f"{purpose} would need {tokens:,} tokens, and {spent}: it has to wait {until}"
        raise BudgetError(f"{why}; search by words goes on, and nescord budget allow allows more")

    def _remember(self, month: str, tokens: int) -> None:
        with self._told():
            spent_sums.remember(self._backups, month, tokens)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"what was spent cannot be kept in {self._backups} ({error.strerror})"
            raise CatalogError(f"{reason}: no model elsewhere is called; mend the disk") from error

    def _forecast(self, state: BudgetState, now: datetime) -> int:
        begun = now.astimezone(self._zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        # The first hours of a month say little about it: a day is the least that a pace is taken from.
        gone = max(now - begun, timedelta(days=1))
        return max(state.total, round(state.total * ((state.returns_at - begun) / gone)))


def payer(scope: Scope) -> str:
    """For whom the calls of a view are written down: its spaces; nobody by name where it is the owner's."""
    return ",".join(sorted(scope.spaces)) if scope.spaces is not None else ""


def _month_of(day: str) -> str:
    return day[: len("2026-11")]


def _next_month(here: datetime) -> datetime:
    first = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    year, month = divmod(first.year * 12 + first.month, 12)
    return first.replace(year=year, month=month + 1)
