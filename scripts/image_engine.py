"""Build and run the image with Docker, or without a daemon with buildah, podman and runc: for image_test.py."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = "docker.io/library/python:3.11-slim-bookworm"
NEEDED = ("buildah", "podman", "runc", "mmdebstrap")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LONGEST_BOOT = 300.0
PROCESSES = """
import json, os, pathlib
def table(path):
    return {line.split()[0]: line.split()[1:] for line in path.read_text().splitlines() if ":" in line}
found = []
for each in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words = (each / "cmdline").read_bytes().decode().split("\\0")
        status, stat = table(each / "status"), (each / "stat").read_text()
    except OSError:
        continue
    try:
        pss = table(each / "smaps_rollup")["Pss:"]
    except OSError:
        pss = status["VmRSS:"]
    ticks = sum(map(int, stat.rpartition(")")[2].split()[11:13]))  # user and system
    found.append({"pid": int(each.name), "words": words, "uid": int(status["Uid:"][1]), "cpu": ticks /
                  os.sysconf("SC_CLK_TCK"), "rss": int(status["VmRSS:"][0]), "pss": int(pss[0])})
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Process:
    """One process in a container; memory in kB, CPU in seconds."""

    pid: int
    words: list[str]
    uid: int
    rss: int
    pss: int
    cpu: float

    @property
    def name(self) -> str:
        """The module or script that it runs."""
        words = [Path(word).name for word in self.words if word]
        if "-m" in words:
            words = words[words.index("-m") + 1 :]
            return words[2] if words[0] == "nescord.parent" else words[0]
        return " ".join(words[1:3]) if words[0].startswith("python") else words[0]


class UnavailableError(Exception):
    """Images cannot be built or run here; says why."""


class Engine:
    """Docker, or buildah and podman in its place."""

    def __init__(self, run: Sequence[str], build: Sequence[str], *options: str, publishes: bool) -> None:
        """`options` go with each run; `publishes`: a container has a network of its own."""
        self._run, self._build, self.options, self._publishes = run, build, options, publishes

    def published(self, port: int) -> list[str]:
        return ["--publish", f"127.0.0.1:{port}:{port}"] if self._publishes else []

    def once(self, tag: str, *command: str) -> str:
        return self("run", "--rm", *self.options, tag, *command)

    def build(self, tag: str, reports: int) -> None:
        call([*self._build, "--build-arg", f"REPORTS={reports}", "--tag", tag, str(ROOT)])

    def __call__(self, *arguments: str) -> str:
        """What it printed, both streams in one."""
        done = subprocess.run(
            [*self._run, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
        )
        if done.returncode:
            raise SystemExit(f"image-test: {' '.join(arguments[:4])} … ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def remove(self, *what: str) -> None:
        """As far as it is there."""
        subprocess.run([*self._run, *what], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)

    def size(self, tag: str) -> int:
        return int(self("image", "inspect", "--format", "{{.Size}}", tag))


def find(store: Path) -> Engine:
    """What there is on this machine.

    Raises:
        UnavailableError: nothing that could build and run an image.
    """
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True).returncode:
        return docker()
    if os.geteuid() != 0:
        raise UnavailableError("there is no Docker daemon, and without one this needs root")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        raise UnavailableError(f"there is no Docker daemon, and without one {', '.join(missing)} must be installed")
    return podman(store)


def docker() -> Engine:
    return Engine(["docker"], ["docker", "build"], publishes=True)


def podman(store: Path) -> Engine:
    """Without a daemon: chroot isolation to build, runc on the network of this machine to run."""
    store.mkdir(parents=True, exist_ok=True)
    place = ["--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", "overlay"]
    run = ["podman", *place, "--runtime", "runc", "--cgroup-manager=cgroupfs"]
    if subprocess.run([*run, "image", "exists", BASE]).returncode:
        make_base(run, store / "base.tar")
    lent = []
    if CERTIFICATES.exists():  # of a proxy on the way out, which an image without it would not trust
        for path, text in (
            ("/etc/pip.conf", f"[global]\ncert = {CERTIFICATES}\ntimeout = 180\n"),
            ("/etc/uv/uv.toml", "system-certs = true\n"),
        ):
            file = store / Path(path).name
            file.write_text(text, encoding="utf-8")
            lent += ["--volume", f"{file}:{path}:ro"]
        lent += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    build = ["buildah", *place, "bud", "--isolation", "chroot", "--pull-never", "--layers", *lent]
    return Engine(run, build, "--network", "host", *limits(), publishes=False)


def make_base(run: Sequence[str], archive: Path) -> None:
    """Debian with its own Python 3.11 under the name of the base image, which may be out of reach."""
    packages = "ca-certificates,python3,python3-venv"
    call(["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(archive)])
    call([*run, "import", str(archive), BASE])
    archive.unlink()


def limits() -> list[str]:
    """What podman asks for by itself may be more than this machine allows."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return ["--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=4096:4096"]


def call(command: Sequence[str]) -> None:
    """Let it show what it does, beside our figures."""
    done = subprocess.run(command, stdout=sys.stderr)
    if done.returncode:
        raise SystemExit(f"image-test: {' '.join(command[:2])} … failed with {done.returncode}")


class Container:
    """One run of an image."""

    def __init__(self, engine: Engine, image: str, name: str, *options: str, settings: Sequence[str] = ()) -> None:
        self._engine, self._name = engine, name
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        engine.remove("rm", "--force", name)
        environment = [word for setting in (f"PORT={self.port}", *settings) for word in ("--env", setting)]
        self._began = time.monotonic()
        engine(
            "run",
            "--detach",
            "--name",
            name,
            *environment,
            *engine.published(self.port),
            *engine.options,
            *options,
            image,
        )

    def seconds_to(self, path: str) -> float:
        """Since it was started, until this path is answered with 200."""
        while time.monotonic() - self._began < LONGEST_BOOT:
            if self.status(path) == 200:
                return time.monotonic() - self._began
            if not self.is_running():
                break
            time.sleep(0.25)
        raise SystemExit(f"image-test: {self._name} did not answer {path} with 200:\n{self.logs()[-4000:]}")

    def status(self, path: str, token: str = "") -> int:
        """0 when nobody answers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def seconds_to_all_ready(self) -> float:
        """Since it was started, until no part is missing, required or not."""
        while time.monotonic() - self._began < LONGEST_BOOT:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as answer:
                parts = json.load(answer)["parts"]
            if all(each["state"] == "ready" for each in parts):
                return time.monotonic() - self._began
            time.sleep(0.5)
        raise SystemExit(f"image-test: not ready: {parts}\n{self.logs()[-4000:]}")

    def is_running(self) -> bool:
        return self._engine("inspect", "--format", "{{.State.Running}}", self._name).strip() == "true"

    def exec(self, *command: str, user: str = "10001:10001") -> str:
        return self._engine("exec", "--user", user, self._name, *command)

    def processes(self) -> list[Process]:
        """The largest first. Root is not told what shares memory with what; whose processes they are, is."""
        found = [Process(**each) for each in json.loads(self.exec("python", "-c", PROCESSES))]
        return sorted((each for each in found if PROCESSES not in each.words), key=lambda each: -each.pss)

    def stop(self) -> tuple[int, float]:
        """SIGTERM and, 60 s later, SIGKILL, as Railway does: the exit code, and how many seconds it took."""
        began = time.monotonic()
        self._engine("stop", "--time", "60", self._name)
        return self.exit_code(), time.monotonic() - began

    def kill(self) -> None:
        """-9 to all of it at once, as a redeploy without draining time."""
        self._engine("kill", "--signal", "KILL", self._name)
        self._engine("wait", self._name)

    def exit_code(self) -> int:
        """Of a container that ends by itself."""
        return int(self._engine("wait", self._name))

    def logs(self) -> str:
        return self._engine("logs", self._name)
