"""The owner's rule at its borders, months in a zone, overrides, and what a call costs whose end nobody knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import apsw
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.budget import ESSENTIAL, OPTIONAL, Budget, BudgetState, Level, Purpose
from nescord.errors import BudgetError, CatalogError, LockTimeoutError, UsageError, is_transient
from nescord.locks import LockName, Locks
from tests.budget_world import LIMIT, MODEL, Clock, allowed, budget_at, budget_of, ledger, spend
from tests.survival import DATABASE, SOAK
from tests.vaults import open_base

ALL = set(Purpose)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def budget(data: Path, clock: Clock) -> Iterator[Budget]:
    with budget_at(data, clock) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Budget, Clock]]:
    clock = Clock()
    with budget_at(tmp_path_factory.mktemp("shared") / "data", clock, limit=1000) as made:
        yield made, clock


@pytest.mark.parametrize(
    ("spent", "level", "left"),
    [
        (0, Level.FREE, ALL),
        (899_900, Level.FREE, ALL),  # 89.99 %
        (899_999, Level.FREE, ALL),
        (900_000, Level.WARN, ALL - OPTIONAL),  # 90 %
        (949_999, Level.WARN, ALL - OPTIONAL),
        (950_000, Level.ESSENTIAL, ESSENTIAL),  # 95 %
        (999_999, Level.ESSENTIAL, ESSENTIAL),
        (1_000_000, Level.OFF, set()),  # 100 %
        (1_000_001, Level.OFF, set()),
    ],
)
def test_the_rule_is_exact_at_its_borders(spent: int, level: Level, left: set[Purpose], budget: Budget) -> None:
    budget.reserve(Purpose.EMBED_NEW, MODEL, min(spent, LIMIT)).settle(spent)
    state = budget.state()
    assert (state.level, state.total, state.off) == (level, spent, ALL - left)
    assert allowed(budget) == left


@pytest.mark.parametrize("spent", [900_000, 950_000, 999_999])
def test_what_is_reserved_counts_as_what_is_settled(spent: int, budget: Budget) -> None:
    reserved = budget.reserve(Purpose.EMBED_NEW, MODEL, spent)
    before = allowed(budget)
    reserved.settle(spent)
    assert allowed(budget) == before
    assert before != ALL


@pytest.mark.parametrize("limit", [1, 7, 999, 1_000_003])
def test_the_borders_are_those_of_whole_numbers(limit: int) -> None:
    for used in range(limit - limit // 8 - 2, limit + 2) if limit < 1000 else (900_002, 900_003, 950_002, 950_003):
        level = BudgetState("2026-11", limit, 0, max(0, used), 0, datetime.now(UTC)).level
        exact = Fraction(max(0, used), limit)
        reached = [each for each, border in ((Level.WARN, 90), (Level.ESSENTIAL, 95), (Level.OFF, 100)) if
                   exact >= Fraction(border, 100)]  # fmt: skip
        assert level == (reached[-1] if reached else Level.FREE)


def test_a_reservation_that_does_not_fit_is_refused_and_a_smaller_one_is_not(budget: Budget) -> None:
    spend(budget, 800_000)
    with pytest.raises(BudgetError, match=r"embed_new would need 200,001 tokens, and 800,000 of 1,000,000"):
        budget.reserve(Purpose.EMBED_NEW, MODEL, 200_001)
    assert budget.state().total == 800_000
    budget.reserve(Purpose.EMBED_NEW, MODEL, 200_000)
    assert budget.state().total == LIMIT


def test_who_is_refused_is_told_what_is_off_why_and_until_when(budget: Budget) -> None:
    spend(budget, 950_000)
    with pytest.raises(BudgetError) as refused:
        budget.reserve(Purpose.ANSWER, MODEL, 1)
    assert str(refused.value) == (
        "answer is switched off until 2026-12-01 00:00 (Asia/Tokyo): 950,000 of 1,000,000 tokens of 2026-11 are spent "
        "(95.0%); search by words goes on, and nescord budget allow allows more"
    )
    assert refused.value.exit_code == 69
    assert not is_transient(refused.value)


def test_without_a_limit_nothing_is_ever_called(data: Path, clock: Clock) -> None:
    with budget_at(data, clock, limit=0) as budget:
        assert (budget.state().share, budget.state().level) == (1, Level.OFF)
        with pytest.raises(BudgetError, match="GEMINI_MONTHLY_LIMIT is 0"):
            budget.reserve(Purpose.EMBED_QUERY, MODEL, 0)
        budget.allow(10, clock.now + timedelta(days=1), "owner")
        budget.reserve(Purpose.EMBED_QUERY, MODEL, 5)


def test_a_call_is_in_the_ledger_before_it_is_made_and_its_cost_after(budget: Budget, data: Path) -> None:
    columns = "at, day, model, purpose, who, estimate, tokens, settled_at"
    reservation = budget.reserve(Purpose.ANSWER, "gemini-x", 100, who="guild:7")
    row = ("2026-11-15T03:00:00Z", "2026-11-15", "gemini-x", "answer", "guild:7", 100)
    assert ledger(data, columns) == [(*row, 100, None)]
    reservation.settle(60)
    assert ledger(data, columns) == [(*row, 60, "2026-11-15T03:00:00Z")]
    reservation.settle(999)  # of two ends the first is it
    assert ledger(data, columns) == [(*row, 60, "2026-11-15T03:00:00Z")]


def test_an_estimate_that_was_too_low_is_the_only_way_beyond_the_limit(budget: Budget) -> None:
    first, second = (budget.reserve(Purpose.EMBED_NEW, MODEL, 500_000) for _ in range(2))
    first.settle(510_000)
    second.settle(520_000)
    assert budget.state().total == 1_030_000
    assert allowed(budget) == set()


@given(
    calls=st.lists(
        st.tuples(st.sampled_from(list(Purpose)), st.integers(0, 400), st.floats(0, 1), st.booleans()), max_size=12
    )
)
@hypothesis.settings(max_examples=500 if SOAK else 12)
def test_whatever_is_asked_for_the_sum_stays_within_the_limit(
    calls: list[tuple[Purpose, int, float, bool]], shared: tuple[Budget, Clock]
) -> None:
    budget, clock = shared
    clock.now = budget.state().returns_at.astimezone(UTC)  # a new month
    total = 0
    for purpose, tokens, share, is_settled in calls:
        is_off = total >= 1000 or (purpose in OPTIONAL and total >= 900) or (purpose not in ESSENTIAL and total >= 950)
        try:
            reservation = budget.reserve(purpose, MODEL, tokens)
        except BudgetError:
            assert is_off or total + tokens > 1000
            continue
        assert not is_off
        actual = int(tokens * share) if is_settled else tokens
        if is_settled:
            reservation.settle(actual)
        total += actual
        assert total <= 1000
    assert budget.state().total == total


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("Asia/Tokyo", "2026-10-31T23:59:59+09:00", "2026-11-01T00:00:00+09:00"),
        ("America/New_York", "2026-10-31T23:59:59-04:00", "2026-11-01T00:00:00-04:00"),
        ("UTC", "2026-12-31T23:59:59+00:00", "2027-01-01T00:00:00+00:00"),
    ],
)
def test_the_month_begins_at_midnight_in_the_zone(zone: str, last: str, first: str, data: Path, clock: Clock) -> None:
    with budget_at(data, clock, timezone=zone) as budget:
        clock.set(last)
        assert budget.state().returns_at == datetime.fromisoformat(first)
        late = budget.reserve(Purpose.EMBED_NEW, MODEL, LIMIT)
        assert allowed(budget) == set()
        clock.set(first)
        assert (budget.state().total, allowed(budget)) == (0, ALL)
        spend(budget, 1)
        late.settle(10)  # the month in which it was made pays
        assert budget.state().total == 1
        clock.set(last)
        assert budget.state().total == 10


def test_more_can_be_allowed_for_a_while_and_it_is_recorded_who_did(budget: Budget, clock: Clock, data: Path) -> None:
    spend(budget, LIMIT)
    assert allowed(budget) == set()
    budget.allow(500_000, datetime.fromisoformat("2026-11-20T00:00:00+09:00"), "花子")
    state = budget.state()
    assert (state.limit, state.extra, state.level) == (1_500_000, 500_000, Level.FREE)
    assert allowed(budget) == ALL
    (override,) = budget.use().overrides
    assert (override.who, override.at, override.until) == ("花子", "2026-11-15T03:00:00Z", "2026-11-19T15:00:00Z")
    clock.set("2026-11-19T23:59:59+09:00")
    assert budget.state().limit == 1_500_000
    clock.set("2026-11-20T00:00:00+09:00")
    assert (budget.state().limit, allowed(budget)) == (LIMIT, set())


def test_what_was_allowed_can_be_taken_back(budget: Budget, clock: Clock) -> None:
    later = clock.now + timedelta(days=3)
    for tokens in (10, 20):
        budget.allow(tokens, later, "owner")
    assert budget.state().extra == 30
    budget.allow(0, later, "owner")
    assert (budget.state().extra, budget.use().overrides) == (0, [])
    budget.allow(5, later, "owner")
    assert budget.state().extra == 5


def test_what_is_allowed_last_counts_last_whatever_the_clock_said_before(
    budget: Budget, clock: Clock, data: Path
) -> None:
    later = clock.now + timedelta(days=3)
    ahead = apsw.Connection(str(data / DATABASE))
    until = "2026-12-01T00:00:00Z"
    for number, tokens in enumerate((10, 0, 20)):  # as a clock of the year 2112 would have made them
        key = f"0415a8c0-000{number}-7000-8000-000000000000"
        ahead.execute("INSERT INTO budget_override VALUES (?, '2112-01-01T00:00:00Z', '', ?, ?)", (key, tokens, until))
    ahead.close()
    assert budget.state().extra == 20
    budget.allow(0, later, "owner")
    assert budget.state().extra == 0
    for tokens in (5, 6):
        budget.allow(tokens, later, "owner")
    assert [each.tokens for each in budget.use().overrides] == [5, 6]


@pytest.mark.parametrize(
    ("tokens", "days", "said"), [(-1, 1, "-1 tokens"), (1, 0, "has passed"), (1, -1, "has passed")]
)
def test_what_cannot_be_allowed_is_refused(tokens: int, days: int, said: str, budget: Budget, clock: Clock) -> None:
    with pytest.raises(UsageError, match=said):
        budget.allow(tokens, clock.now + timedelta(days=days), "owner")
    assert budget.state().extra == 0


def test_use_is_told_by_day_purpose_and_person_with_a_forecast(budget: Budget, clock: Clock) -> None:
    clock.set("2026-11-02T00:30:00+09:00")
    spend(budget, 300, who="user:1")
    clock.set("2026-11-16T00:00:00+09:00")
    spend(budget, 100, Purpose.ANSWER, who="guild:7")
    budget.reserve(Purpose.ANSWER, MODEL, 200, who="user:1")
    use = budget.use()
    assert [(each.name, each.tokens, each.calls) for each in use.days] == [
        ("2026-11-02", 300, 1),
        ("2026-11-16", 300, 2),
    ]
    assert [(each.name, each.tokens) for each in use.purposes] == [("answer", 300), ("embed_new", 300)]
    assert [(each.name, each.tokens) for each in use.people] == [("user:1", 500), ("guild:7", 100)]
    assert [(each.who, each.purpose, each.tokens) for each in use.unsettled] == [("user:1", "answer", 200)]
    assert use.forecast == 1200  # half of the month has gone
    clock.set("2026-11-01T00:30:00+09:00")
    assert use.forecast <= budget.use().forecast <= 30 * 600  # an hour is not extrapolated to a month


@contextmanager
def held_by_another_thread(locks: Locks) -> Iterator[None]:
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.exclusive(LockName.CATALOG):
            is_held.set()
            is_over.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(10)
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_cost_that_cannot_be_recorded_leaves_the_estimate_and_does_not_lose_the_answer(
    data: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with open_base(data, vector="exact", lock_timeout=0) as km:
        budget = budget_of(km, clock)
        reservation = budget.reserve(Purpose.ANSWER, MODEL, 100)
        with held_by_another_thread(km._base.locks):
            reservation.settle(10)
            with pytest.raises(LockTimeoutError):
                budget.reserve(Purpose.ANSWER, MODEL, 1)
        assert budget.state().reserved == 100
        assert "counts with its estimate" in caplog.text


def test_a_call_that_cannot_be_recorded_is_not_made(budget: Budget, data: Path) -> None:
    (data / "backups" / "spent.jsonl").mkdir(parents=True)
    with pytest.raises(CatalogError, match="no model elsewhere is called"):
        budget.reserve(Purpose.EMBED_NEW, MODEL, 10)
    assert ledger(data) == []
