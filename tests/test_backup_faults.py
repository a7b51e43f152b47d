"""Whatever happens to the files of backups, or while they are made: no wrong data, and nothing good is lost."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import apsw
import pytest

from nescord.backup.check import check
from nescord.backup.create import create
from nescord.errors import BackupError
from tests.backup_world import (
    Days,
    assert_sound,
    assert_tidy,
    back_up,
    checked,
    database_of,
    flip,
    opened,
    put_back,
    read_or_refused,
    sha256,
    small_disk,
    store_of,
)
from tests.faults.files import recorded_files
from tests.faults.powercut import Recorder
from tests.survival import SOAK, new_rng
from tests.vaults import REPOSITORY

KINDS = {
    "pack": "packs/*.pack",
    "idx": "packs/*.idx",
    "manifest": "snapshots/*.json.zst",
    "status": "snapshots/*.status.json",
    "store": "store.json",
}
FLIPS = 120 if SOAK else 12
HARMS = 200 if SOAK else 15
KILLS = 200 if SOAK else 12


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days.made(tmp_path_factory.mktemp("days"))


def users_of(days: Days, pack: str) -> set[str]:
    return {each for each, manifest in days.manifests.items() if pack in {used.id for used in manifest.packs}}


def judged(data: Path, days: Days, scratch: Path) -> dict[str, tuple[str, ...]]:
    """Read every snapshot, check all, read them again: never wrong data, and what is called good can be read."""
    for each in days.ids:
        read_or_refused(data, days, each, scratch)
    found = {each.id: each.problems for each in check(store_of(data))}
    for each in days.ids:
        is_readable = read_or_refused(data, days, each, scratch)
        assert is_readable or found.get(each, ("it is gone",))
        assert store_of(data).status(each).state == ("bad" if found.get(each, ()) else "good") or each not in found
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_found_or_does_no_harm(kind: str, days: Days, tmp_path: Path) -> None:
    data, rng = days.copy(tmp_path / "data"), new_rng(f"flipped bit in {kind}")
    backups = data / "backups"
    owner = store_of(data).owner()
    for _ in range(FLIPS):
        path = rng.choice(sorted(backups.glob(KINDS[kind])))
        before = path.read_bytes()
        with put_back(backups):
            flip(path, rng)
            assert path.read_bytes() != before
            if kind == "status":
                wanted = path.name.removesuffix(".status.json")
                assert store_of(data).status(wanted).state == "unchecked"
            found = judged(data, days, tmp_path / "restored.db")
            bad = {each for each, problems in found.items() if problems}
            if kind == "pack":
                assert bad == users_of(days, path.stem)
            elif kind == "manifest":
                wanted = path.name.removesuffix(".json.zst")
                assert bad == {wanted} or store_of(data).manifest(wanted) == days.manifests[wanted]
            else:
                assert not bad
                store_of(data).prepare(owner)
                # A list of pages and the mark are as they were again; a status was found out anew.
                assert path.read_bytes() == before or kind == "status"


def truncated(files: list[Path], rng: random.Random) -> list[Path]:
    path = rng.choice(files)
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    return [path]


def removed(files: list[Path], rng: random.Random) -> list[Path]:
    path = rng.choice(files)
    path.unlink()
    return [path]


def swapped(files: list[Path], rng: random.Random) -> list[Path]:
    one = rng.choice(files)
    other = rng.choice([path for path in files if path.suffixes == one.suffixes and path != one])
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return [one, other]


def overwritten(files: list[Path], rng: random.Random) -> list[Path]:
    path = rng.choice(files)
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    content[at : at + 512] = bytes(len(content[at : at + 512]))
    path.write_bytes(content)
    return [path]


@pytest.mark.parametrize("harm", [truncated, removed, swapped, overwritten])
def test_files_that_are_cut_off_gone_or_others_are_found(
    harm: Callable[[list[Path], random.Random], list[Path]], days: Days, tmp_path: Path
) -> None:
    data, rng = days.copy(tmp_path / "data"), new_rng(harm.__name__)
    harmed: Counter[str] = Counter()
    for _, kind in zip(range(HARMS), cycle((".pack", ".idx", ".zst", ".json")), strict=False):
        with put_back(data / "backups"):
            every = [path for name in ("packs", "snapshots") for path in sorted((data / "backups" / name).iterdir())]
            files = [path for path in every if path.suffix == kind]
            before = {path: path.read_bytes() for path in files}
            paths = [path for path in harm(files, rng) if not path.exists() or path.read_bytes() != before[path]]
            found = judged(data, days, tmp_path / "restored.db")
            for path in paths:
                harmed[path.suffix] += 1
                wanted = path.name.split(".")[0]
                if path.suffix == ".pack":
                    assert all(found[each] for each in users_of(days, wanted))
                elif path.suffix == ".idx":
                    assert path.read_bytes() == before[path]
                elif path.suffix == ".zst":
                    assert wanted not in found or found[wanted]
    # What is known of two snapshots of one second may be the same: then nothing is exchanged.
    assert {".pack", ".idx", ".zst"} <= harmed.keys(), harmed


class Killer:
    """The process of backup_worker.py that makes backups and has them killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def back_up(self, data: Path, *, before_call: int = 0, after: float = 0.0) -> tuple[int, str]:
        """How many calls that change files were made, and the id if the backup was finished."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(data), before_call, after]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["calls"], answer["id"]


@pytest.fixture
def killer() -> Iterator[Killer]:
    command = [sys.executable, "-m", "tests.backup_worker", "kills"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        yield Killer(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def first(data: Path) -> None:
    shutil.rmtree(data / "backups")


def later(data: Path) -> None:
    with opened(data) as km:
        km.capture("鍵は引き出しの中, and something new to be packed")


def on_a_rotten_base(data: Path) -> None:
    later(data)
    flip(next(iter(sorted(store_of(data).packs.glob("*.pack")))), random.Random(3))


def assert_recovered(data: Path, scratch: Path, rotten: set[str]) -> None:
    """After a kill what is listed is whole, but for what was rotten; the next backup is good and tidies up."""
    store = store_of(data)
    for snapshot in store.snapshots():
        assert snapshot.manifest is not None, snapshot.problem
        if snapshot.id not in rotten:
            assert sha256(database_of(data, snapshot.id, scratch)) == snapshot.manifest.sha256
    before = store.ids()
    back_up(data)
    made = store.snapshots()[-1]
    assert store.ids() == [*before, made.id]
    assert len({each.seq for each in store.snapshots()}) == len(store.ids())
    assert made.manifest is not None
    assert made.is_good
    assert sha256(database_of(data, made.id, scratch)) == made.manifest.sha256
    assert not store.sweep().problem
    assert_tidy(data)


@pytest.mark.parametrize("scenario", [first, later, on_a_rotten_base])
def test_killed_before_any_step_nothing_is_listed_that_cannot_be_restored(
    scenario: Callable[[Path], None], days: Days, killer: Killer, tmp_path: Path
) -> None:
    template = days.copy(tmp_path / "template")
    scenario(template)
    whole = shutil.copytree(template, tmp_path / "whole")
    steps, made = killer.back_up(whole)
    assert made
    assert steps > 20
    before, rotten = store_of(template).ids(), set(days.ids) if scenario is on_a_rotten_base else set()
    rng = new_rng(f"killed {scenario.__name__}")
    stride = 1 if SOAK else 5
    for step in range(1 + rng.randrange(stride), steps + 1, stride):
        data = shutil.copytree(template, tmp_path / "data")
        calls, made = killer.back_up(data, before_call=step)
        assert (calls, made) == (step - 1, ""), "it was not killed there"
        assert store_of(data).ids()[: len(before)] == before
        assert_recovered(data, tmp_path / "restored.db", rotten)
        shutil.rmtree(data)


def test_killed_at_any_moment_nothing_is_listed_that_cannot_be_restored(
    days: Days, killer: Killer, tmp_path: Path
) -> None:
    rng = new_rng("killed at any moment")
    template = days.copy(tmp_path / "template")
    later(template)
    # The first one is let live, to know how long it takes on this machine now.
    data = shutil.copytree(template, tmp_path / "data")
    begun = time.monotonic()
    assert killer.back_up(data)[1]
    usual = time.monotonic() - begun
    shutil.rmtree(data)
    killed = 0
    for _ in range(KILLS):
        data = shutil.copytree(template, tmp_path / "data")
        _, made = killer.back_up(data, after=rng.uniform(0.05, 0.9) * usual)
        killed += not made
        usual *= 0.7 if made else 1.1  # other work on the machine comes and goes
        assert store_of(data).ids()[:3] == list(days.ids)
        assert not made or store_of(data).snapshot(made).is_good
        assert_recovered(data, tmp_path / "restored.db", set())
        shutil.rmtree(data)
    assert killed > KILLS / 4


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free meanwhile."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        ballast.unlink()


def causes_of(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    while error.__cause__ is not None:
        error = error.__cause__
        found.append(error)
    return found


@pytest.mark.parametrize("stage", ["copying", "packing", "reading back"])
def test_a_disk_that_fills_up_meanwhile_harms_nothing(stage: str, days: Days, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 180) as disk:
        data = days.copy(disk / "data")
        with opened(data) as km, km._base.verb() as catalog:
            with catalog.write() as connection:
                # Three steps of the copy.
                connection.execute("INSERT INTO meta VALUES ('ballast', randomblob(20000000))")
            full: list[str] = []

            def fill(at: str, _done: int, _total: int) -> None:
                if at == stage and not full:
                    full.append(at)
                    filling.enter_context(filled(disk))

            with ExitStack() as filling, pytest.raises(BackupError, match="nothing is lost") as caught:
                create(km._base, progress=fill)
            assert full
            assert any(
                isinstance(each, apsw.FullError) or (isinstance(each, OSError) and each.errno == errno.ENOSPC)
                for each in causes_of(caught.value)
            ), f"it was not the full disk: {causes_of(caught.value)}"
            assert not store_of(data).staging.exists()
            assert assert_sound(data, tmp_path / "restored.db") == list(days.ids)
            made = create(km._base)
        assert set(checked(data).values()) == {()}
        assert store_of(data).ids()[-1] == made.id
        assert_tidy(data)


def test_a_disk_that_is_too_full_from_the_start_is_not_written_to(days: Days, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 66) as disk:
        data = days.copy(disk / "data")
        (disk / "ballast").write_bytes(bytes(2**20))
        with opened(data) as km, pytest.raises(BackupError, match="make room"):
            create(km._base)
        assert store_of(data).ids() == list(days.ids)
        assert_tidy(data)


@pytest.mark.parametrize("scenario", [first, later])
def test_a_power_cut_at_any_moment_leaves_whole_snapshots_or_none(
    scenario: Callable[[Path], None], days: Days, tmp_path: Path
) -> None:
    data = days.copy(tmp_path / "data")
    scenario(data)
    rng = new_rng(f"power cut {scenario.__name__}")
    recorder = Recorder(data)
    with recorded_files(recorder), opened(data) as km:
        made = create(km._base).id
        recorder.mark(made)
    expected = store_of(data).manifest(made)
    seen: Counter[str] = Counter()
    for image in recorder.images(rng, subsets=40 if SOAK else 4):
        after = tmp_path / "image"
        image.write_to(after)
        store = store_of(after)
        listed = store.ids()
        for each in listed:
            manifest = expected if each == made else days.manifests[each]
            assert store.manifest(each) == manifest
            assert sha256(database_of(after, each, tmp_path / "restored.db")) == manifest.sha256
        assert set(listed) >= (set(days.ids) if scenario is later else set())
        if made in image.marks:
            assert store.snapshot(made).is_good
        seen["acknowledged" if made in image.marks else "listed" if made in listed else "not yet"] += 1
        shutil.rmtree(after)
    assert seen["not yet"] > 5
    assert seen["listed"]
    assert seen["acknowledged"]
