# ruff: noqa: F811 - fixtures are named as what they give
"""kill -9 at every object of a copy: before it is there, and when it is there and nobody was told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nescord import durable
from nescord.backup.fetch import check_off_site
from tests.backup_world import Days
from tests.faults.proxy import Fault, FaultyProxy
from tests.off_site_world import days, moto, world_at  # noqa: F401 - fixtures
from tests.s3_world import S3Server
from tests.survival import SOAK, new_rng
from tests.vaults import REPOSITORY

PLACES = ["bucket", "bucket encrypted"]


class Killer(FaultyProxy):
    """Kills the process that writes, at its first object: `landing` says whether that arrives all the same."""

    victim = 0
    landing = False
    landed = 0

    def struck_by(self, method: str, path: str) -> tuple[Fault | None, float]:
        if method != "PUT" or not self.victim:
            return super().struck_by(method, path)
        os.kill(self.victim, signal.SIGKILL)
        self.victim = 0
        self.landed += self.landing
        return (None if self.landing else "reset"), 0


def run(data: Path, options: dict[str, object], proxy: Killer | None) -> int:
    """Copy in a process of its own; its exit code."""
    command = [sys.executable, "-m", "tests.replicate_worker", str(data), json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=REPOSITORY) as worker:
        if proxy is not None:
            proxy.victim = worker.pid
        _, errors = worker.communicate(timeout=120)
    assert worker.returncode in (0, -signal.SIGKILL), errors.decode()
    return worker.returncode


@pytest.mark.slow
@pytest.mark.parametrize("where", PLACES if SOAK else PLACES[1:])
def test_killed_at_every_object_the_next_run_goes_on_where_it_was(
    where: str, moto: S3Server, days: Days, tmp_path: Path
) -> None:
    with Killer(moto.url) as proxy:
        world = world_at(where, moto, days, tmp_path, proxy.url)
        kills = 0
        while True:
            # With much time each object once before it is there and once after, else every fourth twice.
            proxy.landing = kills % 2 == 1 if SOAK else kills % 4 != 0
            if run(world.data, world.options, proxy) == 0:
                break
            kills += 1
            there = world.off_site().sizes()
            assert set(there) <= world.names()
            assert all(each.ok for each in check_off_site(world.off_site()))
        proxy.victim = 0
        assert proxy.landed == len(world.names()), "not each object has landed unseen"
        assert kills > proxy.landed
        world.assert_all_copied()
        assert run(world.data, world.options, None) == 0
        world.assert_all_copied()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "folder encrypted"])
def test_killed_at_any_call_while_it_copies_to_a_folder(where: str, days: Days, tmp_path: Path) -> None:
    rng = new_rng(f"kills of a copy to a {where}")
    kills = left_half = 0
    for turn in range(20 if SOAK else 2):
        folder = tmp_path / f"{turn}"
        folder.mkdir()
        world = world_at(where, None, days, folder)
        assert world.files is not None
        command = [sys.executable, "-m", "tests.replicate_worker", str(world.data), json.dumps(world.options), "kills"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            while True:
                print(rng.randrange(1, 30), file=worker.stdin, flush=True)
                if json.loads(worker.stdout.readline()):
                    break
                kills += 1
                left_half += any(map(durable.is_temporary, world.files.rglob("*")))
                assert all(each.ok for each in check_off_site(world.off_site()))
        world.replicate()
        half = [path.name for path in world.files.glob("*/*") if durable.is_temporary(path)]
        assert not half
        for path in filter(durable.is_temporary, world.files.glob(".*")):
            path.unlink()
        world.assert_all_copied()
    assert kills > 10
    assert left_half, "no object was ever cut off in the middle"
