"""Money that was spent is not forgotten: not by a restore of an older snapshot, not by a beginning anew."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.backup import spent
from nescord.backup.create import create
from nescord.backup.restore import Restored, restore
from nescord.budget import Purpose
from nescord.catalog.migrations import MIGRATIONS
from nescord.errors import BudgetError
from tests.budget_world import MODEL, Clock, budget_at, budget_of, ledger, spend
from tests.survival import DATABASE, settings
from tests.vaults import open_base

MONTH = "2026-11"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def backed_up(data: Path, clock: Clock) -> str:
    """A snapshot in whose life 100 tokens were spent and a call of 40 was under way; since then it is 1,000 in all."""
    with open_base(data, vector="exact") as km:
        budget = budget_of(km, clock)
        km.capture("メモ")
        spend(budget, 100, who="user:1")
        under_way = budget.reserve(Purpose.ANSWER, MODEL, 40)
        snapshot = create(km._base).id
        under_way.settle(25)
        spend(budget, 875, Purpose.EMBED_NEW, "guild:7")
        budget.allow(77, clock.now + timedelta(days=1), "owner")
        assert budget.state().total == 1000
        return snapshot


def put_back(data: Path, snapshot: str) -> Restored:
    return restore(settings(data, embedder="none", vector="exact"), snapshot)


def damage(data: Path) -> None:
    """Nothing can be read of the database any more."""
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (data / name).unlink(missing_ok=True)
    (data / DATABASE).write_bytes(b"garbled" * 5000)


def test_a_restore_of_an_older_snapshot_keeps_what_was_spent_since(data: Path, clock: Clock) -> None:
    put_back(data, backed_up(data, clock))
    with budget_at(data, clock) as budget:
        use = budget.use()
    assert (use.state.used, use.state.reserved, use.state.extra) == (1000, 0, 77)
    assert [(each.name, each.tokens) for each in use.people] == [("guild:7", 875), ("user:1", 100), ("", 25)]
    assert [each.name for each in use.purposes] == ["embed_new", "answer"]


def test_where_the_database_before_cannot_be_read_the_sum_is_known_all_the_same(data: Path, clock: Clock) -> None:
    snapshot = backed_up(data, clock)
    damage(data)
    assert put_back(data, snapshot).remarks
    with budget_at(data, clock) as budget:
        assert budget.state().total == 1000
        assert budget.use().purposes[0].name == "embed_new"
        budget.reserve(Purpose.ANSWER, MODEL, 5)
        use = budget.use()
    assert use.state.total == 1005
    # Of the call that was under way the snapshot knows the estimate alone, 40; it is known that all came to 1,000.
    assert ("forgotten", 860) in [(each.name, each.tokens) for each in use.purposes]


def test_a_call_that_ends_after_the_restore_does_not_make_the_month_cheaper(data: Path, clock: Clock) -> None:
    with open_base(data, vector="exact") as km:
        budget = budget_of(km, clock)
        spend(budget, 100)
        under_way = budget.reserve(Purpose.ANSWER, MODEL, 40)
        snapshot = create(km._base).id
        spend(budget, 875)
    damage(data)
    put_back(data, snapshot)
    with budget_at(data, clock) as budget:
        assert budget.state().total == 1015
        budget.settle(under_way._key, 25)
        assert budget.state().total == spent.remembered(data / "backups", MONTH) == 1000
        budget.settle(under_way._key, 5)
        assert budget.state().total == 1000
    assert ("forgotten", 875, 1) in ledger(data)


def test_nor_where_the_restore_has_dropped_what_was_forgotten_before(data: Path, clock: Clock) -> None:
    with open_base(data, vector="exact") as km:
        old = create(km._base).id
        spend(budget_of(km, clock), 800)
    damage(data)
    put_back(data, old)
    with open_base(data, vector="exact") as km:
        budget = budget_of(km, clock)
        spend(budget, 200)
        assert ("forgotten", 800, 1) in ledger(data)
        newer = create(km._base).id
        under_way = budget.reserve(Purpose.ANSWER, MODEL, 40)
    put_back(data, newer)
    assert ("forgotten", 800, 1) not in ledger(data)
    with budget_at(data, clock) as budget:
        budget.settle(under_way._key, 25)
        assert budget.state().total == spent.remembered(data / "backups", MONTH) == 1025


def test_a_call_of_last_month_that_ends_in_this_one_brings_back_what_was_forgotten_of_last_month(
    data: Path, clock: Clock
) -> None:
    with open_base(data, vector="exact") as km:
        budget = budget_of(km, clock)
        under_way = budget.reserve(Purpose.ANSWER, MODEL, 40)
        snapshot = create(km._base).id
        spend(budget, 500)
    damage(data)
    put_back(data, snapshot)
    clock.set("2026-12-01T00:00:05+09:00")
    with budget_at(data, clock) as budget:
        budget.settle(under_way._key, 25)
        assert budget.state().total == 0
    assert spent.remembered(data / "backups", MONTH) == 525


def test_what_a_database_had_forgotten_is_not_counted_beside_the_calls_it_stands_for(data: Path, clock: Clock) -> None:
    with open_base(data, vector="exact") as km:
        km.capture("メモ")
        old = create(km._base).id
        spend(budget_of(km, clock), 500_000)
        newer = create(km._base).id
    damage(data)
    put_back(data, old)
    with open_base(data, vector="exact") as km:
        budget = budget_of(km, clock)
        spend(budget, 10)
        assert ("forgotten", 500_000, 1) in ledger(data)
        knows_a_sum = create(km._base).id
    for snapshot in (newer, knows_a_sum, newer, old):
        put_back(data, snapshot)
        with budget_at(data, clock) as budget:
            assert budget.state().total == 500_010
    assert ledger(data) == [("embed_new", 500_000, 1), ("embed_new", 10, 1)]


def test_where_the_sums_are_lost_too_nothing_is_counted_twice(data: Path, clock: Clock) -> None:
    with open_base(data, vector="exact") as km:
        old = create(km._base).id
        spend(budget_of(km, clock), 500_000)
        newer = create(km._base).id
    damage(data)
    put_back(data, old)
    with budget_at(data, clock) as budget:
        spend(budget, 10)
    (data / "backups" / "spent.jsonl").unlink()
    put_back(data, newer)
    with budget_at(data, clock) as budget:
        assert budget.state().total == 500_010


def test_a_database_that_was_begun_anew_knows_what_was_spent_this_month(data: Path, clock: Clock) -> None:
    backed_up(data, clock)
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (data / name).unlink(missing_ok=True)
    with KnowledgeManager.begin_anew(settings(data, gemini_monthly_limit=1000, embedder="none")) as km:
        budget = budget_of(km, clock)
        assert budget.state().total == 1000
        with pytest.raises(BudgetError, match="1,000 of 1,000"):
            budget.reserve(Purpose.EMBED_NEW, MODEL, 1)
        assert ledger(data) == []
        clock.set("2026-12-01T00:00:00+09:00")
        budget.reserve(Purpose.EMBED_NEW, MODEL, 1)
    assert ledger(data) == [("embed_new", 1, 0)]


def test_a_snapshot_of_a_schema_without_a_ledger_is_no_way_to_more_tokens(data: Path, clock: Clock) -> None:
    with open_base(data, vector="exact") as km:
        spend(budget_of(km, clock), 500)
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (data / name).unlink(missing_ok=True)
    _make_old(data / DATABASE)
    with budget_at(data, clock) as budget:
        assert budget.state().total == 500


def _make_old(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", 8192)
    connection.pragma("application_id", 0x4E534344)
    for statement in MIGRATIONS[:3]:
        connection.execute(statement)
    connection.pragma("user_version", 3)
    connection.close()


def test_a_line_that_a_power_cut_tore_is_passed_over(tmp_path: Path) -> None:
    for tokens in (10, 30, 20):  # a settled call costs less than its estimate
        spent.remember(tmp_path, MONTH, tokens)
    with (tmp_path / "spent.jsonl").open("ab") as file:
        file.write(b'\n{"month": "2026-11", "tok')
    assert spent.remembered(tmp_path, MONTH) == 20
    spent.remember(tmp_path, MONTH, 50)
    assert (spent.remembered(tmp_path, MONTH), spent.remembered(tmp_path, "2026-10")) == (50, 0)


def test_the_file_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    for month in ("2026-09", "2026-10"):
        spent.remember(tmp_path, month, 7)
    path.write_bytes(path.read_bytes() + json.dumps({"month": MONTH, "tokens": 1}).encode().ljust(70_000) + b"\n")
    spent.remember(tmp_path, MONTH, 2)
    assert path.stat().st_size < 200
    assert [spent.remembered(tmp_path, month) for month in ("2026-10", MONTH)] == [7, 2]
    spent.remember(tmp_path, MONTH, 3)
    assert spent.remembered(tmp_path, MONTH) == 3


def test_months_of_a_clock_that_was_ahead_do_not_push_out_the_one_that_is(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    ahead = [f"2031-{month:02}" for month in range(1, 13)]
    for month in ("2026-10", *ahead, MONTH):
        spent.remember(tmp_path, month, 7)
    path.write_bytes(path.read_bytes() + b" " * 70_000 + b"\n")
    spent.remember(tmp_path, "2026-10", 5)  # a call of last month that has ended
    assert path.stat().st_size < 1000
    assert [spent.remembered(tmp_path, month) for month in ("2026-10", MONTH)] == [5, 7]
