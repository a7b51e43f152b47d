"""How long the end takes at most, and what is left of a service whose supervisor is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from flow_world import processes_naming, wait_for
from supervise_world import QUICK, Watched, program, toy

# Will not end, and has started somebody who has left the group and keeps its output open.
_STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "stray = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    "print('stray', stray.pid, flush=True)\ntime.sleep(600)"
)
# Ends at once when it is told to, and leaves a child that does not.
_LEADER = """
import subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1], "w").close()
time.sleep(600)
"""
_SUPERVISOR = """
import asyncio, os, sys
from dataclasses import replace
from pathlib import Path
from nescord.supervise import Supervisor
from supervise_world import program
folder = Path(sys.argv[1])
service = program("a", "")
def prepare():
    command = [sys.executable, "-m", "nescord.parent", "1", "leader", str(folder / "runs")]
    return replace(service.prepare(), command=command, env={**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(folder), os.environ["PYTHONPATH"]])})
asyncio.run(Supervisor([replace(service, prepare=prepare)], folder / "logs", print).run())
"""


def test_all_together_have_only_so_long_however_stubborn_they_are(tmp_path: Path) -> None:
    services = [program(name, _STUBBORN, str(tmp_path), grace=2) for name in "abcd"]
    watched = Watched(tmp_path, *services, policy=replace(QUICK, stop_within=3))
    begun = 0.0

    async def work() -> int:
        nonlocal begun
        await watched.until(lambda: len(watched.lines) == len(services))
        begun = time.monotonic()
        return 0

    try:
        assert watched.run(work) == 0
        assert 3 <= time.monotonic() - begun < 4.2
        assert watched.heard("d: did not end within 2 s and is killed")
        assert watched.heard("a: did not end in time and is killed")
    finally:
        for _, line in watched.lines:
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[1]), signal.SIGKILL)
    assert not processes_naming(str(tmp_path))


def test_one_that_is_being_ended_already_has_no_longer_either(tmp_path: Path) -> None:
    service = toy(tmp_path, "a", "stubborn", grace=600)
    watched = Watched(tmp_path, service, policy=replace(QUICK, stop_within=0.5))

    async def work() -> int:
        await watched.until(lambda: watched.supervisor.is_ready("a"))
        watched.supervisor.restart("a")
        await watched.until(lambda: not watched.supervisor.is_ready("a"))
        return 0

    begun = time.monotonic()
    assert watched.run(work) == 0
    assert time.monotonic() - begun < 10
    assert not processes_naming(str(tmp_path))


def test_of_a_killed_supervisor_nothing_is_left_where_a_service_ends_before_what_it_has_started(tmp_path: Path) -> None:
    (tmp_path / "leader.py").write_text(_LEADER)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-c", _SUPERVISOR, str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL) as supervisor:
        try:
            wait_for("the service", (tmp_path / "runs").exists)
            assert len(processes_naming(str(tmp_path))) == 3  # the supervisor, the service and its child
        finally:
            supervisor.kill()
    wait_for("the end of the leader", lambda: len(processes_naming(str(tmp_path))) < 3, 5)
    wait_for("the end of everything", lambda: not processes_naming(str(tmp_path)), 10)
