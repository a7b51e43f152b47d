"""What the tests of write-back share: a vault in git, somebody who works in it by hand, and what has to be kept."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from git_world import Repository, git
from vaults import open_base

from nescord import KnowledgeManager
from nescord.notes import IngestReport, WritebackReport
from nescord.writeback_verbs import exchange


def new_repository(tmp_path: Path, *options: str) -> Repository:
    repository = Repository(tmp_path, options=options)
    repository.push({"tea.md": "# Tea\n\nGreen tea", "b/日本.md": "# 日本\n\nお茶"})
    return repository


def opened(tmp_path: Path, url: object, **settings: object) -> KnowledgeManager:
    chosen: dict[str, object] = {"vault_git_url": str(url), "writeback": True, **settings}
    return open_base(tmp_path / "kb", **chosen)  # type: ignore[arg-type]  # one of them is no setting


def exchanged(km: KnowledgeManager) -> tuple[IngestReport, WritebackReport]:
    """Everything has gone both ways, and nothing was wrong with it."""
    taken, written = exchange(km.ingest, km.write_back)
    assert [each for each in taken.degraded if not each.startswith("vector")] == []
    return taken, written


def files_of(repository: Repository, below: str = "inbox") -> dict[str, str]:
    """What the files in a folder say, by their names ("": all of them)."""
    listed = git(repository.path, "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "--name-only", "main")
    prefix = f"{below}/" if below else ""
    names = [name for name in listed.split("\0") if name and name.startswith(prefix)]
    return {name.removeprefix(prefix): git(repository.path, "show", f"main:{name}") for name in names}


def pulled(repository: Repository) -> Repository:
    """The same, with what was pushed by others in its clone."""
    git(repository.work, "fetch", "--quiet", str(repository.path), "main")
    git(repository.work, "reset", "--quiet", "--hard", "FETCH_HEAD")
    return repository


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


@dataclass
class Hand:
    """Somebody who edits the repository by hand and never forces anything. Each text that they push has a word of its
    own; `owed` are those that the knowledge base has to keep."""

    repository: Repository
    rng: random.Random
    owed: set[str] = field(default_factory=set)
    number: int = 0
    edits: dict[str, int] = field(default_factory=dict)

    def word(self) -> str:
        self.number += 1
        return f"hand{self.number}語"

    def act(self) -> None:
        """Push one change, again and again until nobody was faster."""
        act: Callable[[dict[str, str]], tuple[set[str], set[str]]] = self.rng.choice(
            [self._add, self._edit, self._edit, self._edit, self._delete, self._rename]
        )
        while True:
            pulled(self.repository)
            work = self.repository.work
            files = {
                str(path.relative_to(work)): path.read_text(encoding="utf-8")
                for path in sorted(work.rglob("*.md"))
                if ".git" not in path.parts
            }
            written, given_up = act(files)
            git(work, "add", "--all")
            git(work, "commit", "--quiet", "--allow-empty", "--message=by hand")
            try:
                git(work, "push", "--quiet", str(self.repository.path), "HEAD:main")
            except AssertionError:
                continue
            self.owed = self.owed - given_up | written
            return

    def _add(self, files: dict[str, str]) -> tuple[set[str], set[str]]:
        word = self.word()
        path = self.repository.work / self.rng.choice(["inbox", "by hand"]) / f"{word}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {word}\n\nadded {word}\n", encoding="utf-8")
        return {word}, set()

    def _edit(self, files: dict[str, str]) -> tuple[set[str], set[str]]:
        names = [name for name, text in files.items() if self.edits.get(_about(text), 0) < 2]
        if not names:
            return self._add(files)
        name = self.rng.choice(names)
        text, word = files[name], self.word()
        self.edits[_about(text)] = self.edits.get(_about(text), 0) + 1
        lines = text.rstrip("\n").split("\n")
        (self.repository.work / name).write_text("\n".join([*lines[:-1], f"edited {word}", ""]), encoding="utf-8")
        return {word}, {each for each in self.owed if each in lines[-1]}

    def _delete(self, files: dict[str, str]) -> tuple[set[str], set[str]]:
        if len(files) < 4:
            return self._add(files)
        name = self.rng.choice([*files])
        (self.repository.work / name).unlink()
        return set(), {each for each in self.owed if each in files[name]}

    def _rename(self, files: dict[str, str]) -> tuple[set[str], set[str]]:
        name = self.rng.choice([*files])
        target = self.repository.work / "moved" / f"{self.word()}.md"
        target.parent.mkdir(exist_ok=True)
        (self.repository.work / name).rename(target)
        return set(), set()


def _about(text: str) -> str:
    """Which note a file is about, through all its changes."""
    return text.split("\n")[1] if text.startswith("---\nid: ") else text.split("\n")[0]
