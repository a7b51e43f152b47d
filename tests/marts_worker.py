"""What tests of marts do in processes of their own.

    python tests/marts_worker.py build DATA     builds again and again, a line for each generation
    python tests/marts_worker.py watched DATA   builds the files in this process, and says who touched the live database

"watched" builds, and then does in this process what the child does, on a snapshot of its own, under an audit hook: APSW
opens files in C, past Python's audit events, so an event that names the live database is somebody else's.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from marts_world import settings_of

DATA = Path(sys.argv[2])
LIVE = {str(DATA / f"nescordbot.db{suffix}") for suffix in ("", "-wal", "-shm", "-journal")}


def build() -> None:
    from nescord import marts

    while True:
        os.write(1, marts.build(settings_of(DATA)).generation.encode() + b"\n")


def watched() -> None:
    touched: list[str] = []
    opened: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        for argument in arguments:
            if isinstance(argument, str | bytes | os.PathLike):
                name = os.path.abspath(os.fsdecode(argument).removeprefix("file:").partition("?")[0])
                if name in LIVE:
                    touched.append(f"{event} {name}")
                elif event == "open" and str(DATA) in name:
                    opened.append(name)

    from nescord import KnowledgeManager, marts
    from nescord.catalog.snapshot import snapshot
    from nescord.marts import child
    from nescord.marts.job import SNAPSHOT, Job

    sys.addaudithook(watch)
    marts.build(settings_of(DATA))
    target = DATA / "marts" / "20260101T000000Z"
    target.mkdir()
    with KnowledgeManager.open(settings_of(DATA)) as km:
        with km._base.verb() as catalog, catalog.read() as connection:
            snapshot(connection, target / SNAPSHOT)
        made = child.export(Job(texts=True, spaces=None, before="", outside={}), target)
    libraries = sorted({"sqlite3", "_sqlite3", "duckdb", "adbc_driver_sqlite"} & sys.modules.keys())
    found = list(touched)
    os.close(os.open(DATA / "nescordbot.db", os.O_RDONLY))  # that the hook sees such a thing
    print(json.dumps({"touched": found, "control": len(touched) - len(found), "opened": len(opened)}))
    print(json.dumps({"libraries": libraries, "counts": made["counts"]}))


if __name__ == "__main__":
    {"build": build, "watched": watched}[sys.argv[1]]()
