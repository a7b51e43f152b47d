"""A child that ends with its parent, however that goes: `python -m nescord.parent GRACE MODULE [ARGUMENT …]`.

Standard input is a pipe whose other end only the parent holds and never writes to: it ends when the parent does, also
by kill -9, on every Unix. (Linux's PR_SET_PDEATHSIG is bound to a thread of the parent and wants code run between fork
and exec.) What a child has started itself goes with its process group, also when the child is gone before it: somebody
outside the group sees to that. Who reads what we print is the parent, too: when it is gone, that goes nowhere, so that
a last word does not break an orderly end.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

_LOOK = 50  # milliseconds
# As long as somebody is left of the group, its number is nobody else's. The dead count until they are reaped, which
# nobody may ever do: where there is /proc, it tells them from the living.
_OUTSIDE = """
import glob, os, sys, time
group, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
def is_left():
    os.killpg(group, 0)
    rows = []
    for place in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(place, errors="replace") as file:
                rows.append(file.read().rpartition(")")[2].split())
        except OSError:
            pass
    return not rows or any(row[2] == str(group) and row[0] not in "ZX" for row in rows)
try:
    while is_left() and time.monotonic() < end:
        time.sleep(0.2)
    os.killpg(group, 9)
except ProcessLookupError:
    pass
"""


def end_with_parent(grace: float) -> None:
    """From now on: SIGTERM to our group when standard input ends, and SIGKILL `grace` seconds later.

    Where the group is not ours, only this process is ended.
    """
    threading.Thread(target=_wait_for_the_end, args=(grace,), daemon=True).start()


def _wait_for_the_end(grace: float) -> None:
    os.read(sys.stdin.fileno(), 1)
    _print_to_nobody()
    if os.getpgid(0) != os.getpid():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os.kill(os.getpid(), signal.SIGKILL)
    with suppress(OSError):  # no process can be started any more: then we do it, if we live so long
        _watch_from_outside(grace)
    os.killpg(0, signal.SIGTERM)
    time.sleep(grace)
    os.killpg(0, signal.SIGKILL)


def _watch_from_outside(grace: float) -> None:
    subprocess.Popen(
        [sys.executable, "-ISc", _OUTSIDE, str(os.getpgid(0)), str(grace)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _print_to_nobody() -> None:
    """Standard output and error that nobody reads any more become /dev/null: writing to them would be an error."""
    poll = select.poll()
    for fd in (1, 2):
        poll.register(fd, 0)  # of itself a pipe tells that it is broken
    if broken := poll.poll(_LOOK):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for fd, _ in broken:
            os.dup2(nowhere, fd)
        os.close(nowhere)


if __name__ == "__main__":
    end_with_parent(float(sys.argv[1]))
    module = sys.argv[2]
    del sys.argv[:2]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
