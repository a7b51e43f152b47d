"""Triggers that come at once: one run does it for all, no wish is lost, nobody waits, whoever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from survival import DATABASE, SOAK, new_rng, stored

from nescord import KnowledgeManager
from nescord.again import MOST_TURNS, turns
from tests.vaults import open_base, write_notes

ROOT = Path(__file__).parent.parent
WORKER = Path(__file__).with_name("again_worker.py")


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    write_notes(tmp_path / "vault", {f"note {number}.md": f"# Note {number}\n\nas ever\n" for number in range(20)})
    return tmp_path / "vault"


@pytest.fixture
def data(tmp_path: Path, vault: Path) -> Path:
    with open_base(tmp_path / "data") as km:
        km.ingest(vault)
    return tmp_path / "data"


@contextmanager
def triggered(data: Path, vault: Path, name: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(WORKER), str(data), str(vault), name, *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> tuple[int, float]:
    """How many turns a process had, and how long it took."""
    out, _ = process.communicate(timeout=60)
    *ran, last = out.splitlines()
    assert process.returncode == 0
    assert last.startswith("done ")
    return len(ran), float(last.removeprefix("done "))


def marks(data: Path) -> list[str]:
    return [path.name for path in (data / "run").glob("turn-*.again")]


@pytest.mark.parametrize("others", [1, 4])
def test_a_run_under_way_does_it_for_all_who_come_meanwhile(data: Path, vault: Path, others: int) -> None:
    with triggered(data, vault, "first", "--hold") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "turn\n"  # it has planned: what comes now it does not see
        with ExitStack() as stack:
            more = [stack.enter_context(triggered(data, vault, f"later {number}")) for number in range(others)]
            for process in more:
                ran, seconds = answer(process)
                assert ran == 0
                assert seconds < 5  # the first one holds until all of them have gone
        assert not any(path.startswith("later") for path in stored(data / DATABASE).notes)
        assert len(marks(data)) == 1
        ran, _ = answer(first)
    assert ran == 1  # besides the one that was read above
    found = stored(data / DATABASE).notes
    assert {"first.md", *(f"later {number}.md" for number in range(others))} <= found.keys()
    assert len(found) == 21 + others
    assert not marks(data)


@pytest.mark.parametrize("count", [2, 5])
def test_all_changes_are_in_when_the_last_of_those_who_came_at_once_has_ended(
    data: Path, vault: Path, count: int
) -> None:
    rng = new_rng(f"{count} triggers")
    for round_ in range(20 if SOAK else 2):
        with ExitStack() as stack:
            processes = []
            for number in range(count):
                processes.append(stack.enter_context(triggered(data, vault, f"{round_} {number}")))
                time.sleep(rng.uniform(0, 0.05))
            ran = [answer(process)[0] for process in processes]
        assert 1 <= sum(ran) <= count
        print(f"turns: {ran}")
        assert {f"{round_} {number}.md" for number in range(count)} <= stored(data / DATABASE).notes.keys()
        assert not marks(data)


def test_after_a_kill_the_next_run_does_what_was_handed_over(data: Path, vault: Path) -> None:
    with triggered(data, vault, "first", "--hold") as first:
        assert first.stdout is not None
        first.stdout.readline()
        with triggered(data, vault, "second") as second:
            assert answer(second)[0] == 0
        first.kill()
        first.wait()
    assert len(marks(data)) == 1
    with triggered(data, vault, "third") as third:
        assert answer(third)[0] == 1
    assert {"first.md", "second.md", "third.md"} <= stored(data / DATABASE).notes.keys()
    assert not marks(data)


def test_another_vault_and_another_wish_have_turns_of_their_own(data: Path, vault: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with open_base(data) as km, km.ingest_turns(vault) as mine:
        next(mine)
        for path, allowed, expected in ((vault, False, []), (other, False, [0]), (vault, True, [0])):
            with km.ingest_turns(path, allow_mass_delete=allowed) as theirs:
                assert list(theirs) == expected, (path, allowed)
        with km.ingest_turns(vault / ".." / "vault") as theirs:  # the same by another name
            assert not list(theirs)


def test_a_run_that_fails_gives_its_turn_back(data: Path, vault: Path) -> None:
    def fail(km: KnowledgeManager) -> None:
        with km.ingest_turns(vault) as mine:
            for _ in mine:
                raise ValueError("a bug")

    with open_base(data) as km:
        with pytest.raises(ValueError, match="a bug"):
            fail(km)
        with km.ingest_turns(vault) as mine:
            assert list(mine) == [0]


def test_a_run_that_is_asked_again_and_again_comes_to_an_end(tmp_path: Path) -> None:
    ran = 0
    with closing(turns(tmp_path, "what")) as mine:
        for _ in mine:
            ran += 1
            with closing(turns(tmp_path, "what")) as theirs:
                assert not list(theirs)
    assert ran == MOST_TURNS
    assert list(turns(tmp_path, "what")) == [0]  # the last wish is the next run's


def test_no_wish_is_lost_whoever_comes_at_which_instant(tmp_path: Path) -> None:
    """Round after round threads wish and ask at once; when all have left, somebody has looked after the last wish."""
    rounds, count = 20_000 if SOAK else 1_500, 3
    wishes, seen, lost, lock = [0], [0], [0], threading.Lock()

    def look() -> None:
        lost[0] += seen != wishes
        seen[0] = wishes[0]

    meet = threading.Barrier(count, action=look)

    def come() -> None:
        for _ in range(rounds):
            meet.wait()
            with lock:
                wishes[0] += 1
            with closing(turns(tmp_path, "what", most=10**9)) as mine:
                for _ in mine:
                    seen[0] = wishes[0]
        meet.wait()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=come) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert lost == [0]
    assert wishes == [rounds * count]
