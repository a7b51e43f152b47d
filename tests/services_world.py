"""What the tests of `nescord services` share: starting it, waiting for what it says, looking at its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from flow_world import processes_naming, wait_for

TESTS = Path(__file__).parent
# A loaded machine starts a Prefect server in more than a minute.
PATIENCE = 240.0


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], data: Path, output: Path) -> None:
        self.process = process
        self.data = data
        self._output = output

    @property
    def said(self) -> str:
        return self._output.read_text()

    def hears(self, text: str, times: int = 1) -> None:
        """Wait until it has said this."""
        wait_for(f"{text!r} in\n{self.said}", lambda: self.said.count(text) >= times or self._has_ended(), PATIENCE)
        assert self.said.count(text) >= times, self.said

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def pid(self, module: str) -> int:
        """The process that runs a module for this data folder."""
        found = [pid for pid in processes_naming(str(self.data)) if module in _words(pid) and os.getpgid(pid) == pid]
        assert len(found) == 1, (module, found)
        return found[0]

    @property
    def addresses(self) -> dict[str, str | None]:
        """What run/services.json says."""
        known: dict[str, str | None] = json.loads((self.data / "run" / "services.json").read_text())
        return known

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(data: Path, command: Sequence[str], **environment: str) -> Iterator[Running]:
    """The supervisor; whatever is left of it is killed in the end."""
    output = data.with_name(f"{data.name}.said")
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": path, **environment},
        ) as process,
    ):
        try:
            yield Running(process, data, output)
        finally:
            process.kill()
            process.wait()
            wait_for("the end of its children", lambda: not processes_naming(str(data)), 60)


class _Polled(BaseHTTPRequestHandler):
    """Says that the flows are served, as far as the supervisor asks."""

    def do_POST(self) -> None:
        body = f'[{{"last_polled": "{datetime.now(UTC).isoformat()}"}}]'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class _NotPolled(_Polled):
    def do_POST(self) -> None:
        self.send_error(404)


@contextmanager
def prefect_elsewhere(*, polled: bool = True) -> Iterator[str]:
    """A PREFECT_API_URL of the test, with which `serve` becomes ready at once, or never."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Polled if polled else _NotPolled) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
