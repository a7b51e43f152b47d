"""A service for tests of the supervisor: `python toy_service.py NAME FOLDER [stubborn] [child] [dies] [silent]`.

It writes what happens to it to FOLDER/events, is ready when FOLDER/NAME.ready is there. It has a last word.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_NEVER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main() -> None:
    name, folder, *ways = sys.argv[1:]
    place = Path(folder)

    def happened(what: str) -> None:
        with (place / "events").open("a") as events:
            events.write(f"{what} {name} {os.getpid()}\n")

    def end(_number: int, _frame: FrameType | None) -> None:
        if "stubborn" in ways:
            return
        print(f"{name} ends", flush=True)  # the last word of an orderly end
        happened("end")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print(f"{name} speaks", flush=True)
    if "child" in ways:
        subprocess.Popen([sys.executable, "-c", _NEVER, folder])
    happened("start")
    if "dies" in ways:
        sys.exit(3)
    if "silent" not in ways:
        (place / f"{name}.ready").touch()
    while True:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
