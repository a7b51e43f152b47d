"""A process that ingests and says on stdout, a line of JSON each, what it has committed: made to be killed.

    python tests/ingest_worker.py DATA VAULT [--batch NOTES] [--lock-timeout S] [--hold]

Lines: {"opening": pid}; {"planned": [path …]} the files that it will look into, in order; {"done": n} the first n of
them are committed; {"finished": {report}}. `--hold` waits for a line on stdin after the first batch. SIGTERM and SIGINT
end the run after the batch at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from nescord import KnowledgeManager, Settings, ingest
from nescord.errors import LockTimeoutError
from nescord.ingest import IngestOptions, Progress


def say(**line: object) -> None:
    # One write: a pipe takes up to 4,096 bytes whole or not at all, so a kill leaves no half of a promise.
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("vault", type=Path)
    parser.add_argument("--batch", type=int, default=ingest.BATCH_NOTES)
    parser.add_argument("--lock-timeout", type=float, default=30)
    parser.add_argument("--hold", action="store_true")
    chosen = parser.parse_args()
    ingest.BATCH_NOTES = chosen.batch
    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stops.append(number))
    holds = chosen.hold

    def progress(at: Progress) -> None:
        nonlocal holds
        say(done=at.done)
        if holds:
            holds = False
            sys.stdin.readline()

    say(opening=os.getpid())
    with KnowledgeManager.open(Settings(data_dir=chosen.data, lock_timeout=chosen.lock_timeout)) as km:
        try:
            say(planned=[file.path for file in km.plan(chosen.vault).scan.fresh])
            # Deletions come at a run's end: run after run killed, they pile up until the guard would hold them back.
            options = IngestOptions(allow_mass_delete=True, stop=lambda: bool(stops), progress=progress)
            report = km.ingest(chosen.vault, options=options)
        except LockTimeoutError as error:
            say(refused=str(error))
            return
        say(finished=asdict(report))


if __name__ == "__main__":
    main()
