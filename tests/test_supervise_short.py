"""What the supervisor does where the machine is short of something, or its disk fails: it says so and goes on."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flow_world import processes_naming
from supervise_world import QUICK, Watched, program, toy

from nescord import tending
from nescord.home import DataFolder
from nescord.service_state import Finding
from nescord.tending import Beside, Board, Follower, Mender

ORPHANS = 20


@contextmanager
def no_more_files() -> Iterator[None]:
    """No descriptor can be had any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tending, "_FIRST_RETRY", 0.1)


def _run(
    watched: Watched, work: Callable[[], Awaitable[int]], beside: Callable[[], Coroutine[None, None, None]]
) -> int | None:
    return asyncio.run(asyncio.wait_for(watched.supervisor.run(work, beside=beside), 60))  # type: ignore[arg-type]


def _folder(path: Path) -> DataFolder:
    (path / "run").mkdir()
    return DataFolder(path, path / "nescordbot.db", path / "chroma")


def test_a_service_is_tried_again_when_there_are_descriptors_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"))

    async def work() -> int:
        killed = watched.pid("a")
        with no_more_files():
            os.kill(killed, signal.SIGKILL)
            await watched.until(lambda: watched.heard("a: cannot be started: [Errno 24] Too many open files"))
        await watched.until(lambda: watched.pid("a") != killed and watched.supervisor.is_ready("a"))
        return 0

    assert watched.run(work) == 0


# asyncio forgets a process for which it finds no thread, and closes its pipes when that is noticed.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("names", ["log of", "asyncio_", "asyncio-waitpid", ""])
def test_a_service_is_tried_again_when_threads_can_be_begun_again(
    tmp_path: Path, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"))
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(names):
            raise RuntimeError("can't start new thread")
        begin(thread)

    async def run() -> int | None:
        task = asyncio.create_task(watched.supervisor.run())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            await watched.until(lambda: watched.heard("a: cannot be started: [Errno 11] can't start new thread"))
            assert not processes_naming(str(tmp_path))
        await watched.until(lambda: watched.supervisor.is_ready("a"))
        watched.supervisor.stop()
        return await task

    assert asyncio.run(asyncio.wait_for(run(), 60)) is None
    assert not processes_naming(str(tmp_path))
    gc.collect()


def test_who_cannot_be_asked_since_there_is_no_thread_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def is_ready() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("can't start new thread")
        return True

    service = program("a", "import time; time.sleep(600)")
    watched = Watched(tmp_path, replace(service, prepare=lambda: replace(service.prepare(), is_ready=is_ready)))

    async def work() -> int:
        await watched.until(lambda: asked > 3)
        return 0

    assert watched.run(work) == 0
    assert watched.supervisor.states[0].restarts == 0


def test_chroma_is_looked_after_again_when_its_folder_can_be_read_again(tmp_path: Path, quick: None) -> None:
    folder = _folder(tmp_path)
    watched = Watched(tmp_path, toy(tmp_path, "chroma"))
    follower = Follower(watched.supervisor, folder, watched.said.append, Beside(folder, str, None))
    suspect = tmp_path / "run" / "index.suspect"
    suspect.mkdir()  # as a disk that fails: it is there and cannot be read

    async def work() -> int:
        killed = watched.pid("chroma")
        await watched.until(lambda: watched.heard("chroma: cannot be looked after: [Errno 21] Is a directory"))
        suspect.rmdir()
        suspect.write_text("garbled")
        await watched.until(lambda: watched.heard("its folder is damaged and is begun anew: garbled"))
        await watched.until(lambda: watched.pid("chroma") != killed and watched.supervisor.is_ready("chroma"))
        return 0

    assert _run(watched, work, follower.follow) == 0


def test_what_is_run_beside_is_tried_again_when_it_can_be_begun_again(tmp_path: Path, quick: None) -> None:
    folder = _folder(tmp_path)
    watched = Watched(tmp_path, toy(tmp_path, "chroma"))
    beside = Beside(folder, str, None)
    board = Board(folder, [Finding("database.word_rows", "fail", "2 are missing", "repair")])
    follower = Follower(watched.supervisor, folder, watched.said.append, beside)
    mender = Mender(board, folder, watched.said.append, beside, has_index=False)
    (tmp_path / "run" / "index.doubt").write_text("doubt")

    async def tend() -> None:
        await asyncio.gather(follower.follow(), mender.mend())

    async def work() -> int:
        with no_more_files():
            await watched.until(lambda: watched.heard("chroma: cannot be looked after: [Errno 24]"))
            await watched.until(lambda: watched.heard("repair: cannot look: [Errno 24]"))
        # There is no database to compare it with: it was begun, at least.
        await watched.until(lambda: watched.heard("chroma: could not be compared with the database yet"))
        await watched.until(lambda: [line for line in watched.heard("repair: ") if "Errno" not in line])
        return 0

    with closing(board):
        assert _run(watched, work, tend) == 0


def test_what_leaves_a_service_and_dies_does_not_stay_a_zombie(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "exit 7"]) as ours:
        os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
        before = _zombies()
        assert ours.pid in before
        code = (
            "import subprocess, time\n"
            f"for _ in range({ORPHANS}): subprocess.run(['setsid', '-f', 'sleep', '0.1'])\n"
            "time.sleep(600)"
        )
        watched = Watched(tmp_path, program("a", code), policy=replace(QUICK, beat=1))
        seen: set[int] = set()

        def all_seen() -> bool:
            seen.update(_zombies() - before)
            return len(seen) >= ORPHANS

        async def work() -> int:
            await watched.until(all_seen)
            await watched.until(lambda: not _zombies() & seen)
            return 0

        assert watched.run(work) == 0
        assert ours.wait() == 7  # what we have not left to it is not taken away
    assert watched.supervisor.states[0].restarts == 0


def test_who_dies_by_a_signal_without_a_name_is_started_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, program("a", "import os, time; os.kill(os.getpid(), 40); time.sleep(600)"))

    async def work() -> int:
        await watched.until(lambda: len(watched.heard("a: was ended by signal 40")) > 1)
        return 0

    assert watched.run(work) == 0


def _zombies() -> set[int]:
    """Our dead children."""
    found = set()
    for thread in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, thread.read_text().split()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                found.add(pid)
    return found
