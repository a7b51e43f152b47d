"""How often a person, and all of a guild together, may do on one day what costs tokens, time or space.

Looking and counting are one transaction that no other process can come between, so of many at once exactly as many get
through as are allowed. A day begins at midnight in the zone of the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo

from nescord.catalog import people as people_sql
from nescord.errors import QuotaError

if TYPE_CHECKING:
    import apsw

    from nescord.catalog.database import Catalog
    from nescord.setting_rules import Quota
    from nescord.settings import Settings

What = Literal["searches", "answers", "notes", "flows"]
WHATS: tuple[What, ...] = get_args(What)


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """How often something may still be done today: by the person, and by all of the guild (None: in no guild)."""

    person: int
    guild: int | None


class Quotas:
    """The quotas of one knowledge base. Safe to use from many threads and processes.

    `verb` lends the catalog for one transaction. `now` is the clock. Owners are counted like everybody and never
    refused.
    """

    def __init__(
        self,
        verb: Callable[[], AbstractContextManager[Catalog]],
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._verb = verb
        self._zone = ZoneInfo(settings.timezone)
        self._owners = frozenset(f"user:{owner}" for owner in settings.owner_ids)
        self._allowed: dict[What, Quota] = {
            "searches": settings.quota_searches,
            "answers": settings.quota_answers,
            "notes": settings.quota_notes,
            "flows": settings.quota_flows,
        }
        self._now = now

    def take(self, what: What, person: str, guild: str = "") -> QuotaLeft:
        """Count once more what `person` (`user:42`) is about to do in `guild` (`guild:7`, "": in none).

        Raises:
            QuotaError: one of the two has done it as often as allowed; it is counted for neither.
        """
        here = self._now().astimezone(self._zone)
        day = here.date().isoformat()
        with self._verb() as catalog, catalog.write() as connection:
            left = self._left(connection, what, day, person, guild)
            if person not in self._owners:
                self._refuse(what, left, here)
            for who in filter(None, (person, guild)):
                people_sql.count_use(connection, who, day, what)
        return _at_least_zero(QuotaLeft(left.person - 1, None if left.guild is None else left.guild - 1))

    def left(self, person: str, guild: str = "") -> dict[What, QuotaLeft]:
        """How often `person` may still do each thing today in `guild`."""
        day = self._now().astimezone(self._zone).date().isoformat()
        with self._verb() as catalog, catalog.read() as connection:
            return {what: _at_least_zero(self._left(connection, what, day, person, guild)) for what in WHATS}

    def _left(self, connection: apsw.Connection, what: What, day: str, person: str, guild: str) -> QuotaLeft:
        """As it is counted: below zero where an owner went on, or less is allowed than this morning."""
        allowed = self._allowed[what]
        by_person = people_sql.used(connection, person, day).get(what, 0)
        by_guild = people_sql.used(connection, guild, day).get(what, 0) if guild else 0
        return QuotaLeft(allowed.person - by_person, allowed.guild - by_guild if guild else None)

    def _refuse(self, what: What, left: QuotaLeft, here: datetime) -> None:
        allowed, setting = self._allowed[what], f"NESCORD_QUOTA_{what.upper()}"
        used_up: Literal["person", "guild"]
        if left.person <= 0:
            used_up, most, whose = "person", allowed.person, "one person"
        elif left.guild is not None and left.guild <= 0:
            used_up, most, whose = "guild", allowed.guild, "all of one guild"
        else:
            return
        returns_at = _next_day(here)
        if not most:
            message = f"{what} are switched off for {whose} ({setting})"
        else:
            until = f"{returns_at:%Y-%m-%d %H:%M} ({self._zone.key})"
            message = f"{most:,} {what} a day are allowed for {whose}, all are used: it goes on {until} ({setting})"
        raise QuotaError(message, what=what, used_up=used_up, returns_at=returns_at, is_off=not most)


def _at_least_zero(left: QuotaLeft) -> QuotaLeft:
    return QuotaLeft(max(0, left.person), None if left.guild is None else max(0, left.guild))


def _next_day(here: datetime) -> datetime:
    midnight = datetime.combine(here.date() + timedelta(days=1), datetime.min.time(), here.tzinfo)
    # Where the clock is put forward at midnight, that moment has another name.
    return midnight.astimezone(UTC).astimezone(here.tzinfo)
