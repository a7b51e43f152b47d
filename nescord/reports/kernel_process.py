"""The process that runs a notebook's cells: `python -m nescord.reports.kernel_process -f CONNECTION`.

Jupyter gives it a session of its own, where the signals for our group do not reach it. So the system is told to kill it
when who started it is gone, also while it computes; elsewhere than on Linux, ipykernel looks once a second.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the one notebook; returns when it is told to end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(os.environ.get("JPY_PARENT_PID") or os.getppid()):
            sys.exit(1)  # it was gone before that
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
