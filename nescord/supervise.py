"""Keep a few child processes running: start them in order, watch them, restart them, stop them in reverse order.

The kernel of `nescord services`, and nothing but the standard library: it lives as long as the machine and must stay
small. A service that cannot run is retried, less and less often, and keeps none of the others from running, but those
that need it. Each child leads a process group of its own, is stopped as a group, and holds the reading end of a pipe
from us: it ends with us however we end (nescord/parent.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nescord.errors import NescordError
from nescord.logs import Log

Say = Callable[[str], None]

_ASKED = "asked"
_END_PAUSE = 0.05
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the supervisor is, in seconds."""

    first_pause: float = 1
    longest_pause: float = 30
    # So many deaths within that time, and it is left alone for a while.
    deaths: int = 5
    within: float = 300
    rest: float = 300
    # A service that ran for so long is well: the pauses begin anew.
    well_after: float = 60
    probe_pause: float = 0.25
    watch_pause: float = 5
    # Not answering for so long, it hangs. A busy machine made servers wait for a minute.
    hangs_after: float = 120
    # For so long the next service waits for the first try of the one before it.
    queue: float = 60


PATIENT = Policy()


@dataclass(frozen=True, slots=True)
class Child:
    """What to run for one life of a service, and how to know that it is ready.

    `close` is called once it is started, `tell` with True when it is ready and with False when it no longer is.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    cwd: Path | None = None
    pass_fds: tuple[int, ...] = ()
    close: Callable[[], None] = lambda: None
    tell: Callable[[bool], None] = lambda is_ready: None


@dataclass(frozen=True, slots=True)
class Service:
    """Something to keep running; `prepare` is called for each of its lives.

    `needs` names the service without which it cannot run, and with which it is restarted.
    """

    name: str
    prepare: Callable[[], Child]
    ready_within: float
    grace: float
    needs: str = ""


@dataclass(slots=True)
class _Life:
    """What is known about a service that is kept running."""

    service: Service
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_down: asyncio.Event = field(default_factory=asyncio.Event)
    was_tried: asyncio.Event = field(default_factory=asyncio.Event)
    ask_for_restart: asyncio.Event = field(default_factory=asyncio.Event)
    deaths: deque[float] = field(default_factory=deque)
    pause: float = 0


class Supervisor:
    """Runs services until it is told to stop. `run` may be called once."""

    def __init__(self, services: Sequence[Service], logs: Path, say: Say, policy: Policy = PATIENT) -> None:
        self._lives = {service.name: _Life(service) for service in services}
        self._logs = logs
        self._say = say
        self._policy = policy
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        for life in self._lives.values():
            life.is_down.set()

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

        `work` and `beside` begin when each of the services was tried; `beside` is cancelled before they are stopped.
        """
        _adopt_orphans()
        tasks: list[asyncio.Task[None]] = []
        with self._signals():
            try:
                code = await self._unless_stopped(self._start(tasks, work, beside))
            finally:
                for task in reversed(tasks):
                    task.cancel()
                    await asyncio.wait({task})
        for task in tasks:
            if not task.cancelled():
                task.result()  # it failed, and that is a bug
        self._say("stopped")
        return code

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
        late = [name for name in self._lives if not self.is_ready(name)]
        self._say(f"not ready yet: {', '.join(late)}" if late else "all services are ready")
        if work is None:
            work = asyncio.Event().wait  # for ever
        return await work()

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

    async def _keep(self, life: _Life) -> None:
        name = life.service.name
        while True:
            if life.service.needs:
                await self._wait_for(self._lives[life.service.needs], life)
            begun = time.monotonic()
            reason = await self._live(life)
            life.was_tried.set()
            if not reason:  # it was asked for, or what it needs is gone: no fault of its own
                continue
            pause = self._pause(life, begun)
            self._say(f"{name}: {reason}; tried again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _wait_for(self, needed: _Life, life: _Life) -> None:
        await needed.was_tried.wait()
        if not needed.is_ready.is_set():
            life.was_tried.set()  # in vain
        await needed.is_ready.wait()

    def _pause(self, life: _Life, begun: float) -> float:
        """How long to wait after a death."""
        policy, now = self._policy, time.monotonic()
        life.deaths.append(now)
        while now - life.deaths[0] > policy.within:
            life.deaths.popleft()
        if len(life.deaths) >= policy.deaths:
            life.deaths.clear()
            life.pause = 0
            self._say(f"{life.service.name}: degraded: it ended {policy.deaths} times within {policy.within:g} s")
            return policy.rest
        is_well = now - begun > policy.well_after
        life.pause = policy.first_pause if is_well or not life.pause else min(2 * life.pause, policy.longest_pause)
        return life.pause

    async def _live(self, life: _Life) -> str:
        """One life, from the start to the end; why it ended, "" when it was asked for."""
        service = life.service
        life.ask_for_restart.clear()
        log = Log(self._logs / f"{service.name}.log")
        try:
            child = await asyncio.to_thread(service.prepare)
            process = await self._spawn(child, log)
        except (OSError, NescordError) as error:
            return f"cannot be started: {error}"
        ended = asyncio.create_task(process.wait())
        try:
            reason = await self._begin(life, child, ended)
            if not reason:
                life.is_down.clear()
                life.is_ready.set()
                life.was_tried.set()
                child.tell(True)
                self._say(f"{service.name}: ready (pid {process.pid})")
                reason = await self._watch(life, child, ended, log)
        finally:
            if life.is_ready.is_set():
                life.is_ready.clear()
                life.is_down.set()
                child.tell(False)
            died = ended.done()
            await self._end(process, ended, service)
            if process.stdin is not None:
                process.stdin.close()
        if reason == _ASKED:
            return ""
        if not died:
            return f"{reason}{log.tail()}"
        return f"{_how(process.returncode or 0)}{log.tail()}"

    async def _spawn(self, child: Child, log: Log) -> asyncio.subprocess.Process:
        try:
            with log.opened() as output:
                return await asyncio.create_subprocess_exec(
                    *child.command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=dict(child.env),
                    cwd=child.cwd,
                    pass_fds=child.pass_fds,
                    process_group=0,
                )
        finally:
            child.close()

    async def _begin(self, life: _Life, child: Child, ended: asyncio.Task[int]) -> str:
        deadline = time.monotonic() + life.service.ready_within
        while not await child.is_ready():
            if ended.done():
                return "it ended"
            if time.monotonic() > deadline:
                return f"not ready within {life.service.ready_within:g} s"
            if await self._is_unwanted(life, ended, self._policy.probe_pause):
                return _ASKED
        return ""

    async def _watch(self, life: _Life, child: Child, ended: asyncio.Task[int], log: Log) -> str:
        answered = time.monotonic()
        while not ended.done():
            if await self._is_unwanted(life, ended, self._policy.watch_pause):
                return _ASKED
            log.keep_small()
            if ended.done() or await child.is_ready():
                answered = time.monotonic()
            elif time.monotonic() - answered > self._policy.hangs_after:
                return f"it has not answered for {self._policy.hangs_after:g} s"
        return "it ended"

    async def _is_unwanted(self, life: _Life, ended: asyncio.Task[int], pause: float) -> bool:
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

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int], service: Service) -> None:
        """End the process and all of its group. Not to be cut short: who cancels us waits for us."""
        deadline = time.monotonic() + service.grace
        _signal_group(process.pid, signal.SIGTERM)
        while not ended.done() or _has_group(process.pid):
            if time.monotonic() > deadline or self._hurry.is_set():
                if _has_group(process.pid):
                    self._say(f"{service.name}: did not end within {service.grace:g} s and is killed")
                _signal_group(process.pid, signal.SIGKILL)
                await ended
                _reap_group(process.pid)
                return
            await asyncio.sleep(_END_PAUSE)
            if ended.done():
                _reap_group(process.pid)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _has_group(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _adopt_orphans() -> None:
    """Become the parent of what our children leave behind, as the first process of a container is: we can reap it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap_group(leader: int) -> None:
    """Forget the dead of a group whose leader was reaped: they would keep the group in being."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-leader, os.WNOHANG)[0]:
            pass


def _how(status: int) -> str:
    """How a process ended that nobody told to."""
    if status >= 0:
        return f"ended with exit code {status}"
    if -status == signal.SIGKILL:
        return "was killed by SIGKILL, probably because the machine ran out of memory"
    return f"was ended by {signal.Signals(-status).name}"
