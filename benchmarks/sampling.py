"""Processes under a sampling profiler, and what their samples and their memory are charged to.

py-spy looks at every thread of every process 200 times a second, and counts those that are at work. A sample belongs to
the package whose import it is in, else to the last function of ours on the stack, together with the package that that
one called. The first use makes py-spy's environment (see benchmarks/peering/venvs.py).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peering.measure import ROOT
from benchmarks.peering.venvs import environment

_OURS = ("nescord/", "flows/", "bot/", "benchmarks/")
_FRAME = re.compile(r"(.*) \((.*?)(?::\d+)?\)$")
_PROCESS = re.compile(r'process \d+:"(.*)')
_ROLES = {
    "prefect.engine": "the flow's run",
    "flows.server": "Prefect's server",
    "flows.serve": "flows.serve",
    "nescord.index.server": "Chroma's server",
    "nescord.persistence.looking": "children of verify",
    "nescord.gate": "the look before and after a start",
    "nescord.web": "status page",
    "bot run": "bot",
    " up ": "supervisor",
}
_SHOWN = 0.02


def cost_of(stack: list[str]) -> str:
    """What a sample is charged to."""
    frames = [match.groups() for frame in stack if (match := _FRAME.match(frame))]
    for name, path in frames:
        if name == "<module>" and "/" in path and not path.startswith((*_OURS, "<", "/")):
            return f"import of {_package(path)}"
    ours = [place for place, (_, path) in enumerate(frames) if path.startswith(_OURS)]
    if not ours:
        return next((_package(path) for _, path in frames if "/" in path), "the interpreter")
    name, path = frames[ours[-1]]
    called = next((_package(path) for _, path in frames[ours[-1] + 1 :] if "/" in path), "")
    return f"`{name}` ({path})" + (f" in {called}" if called else "")


def costs(samples: Path) -> dict[str, Counter[str]]:
    """By process: what its samples are charged to."""
    found: dict[str, Counter[str]] = {}
    for line in samples.read_text(encoding="utf-8", errors="replace").splitlines():
        text, _, count = line.rpartition(" ")
        if not count.isdigit():
            continue  # a command line with a line break in it
        stack = text.split(";")
        commands = [match.group(1) for frame in stack if (match := _PROCESS.match(frame))]
        found.setdefault(_role(commands[-1] if commands else ""), Counter())[cost_of(stack)] += int(count)
    return found


def table(found: dict[str, Counter[str]], shown: float = _SHOWN) -> Iterator[str]:
    """Lines of Markdown: the processes by cost, and in each what took more than `shown` of everything."""
    everything = sum(sum(each.values()) for each in found.values())
    yield "| process | what | share |"
    yield "|---|---|---|"
    for process, each in sorted(found.items(), key=lambda item: -sum(item[1].values())):
        share = sum(each.values()) / everything
        if share >= shown:
            yield f"| {process} | *all of it* | {share:.0%} |"
            yield from (
                f"| | {what} | {n / everything:.0%} |" for what, n in each.most_common() if n > shown * everything
            )


def started(samples: Path, command: list[str], output: Path, **environment: str) -> subprocess.Popen[bytes]:
    """A command under the profiler, which ends with it, or at SIGINT ends it."""
    with output.open("wb") as file:
        return subprocess.Popen(
            [*_spy(samples), "--", *command], cwd=ROOT, env={**os.environ, **environment}, stdout=file, stderr=file
        )


@contextmanager
def watched(samples: Path, pid: int) -> Iterator[None]:
    """Profile a process and its children while the block runs."""
    spy = subprocess.Popen([*_spy(samples), "--pid", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        spy.wait(60)


def imports(module: str) -> list[tuple[str, float]]:
    """What the import of a module costs by package, in milliseconds of its own code, the dearest first."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    spent: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        if match := re.match(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", line):
            spent[match.group(2).split(".")[0]] += int(match.group(1))
    return [(name, micro / 1000) for name, micro in spent.most_common()]


def memory(pid: int) -> Iterator[tuple[str, float, float]]:
    """Each process of a supervisor: what it is, MiB resident, and its share of them (PSS)."""
    for process in (pid, *_children(pid)):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
        yield _role(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")), sizes["Rss"], sizes["Pss"]


def _children(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        found += [int(child), *_children(int(child))]
    return found


def _package(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def _role(command: str) -> str:
    return next((role for part, role in _ROLES.items() if part in command), "the process")


def _spy(samples: Path) -> list[str]:
    spy = environment("py-spy").with_name("py-spy")
    return [str(spy), "record", "--subprocesses", "--format", "raw", "--rate", "200", "--output", str(samples)]
