"""Processes for tests of putting a backup back.

python -m tests.restore_worker read DATA           searches on and on; answers a word on stdin with the paths found
python -m tests.restore_worker capture DATA        captures on and on; says each note's id once it is acknowledged
python -m tests.restore_worker ingest DATA VAULT   edits the vault and ingests on and on; says each run, or "paused"
python -m tests.restore_worker idle DATA           searches once, then lets its connections be; given a word on stdin
                                                   captures, and answers with the paths found
python -m tests.restore_worker die DATA            captures, says the id and kills itself: a hot WAL is left
python -m tests.restore_worker hold DATA           is in the middle of a verb until stdin is closed; says "held"
python -m tests.restore_worker kills               reads lines of JSON [VERB, DATA, k]: the verb (restore or look) in a
                                                   process of its own, killed before its k-th call that changes files
                                                   (0: never); says {"calls": those made, "answer": its JSON or null}

All but the last and `die` end when stdin is closed, and with a traceback when anything goes wrong.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path

from nescord import KnowledgeManager, durable
from nescord.errors import NescordError, UsageError
from tests.backup_worker import KillingOs, say
from tests.restore_world import EARLIER, KEPT, LATER, base_settings, put_back
from tests.vaults import write_notes


def opened(data: str) -> KnowledgeManager:
    return KnowledgeManager.open_existing(base_settings(Path(data)))


class Orders:
    """Lines on stdin, looked for without waiting; unbuffered, as select() knows nothing of what Python has read."""

    def __init__(self) -> None:
        self.ended = False
        self._stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - for the life of the process

    def next(self) -> str:
        if self.ended or not select.select([0], [], [], 0)[0]:
            return ""
        line = self._stdin.readline()
        self.ended = not line
        return line.decode().strip()


def read(data: str, orders: Orders) -> None:
    searches = 0
    with opened(data) as km:
        say({"ready": os.getpid()})
        while not orders.ended:
            if word := orders.next():
                say({"found": sorted(hit.path for hit in km.search(word)), "at": time.time()})
            assert km.search(KEPT), "a word that was there at all times is gone"
            searches += 1
        say({"searches": searches})


def capture(data: str, orders: Orders) -> None:
    with opened(data) as km:
        say({"ready": os.getpid()})
        while not orders.ended:
            orders.next()
            begun = time.time()
            say({"id": km.capture("a captured line").id, "begun": begun, "at": time.time()})
            time.sleep(0.005)


def ingest(data: str, vault: str, orders: Orders) -> None:
    with opened(data) as km:
        say({"ready": os.getpid()})
        number = 0
        while not orders.ended:
            orders.next()
            number += 1
            write_notes(Path(vault), {"written on.md": f"# Written on\n\nversion {number}\n"})
            try:
                km.ingest(vault)
            except UsageError as error:
                if "nescord ingest --resume" not in str(error):
                    raise
                say({"paused": number, "at": time.time()})
                time.sleep(0.02)
            else:
                say({"ingested": number, "at": time.time()})


def idle(data: str) -> None:
    with opened(data) as km:
        assert km.search(KEPT)
        say({"ready": os.getpid()})
        word = sys.stdin.readline().strip()
        if word:
            say({"captured": km.capture("captured at last").id, "found": sorted(hit.path for hit in km.search(word))})
        sys.stdin.read()


def die(data: str) -> None:
    with opened(data) as km:
        say({"id": km.capture(f"{LATER} from a process that died").id})
        os.kill(os.getpid(), signal.SIGKILL)


def hold(data: str) -> None:
    with opened(data) as km, km._base.verb():
        say("held")
        sys.stdin.read()


def look(data: str) -> dict[str, object]:
    try:
        with opened(data) as km:
            return {word: sorted(hit.path for hit in km.search(word)) for word in (EARLIER, LATER, KEPT)}
    except NescordError as error:
        return {"refused": str(error)}


def kills() -> None:
    # A fork, as a start costs more than all that is tried; nothing is open or locked here, and no thread runs.
    assert threading.active_count() == 1
    for line in sys.stdin:
        verb, data, last = json.loads(line)
        calls, told = os.pipe()
        answers, answer = os.pipe()
        if not (child := os.fork()):
            durable.os = KillingOs(last, told)  # type: ignore[assignment]  # all of os that it uses
            said: object = put_back(Path(data)).restored if verb == "restore" else look(data)
            os.write(answer, json.dumps(said).encode())
            os._exit(0)
        os.close(told)
        os.close(answer)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
        with os.fdopen(calls, "rb") as made, os.fdopen(answers, "rb") as answered:
            text = answered.read()
            say({"calls": len(made.read()), "answer": json.loads(text) if text else None})


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "kills":
        kills()
    elif role in ("die", "hold", "idle"):
        {"die": die, "hold": hold, "idle": idle}[role](*rest)
    else:
        {"read": read, "capture": capture, "ingest": ingest}[role](*rest, Orders())  # type: ignore[operator]


if __name__ == "__main__":
    main()
