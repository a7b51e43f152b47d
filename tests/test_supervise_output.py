"""What services print: kept, shown and made safe, whatever they, the disk and the reader of the log do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backup_world import small_disk
from flow_world import processes_naming, wait_for
from supervise_world import Watched, program, toy

from nescord.log_lines import Printer
from nescord.logs import LONGEST_LINE, Log
from nescord.redaction import Redactor

SECRET = "correct-horse-battery"
# Prints so many megabytes at least, and until that file exists; then how many bytes these were.
_FLOOD = """
import os, sys, time
block, count = b"x" * 99 + b"\\n", 0
while count < int(sys.argv[1]) * 10**6 or not os.path.exists(sys.argv[2]):
    os.write(1, block * 1000)
    count += 100_000
os.write(1, b"all: %d\\n" % count)
time.sleep(600)
"""
_MEGABYTES = 100 if os.environ.get("NESCORD_SOAK") == "1" else 30


def test_each_line_goes_to_the_log_and_to_who_listens_without_secrets(tmp_path: Path) -> None:
    code = f"""
import os, time
os.write(1, b"to say correct-horse")  # cut in the middle of the secret, and of a letter
time.sleep(0.3)
os.write(1, b"-battery\\r\\n\\xe3\\x81")
time.sleep(0.3)
os.write(2, b"\\x82, not \\xff text\\n\\nno end: {SECRET}")
"""
    watched = Watched(tmp_path, program("a", code), redact=Redactor([SECRET]))

    async def work() -> int:
        await watched.until(lambda: watched.heard("tried again"))
        return 0

    assert watched.run(work) == 0
    expected = ["to say ***", "あ, not � text", "", "no end: ***"]
    assert [line for name, line in watched.lines if name == "a"][:4] == expected
    assert (tmp_path / "logs" / "a.log").read_text().splitlines()[:4] == expected
    assert SECRET not in "".join(watched.said)
    assert watched.heard("ended with exit code 0; the end of its log")[0].endswith("no end: ***; tried again in 0.05 s")


@pytest.mark.parametrize("shift", [0, 3, 9, 20])
def test_a_line_without_end_is_cut_but_never_within_a_secret(tmp_path: Path, shift: int) -> None:
    lines: list[str] = []
    log = Log(tmp_path / "a.log", redact=Redactor([SECRET]), sink=lambda name, line: lines.append(line))
    before = "x" * (LONGEST_LINE - shift)
    with log.opened() as fd:
        for _ in range(4):
            os.write(fd, (before + SECRET).encode())
        os.write(fd, b"\nthe end\n")
    _closed(log)
    assert lines[-1] == "the end"
    assert "".join(lines[:-1]) == (before + "***") * 4
    assert len(lines) > 4
    assert max(len(line) for line in lines) <= LONGEST_LINE


def test_a_long_line_that_ends_is_cut_too(tmp_path: Path) -> None:
    lines: list[str] = []
    log = Log(tmp_path / "a.log", sink=lambda name, line: lines.append(line))
    with log.opened() as fd:
        os.write(fd, b"y" * (LONGEST_LINE + 1) + b"\n")
    _closed(log)
    assert [len(line) for line in lines] == [LONGEST_LINE, 1]


def test_what_the_children_of_a_service_print_counts_too(tmp_path: Path) -> None:
    code = "import subprocess, time; subprocess.Popen(['sh', '-c', 'sleep 0.2; echo grandchild']); time.sleep(600)"
    watched = Watched(tmp_path, program("a", code))

    async def work() -> int:
        await watched.until(lambda: ("a", "grandchild") in watched.lines)
        return 0

    assert watched.run(work) == 0


def test_who_left_the_group_and_keeps_the_pipe_does_not_hold_up_the_end(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "stray = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print('stray', stray.pid)\ntime.sleep(600)"
    )
    watched = Watched(tmp_path, program("a", code))

    async def work() -> int:
        await watched.until(lambda: watched.lines)
        return 0

    begun = time.monotonic()
    assert watched.run(work) == 0
    assert time.monotonic() - begun < 10
    os.kill(int(watched.lines[0][1].split()[1]), signal.SIGKILL)  # it was alive: the fault did happen


def test_a_closed_log_reads_what_is_there_and_then_no_more(tmp_path: Path) -> None:
    lines: list[str] = []
    log = Log(tmp_path / "a.log", sink=lambda name, line: lines.append(line))
    with log.opened() as fd:
        stray = os.dup(fd)
        os.write(fd, b"the last line\n")
    log.close()
    _closed(log)
    assert lines == ["the last line"]
    with pytest.raises(BrokenPipeError):
        os.write(stray, b"to nobody")
    os.close(stray)


def test_a_log_that_grows_is_moved_out_of_the_way(tmp_path: Path) -> None:
    log = Log(tmp_path / "logs" / "a.log")
    with log.opened() as fd:
        os.write(fd, b"begin\n")
        for _ in range(70):
            os.write(fd, b"x" * 99_999 + b"\n")
        os.write(fd, b"goes on\n")
    _closed(log)
    assert (tmp_path / "logs" / "a.log.1").read_bytes().startswith(b"begin\n")
    now = (tmp_path / "logs" / "a.log").read_bytes()
    assert now.endswith(b"\ngoes on\n")
    assert len(now) < 3e6
    assert log.tail().endswith("goes on")
    with log.opened() as fd:  # the next life goes on with the same file
        os.write(fd, b"anew\n")
    _closed(log)
    assert (tmp_path / "logs" / "a.log").read_bytes() == now + b"anew\n"


def test_a_full_disk_loses_lines_of_the_log_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "logs", 1) as disk:
        (disk / "filler").write_bytes(b"x" * (2**20 - 64 * 1024))
        code = (
            "import os, sys, time\n"
            "for n in range(20000): os.write(1, b'%d ' % n + b'x' * 90 + b'\\n')\n"
            "os.write(1, b'all is said\\n')\n"
            "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
            "os.write(1, b'there is room\\n')\ntime.sleep(600)"
        )
        watched = Watched(tmp_path, program("a", code, str(tmp_path / "go")))
        log = disk / "a.log"

        async def work() -> int:
            await watched.until(lambda: ("a", "all is said") in watched.lines)
            assert "all is said" not in log.read_text()  # the disk was full indeed
            (disk / "filler").unlink()
            (tmp_path / "go").touch()
            await watched.until(lambda: "there is room" in log.read_text())
            assert watched.supervisor.is_ready("a")
            return 0

        assert watched.run(work) == 0
        assert len(watched.lines) == 20002
        assert "\n(lines are missing here: No space left on device)\nthere is room\n" in log.read_text()
        assert watched.supervisor.states[0].restarts == 0


def test_logs_that_cannot_be_written_at_all_keep_no_service_from_running(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    watched = Watched(tmp_path, toy(tmp_path, "a"))

    async def work() -> int:
        return 0 if watched.supervisor.is_ready("a") else 1

    assert watched.run(work) == 0
    assert watched.lines == [("a", "a speaks"), ("a", "a ends")]


def test_a_flood_neither_keeps_from_watching_nor_fills_the_memory(tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    flood = program("loud", _FLOOD, str(_MEGABYTES), str(enough))
    redact = Redactor([SECRET, *(f"another-secret-{n}" for n in range(8))])
    count = 0
    last = ""

    def sink(name: str, line: str) -> None:
        nonlocal count, last
        if name == "loud":
            last = line
            count += len(line) + 1

    watched = Watched(tmp_path, toy(tmp_path, "quiet"), flood, sink=sink, redact=redact)
    before, most, late = _resident(), 0, 0.0

    async def work() -> int:
        nonlocal most, late
        killed = watched.pid("quiet")
        os.kill(killed, signal.SIGKILL)
        while not last.startswith("all"):
            begun = time.monotonic()
            await asyncio.sleep(0.02)
            late = max(late, time.monotonic() - begun - 0.02)
            most = max(most, _resident() - before)
            if watched.pid("quiet") != killed and watched.supervisor.is_ready("quiet"):
                enough.touch()
        return 0

    assert watched.run(work) == 0
    print(f"{count / 1e6:.0f} MB: loop late by {late:.3f} s, {most / 2**20:.1f} MiB more memory")
    assert count == int(last.split()[1]) + len(last) + 1
    assert count >= _MEGABYTES * 10**6
    assert late < 2
    assert most < 30 * 2**20
    assert sum(file.stat().st_size for file in (tmp_path / "logs").iterdir()) < 12 * 2**20


def test_a_stuck_standard_output_stops_neither_a_service_nor_the_watching(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, Printer(stream, "text", str) as printer:
        watched = Watched(tmp_path, toy(tmp_path, "quiet"), program("loud", _FLOOD, "5", str(tmp_path)), sink=printer)

        async def work() -> int:
            log = tmp_path / "logs" / "loud.log"
            await watched.until(lambda: log.exists() and "all: 5000000" in log.read_text())
            killed = watched.pid("quiet")
            os.kill(killed, signal.SIGKILL)
            await watched.until(lambda: watched.pid("quiet") != killed and watched.supervisor.is_ready("quiet"))
            return 0

        assert watched.run(work) == 0
        assert printer._lost  # it was stuck indeed
        os.close(reading)


def test_a_killed_supervisor_does_not_leave_who_prints_on_and_on(tmp_path: Path) -> None:
    """Who does not look at standard input learns of it by what it prints."""
    code = (
        "import os, sys, time\nopen(sys.argv[1], 'w').close()\nwhile True: print('tick', flush=True); time.sleep(0.05)"
    )
    script = (
        "import asyncio, sys; from pathlib import Path; from nescord.supervise import Supervisor\n"
        "from supervise_world import program\n"
        "folder = Path(sys.argv[1])\n"
        f"service = program('a', {code!r}, str(folder / 'runs'))\n"
        "asyncio.run(Supervisor([service], folder / 'logs', print).run())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as supervisor:
        try:
            wait_for("the service", lambda: (tmp_path / "runs").exists())
        finally:
            supervisor.kill()
    wait_for("the end of everything", lambda: not processes_naming(str(tmp_path)))


def _closed(log: Log) -> None:
    wait_for("the end of the log", lambda: not log.is_open)


def _resident() -> int:
    """Bytes of memory that this process uses now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
