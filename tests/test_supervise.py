"""The supervisor, with real processes that do nothing but misbehave."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flow_world import processes_naming, wait_for
from supervise_world import Watched, toy


def test_services_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"), toy(tmp_path, "b"), toy(tmp_path, "c", needs="b"))

    async def work() -> int:
        assert all(watched.supervisor.is_ready(name) for name in "abc")
        return 7

    assert watched.run(work) == 7
    assert [event[:2] for event in watched.events()] == [
        *(("start", "a"), ("start", "b"), ("start", "c")),
        *(("end", "c"), ("end", "b"), ("end", "a")),
    ]
    assert (tmp_path / "logs" / "b.log").read_text() == "b speaks\nb ends\n"
    assert not processes_naming(str(tmp_path))


def test_what_dies_is_tried_again_less_and_less_often_and_keeps_nobody_else_from_running(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "sick", "dies"), toy(tmp_path, "well"))

    async def work() -> int:
        assert watched.supervisor.is_ready("well")
        await watched.until(lambda: watched.heard("tried again in 30 s"))
        return 0

    assert watched.run(work) == 0
    pauses = [float(found[1]) for line in watched.said if (found := re.search(r"tried again in ([\d.]+) s", line))]
    assert pauses == [0.05, 0.1, 0.2, 0.2, 30]
    assert watched.heard("sick: degraded: it ended 5 times")
    first = watched.heard("exit code 3")[0]
    assert first.startswith("sick: ended with exit code 3; the end of its log")
    assert "sick speaks" in first


def test_who_needs_what_does_not_run_waits_and_the_work_begins_without_it(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "sick", "dies"), toy(tmp_path, "needy", needs="sick"))

    async def work() -> int:
        return 3

    assert watched.run(work) == 3
    assert watched.heard("not ready yet: sick, needy")
    assert not [event for event in watched.events() if event[1] == "needy"]


def test_a_killed_service_comes_back_with_who_needs_it_and_the_others_stay(tmp_path: Path) -> None:
    services = (toy(tmp_path, "a"), toy(tmp_path, "b"), toy(tmp_path, "c", needs="b"))
    watched = Watched(tmp_path, *services)

    async def work() -> int:
        before = {name: watched.pid(name) for name in "abc"}
        os.kill(before["b"], signal.SIGKILL)
        await watched.until(lambda: watched.pid("c") != before["c"] and watched.supervisor.is_ready("c"))
        assert watched.pid("b") != before["b"]
        assert watched.pid("a") == before["a"]
        return 0

    assert watched.run(work) == 0
    assert watched.heard("b: was killed by SIGKILL, probably because the machine ran out of memory")
    assert not watched.heard("c: ended")


def test_what_a_killed_service_leaves_is_ended_before_the_next_life(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a", "child", grace=0.5))

    async def work() -> int:
        first = watched.pid("a")
        await watched.until(lambda: len(_group(first)) == 2)
        os.kill(first, signal.SIGKILL)
        await watched.until(lambda: watched.pid("a") != first)
        assert not _group(first)
        return 0

    assert watched.run(work) == 0
    assert not processes_naming(str(tmp_path))


def test_what_does_not_stop_is_killed_after_its_grace(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"), toy(tmp_path, "b", "stubborn", "child", grace=0.5))
    begun = 0.0

    async def work() -> int:
        nonlocal begun
        begun = time.monotonic()
        return 0

    assert watched.run(work) == 0
    assert 0.5 <= time.monotonic() - begun < 5
    assert watched.heard("b: did not end within 0.5 s and is killed")
    assert [event[1] for event in watched.events("end")] == ["a"]
    assert not processes_naming(str(tmp_path))


def test_a_service_that_does_not_answer_any_more_is_restarted(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"))

    async def work() -> int:
        (tmp_path / "a.ready").unlink()
        await watched.until(lambda: len(watched.events("start")) == 2)
        return 0

    assert watched.run(work) == 0
    assert watched.heard("a: it has not answered for 0.3 s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_start_stops_what_was_begun(tmp_path: Path, number: signal.Signals) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"), toy(tmp_path, "b", "silent"), toy(tmp_path, "c"))

    async def run() -> int | None:
        task = asyncio.create_task(watched.supervisor.run())
        await watched.until(lambda: len(watched.events("start")) == 2)
        os.kill(os.getpid(), number)
        return await task

    assert asyncio.run(asyncio.wait_for(run(), 60)) is None
    assert [event[:2] for event in watched.events()] == [("start", "a"), ("start", "b"), ("end", "b"), ("end", "a")]


def test_a_second_signal_does_not_wait_for_anybody(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a", "stubborn", grace=600))

    async def run() -> int | None:
        task = asyncio.create_task(watched.supervisor.run())
        await watched.until(lambda: watched.heard("all services are ready"))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert not task.done()
        os.kill(os.getpid(), signal.SIGTERM)
        return await task

    assert asyncio.run(asyncio.wait_for(run(), 60)) is None
    assert not processes_naming(str(tmp_path))


def test_a_killed_supervisor_leaves_nothing_stubborn_or_not(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("supervised_worker.py")), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as supervisor:
        try:
            wait_for("the toys", lambda: (tmp_path / "all").exists())
            running = processes_naming(str(tmp_path))
        finally:
            supervisor.kill()
    assert len(running) == 4  # the supervisor, two services, and the child of one
    wait_for("the end of everything", lambda: not processes_naming(str(tmp_path)))
    # Its last word, which nobody could read any more, did not keep it from ending in order.
    assert "end good" in (tmp_path / "events").read_text()


def _group(leader: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == leader and state != "Z":
                found.append(int(entry.name))
    return found
