"""A child and all that it started, as one: the process group that it leads. And what leaves it, which comes to us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
# A shell and a container tell of the death of a process of theirs by 128 + the signal.
_KILLED_BELOW = 128 + signal.SIGKILL
_NO_THREAD = "can't start new thread"
_OUT_OF_MEMORY = "probably because the machine ran out of memory"


class Orphans:
    """What our children leave behind: we become its parent, as the first process of a container is, and reap it.

    What dies and has a group that ends is reaped with it (`reap_group`); this is for the rest.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._others = set(_children())  # whoever has started these waits for them
        self._dead: set[int] = set()

    def reap(self) -> None:
        """Forget the dead that were dead the last time as well.

        A child that we have started is waited for by a thread of asyncio's, which takes no time: its end is not ours to
        take. Call this seconds apart.
        """
        dead = {pid for pid in _children() if pid not in self._others and _is_dead(pid)}
        for pid in dead & self._dead:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._dead = dead


def _children() -> Iterator[int]:
    """Our children, dead ones included, each listed with the thread that has it; none where there is no /proc."""
    with contextlib.suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_text(encoding="ascii").split())


def _is_dead(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


@contextlib.contextmanager
def thread_shortage() -> Iterator[None]:
    """Where no thread can be begun, an OSError as where no process can: for Python it is a RuntimeError like any."""
    try:
        yield
    except RuntimeError as error:
        if _NO_THREAD not in str(error):
            raise
        raise OSError(errno.EAGAIN, _NO_THREAD) from error


async def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int,
    stderr: int,
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
) -> asyncio.subprocess.Process:
    """A process that leads a group of its own and has a pipe from us as standard input.

    Raises:
        OSError: there is no such program, or the machine is short of something.
    """
    before = set(_children())
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
            process_group=0,
        )
    except RuntimeError as error:
        if _NO_THREAD not in str(error):
            raise
    # It runs, asyncio has found no thread to wait for it, and has forgotten it.
    for pid in set(_children()) - before:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.getpgid(pid) == pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    raise OSError(errno.EAGAIN, _NO_THREAD)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to all of the group; it may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def end_group(process: subprocess.Popen[bytes], grace: float) -> None:
    """End a child that leads a group: it has `grace` seconds to do so by itself; what it has started goes with it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    signal_group(process.pid, signal.SIGKILL)


def has_group(leader: int) -> bool:
    """Whether somebody of the group is left, be it unreaped."""
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap_group(leader: int) -> None:
    """Forget the dead of a group whose leader was reaped: they would keep the group in being."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-leader, os.WNOHANG)[0]:
            pass


def how_it_ended(status: int) -> str:
    """How a process ended that nobody told to, by its return code."""
    if status == _KILLED_BELOW:
        return f"ended with exit code {status}: something in it was killed by SIGKILL, {_OUT_OF_MEMORY}"
    if status >= 0:
        return f"ended with exit code {status}"
    if -status == signal.SIGKILL:
        return f"was killed by SIGKILL, {_OUT_OF_MEMORY}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # most of the real-time signals have none
        name = f"signal {-status}"
    return f"was ended by {name}"
