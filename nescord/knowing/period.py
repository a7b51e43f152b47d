"""A stretch of time as people name it: today, week, 2026-11, 2026-11-01..2026-11-07."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from nescord.errors import QueryError
from nescord.query import moment_after, parse_query
from nescord.times import utc_text

_DAYS = {"week": 7, "month": 30, "year": 365}
_PERIODS = "today, yesterday, week, month, year, 2026, 2026-11, 2026-11-24 or 2026-11-01..2026-11-07"


@dataclass(frozen=True, slots=True)
class Period:
    """From `begin` on and before `end`, as UTC text; `name` is what it was asked as."""

    name: str
    begin: str
    end: str


def parse_period(text: str, timezone: tzinfo) -> Period:
    """The period; `week`, `month` and `year` are the last 7, 30 and 365 days up to now, today included.

    Raises:
        QueryError: it is none, or ends before it begins.
    """
    name = text.strip().lower()
    if name in _DAYS:
        now = datetime.now(timezone)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        # What is written while we look belongs to it.
        return Period(name, utc_text(midnight - timedelta(days=_DAYS[name] - 1)), utc_text(now + timedelta(days=1)))
    first, is_range, last = name.partition("..")
    try:
        begin = parse_query("", timezone, after=first).filters.after
        end = moment_after(last if is_range else first, "period", timezone)
    except (QueryError, ValueError):
        raise QueryError(f"{text} is no period: write {_PERIODS}") from None
    if not begin or end <= begin:
        raise QueryError(f"{text} is no period: it ends before it begins")
    return Period(name, begin, end)
