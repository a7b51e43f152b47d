"""A child and all that it started, as one: the process group that it leads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36
# A shell and a container tell of the death of a process of theirs by 128 + the signal.
_KILLED_BELOW = 128 + signal.SIGKILL
_OUT_OF_MEMORY = "probably because the machine ran out of memory"


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, as the first process of a container is: we can reap it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to all of the group; it may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


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
    return f"was ended by {signal.Signals(-status).name}"
