"""The platform: starts `nescord up` again whenever it ends, as Railway does, and commands beside it.

When `up` has ended, however it ended, nothing of it may outlive it by more than a moment: what does is written down and
killed, as the end of a container kills it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Ours that must not reach the service, nor whatever a developer has set.
_NOT_HANDED_ON = ("NESCORD_", "CHROMA", "PKM_", "GEMINI_", "RAILWAY_", "DATABASE_URL", "PREFECT_", "AWS_", "DISCORD_")
_ROLES = (
    ("nescord.cli up", "up"),
    ("nescord.index.server", "chroma"),
    ("flows.server", "prefect"),
    ("flows.serve", "serve"),
    ("nescord.web", "web"),
    ("nescord.parent", "bot"),  # what the others have as their first words, too
    ("prefect.engine", "run"),
    ("nescord.cli", "command"),
)
_NUMBER, _DEPLOYMENT = "RAILWAY_DEPLOYMENT_ID", "deployment-"
_DRAINING = 60.0
# The flows have 15 s to end when their supervisor is killed, and are killed then.
_OUTLIVES = 25.0
_PAUSE = 0.5


@dataclass(slots=True)
class Life:
    """One container."""

    number: int
    began: float
    ended: float | None = None
    code: int | None = None
    orphans: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended; code None: it was killed for taking too long."""

    code: int | None
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed as JSON; None if it is none."""
        with suppress(ValueError):
            return json.loads(self.out)
        return None


class Platform:
    """`start` it once; then there is a service, or soon will be, until `close`."""

    def __init__(self, scratch: Path, data: Path, settings: Mapping[str, str], clock: Mapping[str, str]) -> None:
        self.settings = dict(settings)
        self.lives: list[Life] = []
        self.terminated: list[int] = []
        """Numbers of the lives that were told to end, which is no crash."""

        self._scratch, self._data, self._clock = scratch, data, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._may_run = threading.Event()
        self._may_run.set()
        self._is_over = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name="platform")

    # What is done to it.

    def start(self) -> None:
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of `nescord up`, while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def log(self) -> Path:
        """What the present container says."""
        return self._scratch / "said" / f"{len(self.lives):03}.log"

    def terminate(self) -> None:
        """A redeploy: SIGTERM, and 60 seconds later SIGKILL. Returns at once."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self.terminated.append(len(self.lives))
        process.send_signal(signal.SIGTERM)
        threading.Thread(target=self._drain, args=(process,), daemon=True).start()

    def redeploy(self, **settings: str) -> None:
        """SIGTERM, and the next containers have these settings as well."""
        self.settings |= settings
        self.terminate()

    def kill(self, role: str, rng: random.Random) -> int | None:
        """kill -9 to one process of that role; its pid, None if there is none."""
        found = self.processes().get(role, [])
        for pid in rng.sample(found, len(found)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return pid
        return None

    def pause(self) -> None:
        """End the container and start no other. Returns when nothing of it is left."""
        self._may_run.clear()
        self.terminate()
        self._idle.wait()

    def go_on(self) -> None:
        self._may_run.set()

    def close(self) -> None:
        """End the container for good."""
        self._is_over.set()
        self._may_run.set()
        self.terminate()
        if self._thread.is_alive():
            self._thread.join()

    # What is asked of it.

    def processes(self) -> dict[str, list[int]]:
        """Every process of the service and of commands beside it, by role. A zombie is none."""
        found: dict[str, list[int]] = {}
        for pid, words in _alive():
            if self._has(pid, str(self._data)):
                found.setdefault(_role(words), []).append(pid)
        return found

    def until_healthy(self, seconds: float) -> bool:
        """Wait for 200 from /healthz."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.get("/healthz") == 200:
                return True
            time.sleep(0.5)
        return False

    def get(self, path: str) -> int:
        """The status that the service answers with; 0 while nobody does."""
        try:
            known = json.loads((self._data / "run" / "services.json").read_text(encoding="utf-8"))
            with urllib.request.urlopen(f"{known['http_url']}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def cli(self, *arguments: str, seconds: float = 120, **more: str) -> Done:
        """`nescord …` in a process of its own, beside the service."""
        command = [sys.executable, "-m", "nescord.cli", *arguments]
        begun = subprocess.Popen(
            command,
            cwd=self._scratch,
            env=self.environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        try:
            out, err = begun.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            begun.kill()
            out, err = begun.communicate()
            return Done(None, out, err)
        return Done(begun.returncode, out, err)

    def environment(self) -> dict[str, str]:
        """Of a container, and of commands in it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_ON)}
        inherited["PYTHONPATH"] = str(ROOT)
        return inherited | dict(self._clock) | self.settings

    # How it keeps it running.

    def _keep_running(self) -> None:
        (self._scratch / "said").mkdir(exist_ok=True)
        while not self._is_over.is_set():
            if not self._may_run.is_set():
                self._idle.set()
                self._may_run.wait()
                continue
            self._idle.clear()
            self._one_life()
            self._is_over.wait(_PAUSE)
        self._idle.set()

    def _one_life(self) -> None:
        life = Life(len(self.lives) + 1, time.monotonic())
        self.lives.append(life)
        environment = self.environment() | {_NUMBER: f"{_DEPLOYMENT}{life.number}"}
        command = [sys.executable, "-m", "nescord.cli", "up", "--port", "0", "--no-ui"]
        with self.log.open("wb") as said:
            self._process = subprocess.Popen(
                command, cwd=self._scratch, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        if self._is_over.is_set() or not self._may_run.is_set():
            self.terminate()  # whoever closed us has not met it
        life.code = self._process.wait()
        life.ended = time.monotonic()
        deadline = life.ended + _OUTLIVES
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid, words in left:
            life.orphans.append(f"{pid} {words[:120]}")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while left and self._left():
            time.sleep(0.1)

    def _left(self) -> list[tuple[int, str]]:
        """What is left of the container; commands beside it have no number of it."""
        return [(pid, words) for pid, words in _alive() if self._has(pid, f"{_NUMBER}={_DEPLOYMENT}")]

    def _has(self, pid: int, text: str) -> bool:
        """Whether that is in its environment, as is the data folder in that of each of ours."""
        try:
            found = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return text.encode() in found and str(self._data).encode() in found

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(_DRAINING)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(what: Callable[[], object], seconds: float, pause: float = 0.2) -> bool:
    """Whether it became true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def _alive() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            if words:  # a zombie has none
                yield int(entry.name), words


def _role(words: str) -> str:
    return next((role for part, role in _ROLES if part in words), "other")
