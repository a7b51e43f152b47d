"""What the tests of `nescord services` share: starting it, waiting for what it says, looking at its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
