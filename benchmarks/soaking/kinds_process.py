"""Faults of processes: killed, told to end, or standing still for a while."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.soaking.faults import Kind, MissedError, began, is_alive, state_of, until

if TYPE_CHECKING:
    from benchmarks.soaking.world import World

_GONE = 10.0
_ENDS = 90.0
_NEXT = 30.0
_RUN_COMES = 40.0
_RIVALS = (1.0, 8.0)
_WAITING = "waiting up to"
_HANGS = (3.0, 15.0)
_HANGING = ("up", "web", "bot", "chroma", "prefect", "serve", "run")
# A redeploy and a kill of the supervisor would each be taken for the other one's end.
CONTAINER = "the container"


class Killed(Kind):
    """kill -9 of one process of a role."""

    is_fatal = True

    def __init__(self, role: str, weight: int) -> None:
        self.role, self.weight = role, weight
        self.name = f"kill -9 {role}"
        self.uses = frozenset({CONTAINER} if role == "up" else {f"the {role}"})

    def do(self, world: World, rng: random.Random) -> str:
        lives = len(world.platform.lives)
        # Read before the kill: afterwards nothing tells one process from a later one of its number.
        births = {pid: began(pid) for pid in world.platform.processes().get(self.role, [])}
        pid = world.platform.kill(self.role, rng)
        if pid is None:
            raise MissedError(f"no {self.role} was running")
        if not until(lambda: not is_alive(pid, births.get(pid, "")), _GONE):
            raise AssertionError(f"{pid} lives on after SIGKILL")
        if self.role != "up":
            return f"{pid} is gone by SIGKILL"
        life = world.platform.lives[lives - 1]
        until(lambda: life.code is not None, _GONE)
        return f"{pid} is gone, its exit code is {life.code}"


class RunKilled(Killed):
    """kill -9 of a flow's run in its middle; one is begun where none is under way."""

    def __init__(self, weight: int) -> None:
        super().__init__("run", weight)
        self.name = "kill -9 of a flow's run"

    def do(self, world: World, rng: random.Random) -> str:
        flow = rng.choice(("ingest", "ingest", "ingest", "backup", "verify"))
        into = rng.uniform(0, 4)
        if not world.platform.processes().get("run"):
            begun = world.platform.cli("flows", "run", flow, "--json", seconds=60)
            if begun.code != 0:
                raise MissedError(f"no run could be begun: {begun.err.strip()[-200:]}")
            if not until(lambda: world.platform.processes().get("run") or world.stop.is_set(), _RUN_COMES):
                raise MissedError(f"the run of {flow} did not come to life")
            world.stop.wait(into)
        return f"{flow}: {super().do(world, rng)}"


class Redeployed(Kind):
    """SIGTERM of `nescord up`, as a new deployment does; the next one follows."""

    name = "SIGTERM of up (redeploy)"
    weight = 1
    uses = frozenset({CONTAINER})
    is_fatal = True

    def do(self, world: World, rng: random.Random) -> str:
        return redeployed(world)


def redeployed(world: World, **settings: str) -> str:
    """Have the container end and the next one begin, with these settings; what shows it."""
    if world.platform.pid is None:
        raise MissedError("no container was running")
    life = world.platform.lives[-1]
    world.platform.redeploy(**settings)
    if not until(lambda: life.ended is not None, _ENDS):
        raise AssertionError(f"container {life.number} did not end within {_ENDS:g} s")
    if not until(lambda: len(world.platform.lives) > life.number and world.platform.pid, _NEXT):
        raise MissedError("no other container began: the soak ends")
    return f"container {life.number} ended with {life.code}, {world.platform.lives[-1].number} began"


class Rival(Kind):
    """Another container is started while the one before it still runs: it waits, and is told to end."""

    name = "two containers at once"
    weight = 1
    uses = frozenset({CONTAINER})

    def do(self, world: World, rng: random.Random) -> str:
        seconds = rng.uniform(*_RIVALS)
        if world.platform.get("/healthz") == 0:
            raise MissedError("no container was running")
        command = [sys.executable, "-m", "nescord.cli", "up", "--port", "0", "--no-ui"]
        with (
            tempfile.TemporaryFile(dir=world.scratch) as said,
            subprocess.Popen(
                command, cwd=world.scratch, env=world.platform.environment(), stdout=said, stderr=said
            ) as rival,
        ):

            def words() -> str:
                return os.pread(said.fileno(), 1 << 16, 0).decode("utf-8", "replace")

            waits = until(lambda: _WAITING in words() or rival.poll() is not None, _NEXT) and _WAITING in words()
            world.stop.wait(seconds)
            rival.send_signal(signal.SIGTERM)
            code = rival.wait(_ENDS)
        if not waits:
            raise MissedError(f"the other container ended with {code} before it had to wait")
        if code != 0:
            world.ledger.violation(f"a container that waited for another one, and was told to end, ended with {code}")
        return f"the other container waited for {seconds:.0f} s and ended with {code}"


class Hung(Kind):
    """SIGSTOP of one process for some seconds."""

    name = "SIGSTOP"
    weight = 3
    uses = frozenset({"a standstill"})

    def __init__(self) -> None:
        self._stopped: dict[int, str] = {}

    def do(self, world: World, rng: random.Random) -> str:
        seconds, wanted = rng.uniform(*_HANGS), rng.sample(_HANGING, len(_HANGING))
        running = world.platform.processes()
        role = next((role for role in wanted if running.get(role)), "")
        if not role:
            raise MissedError("nothing was running")
        pid = rng.choice(sorted(running[role]))
        self._stopped[pid] = began(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        if not until(lambda: state_of(pid) == "T", 2):
            raise MissedError(f"the {role} {pid} ended before it could be stopped")
        world.stop.wait(seconds)
        is_still = state_of(pid) == "T"
        return f"the {role} {pid} was in state T for {seconds:.0f} s" + (
            "" if is_still else ", and was ended meanwhile"
        )

    def heal(self, world: World) -> None:
        for pid, birth in list(self._stopped.items()):
            if is_alive(pid, birth):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            del self._stopped[pid]


def kinds() -> list[Kind]:
    """The faults of this module, always in the same order."""
    return [
        Killed("up", 1),
        Killed("bot", 3),
        Killed("web", 1),
        Killed("serve", 1),
        Killed("prefect", 1),
        Killed("chroma", 2),
        RunKilled(3),
        Redeployed(),
        Rival(),
        Hung(),
    ]
