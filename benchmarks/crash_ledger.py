"""What a crash soak was promised and what it found: acknowledged notes by the life of the database, and the counts.

A restore goes back in time, so what must be there depends on which life it is: each restore gives the database a new
epoch, notes are kept by epoch, and a snapshot owes what its epoch had when it was begun.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw


@dataclass(slots=True)
class Ledger:
    """What was acknowledged, and what each life of the database and each snapshot of it owes therefore.

    `origins`: an epoch -> the snapshot it was restored from ("" for the first one). `taken`: a snapshot -> its epoch
    and the time before which an acknowledgement is in it for certain.
    """

    file: Path
    notes: dict[str, str] = field(default_factory=dict)
    by_epoch: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    taken: dict[str, tuple[str, float]] = field(default_factory=dict)

    def acknowledge(self, said: dict[str, Any]) -> None:
        """Keep, on disk, that a note was acknowledged."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.notes[said["captured"]] = said["text"]
        before, after = said["epochs"]
        if before == after:  # else a restore came between: it is in one of the two, and must be somewhere
            self.by_epoch.setdefault(after, []).append((said["at"], said["captured"]))

    def owed(self, epoch: str, before: float = math.inf) -> set[str]:
        """The ids of the notes that this epoch has for certain, at that time."""
        ids: set[str] = set()
        while True:
            ids |= {note for at, note in self.by_epoch.get(epoch, ()) if at < before}
            origin = self.origins[epoch]
            if not origin:
                return ids
            epoch, before = self.taken[origin]

    def owed_by(self, snapshot: str) -> set[str]:
        return self.owed(*self.taken[snapshot])

    def missing(self, ids: set[str], bodies: dict[str, str]) -> list[str]:
        """Those of these notes that are not there, or not with their text."""
        return sorted(note for note in ids if self.notes[note] not in bodies.get(note, ""))


@dataclass(frozen=True, slots=True)
class Restoring:
    """A restore that was ordered: of which snapshot, in which epoch, when it began, and whether it was killed."""

    snapshot: str
    epoch: str
    at: int = 0
    is_cut: bool = False
    is_decided: bool = False


@dataclass(slots=True)
class Totals:
    """What is printed at the end."""

    phases: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    late_kills: int = 0
    restores: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed_notes: int = 0
    looks: int = 0
    read_back: int = 0
    losses: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.has_lost or self.alarms)

    @property
    def has_lost(self) -> bool:
        """Whether to go on would only tell the same again. Alarms of verify do not count: everything is looked at."""
        return bool(self.losses or self.unreadable or self.problems)

    def lines(self, ledger: Ledger, seconds: float) -> Iterator[str]:
        kills = sum(self.kills.values())
        yield f"{sum(self.phases.values())} phases in {seconds / 60:.1f} minutes: {_counts(self.phases)}"
        yield f"{kills} kills mid-phase: {_counts(self.kills)} ({self.late_kills} more came too late and do not count)"
        yield f"restores: {_counts(self.restores) or 'none'}"
        yield f"refused: {_counts(self.refused) or 'none'}"
        yield f"{self.failed_notes} times a file was changed under an ingest's hands, and failed until the next one"
        yield f"{len(ledger.notes)} notes acknowledged, {self.looks} times everything was looked at"
        yield f"{self.read_back} times a good backup was read back"
        yield f"losses: {len(self.losses)}"
        yield f"unreadable good backups: {len(self.unreadable)}"
        yield f"other problems: {len(self.problems)}"
        yield f"failed checks of verify: {len(self.alarms)}"
        yield from (f"  {line}" for line in (*self.losses, *self.unreadable, *self.problems, *self.alarms))


def unsound(connection: apsw.Connection) -> Iterator[str]:
    """What is wrong with a database: its pages, references, full-text index, and chunks that are not of their note."""
    if (found := connection.pragma("quick_check")) != "ok":
        yield f"quick_check: {found}"
    if rows := connection.execute("PRAGMA foreign_key_check").fetchall():
        yield f"{len(rows)} rows refer to nothing"
    chunks = connection.execute("SELECT id FROM chunk ORDER BY id").fetchall()
    if connection.execute("SELECT id FROM chunk_fts_docsize ORDER BY id").fetchall() != chunks:
        yield "the full-text index is not of the chunks that there are"
    if count := connection.execute("SELECT count(*) FROM note WHERE key NOT IN (SELECT note FROM note_text)").get:
        yield f"{count} notes without their text"
    for note, body, text, start in connection.execute(
        "SELECT note.path, body, text, start FROM chunk JOIN note ON key = chunk.note JOIN note_text USING (note)"
    ):
        if body[start : start + len(text)] != text:
            yield f"a chunk of {note} is not of its text"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())
