"""One step of one peer as a process of its own: what it cost, its last line, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
_LOOK = 0.005


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU and wall seconds and the most memory (MiB) of a process and of all it has waited for.

    `result` is the JSON object of its last line; `error` the last line of stderr of one that failed, "" for others.
    """

    cpu: float
    wall: float
    rss: int
    result: dict[str, Any]
    error: str = ""


def run(command: Sequence[str], *, timeout: float = 7200, killed_when: Callable[[float], bool] | None = None) -> Spent:
    """Run it to its end, or until `killed_when`, asked with the wall seconds so far, says to kill -9 it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env=environment(),
            start_new_session=True,
        )
        reason = ""
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            passed = time.perf_counter() - begun
            if passed > timeout or (killed_when and killed_when(passed)):
                reason = "killed" if passed <= timeout else f"no end after {timeout:.0f} s"
                os.killpg(process.pid, signal.SIGKILL)
                _, status, usage = os.wait4(process.pid, 0)
                break
            time.sleep(_LOOK)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for: Popen must not do it once more
        out.seek(0)
        err.seek(0)
        lines, told = out.read().decode().splitlines(), err.read().decode(errors="replace").strip().splitlines()
    if process.returncode and not reason:
        reason = told[-1][:300] if told else f"exit code {process.returncode}, and nothing said"
    result = {} if reason or not lines else json.loads(lines[-1])
    return Spent(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss // 1024, result, reason)


def environment() -> dict[str, str]:
    """What every peer runs in: nothing of the caller's settings, no network of its own will, one BLAS thread."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    # Threads that spin while they wait would count as work, and the embedder has one by itself.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    quiet = {"HF_HUB_OFFLINE": "1", "ANONYMIZED_TELEMETRY": "False", "TOKENIZERS_PARALLELISM": "false"}
    return kept | threads | quiet | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "HOME": tempfile.gettempdir()}


def disk_mib(folder: Path) -> float:
    """What a folder takes on disk."""
    blocks = sum(path.lstat().st_blocks for path in folder.rglob("*")) if folder.exists() else 0
    return round(blocks * 512 / 2**20, 2)
