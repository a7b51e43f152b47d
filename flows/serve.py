"""Serve what `prefect.yaml` declares, all flows in this one process: `python -m flows.serve`.

Why: so that one machine needs no work pool and no worker. When: for as long as the service runs; `nescord services`
starts it once the server answers. Needs: PREFECT_API_URL, and PREFECT_API_AUTH_STRING where the server asks for it.

At each start the automations are made what flows/automations.py declares, and runs that died with the process before
this one are ended (flows/sweep.py), then again every few minutes. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.deployments.runner import DeploymentApplyError, RunnerDeployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import Flow
from prefect.logging import get_logger
from prefect.runner import Runner
from prefect.settings import get_current_settings
from pydantic import SecretStr

from flows import automations
from flows.deployments import DEFINITIONS, read_definitions
from flows.sweep import GRACE, sweep
from nescord import Settings
from nescord.errors import NescordError, ServiceUnavailableError
from nescord.home import drop_privileges, locate

# So many runs at once: one that waits for a lock must not keep a restore from beginning.
LIMIT = 4
SWEEP_EVERY_SECONDS = 300.0

_LOG = get_logger("nescord.serve")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument("--file", type=Path, default=DEFINITIONS, help="default: the prefect.yaml of this checkout")
    parser.add_argument("--sweep-every", type=float, default=SWEEP_EVERY_SECONDS, metavar="SECONDS")
    given = parser.parse_args(arguments)
    try:
        _serve(given.file.absolute(), given.sweep_every)
    except NescordError as error:
        sys.stderr.write(f"serve: {error}\n")
        return error.exit_code
    return 0


def _serve(file: Path, sweep_every: float) -> None:
    settings = Settings()
    drop_privileges(locate(settings))
    if not get_current_settings().api.url:
        raise ServiceUnavailableError(
            "there is no Prefect server to serve for: start everything with nescord services, or set PREFECT_API_URL"
        )
    declared = read_definitions(file)
    _move_to(file.parent, settings)
    timezone = settings.timezone if "timezone" in settings.model_fields_set else None
    loaded = [(each, each.flow(file.parent)) for each in declared]
    deployments = [each.served(flow, timezone) for each, flow in loaded]
    flows = {f"{flow.name}/{each.name}": flow for each, flow in loaded}
    try:
        _prepare(flows)
        _Sweeper(flows, sweep_every).start()
        asyncio.run(_run(deployments))
    except (httpx.HTTPError, PrefectHTTPStatusError, DeploymentApplyError) as error:
        url = get_current_settings().api.url
        raise ServiceUnavailableError(f"the Prefect server at {url} cannot be used: {error}") from error


def _move_to(folder: Path, settings: Settings) -> None:
    """Make `folder` the working directory, as Prefect's entry points want it, without changing what settings mean.

    What `.env` said, and relative paths, counted for the directory that this was started in; the processes of the runs
    get it through the environment.
    """
    for name in settings.model_fields_set:
        value, field = getattr(settings, name), Settings.model_fields[name]
        if isinstance(value, Path):
            value = value.absolute()
        elif isinstance(value, SecretStr):
            value = value.get_secret_value()
        os.environ[str(field.validation_alias)] = str(value)
    os.environ["NESCORD_DATA_DIR"] = str(locate(settings).absolute())
    os.chdir(folder)


def _prepare(flows: Mapping[str, Flow[..., object]]) -> None:
    with get_client(sync_client=True) as client:
        applied = automations.apply(client)
        _LOG.info("Automations: %s", applied)
        # Nobody takes runs yet, so whatever seems to run here and has no process is dead.
        swept = sweep(client, flows, grace=GRACE * 0)
        _LOG.info("Swept at start: %s", swept)


async def _run(deployments: Sequence[RunnerDeployment]) -> None:
    """What `prefect.serve` does, with a runner that can be told to stop."""
    runner = _Runner(limit=LIMIT, pause_on_shutdown=False)
    for deployment in deployments:
        await runner.aadd_deployment(deployment)
    await runner.start()


class _Runner(Runner):
    """Ends its runs as cancelled before it stops.

    In 3.8.8 the handler of SIGTERM calls `astop` without awaiting it and leaves: the runs are killed half-recorded.
    """

    _stopping: asyncio.Task[None] | None = None

    async def start(self, run_once: bool = False, webserver: bool | None = None) -> None:
        self._event_loop = asyncio.get_running_loop()
        await super().start(run_once, webserver)

    def handle_sigterm(self, *_: object) -> None:
        if not self.started:  # nothing has begun yet
            raise SystemExit(0)
        self._event_loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._stopping is None:
            self._stopping = self._event_loop.create_task(self.astop())


class _Sweeper(threading.Thread):
    """Sweeps now and then, for as long as the process lasts."""

    def __init__(self, flows: Mapping[str, Flow[..., object]], every: float) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._flows = flows
        self._every = every

    def run(self) -> None:
        while True:
            threading.Event().wait(self._every)
            try:
                with get_client(sync_client=True) as client:
                    swept = sweep(client, self._flows)
            except Exception as error:  # the next sweep may fare better; a person sees it in the log
                _LOG.warning("The sweep for dead runs failed and is tried again: %r", error)
                continue
            if swept.crashed or swept.cancelled or swept.skipped:
                _LOG.warning("Swept: %s", swept)


if __name__ == "__main__":
    sys.exit(main())
