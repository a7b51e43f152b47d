"""A container without containers: `nescord up` as a process, with a folder as its volume, told what Railway tells.

As root the folder is mounted on itself in a mount namespace of that process, so that the rule "the data folder must be
on a volume" is met or broken for real. Elsewhere only the data folder is named.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli_runs import Done, in_process
from flow_world import processes_naming, wait_for
from services_world import PATIENCE

from nescord import KnowledgeManager, Settings
from nescord.errors import NotFoundError

_BIND = 'mount --bind "$0" "$0" && exec "$@"'
IS_ROOT = os.geteuid() == 0


@dataclass
class Volume:
    """What outlives every container: a folder, mounted where each of them expects it."""

    path: Path
    deployments: int = 0
    settings: dict[str, str] = field(default_factory=lambda: {"NESCORD_EMBEDDER": "local"})

    @property
    def data(self) -> Path:
        return self.path / "nescord"

    def nescord(self, *arguments: str | Path) -> Done:
        """A command beside the service, as by `docker exec`."""
        return in_process("--data-dir", self.data, *arguments, env=self.settings)


class Container:
    """A running `nescord up`."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, data: Path) -> None:
        self.process = process
        self.data = data
        self._output = output

    @property
    def said(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def hears(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait until it has said this, AssertionError when it ends before."""
        wait_for(f"{text!r} in\n{self.said}", lambda: text in self.said or self.process.poll() is not None, seconds)
        assert text in self.said, self.said

    @property
    def url(self) -> str:
        """Where its pages are, once it has written that down."""
        known = json.loads((self.data / "run" / "services.json").read_text(encoding="utf-8"))
        return str(known["http_url"])

    def get(self, path: str) -> int:
        """The status that it answers with; 0 while nobody does."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, ValueError, KeyError):
            return 0

    def until_healthy(self) -> float:
        """Wait for 200 from /healthz, as the platform does; how long it took."""
        begun = time.monotonic()
        wait_for(
            f"/healthz of\n{self.said}",
            lambda: self.process.poll() is not None or self.get("/healthz") == 200,
            PATIENCE,
        )
        assert self.process.poll() is None, self.said
        return time.monotonic() - begun

    def stop(self) -> tuple[int, float]:
        """SIGTERM, as a redeploy does; exit code and seconds."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL to it and everything of it, as the end of a container is."""
        self.process.kill()
        self.process.wait()
        for process in processes_naming(str(self.data)):
            _kill(process)
        wait_for("the end of all its processes", lambda: not self.processes(), 60)

    def processes(self) -> list[int]:
        """What it has started and what that has started, but not the commands that a test runs beside it."""
        found = []
        for process in processes_naming(str(self.data)):
            with suppress(ProcessLookupError):
                if os.getpgid(process) != os.getpgid(0):
                    found.append(process)
        return found


@contextmanager
def container(
    volume: Volume, *, on_railway: bool = IS_ROOT, is_mounted: bool = True, **more: str
) -> Iterator[Container]:
    """The next deployment. What is left of it at the end is killed."""
    volume.deployments += 1
    output = volume.path.with_name(f"{volume.path.name}-{volume.deployments}.said")
    command: Sequence[str] = [sys.executable, "-m", "nescord.cli", "up", "--port", "0", "--no-ui"]
    if on_railway and is_mounted:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _BIND, str(volume.path), *command]
    environment = {**os.environ, **_environment(volume, on_railway), **volume.settings, **more}
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
    running = Container(process, output, volume.data)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.kill()
        wait_for("the end of all processes", lambda: not processes_naming(str(volume.data)), 60)


class Writer:
    """Somebody who captures note after note, and remembers what was acknowledged."""

    def __init__(self, volume: Volume, name: str) -> None:
        self._volume = volume
        self._name = name
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        while not self._is_over.is_set():
            number += 1
            text = f"合言葉 {self._name}x{number} was said"
            done = self._volume.nescord("capture", text, "--json")
            if done.code == 0:
                self.acknowledged.append(str(json.loads(done.out)["note_id"]))
            else:
                self.refused.append(done.err)


def missing(volume: Volume, notes: Sequence[str]) -> list[str]:
    """Those of the acknowledged notes that are not there any more."""
    if not notes:
        return []  # there may be no knowledge base yet
    with KnowledgeManager.open_existing(Settings(data_dir=volume.data)) as knowledge:
        return [note for note in notes if not _is_there(knowledge, note)]


def _is_there(knowledge: KnowledgeManager, note: str) -> bool:
    try:
        return not knowledge.note(note).trashed_at
    except NotFoundError:
        return False


def checks(volume: Volume) -> dict[str, str]:
    """What a verification finds: status by name."""
    document: Mapping[str, list[dict[str, str]]] = json.loads(volume.nescord("verify", "--json").out)
    return {check["name"]: check["status"] for check in document["checks"]}


def _environment(volume: Volume, on_railway: bool) -> dict[str, str]:
    common = {"PORT": "0"}
    if not on_railway:
        return common | {"NESCORD_DATA_DIR": str(volume.data)}
    return common | {
        "RAILWAY_ENVIRONMENT_ID": "environment",
        "RAILWAY_VOLUME_MOUNT_PATH": str(volume.path),
        "RAILWAY_DEPLOYMENT_ID": f"deployment-{volume.deployments}",
    }


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
