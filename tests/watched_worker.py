"""Runs every verb in a process in which an audit hook watches who touches the live database files.

    python tests/watched_worker.py DATA VAULT

APSW opens them in C, past Python's audit events: an event that names one of them is somebody else, whose close() would
drop APSW's locks. Says {"touched": […]}, then {"control": […]}: what the hook sees of touches that are made on purpose.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import sys
from pathlib import Path

DATA, VAULT = Path(sys.argv[1]), Path(sys.argv[2])
LIVE = {str(DATA / f"nescordbot.db{suffix}") for suffix in ("", "-wal", "-shm", "-journal")}
touched: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    for argument in arguments:
        if not isinstance(argument, str | bytes | os.PathLike):
            continue
        name = os.fsdecode(argument).removeprefix("file:").partition("?")[0]
        if name.endswith(("nescordbot.db", "-wal", "-shm", "-journal")) and os.path.abspath(name) in LIVE:
            touched.append(f"{event} {name}")


def every_verb() -> None:
    from nescord import KnowledgeManager, Settings
    from nescord.cli import run

    moved = VAULT.with_name("moved")
    with KnowledgeManager.open(Settings(data_dir=DATA)) as km:
        km.ingest(VAULT)
        km.commit(km.plan(VAULT))
        note = km.capture("a capture 鍵")
        assert km.search("鍵")
        assert km.scoped({"user:1"}).search("鍵") == []
        assert km.note(note.id) == note
        km.status()
        km.failures()
        km.sources()
        VAULT.rename(moved)
        km.move_source(VAULT.name, moved)
        km.ingest(moved)
        trashed = km.note(next(moved.rglob("*.md")).relative_to(moved).as_posix())
        km.remove_source(VAULT.name)
        km.restore_note(trashed.id)
        moved.rename(VAULT)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for command in (["ingest", VAULT], ["search", "鍵"], ["status"], ["failures"], ["doctor"], ["config"]):
            run(["--data-dir", str(DATA), *map(str, command)])


def touch_on_purpose() -> None:
    database = DATA / "nescordbot.db"
    database.read_bytes()
    os.close(os.open(database, os.O_RDONLY))
    sqlite3.connect(f"file:{database}?mode=ro", uri=True).close()
    os.chdir(DATA)
    Path("nescordbot.db").rename("elsewhere.db")
    Path("elsewhere.db").rename("nescordbot.db")
    Path("nescordbot.db-wal").unlink(missing_ok=True)


sys.addaudithook(watch)
every_verb()
print(json.dumps({"touched": touched, "libraries": sorted({"duckdb", "adbc_driver_sqlite"} & sys.modules.keys())}))
touched.clear()
touch_on_purpose()
print(json.dumps({"control": touched}))
