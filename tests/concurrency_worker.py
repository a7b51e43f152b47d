"""The parts that processes play in tests/test_concurrency.py, each on a knowledge base that all of them share.

    python tests/concurrency_worker.py ROLE DATA [VAULT] [SECONDS]

write: captures, and ingests VAULT while editing it, for SECONDS; says {"captured": word, "path": path} when a capture
has returned. read: searches without pause; a line {"find": word, "path": path} on stdin is looked up once, at once, and
answered. begin: opens (and perhaps begins) the knowledge base when a line comes, and captures. Whatever goes wrong
ends the process with a traceback.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from pathlib import Path

from benchmarks import vault as vaults
from nescord import KnowledgeManager, Settings
from nescord.home import read_identity


def say(**line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def capture(km: KnowledgeManager, number: int) -> None:
    word = f"captured{os.getpid()}x{number}"
    say(captured=word, path=km.capture(f"{word} 鍵を確認する").path)


def write(km: KnowledgeManager, vault: Path, seconds: float) -> None:
    until, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        vaults.edit(vault, 0.2, seed=rounds)
        report = km.ingest(vault)
        assert (report.failed, report.withheld) == (0, 0)
        for _ in range(3):
            rounds += 1
            capture(km, rounds)
    say(ingests=rounds // 3, captures=rounds)


def read(km: KnowledgeManager) -> None:
    queries = ["確認", "鍵", "meeting", "notes on", "How to keep", "会議 メモ"]
    searches = 0
    # Unbuffered: select() knows nothing of lines that Python has read ahead.
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        while True:
            if select.select([stdin], [], [], 0)[0]:
                line = stdin.readline()
                if not line:
                    break
                wanted = json.loads(line)
                say(found=[hit.path for hit in km.search(wanted["find"])] == [wanted["path"]], **wanted)
            km.search(random.choice(queries))
            km.status()
            searches += 1
    say(searches=searches)


def begin(data: Path) -> None:
    say(ready=os.getpid())
    sys.stdin.readline()
    with KnowledgeManager.open(Settings(data_dir=data)) as km:
        capture(km, 0)
        say(identity=read_identity(km.folder).uuid, is_new=km.is_new)


def main() -> None:
    role, data, *rest = sys.argv[1:]
    if role == "begin":
        begin(Path(data))
        return
    with KnowledgeManager.open_existing(Settings(data_dir=Path(data))) as km:
        say(ready=os.getpid())
        if role == "write":
            write(km, Path(rest[0]), float(rest[1]))
        else:
            read(km)


if __name__ == "__main__":
    main()
