"""What comes if it goes on as it did: when a disk is full, what a month will have cost. With how sure that is.

Both draw what comes from what was, 2,000 times and seeded. A disk that has lost room in every way it could have is full
at a date; one that may as well not be losing any has no date, and the forecast says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nescord.reports.intervals import HIGH, LOW, RESAMPLES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

DAYS_A_MONTH = 30.44
FEWEST_DAYS, FEWEST_LOOKS = 7.0, 4
"""Of less nothing is foretold: the first days bring the vault, which is no growth."""
SPREAD = (5.0, 95.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a number changes a day: on the whole, and between which bounds that may lie (95 %)."""

    a_day: float
    low: float
    high: float

    def months_until(self, left: float) -> tuple[float, float, float]:
        """In how many months `left` is used up at that pace, at the soonest and at the latest; inf: never."""
        months = [left / -pace / DAYS_A_MONTH if pace < 0 else math.inf for pace in (self.a_day, self.low, self.high)]
        return months[0], months[1], months[2]


@dataclass(frozen=True, slots=True)
class MonthEnd:
    """What a month comes to: most likely, and with 5 % and 95 % of what was drawn below it. `over` is the share of what
    was drawn that is beyond the limit."""

    middle: float
    low: float
    high: float
    over: float


def pace(days: ArrayLike, values: ArrayLike) -> Pace | None:
    """How fast `values` change, seen at `days` (numbers, ascending); None where too little was seen.

    The whole change over the whole time, whatever it was made of. Its bounds come from drawing the stretches between
    two looks anew: one large step, a vault that came or a prune that went, makes them wide, as it should.
    """
    import numpy as np

    when, seen = np.asarray(days, float), np.asarray(values, float)
    if len(when) < FEWEST_LOOKS or when[-1] - when[0] < FEWEST_DAYS:
        return None
    lengths, steps = np.diff(when), np.diff(seen)
    drawn = np.random.default_rng(0).integers(0, len(steps), (RESAMPLES, len(steps)))
    gone = lengths[drawn].sum(axis=1)
    paces = steps[drawn].sum(axis=1)[gone > 0] / gone[gone > 0]
    low, high = np.percentile(paces, (LOW, HIGH))
    whole = (seen[-1] - seen[0]) / (when[-1] - when[0])
    return Pace(float(whole), float(min(low, whole)), float(max(high, whole)))


def month_end(spent: float, daily: Sequence[float], days_left: float, limit: float) -> MonthEnd | None:
    """What the month comes to, with `spent` so far and days like `daily` to come; None without any day to go by."""
    import numpy as np

    known = np.asarray(daily, float)
    if not known.size:
        return None
    whole, part = int(days_left), days_left - int(days_left)
    rng = np.random.default_rng(0)
    drawn = known[rng.integers(0, known.size, (RESAMPLES, whole + 1))]
    drawn[:, -1] *= part  # what is left of today
    ends = spent + drawn.sum(axis=1)
    low, high = np.percentile(ends, SPREAD)
    return MonthEnd(float(np.median(ends)), float(low), float(high), float((ends > limit).mean()))


def days_to_come(spent: float, daily: Sequence[float], days: int) -> list[tuple[float, float, float]]:
    """(low, middle, high) of the sum after each of the days to come: the fan of a plot."""
    import numpy as np

    known = np.asarray(daily, float)
    drawn = known[np.random.default_rng(0).integers(0, known.size, (RESAMPLES, days))] if known.size else None
    if drawn is None:
        return []
    sums = spent + drawn.cumsum(axis=1)
    low, middle, high = np.percentile(sums, (SPREAD[0], 50, SPREAD[1]), axis=0)
    return [(float(a), float(b), float(c)) for a, b, c in zip(low, middle, high, strict=True)]
