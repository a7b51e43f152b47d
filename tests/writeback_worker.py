"""A process that takes a vault in git in and writes back to it: made to be killed.

    python tests/writeback_worker.py DATA URL [--kill-at FUNCTION --at call|return --nth N]

It kills itself, as by kill -9, when the Nth call of a function of that name begins or has returned. Prints "begun" when
it is about to begin, and "done" at its end.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from nescord import KnowledgeManager, Settings
from nescord.writeback_verbs import exchange


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("url")
    parser.add_argument("--kill-at", default="")
    parser.add_argument("--at", default="call")
    parser.add_argument("--nth", type=int, default=1)
    chosen = parser.parse_args()
    left = chosen.nth

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event == chosen.at and frame.f_code.co_name == chosen.kill_at and "nescord" in frame.f_code.co_filename:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings(
        data_dir=chosen.data, vault_git_url=chosen.url, writeback=True, embedder="none", lock_timeout=120
    )
    with KnowledgeManager.open(settings) as km:
        print("begun", flush=True)
        if chosen.kill_at:
            sys.setprofile(watch)
        taken, _ = exchange(km.ingest, km.write_back)
        sys.setprofile(None)
    wrong = [each for each in taken.degraded if not each.startswith("vector")]
    print(f"done {wrong}", flush=True)


if __name__ == "__main__":
    main()
