"""A process that does to a knowledge base what it is told, and is made to be killed (see `benchmarks.crash`).

    python -m benchmarks.crash_worker DATA VAULT

It is told one line of JSON on stdin each: {"do": phase, …}. On stdout it says, a line of JSON each:
{"ready": pid} when everything is imported; {"phase": name, "at": ns} when it begins; {"captured": id, "text": …,
"epochs": [before, after], "at": ns} when a capture was acknowledged; {"done": name, …} or {"refused": name, …} at the
end of the phase. Times are of the monotonic clock, which all processes share. The end of stdin ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nescord import KnowledgeManager, Settings
from nescord.backup.manager import BackupManager
from nescord.backup.prune import prune
from nescord.backup.retention import Policy
from nescord.catalog import vectors as vectors_sql
from nescord.errors import NescordError
from nescord.ingest import IngestOptions

Order = Mapping[str, Any]  # Any: what a JSON document holds


class Worker:
    """The open knowledge base and what can be done to it. Each phase gives what is said at its end."""

    def __init__(self, settings: Settings, vault: Path) -> None:
        self._settings = settings
        self._vault = vault
        self._manager = BackupManager(settings)
        self._knowledge: KnowledgeManager | None = None
        self.phases: dict[str, Callable[[Order], dict[str, Any]]] = {
            "open": self._open,
            "ingest": self._ingest,
            "capture": self._capture,
            "create": lambda order: {"id": self._manager.create(trigger=order["trigger"]).id},
            "check": self._check,
            "prune": lambda order: {"dropped": prune(self._settings, Policy.last(order["keep"])).dropped},
            "restore": self._restore,
            "note restore": self._note_restore,
            "verify": self._verify,
        }

    @property
    def _km(self) -> KnowledgeManager:
        assert self._knowledge is not None, "the first order is open"
        return self._knowledge

    def close(self) -> None:
        if self._knowledge is not None:
            self._knowledge.close()

    def _open(self, _order: Order) -> dict[str, Any]:
        self._knowledge = KnowledgeManager.open_existing(self._settings)
        return {}

    def _ingest(self, _order: Order) -> dict[str, Any]:
        if self._km.paused():
            self._km.resume()
        # Deletions come at a run's end: run after run killed, they pile up until the guard would hold them back.
        report = self._km.ingest(self._vault, options=IngestOptions(allow_mass_delete=True))
        reasons = [failure.reason for failure in self._km.failures()][:5] if report.failed else []
        return {"failed": report.failed, "reasons": reasons}

    def _capture(self, order: Order) -> dict[str, Any]:
        for text in order["texts"]:
            before = self._epoch()
            self._say_captured(self._km.capture(text).id, text, before)
        return {}

    def _note_restore(self, order: Order) -> dict[str, Any]:
        before = self._epoch()
        note = self._km.restore_note(order["note"], at=order["date"])
        self._say_captured(note.id, order["text"], before)
        return {}

    def _say_captured(self, note: str, text: str, before: str) -> None:
        at = time.monotonic_ns()
        say(captured=note, text=text, epochs=[before, self._epoch()], at=at)

    def _check(self, order: Order) -> dict[str, Any]:
        found = self._manager.checked(order["ids"])
        return {"bad": [f"{each.id}: {each.problems[0]}" for each in found if not each.ok]}

    def _restore(self, order: Order) -> dict[str, Any]:
        restored = self._manager.restored(order["id"])
        return {"before": restored.before, "remarks": restored.remarks, "epoch": self._epoch()}

    def _verify(self, _order: Order) -> dict[str, Any]:
        report = self._km.verify()
        return {"failed": [f"{each.name}: {each.value}" for each in report.checks if each.status == "fail"]}

    def _epoch(self) -> str:
        """Every restore gives a new one: the same before and after a verb says in which life its commit was."""
        with self._km._base.verb() as catalog, catalog.read() as connection:
            return vectors_sql.epoch(connection)


def say(**line: object) -> None:
    # One write: a pipe takes up to 4,096 bytes whole or not at all, so a kill leaves no half of a promise.
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash_worker")
    parser.add_argument("data", type=Path)
    parser.add_argument("vault", type=Path)
    asked = parser.parse_args()
    worker = Worker(Settings(data_dir=asked.data, embedder="none"), asked.vault)
    say(ready=os.getpid())
    try:
        for line in sys.stdin:
            order = json.loads(line)
            phase = order["do"]
            say(phase=phase, at=time.monotonic_ns())
            try:
                say(done=phase, **worker.phases[phase](order))
            except NescordError as error:
                say(refused=phase, error=type(error).__name__, message=str(error))
    finally:
        worker.close()


if __name__ == "__main__":
    main()
