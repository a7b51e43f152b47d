"""A soak in namespaces of its own: its mounts go with it, and every process that it can see is one of its own.

`enter` starts the program again below `unshare`; there this module is the first process, which reaps what is orphaned,
as the first process of a container does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

_INSIDE = "NESCORD_SOAK_INSIDE"
_UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


def is_inside() -> bool:
    return os.environ.get(_INSIDE) == "1"


def enter(module: str, arguments: Sequence[str]) -> int | None:
    """Run `python -m module` with these arguments in namespaces of its own; its exit code. None: we may not, or are
    there already."""
    if is_inside() or os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return None
    if subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True).returncode:
        return None
    command = [*_UNSHARE, sys.executable, "-m", "benchmarks.soaking.alone", module, *arguments]
    with subprocess.Popen(command, env={**os.environ, _INSIDE: "1"}) as process:

        def pass_on(number: int, frame: FrameType | None) -> None:
            # Of the processes in there only the first has a number here, and that one passes it on.
            process.send_signal(number)

        signal.signal(signal.SIGTERM, pass_on)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all of us
        return process.wait()


def main() -> int:
    """The first process: starts the soak, reaps everything, and ends with it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "soak", "/dev/shm"], check=True)
    module, *arguments = sys.argv[1:]
    soak = os.posix_spawn(sys.executable, [sys.executable, "-m", module, *arguments], os.environ)

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(soak, signal.SIGINT)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == soak:
            return os.waitstatus_to_exitcode(status) % 256


if __name__ == "__main__":
    sys.exit(main())
