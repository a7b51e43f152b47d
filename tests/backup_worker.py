"""Processes for tests of backups.

python tests/backup_worker.py write DATA      commits on and on: the same number into two tables; says each
python tests/backup_worker.py hold DATA       shares backups.lock until stdin is closed; says "held"
python tests/backup_worker.py create DATA     one backup; says its id
python tests/backup_worker.py drill DATA      one drill; says its result
python tests/backup_worker.py kills           reads lines of JSON [DATA, k, s]: a backup in a process of its own,
                                                  killed before its k-th call that changes files (0: never), or after s
                                                  seconds (0: never); says {"calls": those made, "id": id or ""}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from nescord import KnowledgeManager, Settings, durable
from nescord.backup.create import create
from nescord.backup.drill import drill
from nescord.locks import LockName


def say(line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def opened(data: str) -> KnowledgeManager:
    return KnowledgeManager.open_existing(Settings(data_dir=Path(data), embedder="none", vector="exact"))


class KillingOs:
    """`os`, but for the k-th call: before that the process kills itself. Says each call to `told`."""

    def __init__(self, last: int, told: int) -> None:
        self._left, self._told = last, told

    def __getattr__(self, name: str) -> Any:  # Any: whatever os has
        found = getattr(os, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(self._told, b".")
            return found(*arguments, **named)

        return called


def write(data: str) -> None:
    with opened(data) as km:
        number = 0
        while True:
            number += 1
            with km._base.verb() as catalog, catalog.write() as connection:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('pair', ?)", (str(number),))
                connection.execute("UPDATE source SET name = ? WHERE id = 1", (str(number),))
            say(number)


def hold(data: str) -> None:
    with opened(data) as km, km._base.locks.shared(LockName.BACKUPS):
        say("held")
        sys.stdin.read()


def kills() -> None:
    # A fork, as a start costs more than all that is tried; nothing is open or locked here, and no thread runs.
    assert threading.active_count() == 1
    for line in sys.stdin:
        data, last, seconds = json.loads(line)
        calls, told = os.pipe()
        ids, answer = os.pipe()
        if not (child := os.fork()):
            signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends the process as SIGKILL does
            durable.os = KillingOs(last, told)  # type: ignore[assignment]  # all of os that it uses
            with opened(data) as km:
                os.write(answer, create(km._base).id.encode())
            os._exit(0)
        os.close(told)
        os.close(answer)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
        with os.fdopen(calls, "rb") as made, os.fdopen(ids, "rb") as answered:
            say({"calls": len(made.read()), "id": answered.read().decode()})


def main() -> None:
    verb, *data = sys.argv[1:]
    if verb == "kills":
        kills()
    elif verb in ("write", "hold"):
        {"write": write, "hold": hold}[verb](*data)
    else:
        with opened(*data) as km:
            say(create(km._base).id if verb == "create" else drill(km._base, with_index=False).ok)


if __name__ == "__main__":
    main()
