"""How sure a figure is, and what comes: wide where little is known, narrow where much is, and the same every time."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from nescord.reports import forecasts, intervals


def test_a_mean_lies_within_its_interval_and_more_values_make_it_narrower() -> None:
    rng = np.random.default_rng(3)
    few, many = intervals.mean(rng.random(20)), intervals.mean(rng.random(2_000))
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 5
    assert (many.below, many.above) == (many.value - many.low, many.high - many.value)


def test_intervals_hold_what_they_promise_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    samples = rng.exponential(1.0, (300, 40))
    means = [intervals.mean(sample) for sample in samples]
    medians = [intervals.quantile(sample, 0.5) for sample in samples]
    for found, truth in ((means, 1.0), (medians, math.log(2))):
        held = sum(each.low <= truth <= each.high for each in found) / len(found)
        assert 0.88 <= held <= 0.99


def test_a_difference_in_pairs_is_surer_than_two_means_are() -> None:
    rng = np.random.default_rng(1)
    easy = rng.random(100)
    better = np.clip(easy + 0.02, 0, 2)
    gain = intervals.difference(better, easy)
    assert gain.low > 0
    assert gain.value == pytest.approx(0.02)
    assert intervals.mean(better).low < intervals.mean(easy).high  # apart, they say nothing


def test_no_value_no_figure_and_one_value_no_width() -> None:
    assert intervals.mean([]) == intervals.quantile([], 0.5) == intervals.share(0, 0) == intervals.NOTHING
    assert math.isnan(intervals.NOTHING.value)
    one = intervals.mean([3])
    assert (one.value, one.low, one.high) == (3, 3, 3)
    assert intervals.quantile([3], 0.95).value == 3


def test_a_share_of_none_or_all_is_not_sure_for_all_that() -> None:
    none, every = intervals.share(0, 10), intervals.share(10, 10)
    assert none.low == 0
    assert 0.2 < none.high < 0.35
    assert every.high == 1
    assert every.low == pytest.approx(1 - none.high)
    assert intervals.share(0, 1_000).high < 0.01


def test_ranks_become_recall_and_reciprocal_rank() -> None:
    assert intervals.recall((1, 4), 2, 1) == 0.5
    assert intervals.recall((1, 4), 2, 5) == 1
    assert intervals.recall((), 2, 5) == 0
    assert intervals.reciprocal_rank((4, 2)) == 0.5
    assert intervals.reciprocal_rank(()) == 0


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(2).random(50)
    assert intervals.mean(values) == intervals.mean(values.copy())
    assert intervals.quantile(values, 0.9) == intervals.quantile(list(values), 0.9)


def test_a_disk_that_fills_evenly_is_full_at_a_date() -> None:
    days = np.arange(-60.0, 1)
    pace = forecasts.pace(days, 1_000 - 10 * (days + 60))
    assert pace is not None
    assert (pace.a_day, pace.low, pace.high) == pytest.approx((-10, -10, -10))
    assert pace.months_until(400) == pytest.approx([40 / forecasts.DAYS_A_MONTH] * 3)


def test_an_uneven_pace_has_the_truth_within_its_bounds_and_one_large_step_makes_them_wide() -> None:
    rng = random.Random(4)
    steps = [-rng.expovariate(1 / 10) for _ in range(60)]
    days, free = np.arange(-60.0, 1), 5_000 + np.cumsum([0.0, *steps])
    uneven = forecasts.pace(days, free)
    assert uneven is not None
    assert uneven.low < -10 < uneven.high < 0
    soon, middle, late = sorted(uneven.months_until(3_000))
    assert soon < middle < late < math.inf
    stepped = forecasts.pace(days, np.where(days > -20, free - 2_000, free))
    assert stepped is not None
    assert stepped.high - stepped.low > 3 * (uneven.high - uneven.low)


def test_a_disk_that_may_as_well_not_fill_has_no_date() -> None:
    rng = np.random.default_rng(7)
    noisy = forecasts.pace(np.arange(30.0), 1_000 + rng.normal(0, 50, 30))
    assert noisy is not None
    _, soon, late = noisy.months_until(1_000)
    assert late == math.inf
    assert soon < math.inf
    growing = forecasts.pace(np.arange(30.0), np.arange(30.0))
    assert growing is not None
    assert growing.months_until(10) == (math.inf, math.inf, math.inf)


@pytest.mark.parametrize("days", [[], [0.0], [0, 1, 2, 3, 4, 5, 6], [0, 4, 9], [0.0] * 8])
def test_of_too_little_nothing_is_foretold(days: list[float]) -> None:
    assert forecasts.pace(days, np.zeros(len(days))) is None


def test_a_month_comes_to_what_is_spent_and_days_like_those_before() -> None:
    even = forecasts.month_end(1_000, [100.0] * 28, 10.0, 2_500)
    assert even == forecasts.MonthEnd(2_000, 2_000, 2_000, 0.0)
    half = forecasts.month_end(0, [100.0] * 28, 0.5, 10_000)
    assert half is not None
    assert half.middle == 50
    uneven = forecasts.month_end(0, [0.0, 200.0] * 14, 20.0, 2_000)
    assert uneven is not None
    assert uneven.low < 2_000 < uneven.high
    assert 0.3 < uneven.over < 0.7
    assert forecasts.month_end(5, [], 10, 100) is None


def test_the_days_to_come_fan_out_and_end_where_the_month_does() -> None:
    daily = [0.0, 200.0, 100.0, 50.0] * 7
    fan = forecasts.days_to_come(1_000, daily, 10)
    assert len(fan) == 10
    assert all(low <= middle <= high for low, middle, high in fan)
    widths = [high - low for low, _, high in fan]
    assert widths[-1] > 2 * widths[0]
    end = forecasts.month_end(1_000, daily, 10.0, 1e9)
    assert end is not None
    assert fan[-1][1] == pytest.approx(end.middle, rel=0.05)
    assert forecasts.days_to_come(0, [], 3) == []
