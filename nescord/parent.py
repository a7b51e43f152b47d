"""A child that ends with its parent, however that goes: `python -m nescord.parent GRACE MODULE [ARGUMENT …]`.

Standard input is a pipe whose other end only the parent holds and never writes to: it ends when the parent does, also
by kill -9, on every Unix. (Linux's PR_SET_PDEATHSIG is bound to a thread of the parent and wants code run between fork
and exec.) What a child has started itself goes with its process group. Who reads what we print is the parent, too:
when it is gone, that goes nowhere, so that a last word does not break an orderly end.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import sys
import threading
import time

_LOOK = 50  # milliseconds


def end_with_parent(grace: float) -> None:
    """From now on: SIGTERM to this process when standard input ends, and SIGKILL to its group `grace` seconds later."""
    threading.Thread(target=_wait_for_the_end, args=(grace,), daemon=True).start()


def _wait_for_the_end(grace: float) -> None:
    os.read(sys.stdin.fileno(), 1)
    _print_to_nobody()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


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
