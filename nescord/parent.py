"""A child that ends with its parent, however that goes: `python -m nescord.parent GRACE MODULE [ARGUMENT …]`.

Standard input is a pipe whose other end only the parent holds and never writes to: it ends when the parent does, also
by kill -9, on every Unix. (Linux's PR_SET_PDEATHSIG is bound to a thread of the parent and wants code run between fork
and exec.) What a child has started itself goes with its process group.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time


def end_with_parent(grace: float) -> None:
    """From now on: SIGTERM to this process when standard input ends, and SIGKILL to its group `grace` seconds later."""
    threading.Thread(target=_wait_for_the_end, args=(grace,), daemon=True).start()


def _wait_for_the_end(grace: float) -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent(float(sys.argv[1]))
    module = sys.argv[2]
    del sys.argv[:2]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
