"""What the service has promised, kept outside of it: every act of the load, fsynced before and after.

An act leads a note to a state: its text, or None where it is not there. One that was acknowledged has happened; of one
without an answer nobody can say, so both states are permitted, and the load never touches that note again. A restore
goes back in time: it begins another life of the database, in which everything is as the snapshot owes it.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

State = str | None
States = frozenset[State]
Kind = Literal["keep", "edit", "delete", "undo"]
Outcome = Literal["asked", "acknowledged", "unknown"]


@dataclass(slots=True)
class Act:
    """Something that was asked for that changes a note, and what became of it."""

    number: int
    kind: Kind
    marker: str
    text: State
    space: str
    author: str
    asked: float
    note: str = ""
    ended: float | None = None
    outcome: Outcome = "asked"
    said: str = ""


@dataclass(slots=True)
class Life:
    """The database from one restore to the next. `asked` and `began`: when the restore that began it was asked for and
    was over; `closing` and `ended`: the same of the one that ended it."""

    epoch: str
    origin: str
    asked: float
    began: float
    closing: float = math.inf
    ended: float = math.inf


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup: of which life; when its creation began at the earliest; when it was certainly there."""

    id: str
    life: int
    begun: float
    seen: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the service, and how it is known that it happened."""

    kind: str
    proof: str
    at: float


class Ledger:
    """All methods may be called from any thread."""

    def __init__(self, file: Path) -> None:
        self.acts: list[Act] = []
        self.lives: list[Life] = [Life("", "", -math.inf, -math.inf)]
        self.snapshots: dict[str, Snapshot] = {}
        self.faults: list[Fault] = []
        self.marker_spaces: dict[str, str] = {}
        self.erased_people: set[str] = set()
        self.erasing_people: set[str] = set()
        self.violations: list[str] = []
        self.answers: Counter[tuple[str, str]] = Counter()
        """How many actions of a kind ended in what: also of those that change nothing."""

        self._file = file.open("a", encoding="utf-8")
        self._lock = threading.RLock()
        self._restoring: tuple[str, float] | None = None
        self._present: dict[str, States] = {}
        self._erasures: list[tuple[float, float]] = []

    def close(self) -> None:
        self._file.close()

    # What happens.

    def ask(self, kind: Kind, marker: str, text: State, space: str, author: str, note: str = "") -> Act:
        """Before an act is tried: from now on it may have happened."""
        with self._lock:
            act = Act(len(self.acts), kind, marker, text, space, author, time.monotonic(), note)
            self._write("ask", **asdict(act))
            self.acts.append(act)
            self.marker_spaces[marker] = space
            self._present[marker] = self._present.get(marker, frozenset({None})) | {text}
            return act

    def acknowledge(self, act: Act, note: str = "", said: str = "") -> None:
        """The service has said that it is done."""
        with self._lock:
            self._end(act, "acknowledged", said)
            act.note = note or act.note
            if self._restoring is None and act.asked > self.lives[-1].began:
                self._present[act.marker] = frozenset({act.text})

    def unknown(self, act: Act, said: str) -> None:
        """No answer, or one that does not say that it is done."""
        with self._lock:
            self._end(act, "unknown", said)

    def erase_asked(self, author: str) -> None:
        """Somebody wants everything of theirs gone; from now on it may be."""
        with self._lock:
            self._write("erase asked", author=author)
            self.erasing_people.add(author)
            self._erasures.append((time.monotonic(), math.inf))

    def erased(self, author: str) -> None:
        """They were told that it is."""
        with self._lock:
            self._write("erased", author=author)
            self.erased_people.add(author)
            asked, _ = self._erasures.pop()
            self._erasures.append((asked, time.monotonic()))

    def place(self, marker: str, space: str) -> None:
        """A marker that is no note of ours (a vault's): only who may see it counts."""
        with self._lock:
            self.marker_spaces[marker] = space

    def fault(self, kind: str, proof: str) -> None:
        with self._lock:
            self.faults.append(Fault(kind, proof, time.monotonic()))
            self._write("fault", kind=kind, proof=proof)

    def snapshot(self, snapshot: str, begun: float, seen: float | None = None, life: int | None = None) -> None:
        """There is this backup."""
        with self._lock:
            life = len(self.lives) - 1 if life is None else life
            self.snapshots[snapshot] = Snapshot(snapshot, life, begun, time.monotonic() if seen is None else seen)
            self._write("snapshot", **asdict(self.snapshots[snapshot]))

    def restoring(self, snapshot: str) -> None:
        """A restore is about to be asked for."""
        with self._lock:
            self._write("restoring", snapshot=snapshot)
            self._restoring = (snapshot, time.monotonic())

    def not_restored(self) -> None:
        """It did not happen: the database is the one it was."""
        with self._lock:
            self._write("not restored")
            self._restoring = None
            self._present = self._states(self.lives[-1], math.inf, math.inf)

    def restored(self, before: str, epoch: str = "") -> None:
        """It is over; `before` is the backup of what was there."""
        with self._lock:
            assert self._restoring is not None
            (origin, asked), now = self._restoring, time.monotonic()
            if before:
                self.snapshot(before, asked, now)
            self.lives[-1].closing, self.lives[-1].ended = asked, now
            self.lives.append(Life(epoch, origin, asked, now))
            self._restoring = None
            self._write("restored", before=before, **asdict(self.lives[-1]))
            self._present = self._states(self.lives[-1], math.inf, math.inf)

    def answered(self, action: str, outcome: str) -> None:
        """Count what an action came to."""
        with self._lock:
            self.answers[action, outcome] += 1

    def violation(self, what: str) -> None:
        """The service has broken a promise under everybody's eyes."""
        with self._lock:
            self._write("violation", found=what)
            self.violations.append(what)

    # What is owed.

    def permitted(self) -> dict[str, States]:
        """By marker what the present database may hold: where it is one state, it must."""
        with self._lock:
            return self._without_erased(self._present)

    def must_have(self, marker: str) -> State:
        """The text that a note certainly has now; None: it has none, or nobody can say."""
        with self._lock:
            states = self._present.get(marker, frozenset())
            return next(iter(states)) if len(states) == 1 and self._restoring is None else None

    def is_gone(self, marker: str) -> bool:
        """Whether a note is certainly not there now. While a restore is under way nobody can say."""
        with self._lock:
            return self._restoring is None and self._without_erased(self._present).get(marker) == frozenset({None})

    def owed_by(self, snapshot: str) -> dict[str, States]:
        """By marker what a backup may hold; what people have erased may be in it or not."""
        with self._lock:
            found = self.snapshots[snapshot]
            gone = self._markers_of(self.erasing_people)
            states = self._states(self.lives[found.life], found.begun, found.seen)
            return {marker: each | {None} if marker in gone else each for marker, each in states.items()}

    def somewhere(self) -> list[tuple[str, str, int]]:
        """What was kept while a restore was under way, as marker, text and the number of the life that the restore
        began: it came into that one, or is in the backup of what was there before."""
        with self._lock:
            return [
                (act.marker, act.text, number)
                for number, life in enumerate(self.lives[1:], 1)
                for act in self.acts
                if act.kind == "keep" and act.text is not None and act.outcome == "acknowledged"
                if act.asked <= life.began and (act.ended or 0) >= life.asked
            ]  # fmt: skip

    def forgettings(self) -> list[tuple[float, float]]:
        """When vectors that no note used were forgotten: at each erasure, and at each restore, which repeats those that
        it knows of. Whose they were cannot be told any more."""
        with self._lock:
            restores = [(life.asked, life.began) for life in self.lives[1:]]
            return self._erasures + [each for each in restores if any(asked < each[1] for asked, _ in self._erasures)]

    def recoveries(self) -> list[float]:
        """Per fault the seconds until something that was asked for after it was acknowledged."""
        with self._lock:
            done = sorted((act.asked, act.ended) for act in self.acts if act.outcome == "acknowledged" and act.ended)
            found = []
            for fault in self.faults:
                later = [ended for asked, ended in done if asked >= fault.at]
                if later:
                    found.append(min(later) - fault.at)
            return found

    # How.

    def _states(self, life: Life, certain: float, possible: float) -> dict[str, States]:
        """What that life holds: acts that ended before `certain` are in it, those asked after `possible` are not."""
        states: dict[str, States] = {}
        if life.origin:
            found = self.snapshots[life.origin]
            states = self._states(self.lives[found.life], found.begun, found.seen)
            if life is self.lives[-1]:
                states = self._without_erased(states)
        for act in self.acts:
            if act.asked >= possible:
                break
            ended = math.inf if act.ended is None else act.ended
            is_known = act.outcome == "acknowledged"
            if is_known and ended < life.asked:
                states.setdefault(act.marker, frozenset({None}))
                continue  # of an earlier life
            if act.asked > life.ended:
                continue  # of a later one
            before = states.get(act.marker, frozenset({None}))
            is_in = is_known and act.asked > life.began and ended < min(certain, life.closing)
            states[act.marker] = frozenset({act.text}) if is_in else before | {act.text}
        return states

    def _without_erased(self, states: dict[str, States]) -> dict[str, States]:
        gone, going = self._markers_of(self.erased_people), self._markers_of(self.erasing_people)
        return {
            marker: frozenset({None}) if marker in gone else each | {None} if marker in going else each
            for marker, each in states.items()
        }

    def _markers_of(self, people: Iterable[str]) -> set[str]:
        wanted = set(people)
        return {act.marker for act in self.acts if act.author in wanted} if wanted else set()

    def _end(self, act: Act, outcome: Outcome, said: str) -> None:
        act.ended, act.outcome, act.said = time.monotonic(), outcome, said[:300]
        self._write(outcome, number=act.number, ended=act.ended, note=act.note, said=act.said)

    def _write(self, what: str, **more: Any) -> None:
        line = json.dumps({"what": what, "at": time.monotonic(), **more}, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def summary(answers: Counter[tuple[str, str]]) -> Iterator[str]:
    """A row for each kind of action, and what they came to."""
    outcomes = sorted({outcome for _, outcome in answers})
    for action in sorted({action for action, _ in answers}):
        counts = ", ".join(f"{outcome} {answers[action, outcome]}" for outcome in outcomes if answers[action, outcome])
        yield f"{action}: {counts}"
