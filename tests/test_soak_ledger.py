"""The soak's ledger: what a database and its backups owe after acts, restores, erasures and answers that never came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.soaking import ledger as ledger_module
from benchmarks.soaking.ledger import Act, Ledger

ME = "user:1"
NOTHING = frozenset({None})


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second later than the one before."""
    seconds = count(1)
    monkeypatch.setattr(ledger_module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    yield ledger
    ledger.close()


def kept(ledger: Ledger, marker: str, text: str = "v1", author: str = ME) -> Act:
    act = ledger.ask("keep", marker, text, ME, author)
    ledger.acknowledge(act, "note")
    return act


def edited(ledger: Ledger, marker: str, text: str) -> None:
    ledger.acknowledge(ledger.ask("edit", marker, text, ME, ME))


def deleted(ledger: Ledger, marker: str) -> None:
    ledger.acknowledge(ledger.ask("delete", marker, None, ME, ME))


def now() -> float:
    return ledger_module.time.monotonic()


def test_what_was_acknowledged_last_must_be_there(ledger: Ledger) -> None:
    kept(ledger, "a")
    edited(ledger, "a", "v2")
    kept(ledger, "b")
    deleted(ledger, "b")
    assert ledger.permitted() == {"a": frozenset({"v2"}), "b": NOTHING}
    assert (ledger.must_have("a"), ledger.must_have("b")) == ("v2", None)


def test_without_an_answer_either_may_be_and_a_late_answer_settles_it(ledger: Ledger) -> None:
    kept(ledger, "a")
    act = ledger.ask("edit", "a", "v2", ME, ME)
    assert ledger.must_have("a") is None
    ledger.unknown(act, "no answer")
    assert ledger.permitted()["a"] == {"v1", "v2"}
    ledger.acknowledge(act)
    assert ledger.must_have("a") == "v2"


def test_a_restore_goes_back_to_what_the_backup_owes(ledger: Ledger) -> None:
    kept(ledger, "old")
    kept(ledger, "edited")
    kept(ledger, "back")
    ledger.snapshot("one", now())
    edited(ledger, "edited", "v2")
    deleted(ledger, "back")
    kept(ledger, "new")
    assert ledger.is_gone("back")
    ledger.restoring("one")
    assert not ledger.is_gone("back")  # it may be there again at any moment
    ledger.restored("before")
    assert not ledger.is_gone("back")
    assert ledger.is_gone("new")
    assert ledger.permitted() == {
        "old": frozenset({"v1"}), "edited": frozenset({"v1"}), "back": frozenset({"v1"}), "new": NOTHING,
    }  # fmt: skip
    assert ledger.owed_by("before") == {
        "old": frozenset({"v1"}), "edited": frozenset({"v2"}), "back": NOTHING, "new": frozenset({"v1"}),
    }  # fmt: skip
    kept(ledger, "later")
    assert ledger.must_have("later") == "v1"
    assert "later" not in ledger.owed_by("before")


def test_what_a_backup_met_half_way_may_be_in_it(ledger: Ledger) -> None:
    begun = now()
    kept(ledger, "meanwhile")
    ledger.snapshot("one", begun)
    kept(ledger, "after")
    assert ledger.owed_by("one") == {"meanwhile": frozenset({None, "v1"})}


def test_what_was_kept_while_a_restore_was_under_way_is_somewhere(ledger: Ledger) -> None:
    ledger.snapshot("one", now())
    act = ledger.ask("keep", "a", "v1", ME, ME)
    ledger.restoring("one")
    ledger.acknowledge(act)
    assert ledger.must_have("a") is None
    ledger.restored("before")
    assert ledger.permitted()["a"] == ledger.owed_by("before")["a"] == {None, "v1"}
    assert ledger.somewhere() == [("a", "v1", 1)]


def test_a_restore_that_did_not_happen_changes_nothing(ledger: Ledger) -> None:
    ledger.snapshot("one", now())
    kept(ledger, "a")
    ledger.restoring("one")
    kept(ledger, "b")
    ledger.not_restored()
    assert (ledger.must_have("a"), ledger.must_have("b"), len(ledger.lives)) == ("v1", "v1", 1)


def test_a_restore_of_an_earlier_life_is_followed_back(ledger: Ledger) -> None:
    kept(ledger, "a")
    ledger.snapshot("first", now())
    ledger.restoring("first")
    ledger.restored("before")
    kept(ledger, "b")
    ledger.snapshot("second", now())
    kept(ledger, "c")
    ledger.restoring("second")
    ledger.restored("before again")
    assert ledger.permitted() == {"a": frozenset({"v1"}), "b": frozenset({"v1"}), "c": NOTHING}


def test_who_is_erased_stays_so_after_a_restore_and_may_be_in_backups(ledger: Ledger) -> None:
    kept(ledger, "a", author="user:2")
    ledger.snapshot("one", now())
    ledger.erase_asked("user:2")
    assert ledger.permitted()["a"] == {None, "v1"}
    ledger.erased("user:2")
    assert ledger.permitted()["a"] == NOTHING
    ledger.restoring("one")
    ledger.restored("before")
    assert ledger.permitted()["a"] == NOTHING
    assert ledger.owed_by("one")["a"] == {None, "v1"}


def test_everything_is_on_disk_before_it_counts(ledger: Ledger, tmp_path: Path) -> None:
    kept(ledger, "a")
    ledger.violation("something")
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text("utf-8").splitlines()]
    assert [line["what"] for line in lines] == ["ask", "acknowledged", "violation"]


def test_the_time_to_recover_is_that_of_the_next_act_asked_for_and_acknowledged(ledger: Ledger) -> None:
    waiting = ledger.ask("keep", "a", "v1", ME, ME)
    ledger.fault("kill", "it is gone")
    ledger.acknowledge(waiting)
    kept(ledger, "b")
    at = ledger.faults[0].at
    assert ledger.recoveries() == [ledger.acts[1].ended - at]  # type: ignore[operator]
