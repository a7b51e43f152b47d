"""Keep a few child processes running: start them in order, watch them, restart them, stop them in reverse order.

The kernel of `nescord services` and `nescord up`: it lives as long as the machine and must stay small. A service that
cannot run is retried, less and less often, and keeps none of the others from running, but those that need it; one that
is required ends all, so that whoever started us learns of it. Each child leads a process group of its own, is stopped
as a group, and holds the reading end of a pipe from us: it ends with us however we end (nescord/parent.py). What it
prints comes to us through another pipe (nescord/logs.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nescord.errors import NescordError
from nescord.lives import FOR_A_PERSON, PATIENT, Child, Life, Policy, Service
from nescord.logs import Log, Redact, Sink
from nescord.process_groups import (
    Orphans,
    has_group,
    how_it_ended,
    reap_group,
    signal_group,
    spawn,
    thread_shortage,
)
from nescord.service_state import Phase, ServiceState, State

__all__ = ["FAILED", "PATIENT", "Child", "Policy", "Say", "Service", "Supervisor"]

Say = Callable[[str], None]

FAILED = 1
_ASKED = "asked"
_END_PAUSE = 0.05
# For so long at most the last lines of a process whose group is gone are waited for.
_LOG_PATIENCE, _LOG_PAUSE = 2.5, 0.01


@dataclass(frozen=True, slots=True)
class _End:
    """Why a life ended that nobody ended, and more about it for the log only.

    `mend` is its last word, where that tells a person what to do.
    """

    reason: str
    details: str
    mend: str = ""


class Supervisor:
    """Runs services until it is told to stop. `run` may be called once."""

    def __init__(
        self,
        services: Sequence[Service],
        logs: Path,
        say: Say,
        policy: Policy = PATIENT,
        *,
        sink: Sink | None = None,
        redact: Redact = str,
        tell: Callable[[Sequence[ServiceState]], None] = lambda states: None,
    ) -> None:
        """`tell` hears of every change of a state or of the phase, and every now and then that there is none; `sink`
        of each line of a service (see Log).

        Both must neither wait nor fail.
        """
        self._lives = {each.name: Life(each, policy) for each in services}
        self._logs = logs
        self._say: Say = lambda text: say(redact(text))
        self._policy = policy
        self._sink = sink
        self._redact = redact
        self._tell = tell
        self._phase: Phase = "starting"
        self._has_failed = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stop_by = math.inf

    @property
    def states(self) -> list[ServiceState]:
        """How each service is now, in the order of their start."""
        return [life.state for life in self._lives.values()]

    @property
    def phase(self) -> Phase:
        """`running` as soon as each service was tried."""
        return self._phase

    def stop(self) -> None:
        """Stop everything, in reverse order; said again, at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def restart(self, name: str) -> None:
        """End this life of a service and begin the next."""
        self._lives[name].ask_for_restart.set()

    def is_ready(self, name: str) -> bool:
        """Whether the service is ready now."""
        return self._lives[name].is_ready.is_set()

    async def run(
        self,
        work: Callable[[], Awaitable[int]] | None = None,
        *,
        beside: Callable[[], Coroutine[None, None, None]] | None = None,
    ) -> int | None:
        """Keep the services running until `work` is done, or for ever; its exit code, None when told to stop before.

        FAILED when a required service does not stay alive. `work` and `beside` begin when each of the services was
        tried; `beside` is cancelled before they are stopped.
        """
        tasks = [self._watched(self._beat(Orphans()))]
        with self._signals():
            try:
                code = await self._unless_stopped(self._start(tasks, work, beside))
            finally:
                self._enter("stopping")
                self._stop_by = time.monotonic() + self._policy.stop_within
                for task in reversed(tasks):
                    task.cancel()
                    await asyncio.wait({task})
                for life in self._lives.values():
                    self._is_over(life)
        for task in tasks:
            if not task.cancelled():
                task.result()  # it failed, and that is a bug
        self._say("stopped")
        return FAILED if self._has_failed else code

    async def _start(
        self,
        tasks: list[asyncio.Task[None]],
        work: Callable[[], Awaitable[int]] | None,
        beside: Callable[[], Coroutine[None, None, None]] | None,
    ) -> int:
        for life in self._lives.values():
            tasks.append(self._watched(self._keep(life)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(life.was_tried.wait(), self._policy.queue)
        if beside is not None:
            tasks.append(self._watched(beside()))
        self._enter("running")
        late = [name for name in self._lives if not self.is_ready(name)]
        self._say(f"not ready yet: {', '.join(late)}" if late else "all services are ready")
        if work is None:
            work = asyncio.Event().wait  # for ever
        return await work()

    async def _beat(self, orphans: Orphans) -> None:
        while True:
            await asyncio.sleep(self._policy.beat)
            orphans.reap()
            self._tell(self.states)

    def _watched(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task without which there is no going on."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda done: None if done.cancelled() else self._stop.set())
        return task

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _unless_stopped(self, work: Coroutine[None, None, int]) -> int | None:
        """The answer of `work`; None when told to stop before."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stop):
                each.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _keep(self, life: Life) -> None:
        try:
            while (pause := await self._live_once(life)) is not None:
                await asyncio.sleep(pause)
        finally:
            self._is_over(life)

    async def _live_once(self, life: Life) -> float | None:
        """One life; how long to wait for the next, None when there is to be none."""
        if life.service.needs:
            await self._wait_for(self._lives[life.service.needs], life)
        begun = time.monotonic()
        end = await self._live(life)
        # An end that was asked for, or that of what it needs, is no fault of its own.
        pause = self._mourn(life, end, begun) if end else 0
        life.was_tried.set()
        return pause

    async def _wait_for(self, needed: Life, life: Life) -> None:
        await needed.was_tried.wait()
        if not needed.is_ready.is_set():
            self._change(life, "waiting", f"{needed.service.name}, which it needs, is not ready")
            life.was_tried.set()  # in vain
        await needed.is_ready.wait()

    def _mourn(self, life: Life, end: _End, begun: float) -> float | None:
        """Tell of a death; how long to wait after it, None when it is one too many of a required service."""
        policy, service = self._policy, life.service
        if end.mend:
            self._change(life, "degraded", f"{end.reason}, which a person must mend: {end.mend}")
            self._say(f"{service.name}: degraded: {life.state.reason}; tried again in {policy.rest:g} s")
            return policy.rest
        was_sick = life.is_sick
        pause = life.die(begun)
        if life.is_sick and not was_sick:
            fate = "it is required: everything is stopped" if service.required else "degraded"
            self._say(f"{service.name}: {fate}: it ended {policy.deaths} times within {policy.within:g} s")
        if life.is_sick and service.required:
            self._change(life, "stopped", end.reason)
            self._say(f"{service.name}: {end.reason}{end.details}")
            self._has_failed = True
            return None
        self._change(life, "degraded" if life.is_sick else "pausing", end.reason)
        self._say(f"{service.name}: {end.reason}{end.details}; tried again in {pause:g} s")
        return pause

    async def _live(self, life: Life) -> _End | None:
        """One life, from the start to the end; why it ended, None when it was asked for."""
        service = life.service
        life.begin()
        log = Log(self._logs / f"{service.name}.log", redact=self._redact, sink=self._sink)
        self._change(life, "starting", life.state.reason)
        try:
            with thread_shortage():
                child = await asyncio.to_thread(service.prepare)
                process = await self._spawn(child, log)
        except (OSError, NescordError) as error:
            return _End("cannot be started", f": {error}")
        self._change(life, "starting", life.state.reason, process.pid)
        ended = asyncio.create_task(process.wait())
        try:
            reason = await self._begin(life, child, ended)
            if not reason:
                life.get_ready()
                child.tell(True)
                self._change(life, "ready", "", process.pid)
                self._say(f"{service.name}: ready (pid {process.pid})")
                reason = await self._watch(life, child, ended)
        finally:
            if life.is_ready.is_set():
                life.is_ready.clear()
                life.is_down.set()
                child.tell(False)
                self._change(life, "pausing", "", process.pid)
            died = ended.done()
            ending = asyncio.create_task(self._bury(process, ended, service, log))
            try:
                await asyncio.shield(ending)
            finally:
                await ending  # also when told to stop meanwhile
        if reason == _ASKED:
            return None
        code = process.returncode or 0
        mend = (log.last_line() or "it does not say how") if died and code in FOR_A_PERSON else ""
        return _End(how_it_ended(code) if died else reason, log.tail(), mend)

    async def _spawn(self, child: Child, log: Log) -> asyncio.subprocess.Process:
        try:
            with log.opened() as output:
                return await spawn(
                    child.command, child.env, stdout=output, stderr=output, cwd=child.cwd, pass_fds=child.pass_fds
                )
        finally:
            child.close()

    async def _begin(self, life: Life, child: Child, ended: asyncio.Task[int]) -> str:
        deadline = time.monotonic() + life.service.ready_within
        while not await _is_ready(child):
            if ended.done():
                return "it ended"
            if time.monotonic() > deadline:
                return f"not ready within {life.service.ready_within:g} s"
            if await self._is_unwanted(life, ended, self._policy.probe_pause):
                return _ASKED
        return ""

    async def _watch(self, life: Life, child: Child, ended: asyncio.Task[int]) -> str:
        answered = time.monotonic()
        while not ended.done():
            if await self._is_unwanted(life, ended, self._policy.watch_pause):
                return _ASKED
            if ended.done() or await _is_ready(child):
                answered = time.monotonic()
            elif time.monotonic() - answered > self._policy.hangs_after:
                return f"it has not answered for {self._policy.hangs_after:g} s"
        return "it ended"

    async def _is_unwanted(self, life: Life, ended: asyncio.Task[int], pause: float) -> bool:
        """Wait a little, or less when there is something to do; whether this life is to end."""
        waiting = [asyncio.ensure_future(life.ask_for_restart.wait())]
        if needed := life.service.needs:
            waiting.append(asyncio.ensure_future(self._lives[needed].is_down.wait()))
        try:
            await asyncio.wait({*waiting, ended}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            return any(each.done() for each in waiting)
        finally:
            for each in waiting:
                each.cancel()

    async def _bury(
        self, process: asyncio.subprocess.Process, ended: asyncio.Task[int], service: Service, log: Log
    ) -> None:
        """End it and read its last words."""
        await self._end(process, ended, service)
        if process.stdin is not None:
            process.stdin.close()
        log.close()
        deadline = time.monotonic() + _LOG_PATIENCE
        while log.is_open and time.monotonic() < min(deadline, self._stop_by):
            await asyncio.sleep(_LOG_PAUSE)

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int], service: Service) -> None:
        """End the process and all of its group."""
        deadline = time.monotonic() + service.grace
        signal_group(process.pid, signal.SIGTERM)
        while not ended.done() or has_group(process.pid):
            if time.monotonic() > min(deadline, self._stop_by) or self._hurry.is_set():
                if has_group(process.pid):
                    what = f"within {service.grace:g} s" if time.monotonic() > deadline else "in time"
                    self._say(f"{service.name}: did not end {what} and is killed")
                signal_group(process.pid, signal.SIGKILL)
                await ended
                reap_group(process.pid)
                return
            await asyncio.sleep(_END_PAUSE)
            if ended.done():
                reap_group(process.pid)

    def _change(self, life: Life, state: State, reason: str = "", pid: int | None = None) -> None:
        if life.change(state, self._redact(reason), pid):
            self._tell(self.states)

    def _is_over(self, life: Life) -> None:
        if life.state.state != "stopped":
            self._change(life, "stopped")

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._tell(self.states)


async def _is_ready(child: Child) -> bool:
    """Whether it answers; one that cannot be asked, since the machine is short of something, does not."""
    try:
        with thread_shortage():
            return await child.is_ready()
    except OSError:
        return False
