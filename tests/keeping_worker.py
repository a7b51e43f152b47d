"""Processes that keep something at the same time, for tests/test_note_verbs.py and tests/test_inbox.py.

    python tests/keeping_worker.py ROLE DATA ARGUMENT…

add ID TEXT: adds that note when a line comes, and says its text as it is stored. edit ID TEXT EXPECTED: edits it, and
says "done" or "conflict". accept ID…: accepts those interactions, and says for each whether it was the first; kill ID:
accepts one and is killed at once, without a word more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.errors import ConflictError
from nescord.inbox import Accepted


def accepted(name: str) -> Accepted:
    now = datetime.now(UTC)
    return Accepted(name, "note", "user:42", {"text": name}, "token", "", now, now + timedelta(minutes=15))


def play(km: KnowledgeManager, role: str, arguments: list[str]) -> object:
    if role == "add":
        return km.add_note(arguments[1], note_id=arguments[0]).body
    if role == "edit":
        try:
            km.edit_note(arguments[0], text=arguments[1], expected=arguments[2])
        except ConflictError:
            return "conflict"
        return "done"
    if role == "kill":
        km.inbox.accept([accepted(arguments[0])])
        os.kill(os.getpid(), signal.SIGKILL)
    return km.inbox.accept([accepted(name) for name in arguments])


def main() -> None:
    role, data, *arguments = sys.argv[1:]
    with KnowledgeManager.open(Settings(data_dir=Path(data))) as km:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(play(km, role, arguments)), flush=True)


if __name__ == "__main__":
    main()
