"""`make flows`: every flow once, on the sample vault, as a schedule or a click would run it.

The services are started as `nescord services` does it, on free ports and in a folder of their own (`data/tour`, made
anew each time), each flow is asked for over the REST API, and everything is stopped again. Nothing is needed: no key,
no server, no setting.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.demo import own_folder
from nescord import KnowledgeManager, Settings
from nescord.errors import NescordError, ServiceUnavailableError
from nescord.home import DataFolder
from nescord.locks import Locks
from nescord.prefect_api import PrefectApi, Run, Server, patiently
from nescord.services_file import running

_ROOT = Path(__file__).resolve().parent.parent
_VAULT = _ROOT / "data" / "sample" / "vault"
_START_PATIENCE = 300.0
_STOP_PATIENCE = 60.0
_PAUSE = 0.25
# In an order that makes sense: what is restored must have been backed up. The restore is told which snapshot.
_FLOWS = ("ingest", "verify", "backup", "drill", "maintain", "digest", "report", "nightly", "restore")


@dataclass(frozen=True, slots=True)
class _Done:
    """A run at its end, and how long after the request it began."""

    flow: str
    run: Run
    waited: float


def main() -> int:
    """Run the tour; returns the exit code: 0 when every run is completed."""
    parser = argparse.ArgumentParser(prog="python -m flows.tour", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=_ROOT / "data" / "tour", help="made anew (default: data/tour)")
    folder: Path = parser.parse_args().data_dir.absolute()
    console, trouble = Console(highlight=False), Console(stderr=True, highlight=False)
    signal.signal(signal.SIGTERM, _leave)
    try:
        with own_folder(folder):
            # Settings in the environment or in .env are meant for the user's own knowledge base. A blank counts as not
            # given, and wins over .env.
            os.environ.update({str(field.validation_alias): " " for field in Settings.model_fields.values()})
            settings = Settings(data_dir=folder)
            KnowledgeManager.open(settings).close()
            with _services(settings, console) as (server, process):
                done = [_run(console, server, settings, flow) for flow in _FLOWS]
                console.print(_table(done))
                console.print("Their pages, while the server runs:")
                for each in done:
                    console.print(f"  {each.flow:8}  {_page(server, each.run)}", soft_wrap=True)
            console.print(f"Stopped: nescord services ended with {process.returncode}; nothing is left running.")
    except NescordError as error:
        trouble.print(Text(f"tour: {error}"), soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        trouble.print("tour: interrupted; nothing is left running")
        return 128 + signal.SIGINT
    failed = [each.flow for each in done if each.run.state != "COMPLETED"]
    if failed:
        trouble.print(f"tour: not completed: {', '.join(failed)}")
    return 1 if failed or process.returncode else 0


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _services(settings: Settings, console: Console) -> Iterator[tuple[Server, subprocess.Popen[bytes]]]:
    """The services, from ready to stopped."""
    folder = DataFolder.at(settings)
    console.print("Starting the services (20 to 90 s) …")
    # Ctrl-C in the terminal is ours to answer: it would reach them twice.
    command = [sys.executable, "-m", "nescord.cli", "--data-dir", str(folder.path), "services", "--port", "0"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        yield _ready(folder, process), process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_PATIENCE)
        finally:
            process.kill()  # its children end with it
            process.wait()


def _ready(folder: DataFolder, process: subprocess.Popen[bytes]) -> Server:
    """The Prefect server, when it serves every flow."""
    locks = Locks(folder.run, timeout=0)
    deadline = time.monotonic() + _START_PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        services = running(folder, locks)
        if services is not None and services.prefect_api_url:
            server = Server(services.prefect_api_url, services.prefect_auth or "")
            with PrefectApi(server) as api:
                if set(_FLOWS) <= {each.flow for each in patiently(api.deployments)}:
                    return server
        time.sleep(_PAUSE)
    raise ServiceUnavailableError(f"the services did not become ready; see {folder.run / 'logs'}")


def _run(console: Console, server: Server, settings: Settings, flow: str) -> _Done:
    parameters: dict[str, object] = {"vault": str(_VAULT)} if flow == "ingest" else {}
    if flow == "restore":
        with KnowledgeManager.open_existing(settings) as knowledge:
            newest = knowledge.backups.chosen(None, None)
        parameters = {"snapshot": newest, "confirm": newest}
    with PrefectApi(server) as api:
        deployment = patiently(lambda: api.deployment(flow))
        asked, key = datetime.now().astimezone(), str(uuid.uuid4())
        run, _ = patiently(lambda: api.start(deployment, parameters, key))
        while not run.has_ended:
            time.sleep(_PAUSE)
            run = patiently(partial(api.run, run.id))
    waited = (datetime.fromisoformat(run.started) - asked).total_seconds() if run.started else 0.0
    console.print(f"  {flow}: {run.state_name}", Text(run.message.partition("\n")[0], "dim"))
    return _Done(flow, run, max(0.0, waited))


def _page(server: Server, run: Run) -> str:
    return f"{server.url.removesuffix('/api')}/runs/flow-run/{run.id}"


def _table(done: list[_Done]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title="Every flow, once")
    for heading in ("flow", "run", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("began after", "took"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in done:
        colour = "green" if each.run.state == "COMPLETED" else "red"
        state = Text(each.run.state_name, colour)
        table.add_row(each.flow, each.run.name, state, f"{each.waited:.1f} s", f"{each.run.seconds:.1f} s")
    return table


if __name__ == "__main__":
    sys.exit(main())
