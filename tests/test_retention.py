"""Retention: every snapshot is kept or dropped as the rules say, however the clock behaved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.backup.retention import NIGHTLY, Candidate, Decision, Policy, plan
from nescord.errors import UsageError

TOKYO = ZoneInfo("Asia/Tokyo")
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (TOKYO, BERLIN, ZoneInfo("UTC"), ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Kiritimati"))
NIGHT = timedelta(days=1)


def snapshot(
    seq: int, created_at: datetime, *, good: bool | None = True, drilled: bool = False, trigger: str = "nightly"
) -> Candidate:
    return Candidate(f"{seq:06d}", seq, created_at, good, drilled, False, trigger)


def nightly(count: int, last: datetime, *, first_seq: int = 1) -> list[Candidate]:
    """One good snapshot a night, oldest first."""
    return [snapshot(first_seq + n, last - (count - 1 - n) * NIGHT) for n in range(count)]


def kept(decisions: list[Decision]) -> list[int]:
    """The numbers of the ones that stay, newest first."""
    return [int(decision.id) for decision in decisions if decision.keep]


def reasons(decisions: list[Decision], seq: int) -> tuple[str, ...]:
    return next(decision.reasons for decision in decisions if int(decision.id) == seq)


# --- the model: each rule as its definition, one snapshot at a time ----------------------------------------------


def should_stay(one: Candidate, all_of_them: list[Candidate], policy: Policy, zone: ZoneInfo, now: datetime) -> bool:
    good = [other for other in all_of_them if other.is_good]
    newer_good = [other for other in good if other.seq > one.seq]
    if one.is_good is None or one.is_pinned:
        return True
    if one.trigger == "pre-restore" and (now - at_the_earliest(one, all_of_them, now)).total_seconds() < 7 * 86400:
        return True
    if not one.is_good:
        return not newer_good
    if not newer_good or (one.is_drilled and not any(other.is_drilled for other in newer_good)):
        return True
    if len(newer_good) < policy.keep_last:
        return True
    newest = max(good, key=lambda other: other.seq)
    before_the_newest = min(at_the_earliest(newest, all_of_them, now), now) - at_the_earliest(one, all_of_them, now)
    if policy.within_days and before_the_newest.total_seconds() < policy.within_days * 86400:
        return True
    for count, period in ((policy.daily, day), (policy.weekly, week), (policy.monthly, month), (policy.yearly, year)):
        of_newer = {period(local_day(other, zone)) for other in newer_good}
        if period(local_day(one, zone)) not in of_newer and len(of_newer) < count:
            return True
    return False


def at_the_earliest(one: Candidate, all_of_them: list[Candidate], now: datetime) -> datetime:
    if one.created_at > now:
        return one.created_at.astimezone(UTC)
    moments = [other.created_at.astimezone(UTC) for other in all_of_them if other.seq <= one.seq]
    return max(moment for moment in moments if moment <= now)


def local_day(one: Candidate, zone: ZoneInfo) -> date:
    offset = one.created_at.astimezone(zone).utcoffset()
    assert offset is not None
    return (one.created_at.astimezone(UTC).replace(tzinfo=None) + offset).date()


def day(when: date) -> object:
    return when


def week(when: date) -> object:
    """Its Monday."""
    return when - timedelta(days=when.weekday())


def month(when: date) -> object:
    return when.year, when.month


def year(when: date) -> object:
    return when.year


MOMENTS = st.one_of(
    # Near each other, on and around midnights, month ends, year ends and the changes of summer time …
    st.builds(
        lambda base, hours, zone: (base + timedelta(hours=hours)).astimezone(zone),
        st.sampled_from(
            [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
        ),
        st.integers(-80, 80),
        st.sampled_from(ZONES),
    ),
    # … and over years.
    st.builds(lambda days: datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(days=days), st.integers(0, 900)),
)
COUNTS = st.sampled_from([0, 0, 0, 1, 2, 3, 7])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    rules = {name: draw(COUNTS) for name in ("keep_last", "daily", "weekly", "monthly", "yearly")}
    within = draw(st.sampled_from([0, 0, 0.5, 1, 2, 30]))
    return Policy(within_days=within, **(rules if any(rules.values()) or within else {"keep_last": 1}))


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    moments = draw(st.lists(MOMENTS, max_size=14))
    if draw(st.booleans()):
        moments.sort()
    seqs = draw(st.lists(st.integers(1, 60), min_size=len(moments), max_size=len(moments), unique=True))
    candidates = [
        Candidate(
            f"{seq:06d}",
            seq,
            moment,
            is_good=draw(st.sampled_from([True, True, True, False, None])),
            is_drilled=draw(st.booleans()),
            is_pinned=draw(st.integers(0, 9)) == 0,
            trigger=draw(st.sampled_from(["nightly", "manual", "pre-restore"])),
        )
        for seq, moment in zip(sorted(seqs), moments, strict=True)
    ]
    return draw(st.permutations(candidates))


@given(histories(), policies(), st.sampled_from(ZONES), MOMENTS)
def test_the_plan_is_what_the_rules_say_of_each_snapshot(
    history: list[Candidate], policy: Policy, zone: ZoneInfo, now: datetime
) -> None:
    decisions = plan(history, policy, zone, now)
    newest_first = sorted(history, key=lambda one: one.seq, reverse=True)
    assert [decision.id for decision in decisions] == [one.id for one in newest_first]
    assert all(decision.reasons for decision in decisions)
    for one, decision in zip(newest_first, decisions, strict=True):
        assert decision.keep == should_stay(one, history, policy, zone, now), (one, decision)


@given(histories(), policies(), st.sampled_from(ZONES), MOMENTS)
def test_while_the_clock_only_goes_forward_what_is_kept_is_kept_again(
    history: list[Candidate], policy: Policy, zone: ZoneInfo, now: datetime
) -> None:
    """Pruning twice in a row drops nothing more."""
    by_seq, moments = sorted(history, key=lambda one: one.seq), sorted(one.created_at for one in history)
    steady = [replace(one, created_at=moment) for one, moment in zip(by_seq, moments, strict=True)]
    first = {decision.id for decision in plan(steady, policy, zone, now) if decision.keep}
    again = plan([one for one in steady if one.id in first], policy, zone, now)
    assert {decision.id for decision in again if decision.keep} == first


# --- examples ----------------------------------------------------------------------------------------------------


def test_the_nightly_policy_over_two_years_keeps_21() -> None:
    last = datetime(2026, 11, 27, 3, 30, tzinfo=TOKYO)
    decisions = plan(nightly(730, last), NIGHTLY, TOKYO, last)
    assert kept(decisions)[:7] == [730, 729, 728, 727, 726, 725, 724]
    assert len(kept(decisions)) == 7 + 3 + 11  # the newest two weeks and the newest month are among the days
    assert reasons(decisions, 730) == (
        *("newest good", "within 2 days", "daily 2026-11-27", "weekly 2026-W48", "monthly 2026-11"),
    )
    assert reasons(decisions, 600) == ("no rule keeps it",)


def test_days_without_a_snapshot_do_not_count() -> None:
    sundays = [snapshot(n, datetime(2026, 9, 6, 11, tzinfo=UTC) + n * timedelta(days=7)) for n in range(1, 13)]
    assert kept(plan(sundays, Policy(daily=4), TOKYO, sundays[-1].created_at)) == [12, 11, 10, 9]


def test_nothing_goes_by_within_while_no_new_snapshots_come() -> None:
    history = nightly(5, datetime(2026, 1, 5, tzinfo=UTC))
    assert kept(plan(history, Policy(within_days=3.5), TOKYO, datetime(2026, 12, 1, tzinfo=UTC))) == [5, 4, 3, 2]


def test_a_day_is_a_day_of_the_time_zone() -> None:
    late, early = datetime(2026, 6, 1, 14, 30, tzinfo=UTC), datetime(2026, 6, 1, 15, 30, tzinfo=UTC)
    history = [snapshot(1, late), snapshot(2, early)]  # 23:30 and 00:30 in Tokyo
    assert kept(plan(history, Policy(daily=2), TOKYO, early)) == [2, 1]
    assert kept(plan(history, Policy(daily=2), ZoneInfo("UTC"), early)) == [2]


def test_within_counts_hours_and_not_the_wall_clock_when_summer_time_begins() -> None:
    before, after = datetime(2026, 3, 28, 12, tzinfo=BERLIN), datetime(2026, 3, 29, 12, tzinfo=BERLIN)  # 23 hours
    history = [snapshot(1, before), snapshot(2, after)]
    assert kept(plan(history, Policy(within_days=23.5 / 24), BERLIN, after)) == [2, 1]
    assert kept(plan(history, Policy(within_days=22.5 / 24), BERLIN, after)) == [2]


def test_a_day_of_25_hours_is_one_day() -> None:
    history = [
        snapshot(1, datetime(2026, 10, 24, 22, 30, tzinfo=UTC)),  # 00:30 of the 25th in Berlin
        snapshot(2, datetime(2026, 10, 25, 22, 30, tzinfo=UTC)),  # 23:30 of the same day
        snapshot(3, datetime(2026, 10, 25, 23, 30, tzinfo=UTC)),
    ]
    assert kept(plan(history, Policy(daily=7), BERLIN, history[-1].created_at)) == [3, 2]


def test_the_week_of_new_year_is_one_week() -> None:
    history = nightly(4, datetime(2027, 1, 2, 12, tzinfo=UTC))  # Wednesday to Saturday, all in 2026-W53
    decisions = plan(history, Policy(weekly=5), ZoneInfo("UTC"), history[-1].created_at)
    assert kept(decisions) == [4]
    assert "weekly 2026-W53" in reasons(decisions, 4)
    assert kept(plan(history, Policy(yearly=5), ZoneInfo("UTC"), history[-1].created_at)) == [4, 2]


def test_a_clock_that_went_back_a_year_makes_no_backup_old() -> None:
    before = nightly(30, datetime(2026, 11, 27, 3, 30, tzinfo=UTC))
    after = nightly(2, datetime(2025, 11, 29, 3, 30, tzinfo=UTC), first_seq=31)
    # While the clock is wrong …
    decisions = plan([*before, *after], Policy(within_days=2, daily=3), TOKYO, after[-1].created_at)
    assert kept(decisions)[:3] == [32, 31, 30]
    assert reasons(decisions, 32)[:2] == ("newest good", "within 2 days")
    # … and when it is right again: the two were taken after the 30th, so they are as young as that.
    right = snapshot(33, datetime(2026, 11, 28, 3, 30, tzinfo=UTC))
    assert kept(plan([*before, *after, right], Policy(within_days=2), TOKYO, right.created_at)) == [33, 32, 31, 30]


def test_a_snapshot_before_a_restore_is_not_a_year_old_because_the_clock_was_wrong() -> None:
    night = datetime(2026, 11, 27, 3, 30, tzinfo=UTC)
    history = [
        snapshot(1, night),
        snapshot(2, night - timedelta(days=365), trigger="pre-restore"),
        snapshot(3, night + NIGHT),
    ]
    assert kept(plan(history, Policy(keep_last=1), TOKYO, night + NIGHT)) == [3, 2]
    assert kept(plan(history, Policy(keep_last=1), TOKYO, night + 8 * NIGHT)) == [3]


def test_one_date_far_ahead_neither_keeps_everything_nor_drops_what_is_young() -> None:
    nights = nightly(20, datetime(2026, 11, 27, 3, 30, tzinfo=UTC))
    now = nights[-1].created_at
    ahead = replace(nights[9], created_at=datetime(2099, 1, 1, tzinfo=UTC))
    assert kept(plan([*nights[:9], ahead, *nights[10:]], Policy(within_days=3), TOKYO, now)) == [20, 19, 18, 10]
    newest = snapshot(21, datetime(2099, 1, 1, tzinfo=UTC))
    assert kept(plan([*nights, newest], Policy(within_days=3), TOKYO, now)) == [21, 20, 19, 18]


def test_of_snapshots_of_one_moment_the_higher_number_is_the_newer() -> None:
    moment = datetime(2026, 11, 27, 3, 30, tzinfo=UTC)
    history = [snapshot(n, moment) for n in (2, 3, 1)]
    assert kept(plan(history, Policy(keep_last=1, daily=5), TOKYO, moment)) == [3]


def test_a_damaged_snapshot_takes_no_place_and_goes_once_a_newer_one_is_good() -> None:
    history = nightly(5, datetime(2026, 11, 27, 3, 30, tzinfo=UTC))
    for seq in (2, 5):
        history[seq - 1] = replace(history[seq - 1], is_good=False)
    decisions = plan(history, Policy(keep_last=2), TOKYO, history[-1].created_at)
    assert kept(decisions) == [5, 4, 3]
    assert reasons(decisions, 5) == ("damaged, but no newer one is good",)
    assert reasons(decisions, 2) == ("damaged, a newer one is good",)


def test_when_none_is_good_none_goes() -> None:
    history = [replace(one, is_good=False) for one in nightly(5, datetime(2026, 11, 27, tzinfo=UTC))]
    assert kept(plan(history, Policy(keep_last=1), TOKYO, history[-1].created_at)) == [5, 4, 3, 2, 1]


def test_a_snapshot_that_is_not_checked_yet_stays_and_takes_no_place() -> None:
    history = nightly(4, datetime(2026, 11, 27, tzinfo=UTC))
    history[0], history[3] = replace(history[0], is_good=None), replace(history[3], is_good=None)
    decisions = plan(history, Policy(keep_last=1), TOKYO, history[-1].created_at)
    assert kept(decisions) == [4, 3, 1]
    assert reasons(decisions, 1) == ("not checked yet",)


def test_the_newest_drilled_stays_though_it_is_old_but_not_once_it_is_damaged() -> None:
    history = nightly(9, datetime(2026, 11, 27, tzinfo=UTC))
    history[1], history[4] = replace(history[1], is_drilled=True), replace(history[4], is_drilled=True)
    decisions = plan(history, Policy(keep_last=1), TOKYO, history[-1].created_at)
    assert kept(decisions) == [9, 5]
    assert reasons(decisions, 5) == ("newest drilled",)
    history[4] = replace(history[4], is_good=False)
    assert kept(plan(history, Policy(keep_last=1), TOKYO, history[-1].created_at)) == [9, 2]


def test_no_snapshots_no_decisions() -> None:
    assert plan([], NIGHTLY, TOKYO, datetime(2026, 11, 27, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "no rule"),
        ({"daily": -1, "weekly": 3}, "daily is -1"),
        ({"within_days": float("nan")}, "within_days is nan"),
        ({"within_days": -2.0}, "within_days is -2"),
        ({"within_days": 1e12}, "within_days is 1e"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(rules: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Policy(**rules)


@pytest.mark.parametrize("count", [0, -1])
def test_to_keep_fewer_than_one_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"keep_count is {count}"):
        Policy.last(count)
    assert Policy.last(1) == Policy(keep_last=1)
