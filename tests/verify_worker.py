"""Processes of the tests of verification: `python tests/verify_worker.py VERB DATA_DIR`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from index_world import PREFIX, World

from nescord.catalog import vectors as sql
from nescord.persistence.index import leave_sentinel
from nescord.persistence.report import PersistenceReport
from tests.verified import look_into


def _main() -> None:
    verb, data = sys.argv[1], Path(sys.argv[2])
    with World(data) as world:
        if verb == "look":
            report: PersistenceReport = look_into(world)
            print(report.ok, flush=True)
        elif verb == "sentinel":  # and die with it
            with world.catalog.read() as connection:
                epoch = sql.epoch(connection)
            with world.open() as service:
                print(leave_sentinel(service, epoch, PREFIX), flush=True)
                time.sleep(60)


if __name__ == "__main__":
    _main()
