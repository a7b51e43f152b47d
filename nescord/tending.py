"""What the supervisor does beside watching: keep Chroma right, mend what the start found, tell how things are.

Whatever needs the database runs in a process of its own, which ends with ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from nescord import durable, gate, reserve, service_state
from nescord.home import DataFolder, boot_id
from nescord.index.seal import Folder
from nescord.logs import Log, Redact, Sink
from nescord.process_groups import spawn
from nescord.service_state import Finding, ServiceState, SupervisorState
from nescord.supervise import Say, Supervisor
from nescord.times import utc_text

_FOLLOW_PAUSE = 1.0
_RESTART_PAUSE = 10.0
_FIRST_RETRY, _LONGEST_RETRY = 10.0, 3600.0
# What waits for a person, such as a full disk, is looked at again before he wonders.
_LONGEST_LOOK = 300.0
# How soon what could not be written is tried again, and how long the last is waited for.
_PUBLISH_AGAIN, _PUBLISH_LAST = 5.0, 1.0
_SETTLED = 5.0


class Board:
    """Keeps run/state.json right: what the start found, and every change that the supervisor tells of."""

    def __init__(self, folder: DataFolder, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        self._folder = folder
        self._supervisor: Supervisor | None = None
        self._started_at = utc_text(datetime.now(UTC))
        self._ready_at: str | None = None
        self._write_down = durable.Teller(self._written, again=_PUBLISH_AGAIN)

    def show(self, supervisor: Supervisor) -> None:
        """From now on this one's services."""
        self._supervisor = supervisor
        self.write()

    def tell(self, _: Sequence[ServiceState]) -> None:
        """Something has changed, or all goes on."""
        self.write()

    def write(self) -> None:
        """Say how things are: soon, and on a full disk another time."""
        if self._supervisor is None:
            return
        phase = self._supervisor.phase
        if phase == "running" and self._ready_at is None:
            self._ready_at = utc_text(datetime.now(UTC))
        state = SupervisorState(
            boot_id=boot_id(), pid=os.getpid(), phase=phase, started_at=self._started_at, ready_at=self._ready_at,
            services=tuple(self._supervisor.states), findings=self.findings,
        )  # fmt: skip
        self._write_down(state)

    def close(self) -> None:
        """Say for the last time how things are."""
        self._write_down.close(_PUBLISH_LAST)

    def _written(self, state: SupervisorState) -> None:
        """In a thread of its own. Then room is put by for the next time that nothing can be written."""
        service_state.write(self._folder, state)
        reserve.put_by(self._folder)


class Beside:
    """Runs our own modules beside the services, with their output in run/logs."""

    def __init__(self, folder: DataFolder, redact: Redact, sink: Sink | None) -> None:
        self._folder = folder
        self._redact = redact
        self._sink = sink

    async def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bytes]:
        """Exit code and standard output of a process, which is killed when we are cancelled.

        Raises:
            OSError: it cannot be started: the machine is short of processes, memory or descriptors.
        """
        log = Log(self._folder.run / "logs" / f"{name}.log", redact=self._redact, sink=self._sink)
        with log.opened() as output:
            child = await spawn(command, environment, stdout=asyncio.subprocess.PIPE, stderr=output)
        assert child.stdout is not None
        try:
            answer = await child.stdout.read()
            return await child.wait(), answer
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            log.close()


class Follower:
    """Keeps what the Chroma server holds right, by what its users leave word of (index/seal.py)."""

    def __init__(self, supervisor: Supervisor, folder: DataFolder, say: Say, beside: Beside) -> None:
        self._supervisor = supervisor
        self._say = say
        self._beside = beside
        self._environment = gate.environment(folder)
        self._place = Folder(folder.chroma, folder.run)
        self._retry = _FIRST_RETRY
        self._due = self._restarted = 0.0

    async def follow(self) -> None:
        """For ever, whatever the disk and the machine do meanwhile."""
        while True:
            await asyncio.sleep(_FOLLOW_PAUSE)
            if not self._supervisor.is_ready("chroma"):
                continue
            try:
                await self._look()
            except OSError as error:
                self._say(f"chroma: cannot be looked after: {error}; tried again in {self._retry:g} s")
                await asyncio.sleep(self._retry)
                self._retry = min(2 * self._retry, _LONGEST_RETRY)

    async def _look(self) -> None:
        now = time.monotonic()
        if (reason := self._place.suspicion()) and now > self._restarted:
            self._say(f"chroma: its folder is damaged and is begun anew: {reason}")
            self._supervisor.restart("chroma")
            self._restarted, self._due = now + _RESTART_PAUSE, 0.0
        elif self._place.doubt() and now > self._due and not reason:
            await self._catch_up()
            is_right = not self._place.doubt()
            self._retry = _FIRST_RETRY if is_right else min(2 * self._retry, _LONGEST_RETRY)
            self._due = time.monotonic() + self._retry

    async def _catch_up(self) -> None:
        """Compare the server with SQLite."""
        command = [sys.executable, "-P", "-m", "nescord.catching_up"]
        code, _ = await self._beside.run("catching-up", command, self._environment)
        if code or self._place.doubt():
            self._say("chroma: could not be compared with the database yet; see run/logs/catching-up.log")
        else:
            self._say("chroma: compared with the database")


class Mender:
    """Mends what the verification at the start found, as far as nothing is lost by it, until nothing is found.

    The index can only be looked into now, through its server: once, when the follower has done what it can.
    """

    def __init__(self, board: Board, folder: DataFolder, say: Say, beside: Beside, *, has_index: bool) -> None:
        self._board = board
        self._is_due = has_index
        self._said: tuple[str, ...] = ()
        self._say = say
        self._beside = beside
        self._environment = gate.environment(folder)
        self._place = Folder(folder.chroma, folder.run)

    async def mend(self) -> None:
        """Ends when no check fails any more."""
        pause = _FOLLOW_PAUSE if self._failed else _SETTLED
        while self._failed or self._is_due:
            await asyncio.sleep(pause)
            before = self._board.findings
            longer = min(max(2 * pause, _FIRST_RETRY), _LONGEST_LOOK)
            try:
                if not self._failed and self._place.doubt():
                    continue  # the follower is not done
                await self._look()
            except OSError as error:
                self._say(f"repair: cannot look: {error}; tried again in {longer:g} s")
            pause = longer
            if self._board.findings != before:
                self._board.write()

    @property
    def _failed(self) -> list[str]:
        return [each.name for each in self._board.findings if each.status == "fail"]

    async def _look(self) -> None:
        code, answer = await self._beside.run("mending", gate.command("mend"), self._environment)
        try:
            found = gate.ANSWER.validate_json(answer)
        except ValueError:
            self._say(f"repair: ended with {code}; see run/logs/mending.log")
            return
        if found.error:
            self._say(f"repair: {found.error}")
            return
        self._is_due = False
        before = self._failed
        self._board.findings = found.findings
        if found.done != self._said:  # what cannot be mended is said once
            for sentence in found.done:
                self._say(f"repair: {sentence}")
        self._said = found.done
        if before != self._failed:
            what = f"these checks still fail: {', '.join(self._failed)}" if self._failed else "no check fails any more"
            self._say(f"repair: {what}")
