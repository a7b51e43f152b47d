"""Killed at any moment, overtaken, edited on both sides: no text is lost, and no note is there twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from git_world import Repository, _spoken_by, needs_git  # noqa: F401
from survival import SOAK, new_rng
from writeback_world import Hand, exchanged, files_of, last_line, opened

from nescord import KnowledgeManager

pytestmark = [needs_git, pytest.mark.slow, pytest.mark.timeout(7200 if SOAK else 600)]
ROUNDS = 50 if SOAK else 5
WORKER = Path(__file__).with_name("writeback_worker.py")
# Between commit, row, push and after, and in the ingest that sees what has arrived.
MOMENTS = (
    *(("_written_down", "call"), ("_written_down", "return"), ("_committed", "return")),
    *(("push", "call"), ("push", "return"), ("fetch", "return"), ("check_out", "call"), ("check_out", "return")),
    *(("agree", "call"), ("_flush", "return"), ("_merge", "return"), ("_take_changed", "return"), ("part", "return")),
)


class Ours:
    """Somebody who writes through us. Each text has a word of its own; `owed` are those that were acknowledged."""

    def __init__(self, km: KnowledgeManager, rng: random.Random) -> None:
        self.km = km
        self.rng = rng
        self.owed: set[str] = set()
        self.ids: list[str] = []
        self.edits: dict[str, int] = {}
        self.number = 0

    def act(self) -> None:
        self.number += 1
        word = f"ours{self.number}文"
        living = [note_id for note_id in self.ids if not self.km.note(note_id).trashed_at]
        trashed = [note_id for note_id in self.ids if note_id not in living]
        what = self.rng.choice(["capture", "capture", "edit", "edit", "delete", "undelete"])
        if what == "edit" and (free := [each for each in living if self.edits.get(each, 0) < 2]):
            chosen = self.rng.choice(free)
            self.edits[chosen] = self.edits.get(chosen, 0) + 1
            self.km.edit_note(chosen, text=f"a note\n\nedited {word}")
        elif what == "delete" and len(living) > 3:
            self.km.delete_note(self.rng.choice(living))
            return
        elif what == "undelete" and trashed:
            self.km.undelete_note(self.rng.choice(trashed))
            return
        else:
            self.ids.append(self.km.add_note(f"a note\n\ncaptured {word}", title=self.rng.choice(["茶", "Tea", ""])).id)
        self.owed.add(word)


def started(tmp_path: Path, repository: Repository, rng: random.Random) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(tmp_path / "kb"), str(repository.path)]
    if rng.random() < 0.7:
        name, at = rng.choice(MOMENTS)
        command += ["--kill-at", name, "--at", at, "--nth", str(rng.choice([1, 1, 1, 2, 3]))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kept_texts(km: KnowledgeManager) -> str:
    """All that is in notes, be they in the trash, and in what they said before."""
    with km._base.verb() as catalog, catalog.read() as connection:
        rows = connection.execute("SELECT body FROM note_text UNION ALL SELECT body FROM note_revision")
        return "\n".join(str(body) for (body,) in rows)


def living(km: KnowledgeManager) -> dict[str, tuple[str, str]]:
    """(owner, last line of the text) of each living note by its path."""
    with km._base.verb() as catalog, catalog.read() as connection:
        rows = connection.execute(
            "SELECT path, owner, body FROM note JOIN note_text ON note_text.note = note.key WHERE trashed_at IS NULL"
        )
        return {str(path): (str(owner), last_line(str(body))) for path, owner, body in rows}


def test_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    rng = new_rng("writeback")
    repository = Repository(tmp_path)
    repository.push({"one.md": "# one\n\nfirst", "two.md": "# two\n\nsecond", "three.md": "# three\n\nthird"})
    hand = Hand(repository, rng)
    kills = 0
    with opened(tmp_path, repository.path, lock_timeout=120) as km:
        ours = Ours(km, rng)
        exchanged(km)
        for _ in range(ROUNDS):
            for _ in range(rng.randint(1, 4)):
                rng.choice([ours.act, hand.act])()
            with started(tmp_path, repository, rng) as worker:
                assert worker.stdout
                worker.stdout.readline()
                for _ in range(rng.randint(0, 2)):
                    time.sleep(rng.uniform(0, 0.4))
                    rng.choice([ours.act, hand.act])()
                try:
                    worker.wait(rng.uniform(0, 2) if rng.random() < 0.5 else 60)
                except subprocess.TimeoutExpired:
                    worker.kill()
                output, errors = worker.communicate()
            assert errors == ""
            kills += worker.returncode != 0
            assert worker.returncode in (0, -9)
            assert not output.startswith("done") or output == "done []\n"
        for _ in range(3):
            taken, written = exchanged(km)
        assert (taken.changes, written.commits, written.behind) == ([], 0, 0)

        kept = kept_texts(km)
        assert {word for word in ours.owed | hand.owed if word not in kept} == set()
        notes, files = living(km), files_of(repository, "")
        assert {path: line for path, (_, line) in notes.items()} == {
            path: last_line(text) for path, text in files.items()
        }
        lines = [line for _, line in notes.values()]
        assert sorted(lines) == sorted(set(lines)), "a note is there twice"
        assert set(ours.ids) >= {note_id for note_id in ours.ids if not km.note(note_id).trashed_at}
    print(
        f"{ROUNDS} rounds, {kills} kills, {len(ours.owed)} texts of ours, {len(hand.owed)} by hand, {len(notes)} notes"
    )
