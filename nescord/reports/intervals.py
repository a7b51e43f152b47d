"""How sure a figure is: 95 % intervals, so that a notebook does not make much of what may be chance.

Means, quantiles and differences have the percentile bootstrap over what they are of (Efron 1979), 2,000 resamples;
shares have Wilson's interval (1927), for a share of none or of all has a bootstrap interval of no width. Seeded: the
same values give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
LOW, HIGH = 2.5, 97.5
_MOST_DRAWN = 20_000_000  # numbers at a time, 160 MB
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over `count` values, and where it lies with 95 % confidence. NaN where there is no value."""

    value: float
    low: float
    high: float
    count: int

    @property
    def below(self) -> float:
        """How far the interval reaches below the figure: what error bars are drawn from."""
        return max(0.0, self.value - self.low)

    @property
    def above(self) -> float:
        """How far it reaches above."""
        return max(0.0, self.high - self.value)


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def mean(values: ArrayLike) -> Interval:
    """The mean of numbers."""
    import numpy as np

    known = np.asarray(values, float)
    if not known.size:
        return NOTHING
    draws = _resampled(known.size)
    means = np.concatenate([known[draw].mean(axis=1) for draw in draws])
    low, high = np.percentile(means, (LOW, HIGH))
    return Interval(float(known.mean()), float(low), float(high), known.size)


def difference(first: ArrayLike, second: ArrayLike) -> Interval:
    """How much higher the mean of `first` is than that of `second`, where both are of the same things in turn."""
    import numpy as np

    return mean(np.asarray(first, float) - np.asarray(second, float))


def quantile(values: ArrayLike, q: float) -> Interval:
    """The quantile `q` (0..1) of numbers."""
    import numpy as np

    known = np.sort(np.asarray(values, float))
    if not known.size:
        return NOTHING
    # Of a resample, the quantile lies where a binomial number of values is below it: no need to draw them all.
    below = np.random.default_rng(0).binomial(known.size, q, RESAMPLES)
    drawn = known[np.clip(below, 0, known.size - 1)]
    low, high = np.percentile(drawn, (LOW, HIGH))
    value = float(np.quantile(known, q))
    return Interval(value, min(value, float(low)), max(value, float(high)), known.size)


def share(hits: int, of: int) -> Interval:
    """The share of `hits` among `of`, 0..1."""
    if not of:
        return NOTHING
    found = hits / of
    middle = (found + _Z**2 / (2 * of)) / (1 + _Z**2 / of)
    reach = _Z / (1 + _Z**2 / of) * math.sqrt(found * (1 - found) / of + _Z**2 / (4 * of**2))
    # At the ends the bounds are the share itself, up to the last bit of a float.
    return Interval(found, min(found, max(0.0, middle - reach)), max(found, min(1.0, middle + reach)), of)


def recall(ranks: Sequence[int], expected: int, k: int) -> float:
    """Share of the expected notes among the first `k` found; `ranks` are those of what was found, from 1."""
    return sum(rank <= k for rank in ranks) / expected


def reciprocal_rank(ranks: Sequence[int]) -> float:
    """1 / rank of the first expected note, 0 where none was found: their mean is the MRR."""
    return 1 / min(ranks) if ranks else 0.0


def _resampled(count: int) -> list[NDArray[np.int64]]:
    """Places of RESAMPLES resamples, in parts that fit into memory."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows = max(1, min(RESAMPLES, _MOST_DRAWN // count))
    left, parts = RESAMPLES, []
    while left > 0:
        parts.append(rng.integers(0, count, (min(rows, left), count)))
        left -= rows
    return parts
