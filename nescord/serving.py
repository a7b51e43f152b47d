"""`nescord services`: one process that runs the services of a data folder until it is told to stop.

It holds service.lock for its life, finishes what a killed restore or an older version has left, and then only watches:
the supervisor keeps the processes alive, `_Follower` the content of the Chroma server right.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from nescord.errors import ServiceUnavailableError
from nescord.flow_parameters import parse
from nescord.home import DataFolder
from nescord.index.seal import Folder
from nescord.locks import LockName, Locks
from nescord.logs import Log
from nescord.prefect_api import PrefectApi, Run, Server
from nescord.services import Services
from nescord.settings import Settings
from nescord.supervise import PATIENT, Policy, Say, Supervisor

STOPPED = 130
_LOCK_PATIENCE = 5.0
_FOLLOW_PAUSE = 1.0
_RESTART_PAUSE = 10.0
_FIRST_RETRY, _LONGEST_RETRY = 10.0, 3600.0
_RUN_PAUSE = 1.0
_OUTAGE = 120.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Once:
    """A flow to run once, with parameters as `name=value`. `tell` gets the run at its end and gives the exit code."""

    flow: str
    parameters: Sequence[str]
    tell: Callable[[Run], int]


def serve(
    settings: Settings,
    say: Say,
    *,
    port: int = 0,
    with_ui: bool = True,
    module: str = "flows.serve",
    once: Once | None = None,
    policy: Policy = PATIENT,
) -> int:
    """Run the services of the knowledge base; the exit code.

    Raises:
        NoKnowledgeBaseError: there is none. LockTimeoutError: its services run already (the message says who).
        CatalogError: its database cannot be used.
    """
    folder = DataFolder.find(settings)
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    with locks.exclusive(LockName.SERVICE, timeout=_LOCK_PATIENCE):
        _recover(settings)
        services = Services(settings, folder, port=port, with_ui=with_ui, serve=module)
        supervisor = Supervisor(services.all(), folder.run / "logs", say, policy)
        follower = _Follower(supervisor, folder, say) if services.has_chroma else None
        work = None if once is None else lambda: _run_once(once, supervisor, services, settings)
        code = asyncio.run(supervisor.run(work, beside=follower.follow if follower else None))
        if code is None:
            return STOPPED if once else 0
        return code


def _recover(settings: Settings) -> None:
    """Finish a restore that was cut short, and bring the database up to date, before anybody works with it."""
    from nescord.knowledge import KnowledgeManager

    KnowledgeManager.open_existing(settings).close()


class _Follower:
    """Keeps what the Chroma server holds right, by what its users leave word of (index/seal.py)."""

    def __init__(self, supervisor: Supervisor, folder: DataFolder, say: Say) -> None:
        self._supervisor = supervisor
        self._say = say
        self._folder = folder
        self._place = Folder(folder.chroma, folder.run)
        self._retry = _FIRST_RETRY

    async def follow(self) -> None:
        """For ever."""
        due = restarted = 0.0
        while True:
            await asyncio.sleep(_FOLLOW_PAUSE)
            now = time.monotonic()
            if not self._supervisor.is_ready("chroma"):
                continue
            if (reason := self._place.suspicion()) and now > restarted:
                self._say(f"chroma: its folder is damaged and is begun anew: {reason}")
                self._supervisor.restart("chroma")
                restarted, due = now + _RESTART_PAUSE, 0.0
            elif self._place.doubt() and now > due and not reason:
                await self._catch_up()
                is_right = not self._place.doubt()
                self._retry = _FIRST_RETRY if is_right else min(2 * self._retry, _LONGEST_RETRY)
                due = time.monotonic() + self._retry

    async def _catch_up(self) -> None:
        """Compare the server with SQLite, in a process of its own."""
        with Log(self._folder.run / "logs" / "catching-up.log").opened() as output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "nescord.catching_up"),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, "NESCORD_DATA_DIR": str(self._folder.path)},
                process_group=0,
            )
        try:
            code = await child.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
        if code or self._place.doubt():
            self._say("chroma: could not be compared with the database yet; see run/logs/catching-up.log")
        else:
            self._say("chroma: compared with the database")


async def _run_once(once: Once, supervisor: Supervisor, services: Services, settings: Settings) -> int:
    """Run a flow to its end on the services that have just begun."""
    if not supervisor.is_ready("serve"):
        raise ServiceUnavailableError("the flows are not served: see the lines above, and run/logs")
    with PrefectApi(_server(services, settings)) as api:
        deployment = await _patiently(lambda: api.deployment(once.flow))
        parameters = parse(once.parameters, deployment.schema, deployment.defaults, deployment.full_name)
        key = str(uuid.uuid4())
        run, _ = await _patiently(lambda: api.start(deployment, parameters, key))
        while not run.has_ended:
            await asyncio.sleep(_RUN_PAUSE)
            run = await _patiently(partial(api.run, run.id))
    return once.tell(run)


async def _patiently(ask: Callable[[], T]) -> T:
    """The answer, asked for again while the server is busy or being restarted."""
    deadline = time.monotonic() + _OUTAGE
    while True:
        try:
            return await asyncio.to_thread(ask)
        except ServiceUnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RUN_PAUSE)


def _server(services: Services, settings: Settings) -> Server:
    from nescord.prefect_api import find_server

    if settings.prefect_api_url:
        return find_server(settings)
    running = services.running
    return Server(running.prefect_api_url or "", running.prefect_auth or "")
