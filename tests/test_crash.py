"""Killing an ingest at any instant loses nothing that it had reported, and the next run goes on from there.

A real process ingests a generated vault; it is killed, or asked to end, while somebody goes on editing, renaming,
deleting and writing notes between the runs, all on one and the same knowledge base.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks import vault as vaults
from nescord import KnowledgeManager
from tests.survival import (
    DATABASE,
    SOAK,
    Promises,
    Stored,
    digests,
    index_words,
    new_rng,
    settings,
    stored,
    untouched,
)

TRIALS = 200 if SOAK else 15
NOTES = 300
WORKER = (sys.executable, str(Path(__file__).with_name("ingest_worker.py")))
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))),
}


@dataclass(slots=True)
class Run:
    """What one process has said about its ingest; `seconds` from the plan to its end, or to the kill."""

    planned: list[str] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    report: dict[str, Any] | None = None
    code: int = 0
    seconds: float = 0.0

    def hear(self, line: str) -> None:
        if not line.endswith("\n"):
            return
        said = json.loads(line)
        if "done" in said:
            self.done.append(said["done"])
        self.planned = said.get("planned", self.planned)
        self.report = said.get("finished", self.report)

    @property
    def committed(self) -> list[str]:
        return self.planned[: max(self.done, default=0)]


def ingest_process(
    data: Path, vault: Path, *, send: signal.Signals | None = None, after: float = 0.0, pace: float | None = None
) -> Run:
    """Ingest in a process of its own and `send` it a signal.

    It is sent `after` seconds from when the process opens the knowledge base or, with `pace`, so many seconds for each
    planned note from when it has a plan.
    """
    run = Run()
    with subprocess.Popen(
        [*WORKER, str(data), str(vault), "--batch", "20"], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if pace is not None:
            run.hear(process.stdout.readline())
            after = pace * len(run.planned)
        began = time.perf_counter()
        if send is not None:
            time.sleep(after)
            process.send_signal(send)
        for line in process.stdout:
            run.hear(line)
        run.code = process.wait(60)
        run.seconds = time.perf_counter() - began
    return run


@dataclass(slots=True)
class Person:
    """Whoever keeps the vault: every change that is made to it, and each word by which a written note is found."""

    vault: Path
    rng: random.Random
    promises: Promises = field(default_factory=Promises)
    canaries: set[str] = field(default_factory=set)

    def goes_on(self) -> None:
        """A day's work: most notes edited, so that the next run has something to do, and some of everything else."""
        rng = self.rng
        vaults.edit(self.vault, 0.6, seed=rng.getrandbits(32))
        for old, new in vaults.rename(self.vault, 4, seed=rng.getrandbits(32)):
            self.promises.moved[old.as_posix()] = new.as_posix()
        paths = sorted(digests(self.vault))
        for path in rng.sample(paths, 3):
            (self.vault / path).unlink()
        for _ in range(3):
            # No two notes are ever the same: of two equal ones, nobody can tell which was deleted and which renamed.
            name = f"{rng.getrandbits(48):012x}"
            self._writes(Path(rng.choice(paths)).parent / f"canary {name}.md", f"# New note {name}\n\n")
        for path in rng.sample(sorted(digests(self.vault)), 12):
            self._writes(Path(path), (self.vault / path).read_text("utf-8").split("canary")[0])

    def _writes(self, path: Path, text: str) -> None:
        word = f"canary{self.rng.getrandbits(64):016x}"
        self.canaries.add(word)
        (self.vault / path).write_text(f"{text}\n\n{word} 鍵となる言葉\n", encoding="utf-8")


def assert_found_as_stored(data: Path, found: Stored, canaries: set[str], rng: random.Random) -> None:
    """Search finds a note by the canary that its stored text holds, and no canary that no text holds."""
    holders: dict[str, set[str]] = {}
    for path, note in found.notes.items():
        for word in canaries.intersection(note.body.split()):
            # Two hold it when a note was renamed and rewritten: the old one goes at the end of the run.
            holders.setdefault(word, set()).add(path)
    with KnowledgeManager.open_existing(settings(data)) as km:
        for word in rng.sample(sorted(canaries), min(40, len(canaries))):
            hits = [hit.path for hit in km.search(word)]
            assert sorted(hits) == sorted(holders.get(word, ())), word


def assert_equals_a_fresh_ingest(data: Path, vault: Path, fresh: Path) -> None:
    with KnowledgeManager.open(settings(fresh)) as km:
        report = km.ingest(vault)
    assert report.failed == 0
    ours, theirs = stored(data / DATABASE), stored(fresh / DATABASE)
    assert ours.notes.keys() == theirs.notes.keys() == digests(vault).keys()
    assert [path for path in ours.notes if ours.notes[path] != theirs.notes[path]] == []
    assert index_words(data / DATABASE) == index_words(fresh / DATABASE)


def opened_again(data: Path) -> Stored:
    """What is stored, after the product itself has opened it."""
    with KnowledgeManager.open_existing(settings(data)) as km:
        km.status()
    return stored(data / DATABASE)


@pytest.mark.slow
def test_kill_9_at_any_instant_loses_no_note_that_was_reported_committed(tmp_path: Path) -> None:
    rng = new_rng("kill -9")
    vault, data = tmp_path / "vault", tmp_path / "data"
    vaults.generate(vault, NOTES, seed=rng.getrandbits(32))
    person = Person(vault, rng)
    promises = person.promises
    measured = ingest_process(tmp_path / "measured", vault, pace=0)
    assert measured.report is not None
    seconds_per_note = measured.seconds / NOTES
    mid_run = losses = batches = unreported = 0
    for trial in range(TRIALS):
        with untouched(vault):
            run = ingest_process(data, vault, send=signal.SIGKILL, pace=rng.uniform(0, 0.8) * seconds_per_note)
        assert run.code in (0, -signal.SIGKILL)
        landed = run.report is None and bool(run.planned)
        mid_run += landed
        if run.report is not None:
            seconds_per_note = (seconds_per_note + run.seconds / len(run.planned)) / 2
        now = digests(vault)
        batches += len(run.done)
        promises.notes |= {path: now[path] for path in run.committed}
        if run.report is not None:
            promises.finished(now)
        found = opened_again(data)
        rest = (path for path in run.planned[len(run.committed) :] if path in found.notes)
        unreported += any(found.notes[path].digest == now[path] for path in rest)
        lost = promises.lost(found, now)
        losses += len(lost)
        assert not lost, f"trial {trial}: {lost}"
        # What was seen once is promised, too, reported or not: an edit that was committed must not be undone.
        promises.notes |= {path: note.digest for path, note in found.notes.items()}
        assert_found_as_stored(data, found, person.canaries, rng)
        person.goes_on()
    last = ingest_process(data, vault)
    assert last.report is not None
    assert (last.report["failed"], last.report["withheld"], last.report["interrupted"]) == (0, 0, False)
    assert_equals_a_fresh_ingest(data, vault, tmp_path / "fresh")
    print(
        f"{TRIALS} kills, {mid_run} landed mid-run, {batches} batches reported before them, "
        f"{unreported} times more was there than reported; notes lost: {losses}"
    )
    assert mid_run >= TRIALS / 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_end_ends_after_the_batch_at_hand_and_the_next_one_goes_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    vault, data = tmp_path / "vault", tmp_path / "data"
    vaults.generate(vault, 200, seed=number)
    with untouched(vault):
        run = ingest_process(data, vault, send=number, pace=0)
        assert run.code == 0
        assert run.report is not None
        assert run.report["interrupted"]
        found = opened_again(data)
        assert set(run.planned[: len(found.notes)]) == found.notes.keys()
        assert run.report["added"] == len(found.notes) < 200
        rest = ingest_process(data, vault)
    assert rest.report is not None
    assert rest.report["added"] == 200 - len(found.notes)
    assert_equals_a_fresh_ingest(data, vault, tmp_path / "fresh")


@pytest.mark.slow
def test_kill_9_while_a_knowledge_base_begins_leaves_nothing_that_stands_in_the_way(tmp_path: Path) -> None:
    rng = new_rng("kill -9 at the beginning")
    vault = tmp_path / "vault"
    vaults.generate(vault, 3, seed=1)
    states: Counter[str] = Counter()
    for trial in range(60 if SOAK else 6):
        data = tmp_path / str(trial)
        run = ingest_process(data, vault, send=signal.SIGKILL, after=rng.uniform(0, 0.02))
        begun, has_database = (data / "identity.json").exists(), (data / DATABASE).exists()
        states["planned" if run.planned else "begun" if has_database else "identity" if begun else "nothing"] += 1
        with KnowledgeManager.open(settings(data)) as km:
            km.ingest(vault)
        assert len(stored(data / DATABASE).notes) == 3
    print(f"killed at the beginning: {dict(states)}")
