"""Whenever a restore is killed or its power is cut, the knowledge base is the old one or the new one, and whole.

The decision is the journal's: before it is on disk everything is as it was, afterwards the next one who comes finishes
the restore, also when that one is killed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nescord.backup.restore import restore
from tests.faults.files import recorded_files
from tests.faults.powercut import Recorder
from tests.restore_world import (
    EARLIER,
    KEPT,
    LATER,
    World,
    base_settings,
    files,
    found,
    old_folders,
    put_back,
)
from tests.survival import DATABASE, SOAK, new_rng

OLD, NEW = "old", "new"
Ask = Callable[[str, Path, int], dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"), notes=3)


@pytest.fixture(scope="module")
def killed() -> Iterator[Ask]:
    """What becomes of a verb (`restore`, `look`) on a data folder that is killed before its k-th call (0: never)."""
    with worker("kills") as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(verb: str, data: Path, last: int) -> dict[str, Any]:
            print(json.dumps([verb, str(data), last]), file=process.stdin, flush=True)
            said: dict[str, Any] = json.loads(process.stdout.readline())
            return said

        yield ask


@contextmanager
def worker(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.restore_worker", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


def state(data: Path, world: World) -> str:
    """Whether it holds what it did before the restore or what was backed up, whole; anything else fails the test."""
    held = found(data)
    assert held in (world.then, world.now), "neither the old state nor the new one"
    return NEW if held == world.then else OLD


def assert_answers(answers: dict[str, list[str]], expected: str, world: World) -> None:
    """Another process's search shows that state and nothing of the other one."""
    earlier, later = ([1, 0], [0, 1])[expected == OLD]
    assert (bool(answers[EARLIER]), bool(answers[LATER])) == (bool(earlier), bool(later))
    assert len(answers[KEPT]) == 2


def is_decided(data: Path) -> bool:
    return (data / ".restore" / "journal.json").exists()


@pytest.mark.slow
def test_killed_at_any_step_it_is_the_old_state_or_the_new_one_and_whoever_comes_next_finishes(
    world: World, killed: Ask, tmp_path: Path
) -> None:
    data, again = tmp_path / "data", tmp_path / "again"
    total = killed("restore", world.copy(data), 0)["calls"]
    assert state(data, world) == NEW
    shutil.rmtree(data)
    outcomes: Counter[str] = Counter()
    seen: set[frozenset[str]] = set()
    for k in range(1, total + 1):
        said = killed("restore", world.copy(data), k)
        assert (said["calls"], said["answer"]) == (k - 1, None), f"call {k} of {total} did not kill it"
        expected = NEW if is_decided(data) or state(data, world) == NEW else OLD
        # Of what a kill leaves only the files count, and most calls (open, fsync, close) leave the same ones.
        left = what_counts(data)
        if is_decided(data) and left not in seen:
            outcomes["second kills"] += second_kills(data, again, world, killed)
            seen.add(left)
        outcomes[f"{expected}, decided" if is_decided(data) else expected] += 1
        looked = killed("look", data, 0)
        assert_answers(looked["answer"], expected, world)
        assert state(data, world) == expected
        assert not is_decided(data)
        shutil.rmtree(data)
    print(f"{total} kills: {dict(outcomes)}")
    assert outcomes[OLD] > 20
    assert outcomes["new, decided"] >= 8
    assert len(seen) >= 3  # nothing moved yet, the old database gone, the new one there
    assert outcomes["second kills"] > 20


def what_counts(data: Path) -> frozenset[str]:
    """The files in the hands of a restore, by names that are the same in each; with its content the identity."""
    left = files(data)
    names = {re.sub(r"old-[0-9T]+|\.[0-9a-f]{8}\.tmp", "", name) for name in left if not name.startswith("backups/")}
    return frozenset(names | {left["identity.json"]})


def second_kills(data: Path, again: Path, world: World, killed: Ask) -> int:
    """Kill whoever finishes the restore, too, at each of its steps; how many kills that were."""
    shutil.copytree(data, again)
    total = killed("look", again, 0)["calls"]
    shutil.rmtree(again)
    assert total > 0
    for k in range(1, total + 1):
        shutil.copytree(data, again)
        said = killed("look", again, k)
        assert (said["calls"], said["answer"]) == (k - 1, None)
        assert_answers(killed("look", again, 0)["answer"], NEW, world)
        assert state(again, world) == NEW
        assert not is_decided(again)
        shutil.rmtree(again)
    return total


def test_after_a_kill_before_the_decision_the_next_restore_goes_through_and_leaves_no_rest(
    world: World, killed: Ask, tmp_path: Path
) -> None:
    total = killed("restore", world.copy(tmp_path / "counted"), 0)["calls"]
    for k in range(1, total, max(1, total // 12)):
        data = world.copy(tmp_path / str(k))
        killed("restore", data, k)
        decided = is_decided(data) or state(data, world) == NEW
        done = put_back(data, world.snapshot)
        assert done.restored == world.snapshot
        assert state(data, world) == NEW
        names = [path.name for path in (data / ".restore").iterdir()]
        assert [name for name in names if not name.startswith("old-")] == [], "a rest of the killed restore"
        assert len(names) == 1 + decided


@pytest.fixture
def decided(just_decided: Path, tmp_path: Path) -> Path:
    return shutil.copytree(just_decided, tmp_path / "decided")


@pytest.fixture(scope="module")
def just_decided(world: World, killed: Ask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose restore was killed right after it was decided on, before a file was moved.

    The old database has a WAL with what somebody committed last, as one has while a process keeps it open.
    """
    folder = tmp_path_factory.mktemp("decided")
    hot = world.copy(folder / "hot")
    with worker("die", hot) as process:
        assert process.wait(60) < 0
    data = folder / "data"
    total = killed("restore", world.copy(data), 0)["calls"]
    for k in range(total, 0, -1):
        shutil.rmtree(data)
        killed("restore", world.copy(data), k)
        if is_decided(data) and not old_folders(data):
            break
    assert (data / ".restore" / "staged.db").exists()
    for suffix in ("", "-wal"):
        shutil.copy(hot / f"{DATABASE}{suffix}", data)
    return data


def test_a_restore_that_was_decided_on_is_finished_with_the_old_wal_beside(
    decided: Path, world: World, killed: Ask
) -> None:
    database, wal = ((decided / f"{DATABASE}{suffix}").read_bytes() for suffix in ("", "-wal"))
    assert_answers(killed("look", decided, 0)["answer"], NEW, world)
    assert state(decided, world) == NEW
    (old,) = old_folders(decided)
    assert ((old / DATABASE).read_bytes(), (old / f"{DATABASE}-wal").read_bytes()) == (database, wal)


def garble(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = b"garbled " * (len(content) // 16)
    path.write_bytes(content)
    return bytes(content)


def test_a_new_database_that_does_not_open_is_refused_and_the_old_one_is_back(
    decided: Path, world: World, killed: Ask
) -> None:
    before = files(decided)
    garbled = garble(decided / ".restore" / "staged.db")
    refused = killed("look", decided, 0)["answer"]["refused"]
    assert "what was there before is back" in refused
    for name in (DATABASE, f"{DATABASE}-wal"):
        assert files(decided)[name] == before[name]
    assert not is_decided(decided)
    assert (decided / ".restore" / "refused" / DATABASE).read_bytes() == garbled
    assert "from a process that died" in " ".join(note.body for note in found(decided).captures.values())
    assert_answers(killed("look", decided, 0)["answer"] | {KEPT: ["", ""]}, OLD, world)
    assert put_back(decided, world.snapshot).restored == world.snapshot
    assert state(decided, world) == NEW


def test_killed_on_the_way_back_the_old_database_is_back_all_the_same(
    decided: Path, world: World, killed: Ask, tmp_path: Path
) -> None:
    before = files(decided)
    garble(decided / ".restore" / "staged.db")
    total = killed("look", shutil.copytree(decided, tmp_path / "counted"), 0)["calls"]
    said_so = 0
    for k in range(1, total + 1):
        data = shutil.copytree(decided, tmp_path / "tried")
        assert killed("look", data, k) == {"calls": k - 1, "answer": None}
        answer = killed("look", data, 0)["answer"]
        said_so += "refused" in answer
        assert not is_decided(data)
        for name in (DATABASE, f"{DATABASE}-wal"):
            if "refused" in answer:  # else somebody has worked with it by now
                assert files(data)[name] == before[name], f"killed before call {k} of {total}"
        assert "from a process that died" in " ".join(note.body for note in found(data).captures.values())
        assert_answers(killed("look", data, 0)["answer"], OLD, world)
        shutil.rmtree(data)
    assert said_so > total / 2 > 10


def test_where_there_was_no_database_a_refused_one_does_not_take_its_place(
    world: World, killed: Ask, tmp_path: Path
) -> None:
    def emptied(name: str) -> Path:
        data = tmp_path / name
        shutil.copytree(world.data / "backups", data / "backups")
        return data

    total = killed("restore", emptied("counted"), 0)["calls"]
    k = next(k for k in range(1, total) if killed("restore", emptied(f"{k}"), k) and is_decided(tmp_path / f"{k}"))
    garbled = garble(tmp_path / f"{k}" / ".restore" / "staged.db")
    steps = killed("look", shutil.copytree(tmp_path / f"{k}", tmp_path / "steps"), 0)["calls"]
    assert steps > 10
    for m in range(steps + 1):
        data = shutil.copytree(tmp_path / f"{k}", tmp_path / "tried")
        killed("look", data, m)
        assert "refused" in killed("look", data, 0)["answer"]
        assert not is_decided(data)
        assert not (data / DATABASE).exists()
        assert not (data / "identity.json").exists()
        assert (data / ".restore" / "refused" / DATABASE).read_bytes() == garbled
        shutil.rmtree(data)
    data = tmp_path / "steps"
    assert put_back(data).restored == world.snapshot
    assert state(data, world) == NEW


def test_a_journal_that_cannot_be_read_is_left_for_a_person(decided: Path, killed: Ask) -> None:
    path = decided / ".restore" / "journal.json"
    path.write_bytes(path.read_bytes()[:20])
    before = files(decided)
    assert "look which of" in killed("look", decided, 0)["answer"]["refused"]
    assert files(decided) == before


@pytest.mark.slow
def test_a_power_cut_at_any_moment_leaves_the_old_state_or_the_new_one_and_the_new_one_once_it_returned(
    world: World, killed: Ask, tmp_path: Path
) -> None:
    rng = new_rng("power cut in a restore")
    data = world.copy(tmp_path / "recorded")
    recorder = Recorder(data)
    vfs = recorder.vfs("recording")
    with recorded_files(recorder):
        restore(base_settings(data), world.snapshot, vfs="recording")
    recorder.mark("returned")
    vfs.unregister()
    assert recorder.without_a_cut().files[DATABASE] == (data / DATABASE).read_bytes()
    outcomes: Counter[str] = Counter()
    for image in recorder.images(rng, subsets=12 if SOAK else 4):
        cut = tmp_path / "cut"
        image.write_to(cut)
        looked = killed("look", cut, 0)["answer"]
        assert "refused" not in looked, f"after operation {image.at}, {image.kept}: {looked}"
        held = state(cut, world)
        assert_answers(looked, held, world)
        assert not is_decided(cut)
        if "returned" in image.marks:
            assert held == NEW, f"after it returned, {image.kept}"
        outcomes[f"{held}, returned" if "returned" in image.marks else held] += 1
        shutil.rmtree(cut)
    print(f"{recorder.operations} operations: {dict(outcomes)}")
    assert outcomes.keys() == {"old", "new", "new, returned"}
