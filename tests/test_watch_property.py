"""Whatever is done to a vault while `nescord watch` follows it: in the end all is as after a full scan of it.

One round here, under NESCORD_SOAK=1 twenty longer ones: each with a seed of its own, which the failure names.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import contents, write_notes
from tests.watch_world import Watch, failures, fresh, ids, stored

pytestmark = pytest.mark.slow

ROUNDS, STEPS = (20, 120) if os.environ.get("NESCORD_SOAK") == "1" else (1, 60)
# No more than 20 of so many notes go, some more are ignored, and no top folder goes whole: what the guard against a
# vanished vault keeps back would be no difference worth telling.
NOTES, MOST_DELETED = 250, 20
TOPS = ("日記", "work", "読書")
WORDS = ("検索", "設計", "会議", "apple", "river", "tea", "#tag/一", "#fruit", "[[anchor]]", "が")


class Vandal:
    """Does to a vault what people, editors and sync programs do, at random."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.deleted = 0
        self.number = 0
        self.log: list[str] = []

    def notes(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*.md") if path.stem != "anchor")

    def folders(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_dir())

    def text(self) -> str:
        self.number += 1
        words = self.random.choices(WORDS, k=self.random.randint(3, 40))
        front = f"---\ntags: [t{self.number % 7}]\n---\n" if self.random.random() < 0.3 else ""
        return f"{front}# 題 Title {self.number}\n\n{' '.join(words)} {self.number}\n"

    def new_name(self) -> str:
        self.number += 1
        name = self.random.choice((f"n{self.number}.md", f"ノート{self.number}.md", f"{self.number} が.md"))
        return unicodedata.normalize("NFD", name) if self.random.random() < 0.3 else name

    def step(self) -> None:
        # Those that concern whole folders are rarer, or each look would be at the whole.
        deeds: list[Callable[[], object]] = [
            *(self.write, self.edit, self.save, self.move, self.delete, self.swap, self.copy, self.touch, self.attach),
            *(self.cut_and_paste, self.delete_folder),
        ]
        if self.random.random() < 0.08:
            deeds = [self.new_folder, self.move_folder, self.ignore]
        deed = self.random.choice(deeds)
        self.log.append(deed.__name__)  # type: ignore[attr-defined]  # they are methods
        deed()

    def write(self) -> None:
        (self.random.choice(self.folders()) / self.new_name()).write_text(self.text(), encoding="utf-8")

    def edit(self) -> None:
        self.random.choice(self.notes()).write_text(self.text(), encoding="utf-8")

    def save(self) -> None:
        note = self.random.choice(self.notes())
        note.with_name(".saving").write_text(self.text(), encoding="utf-8")
        note.with_name(".saving").rename(note)

    def move(self) -> None:
        self.random.choice(self.notes()).rename(self.random.choice(self.folders()) / self.new_name())

    def delete(self) -> None:
        if self.deleted < MOST_DELETED:
            self.deleted += 1
            self.random.choice(self.notes()).unlink()

    def new_folder(self) -> None:
        folder = self.random.choice(self.folders()) / f"f{self.number}" / "inner"
        write_notes(folder, {self.new_name(): self.text() for _ in range(3)})

    def move_folder(self) -> None:
        self.number += 1
        folder = self.random.choice(self.folders())
        top = folder.parent == self.root
        target = (self.root if top else self.random.choice(self.folders())) / f"{folder.name[:8]}-{self.number}"
        if not target.is_relative_to(folder):
            folder.rename(target)

    def delete_folder(self) -> None:
        folder = self.random.choice(self.folders())
        count = len(list(folder.rglob("*.md")))
        if folder.parent != self.root and self.deleted + count <= MOST_DELETED:
            self.deleted += count
            shutil.rmtree(folder)

    def swap(self) -> None:
        one, other = self.random.sample(self.notes(), 2)
        one.rename(one.with_name(".swap"))
        other.rename(one)
        one.with_name(".swap").rename(other)

    def copy(self) -> None:
        shutil.copy(self.random.choice(self.notes()), self.random.choice(self.folders()) / self.new_name())

    def ignore(self) -> None:
        pattern = self.random.choice(("inner/", "start7*.md", "ノート1*", "# nothing", "!n*.md"))
        (self.root / ".nescordignore").write_text(f"{pattern}\n", encoding="utf-8")

    def touch(self) -> None:
        self.random.choice(self.notes()).touch()

    def attach(self) -> None:
        (self.random.choice(self.folders()) / f"picture{self.number}.png").write_bytes(b"png")

    def cut_and_paste(self) -> None:
        note = self.random.choice(self.notes())
        away = self.root.parent / "clipboard"
        note.rename(away)
        time.sleep(self.random.random() * 0.4)
        away.rename(self.random.choice(self.folders()) / self.new_name())


@pytest.mark.timeout(600 * ROUNDS)
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_in_the_end_all_is_as_after_a_full_scan(tmp_path: Path, turn: int) -> None:
    seed = random.SystemRandom().getrandbits(32)
    root, data = tmp_path / "vault", tmp_path / "kb"
    vandal = Vandal(root, seed)
    for top in TOPS:
        write_notes(root / top, {"anchor.md": f"# Anchor {top}\n\nstays"})
    write_notes(root, {f"{TOPS[number % 3]}/start{number}.md": vandal.text() for number in range(NOTES)})
    with Watch(data, root) as watch:
        watch.until_begun()
        for _ in range(STEPS):
            vandal.step()
            time.sleep(vandal.random.choice((0, 0, 0.01, 0.1, 0.5)))
        (root / "last.md").write_text("last")
        watch.until_changed("added", "last.md")
        before = contents(root)
        looked = [look["whole"] for look in watch.looks]
    what = f"seed {seed}, looks {len(looked)}, whole {sum(looked)}, deeds {vandal.log}"
    assert (stored(data), failures(data)) == fresh(tmp_path / "second", root), what
    assert len(set(ids(data).values())) == len(ids(data)), what
    assert contents(root) == before, what
    assert sum(looked) < len(looked), what
    print(what)
