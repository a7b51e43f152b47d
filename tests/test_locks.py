"""The locks, held and waited for by real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nescord.errors import DiskError, LockTimeoutError, NescordError, is_transient
from nescord.locks import LockName, Locks
from tests.verified import mounted

HOLDER = """
import sys
from pathlib import Path
from nescord.locks import LockName, Locks
run, name, way = sys.argv[1:4]
with getattr(Locks(Path(run), timeout=5), way)(LockName(name)):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def locks(run: Path) -> Locks:
    return Locks(run, timeout=0)


@contextmanager
def another_process(run: Path, name: LockName, way: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is sent a line."""
    command = [sys.executable, "-c", HOLDER, str(run), name.value, way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


def errors_of_another_process(run: Path, name: LockName, way: str) -> str:
    """What a process prints that takes the lock without waiting."""
    code = HOLDER.replace("timeout=5", "timeout=0")
    command = [sys.executable, "-c", code, str(run), name.value, way]
    return subprocess.run(command, input="\n", capture_output=True, encoding="utf-8", check=False).stderr


def in_another_thread(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def take_and_give_back(locks: Locks, name: LockName, way: str, timeout: float = 0) -> None:
    with getattr(locks, way)(name, timeout=timeout):
        pass


def test_two_processes_share_a_lock(run: Path, locks: Locks) -> None:
    with another_process(run, LockName.CATALOG, "shared"), locks.shared(LockName.CATALOG):
        pass


@pytest.mark.parametrize(("theirs", "ours"), [("exclusive", "shared"), ("shared", "exclusive"), ("exclusive",) * 2])
def test_exclusive_excludes_other_processes(run: Path, locks: Locks, theirs: str, ours: str) -> None:
    with another_process(run, LockName.CATALOG, theirs), pytest.raises(LockTimeoutError):
        take_and_give_back(locks, LockName.CATALOG, ours)
    take_and_give_back(locks, LockName.CATALOG, ours)


def test_locks_of_different_names_do_not_meet(run: Path, locks: Locks) -> None:
    with another_process(run, LockName.INGEST, "exclusive"), locks.exclusive(LockName.CATALOG):
        pass


def test_locks_of_different_folders_do_not_meet(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        Locks(run, timeout=0).exclusive(LockName.INGEST),
        Locks(tmp_path / "other", timeout=0).exclusive(LockName.INGEST),
    ):
        pass


def test_the_wait_is_bounded_and_ends_near_its_limit(run: Path, locks: Locks) -> None:
    with another_process(run, LockName.INGEST, "exclusive"):
        began = time.monotonic()
        with pytest.raises(LockTimeoutError, match=r"waited 0\.4 s"):
            take_and_give_back(locks, LockName.INGEST, "exclusive", timeout=0.4)
        assert 0.4 <= time.monotonic() - began < 3


def test_who_waits_gets_the_lock_when_the_holder_is_done(run: Path) -> None:
    with another_process(run, LockName.INGEST, "exclusive") as holder:
        assert holder.stdin is not None
        threading.Timer(0.3, holder.stdin.close).start()  # the end of its input lets it go on
        began = time.monotonic()
        take_and_give_back(Locks(run, timeout=20), LockName.INGEST, "exclusive", timeout=20)
        assert time.monotonic() - began < 10


def test_an_exclusive_holder_is_named_with_purpose_and_mend(run: Path, locks: Locks) -> None:
    with another_process(run, LockName.INGEST, "exclusive") as holder, pytest.raises(LockTimeoutError) as caught:
        take_and_give_back(locks, LockName.INGEST, "exclusive")
    message = str(caught.value)
    assert message.startswith('the lock "ingest" (one ingest, migration or rebuild at a time) is held by')
    assert f"pid {holder.pid} ({sys.executable} -c" in message
    assert "NESCORD_LOCK_TIMEOUT" in message


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="who shares a lock is only known from Linux's /proc/locks")
def test_all_who_share_a_lock_are_named(run: Path, locks: Locks) -> None:
    first, second = (another_process(run, LockName.CATALOG, "shared") for _ in range(2))
    with first as one, second as two, pytest.raises(LockTimeoutError) as caught:
        take_and_give_back(locks, LockName.CATALOG, "exclusive")
    assert f"pid {one.pid} ({sys.executable} -c" in str(caught.value)
    assert f"pid {two.pid} ({sys.executable} -c" in str(caught.value)


def test_a_former_exclusive_holder_is_not_taken_for_one_who_shares(run: Path, locks: Locks) -> None:
    with another_process(run, LockName.CATALOG, "exclusive") as gone:
        pass
    with another_process(run, LockName.CATALOG, "shared"), pytest.raises(LockTimeoutError) as caught:
        take_and_give_back(locks, LockName.CATALOG, "exclusive")
    assert f"pid {gone.pid} " not in str(caught.value)


def test_a_holder_in_another_container_is_named_with_its_host(run: Path, locks: Locks) -> None:
    with another_process(run, LockName.SERVICE, "exclusive"):
        (run / "service.lock").write_text(
            '{"pid": 7, "host": "old-container", "command": "nescord up", "since": "2026-01-02T03:04:05+00:00"}',
            encoding="utf-8",
        )
        with pytest.raises(LockTimeoutError, match=r"pid 7 on old-container \(nescord up\) since 2026-01-02"):
            take_and_give_back(locks, LockName.SERVICE, "exclusive")


def test_a_holder_that_left_no_readable_name_still_gives_a_message(run: Path, locks: Locks) -> None:
    for scribble in (b"\xff\xfe", b"[]", b"{}", b"null"):
        with another_process(run, LockName.SERVICE, "exclusive"):
            (run / "service.lock").write_bytes(scribble)
            with pytest.raises(LockTimeoutError, match=r"is held by (pid \d+|another process)"):
                take_and_give_back(locks, LockName.SERVICE, "exclusive")


def test_kill_9_frees_the_lock(run: Path, locks: Locks) -> None:
    for way in ("exclusive", "shared"):
        with another_process(run, LockName.CATALOG, way) as holder:
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
            take_and_give_back(locks, LockName.CATALOG, "exclusive")


def test_a_child_started_while_a_lock_is_held_does_not_keep_it(run: Path, locks: Locks) -> None:
    with locks.exclusive(LockName.INGEST):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with child:
        try:
            with another_process(run, LockName.INGEST, "exclusive"):
                pass
        finally:
            child.kill()


def test_a_lock_is_re_entrant_in_its_thread_and_held_until_the_outermost_end(run: Path, locks: Locks) -> None:
    again = Locks(run / ".." / "run", timeout=0)
    for outer, inner in (("exclusive", "exclusive"), ("exclusive", "shared"), ("shared", "shared")):
        with getattr(locks, outer)(LockName.CATALOG):
            with getattr(again, inner)(LockName.CATALOG):
                pass
            with pytest.raises(LockTimeoutError):
                in_another_thread(lambda: take_and_give_back(locks, LockName.CATALOG, "exclusive"))
        in_another_thread(lambda: take_and_give_back(locks, LockName.CATALOG, "exclusive"))


def test_an_outer_hold_keeps_other_processes_out_after_an_inner_one_ended(run: Path, locks: Locks) -> None:
    with locks.exclusive(LockName.CATALOG):
        take_and_give_back(locks, LockName.CATALOG, "shared")
        errors = errors_of_another_process(run, LockName.CATALOG, "shared")
    assert "LockTimeoutError" in errors
    assert f"pid {os.getpid()} (" in errors


def test_threads_share_and_exclude_each_other_like_processes(locks: Locks) -> None:
    with locks.shared(LockName.CATALOG):
        in_another_thread(lambda: take_and_give_back(locks, LockName.CATALOG, "shared"))
        with pytest.raises(LockTimeoutError, match="another thread of this program"):
            in_another_thread(lambda: take_and_give_back(locks, LockName.CATALOG, "exclusive"))
    with locks.exclusive(LockName.CATALOG), pytest.raises(LockTimeoutError, match="another thread of this program"):
        in_another_thread(lambda: take_and_give_back(locks, LockName.CATALOG, "shared"))


def test_many_threads_never_overlap_an_exclusive_hold(run: Path) -> None:
    locks = Locks(run, timeout=60)
    inside: list[str] = []
    overlaps: list[list[str]] = []

    def work(number: int) -> None:
        way = "exclusive" if number % 3 == 0 else "shared"
        for _ in range(15):
            with getattr(locks, way)(LockName.CATALOG):
                inside.append(way)
                time.sleep(0.0005)
                if "exclusive" in inside and len(inside) > 1:
                    overlaps.append(list(inside))
                inside.remove(way)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert overlaps == []


def test_a_waiting_thread_gets_the_lock_when_another_thread_gives_it_back(locks: Locks) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locks.exclusive(LockName.INGEST):
            waiting = pool.submit(take_and_give_back, locks, LockName.INGEST, "exclusive", 20)
            time.sleep(0.1)
            assert not waiting.done()
        waiting.result(timeout=10)


def test_all_locks_can_be_held_in_their_order(locks: Locks) -> None:
    with ExitStack() as held:
        for name in LockName:
            held.enter_context(locks.exclusive(name))


def test_a_lock_taken_out_of_order_is_a_bug_in_the_program(locks: Locks) -> None:
    names = list(LockName)
    for place, later in enumerate(names):
        for earlier in names[:place]:
            with (
                locks.shared(later),
                pytest.raises(RuntimeError, match=f"{earlier.value} is taken before {later.value}"),
            ):
                take_and_give_back(locks, earlier, "shared")


def test_the_order_binds_one_thread_not_another(locks: Locks) -> None:
    with locks.exclusive(LockName.BACKUPS):
        in_another_thread(lambda: take_and_give_back(locks, LockName.CATALOG, "exclusive"))


def test_a_held_lock_is_taken_again_under_a_later_one(locks: Locks) -> None:
    with locks.shared(LockName.CATALOG), locks.exclusive(LockName.INGEST):
        take_and_give_back(locks, LockName.CATALOG, "shared")


def test_turning_a_shared_hold_into_an_exclusive_one_is_a_bug_in_the_program(locks: Locks) -> None:
    with locks.shared(LockName.CATALOG), pytest.raises(RuntimeError, match="cannot become exclusive"):
        take_and_give_back(locks, LockName.CATALOG, "exclusive")
    take_and_give_back(locks, LockName.CATALOG, "exclusive")


def test_a_lock_is_given_back_after_an_error_inside(locks: Locks) -> None:
    with pytest.raises(ZeroDivisionError), locks.exclusive(LockName.INGEST):
        _ = 1 / 0
    in_another_thread(lambda: take_and_give_back(locks, LockName.INGEST, "exclusive"))


def test_a_lock_file_replaced_between_open_and_lock_is_noticed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instant is forced: the file is replaced just when flock was granted on the old one."""
    granted: list[int] = []
    flock = fcntl.flock

    def replace_once(fd: int, mode: int) -> None:
        flock(fd, mode)
        granted.append(os.fstat(fd).st_ino)
        if len(granted) == 1:
            (run / "fresh").touch()
            (run / "fresh").replace(run / "ingest.lock")

    monkeypatch.setattr(fcntl, "flock", replace_once)
    with Locks(run, timeout=0).exclusive(LockName.INGEST):
        monkeypatch.undo()
        assert granted[-1] == (run / "ingest.lock").stat().st_ino != granted[0]
        assert "LockTimeoutError" in errors_of_another_process(run, LockName.INGEST, "shared")


def test_a_removed_run_folder_comes_back(run: Path, locks: Locks) -> None:
    run.rmdir()
    take_and_give_back(locks, LockName.CATALOG, "shared")
    assert (run / "catalog.lock").stat().st_mode & 0o077 == 0


def test_a_lock_file_that_cannot_be_opened_is_said_with_its_path(run: Path, locks: Locks) -> None:
    (run / "catalog.lock").mkdir()
    with pytest.raises(NescordError, match=r"catalog\.lock cannot be used: Is a directory"):
        take_and_give_back(locks, LockName.CATALOG, "shared")


def test_on_a_disk_that_has_become_read_only_it_is_the_disk_that_is_blamed_and_may_pass(run: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(run)):
        locks = Locks(run, timeout=0)
        take_and_give_back(locks, LockName.CATALOG, "shared")
        subprocess.run(["mount", "-o", "remount,ro", str(run)], check=True)
        with pytest.raises(DiskError, match=r"catalog\.lock cannot be used: Read-only file system") as caught:
            take_and_give_back(locks, LockName.CATALOG, "shared")
        assert is_transient(caught.value)
        subprocess.run(["mount", "-o", "remount,rw", str(run)], check=True)
        take_and_give_back(locks, LockName.CATALOG, "shared")


def test_no_file_stays_open_when_locks_are_given_back_or_refused(run: Path, locks: Locks) -> None:
    fds = Path("/proc/self/fd")
    if not fds.exists():
        pytest.skip("open files are listed in /proc on Linux only")
    with another_process(run, LockName.INGEST, "exclusive"):
        before = len(list(fds.iterdir()))
        for _ in range(20):
            take_and_give_back(locks, LockName.CATALOG, "exclusive")
            with pytest.raises(LockTimeoutError):
                take_and_give_back(locks, LockName.INGEST, "exclusive")
        assert len(list(fds.iterdir())) == before


def test_taking_a_free_lock_is_cheap(locks: Locks) -> None:
    rounds = 500
    for way in ("shared", "exclusive"):
        take_and_give_back(locks, LockName.CATALOG, way)
        began = time.process_time()
        for _ in range(rounds):
            take_and_give_back(locks, LockName.CATALOG, way)
        cost = (time.process_time() - began) / rounds
        assert cost <= 100e-6, f"{way}: {cost * 1e6:.0f} µs"
