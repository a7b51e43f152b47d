"""Which processes a test has left behind, orphaned grandchildren included (Linux; elsewhere none are seen)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
# Lives as long as the process that first needed it, by design of multiprocessing.
_OF_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, so that `living` sees it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def living() -> dict[int, str]:
    """Pid and command line of every child that runs; zombies do not."""
    found: dict[int, str] = {}
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):
            for pid in map(int, (thread / "children").read_text(encoding="ascii").split()):
                command = _command(pid)
                if command and not any(name in command for name in _OF_PYTHON):
                    found[pid] = command
    return found


def left_behind(before: dict[int, str], *, patience: float = 2.0) -> dict[int, str]:
    """What runs now, did not run `before` and does not end within `patience` seconds. It is killed, but not reaped."""
    deadline = time.monotonic() + patience
    while left := {pid: command for pid, command in living().items() if pid not in before}:
        if time.monotonic() > deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return left
        time.sleep(0.05)
    return {}


def _command(pid: int) -> str:
    """The command line; "" for a zombie or a process that is gone."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        if line := " ".join(words).strip():
            return line
        # A zombie has none, and neither has who is being replaced by another program at this very moment.
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        return "" if rest.split()[0] in "ZX" else name
    return ""
