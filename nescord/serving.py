"""`nescord services`: one process that runs the services of a data folder until it is told to stop.

It holds service.lock for its life, finishes what a killed restore or an older version has left, and then only watches:
the supervisor keeps the processes alive, and tending.py what they hold right.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from nescord.errors import ServiceUnavailableError
from nescord.flow_parameters import parse
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.logs import Redact, Sink
from nescord.prefect_api import PrefectApi, Run, Server
from nescord.redaction import Redactor, secrets_of
from nescord.service_state import Finding
from nescord.services import Services
from nescord.settings import Settings
from nescord.supervise import PATIENT, Policy, Say, Supervisor
from nescord.tending import Beside, Board, Follower, Mender

STOPPED = 130
_LOCK_PATIENCE = 5.0
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
        work = None if once is None else partial(_run_once, once, settings)
        redact = Redactor([*secrets_of(settings), services.auth])
        code = keep_running(services, folder, say, policy=policy, work=work, redact=redact)
        if code is None:
            return STOPPED if once else 0
        return code


def keep_running(
    services: Services,
    folder: DataFolder,
    say: Say,
    *,
    policy: Policy = PATIENT,
    work: Callable[[Supervisor, Services], Awaitable[int]] | None = None,
    findings: Sequence[Finding] | None = None,
    redact: Redact = str,
    sink: Sink | None = None,
) -> int | None:
    """Run the services until told to stop: None; or until a required one stays away, or `work` is done: its exit code.

    `findings` is what a verification at the start found, and is mended meanwhile. The caller holds service.lock.
    """
    board = Board(folder, findings or ())
    supervisor = Supervisor(services.all(), folder.run / "logs", say, policy, sink=sink, redact=redact, tell=board.tell)
    processes = Beside(folder, redact, sink)

    async def tend() -> None:
        async with asyncio.TaskGroup() as tasks:
            if findings is not None:
                tasks.create_task(Mender(board, folder, say, processes, has_index=services.has_chroma).mend())
            if services.has_chroma:
                tasks.create_task(Follower(supervisor, folder, say, processes).follow())
            await asyncio.Event().wait()  # for ever

    done = None if work is None else partial(work, supervisor, services)
    with closing(services), closing(board):
        board.show(supervisor)
        return asyncio.run(supervisor.run(done, beside=tend))


def _recover(settings: Settings) -> None:
    """Finish a restore that was cut short, and bring the database up to date, before anybody works with it."""
    from nescord.knowledge import KnowledgeManager

    KnowledgeManager.open_existing(settings).close()


async def _run_once(once: Once, settings: Settings, supervisor: Supervisor, services: Services) -> int:
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
