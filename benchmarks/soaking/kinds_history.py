"""Faults of time and people: the clock jumps, a backup is put back, the budget is spent, a command is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.soaking.faults import Kind, MissedError
from benchmarks.soaking.kinds_process import CONTAINER, redeployed
from nescord import KnowledgeManager, Settings
from nescord.backup.retention import PRE_RESTORE
from nescord.backup.store import BackupStore
from nescord.catalog import vectors as vectors_sql

if TYPE_CHECKING:
    from benchmarks.soaking.world import World

BASE = "backups and restores"
_DISK = "the disk"
_AWAY = (6.0, 25.0)
_SPENT = (10.0, 25.0)
_HEALTHY = 180.0
_LIMIT = "GEMINI_MONTHLY_LIMIT"
# Less than what a backup before a restore is kept for, and than what is in the trash.
_JUMPS = (90, 20 * 60, 3 * 3600, 26 * 3600)
_NEARLY = 30.0
_COMMANDS = (
    ("backup", "create"),
    ("backup", "create"),
    ("backup", "replicate"),
    ("backup", "prune", "--keep-last", "6"),
    ("ingest",),
    ("verify",),
    ("maintain",),
    ("index", "rebuild"),
)
_COMMAND_TAKES = 3.0


class ClockJumped(Kind):
    """The clock of the service and of commands beside it is off for a while."""

    weight = 2
    uses = frozenset({"the clock"})

    def __init__(self, name: str, sign: int) -> None:
        self.name, self._sign = name, sign

    def left_out(self, world: World) -> str:
        return "" if world.clock.works else "there is no libfaketime here"

    def do(self, world: World, rng: random.Random) -> str:
        seconds, offset = rng.uniform(*_AWAY), self._sign * rng.choice(_JUMPS)
        world.clock.jump(offset)
        told = float(_in_container(world, "import time; print(time.time())").strip())
        if abs(told - time.time() - offset) > _NEARLY:
            raise MissedError(f"a new process is {told - time.time():.0f} s off, not {offset} s")
        world.stop.wait(seconds)
        return f"a new process was {told - time.time() + seconds:+.0f} s off, for {seconds:.0f} s"

    def heal(self, world: World) -> None:
        world.clock.jump(0)


class Restored(Kind):
    """Somebody puts an older backup in the place of the database, and lets the vault be taken in again."""

    name = "an older backup is restored"
    weight = 1
    uses = frozenset({BASE, _DISK})
    is_fatal = True

    def do(self, world: World, rng: random.Random) -> str:
        chosen = self._chosen(world, rng)
        epoch = epoch_of(world)
        world.ledger.restoring(chosen)
        done = self._restore(world, rng, chosen)
        after = epoch_of(world)
        if after == epoch:
            world.ledger.not_restored()
            raise MissedError(f"{chosen}: {done}")
        world.ledger.restored(_newest(world, PRE_RESTORE), after)
        resumed(world)
        return f"{chosen} put back ({done}), the epoch {epoch[:8]} became {after[:8]}"

    def _restore(self, world: World, rng: random.Random, chosen: str) -> str:
        done = world.platform.cli("backup", "restore", chosen, "--yes", "--json", seconds=240)
        return f"exit code {done.code}" if done.code == 0 else f"exit code {done.code}: {done.err.strip()[-300:]}"

    def _chosen(self, world: World, rng: random.Random) -> str:
        """One of those of which it is known what they owe; one is made where there is none."""
        known = known_backups(world)
        if not known:
            known = [backed_up(world)]
            world.stop.wait(3)  # so that there is something to lose
        return rng.choice(known[-6:])

    def heal(self, world: World) -> None:
        resumed(world)


class RestoreKilled(Restored):
    """The same, and the command is killed in its middle; whoever comes next finishes it, or it never was."""

    name = "kill -9 of a restore"
    weight = 1

    def _restore(self, world: World, rng: random.Random, chosen: str) -> str:
        journal, wait = world.data / ".restore" / "journal.json", rng.random() < 0.6
        with _command(world, "backup", "restore", chosen, "--yes") as restoring:
            delay = rng.uniform(0, 0.05) if wait else rng.uniform(0.5, 4)
            ends = time.monotonic() + (240 if wait else delay)
            while restoring.poll() is None and time.monotonic() < ends and not (wait and journal.exists()):
                time.sleep(0.002)
            time.sleep(delay if wait else 0)
            is_decided = journal.exists()
            restoring.kill()
        if restoring.returncode != -signal.SIGKILL:
            return f"it had ended before, with {restoring.returncode}"
        return f"killed by SIGKILL, {'decided' if is_decided else 'not decided'}"


class CommandKilled(Kind):
    """A command of the operator is killed in its middle: a backup, a copy, an ingest."""

    name = "kill -9 of a command"
    weight = 3
    uses = frozenset({"a command"})
    is_fatal = True

    def do(self, world: World, rng: random.Random) -> str:
        arguments, delay = rng.choice(_COMMANDS), rng.uniform(0.4, _COMMAND_TAKES)
        with _command(world, *arguments) as command:
            try:
                code = command.wait(delay)
            except subprocess.TimeoutExpired:
                command.kill()
                code = command.wait()
        if code != -signal.SIGKILL:
            raise MissedError(f"{' '.join(arguments)} ended before, with {code}")
        return f"{' '.join(arguments)} is gone by SIGKILL after {delay:.1f} s"


class BudgetSpent(Kind):
    """A deployment whose month is spent, until it is deployed with the limit that it had."""

    name = "the budget is spent"
    weight = 1
    uses = frozenset({CONTAINER, "gemini"})
    is_fatal = True

    def __init__(self) -> None:
        self._limit = ""

    def do(self, world: World, rng: random.Random) -> str:
        seconds = rng.uniform(*_SPENT)
        self._limit = world.platform.settings[_LIMIT]
        redeployed(world, **{_LIMIT: "1"})
        if not world.platform.until_healthy(_HEALTHY):
            raise MissedError("the container with the spent budget did not become healthy")
        before = len(world.gemini.calls)
        world.stop.wait(seconds)
        calls = len(world.gemini.calls) - before
        done = world.platform.cli("budget", "--json")
        if calls:
            world.ledger.violation(f"the budget was spent, and Gemini was called {calls} times")
        redeployed(world, **{_LIMIT: self._limit})
        state = done.document or {}
        return f"no call for {seconds:.0f} s, of a limit of {state.get('limit')} tokens {state.get('used')} are used"

    def heal(self, world: World) -> None:
        if self._limit and world.platform.settings[_LIMIT] != self._limit:
            redeployed(world, **{_LIMIT: self._limit})


def backed_up(world: World) -> str:
    """Make a backup by the command, and let the ledger know what it owes; its id.

    Raises:
        MissedError: it could not be made.
    """
    begun = time.monotonic()
    done = world.platform.cli("backup", "create", "--json", seconds=180)
    if done.code != 0:
        raise MissedError(f"no backup could be made: {done.err.strip()[-200:]}")
    made = str(done.document["id"])
    world.ledger.snapshot(made, begun)
    return made


def known_backups(world: World) -> list[str]:
    """The good backups of which the ledger knows what they owe. One that was begun while a restore was under way may
    have been put down to the life before it: its epoch tells."""
    ledger = world.ledger
    lives = {life.epoch: number for number, life in enumerate(ledger.lives) if life.epoch}
    good = BackupStore(world.data / "backups").good()
    return [
        each.id
        for each in good
        if each.id in ledger.snapshots and ledger.snapshots[each.id].life == lives.get(each.epoch, 0)
    ]


def resumed(world: World) -> None:
    """Let the vault be taken in again, where a restore has stopped that."""
    done = world.platform.cli("ingest", "--resume", "--yes", "--json", seconds=180)
    if done.code not in (0, 2):  # 2: nothing is paused
        world.say(f"the vault could not be resumed: {done.err.strip()[-200:]}")


def epoch_of(world: World) -> str:
    """Which life of the database it is; a restore that was decided on is finished by that."""
    with (
        KnowledgeManager.open_existing(settings_here(world)) as knowledge,
        knowledge._base.verb() as catalog,
        catalog.read() as connection,
    ):
        return str(vectors_sql.epoch(connection))


def settings_here(world: World, **more: Any) -> Settings:
    """The settings of the service, for this process: no call is made with them."""
    return Settings(**{"_env_file": None, "data_dir": world.data, "embedder": "none", **more})


def _newest(world: World, trigger: str) -> str:
    for snapshot in reversed(BackupStore(world.data / "backups").snapshots()):
        if snapshot.manifest is not None and snapshot.manifest.trigger == trigger:
            return snapshot.id
    return ""


def _command(world: World, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nescord.cli", *arguments],
        cwd=world.scratch,
        env=world.platform.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _in_container(world: World, script: str) -> str:
    """What a Python script prints that runs as the service does."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=world.scratch,
        env=world.platform.environment(),
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout


def kinds() -> list[Kind]:
    """The faults of this module, always in the same order."""
    return [
        ClockJumped("the clock jumps forward", 1),
        ClockJumped("the clock jumps back", -1),
        Restored(),
        RestoreKilled(),
        CommandKilled(),
        BudgetSpent(),
    ]
