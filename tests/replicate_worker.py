"""Copies the backups of a base elsewhere, in processes that can be killed: DATA, settings as JSON.

Alone it copies once. With a third argument it reads numbers from stdin and copies for each of them in a process of its
own, which kills itself before that call of durable that changes files; says whether it came to its end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from nescord import durable
from nescord.backup.replicate import replicate
from tests.backup_worker import KillingOs
from tests.off_site_world import PATIENCE
from tests.vaults import open_base


def copy(data: Path, options: dict[str, object]) -> None:
    with open_base(data, vector="exact", **options) as km:
        replicate(km._base, patience=PATIENCE)


def kills(data: Path, options: dict[str, object]) -> None:
    # A fork, as a start costs more than all that is tried; nothing is open here, and no thread runs.
    assert threading.active_count() == 1
    for line in sys.stdin:
        child = os.fork()
        if not child:
            with open_base(data, vector="exact", **options) as km:
                durable.os = KillingOs(int(line), os.open(os.devnull, os.O_WRONLY))  # type: ignore[assignment]
                replicate(km._base, patience=PATIENCE)
            os._exit(0)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0), flush=True)


if __name__ == "__main__":
    (kills if sys.argv[3:] else copy)(Path(sys.argv[1]), json.loads(sys.argv[2]))
