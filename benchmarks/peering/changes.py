"""What happens to a vault between two ingests, the same for every peer, and what is asked of it and true of it."""

from __future__ import annotations

import json
import os
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.peering.shared import documents, note_files
from tests import nasty

# Fifteen of those that have broken note programs: without the 20 MB line, which is a benchmark of its own, and without
# what only a test can bring about (a file that vanishes between two looks, a pipe).
NASTY = (
    *("empty.md", "broken-utf8.md", "utf8-bom.md", "utf16le.md", "shift-jis.md", "euc-jp.md", "会議メモ.md"),
    *("\\x82\\xff.md", "picture.md", "nul.md", "front-matter.md", "alias-bomb.md", "deep-list.md", "brackets.md"),
    "🎉絵文字 👩‍👩‍👧.md",
)
_PIECE = re.compile(r"[ぁ-んァ-ヶー一-鿿]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_TRUE = 200
_SAID = "この段落はあとから書き足したもので、番号は{0}です。 This paragraph was written later, and its number is {0}."


def some(paths: Sequence[str], share: float, least: int, seed: str) -> list[str]:
    """A share of the notes, at least so many, in the order of their names."""
    count = min(len(paths), max(least, round(share * len(paths))))
    return sorted(random.Random(seed).sample(list(paths), count))


def append(vault: Path) -> list[str]:
    """Write a paragraph to the end of 1 % of the notes."""
    chosen = some(list(note_files(vault)), 0.01, 3, "append")
    for number, path in enumerate(chosen):
        with (vault / path).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{_SAID.format(1000 + number)}\n")
    return chosen


def rename(vault: Path) -> list[str]:
    """Give 100 notes (a tenth, if that is less) another name."""
    chosen = _a_hundred(vault, "rename")
    for path in chosen:
        (vault / path).rename((vault / path).with_name(f"{Path(path).stem} (renamed).md"))
    return chosen


def delete(vault: Path) -> list[str]:
    """Remove 100 notes (a tenth, if that is less)."""
    chosen = _a_hundred(vault, "delete")
    for path in chosen:
        (vault / path).unlink()
    return chosen


def rewrite(vault: Path) -> list[str]:
    """Put another paragraph in the place of all that 1 % of the notes say."""
    chosen = some(list(note_files(vault)), 0.01, 3, "rewrite")
    for number, path in enumerate(chosen):
        (vault / path).write_text(f"# {Path(path).stem}\n\n{_SAID.format(2000 + number)}\n", "utf-8")
    return chosen


def _a_hundred(vault: Path, seed: str) -> list[str]:
    paths = list(note_files(vault))
    return sorted(random.Random(seed).sample(paths, min(100, len(paths) // 10)))


def write_nasty(vault: Path, *, names_too: bool) -> list[nasty.Nasty]:
    """Five good notes and the fifteen; without `names_too` only those whose name is UTF-8."""
    vault.mkdir(parents=True)
    written = nasty.write(vault)
    for one in written:
        place = vault / os.fsdecode(one.raw)
        if one.path in NASTY and (names_too or not _SURROGATE.search(place.name)):
            continue
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)
    for twin in vault.glob("ば*.md"):
        twin.unlink()
    for number in range(5):
        (vault / f"good {number}.md").write_text(f"# Good {number}\n\n{_SAID.format(number)}\n", "utf-8")
    return [one for one in written if (vault / os.fsdecode(one.raw)).exists() and one.path in NASTY]


def normal(text: str) -> str:
    """As who compares by eye would have it."""
    return unicodedata.normalize("NFKC", text).casefold()


def same_path(path: str) -> str:
    """A path in the form that it is compared in."""
    return unicodedata.normalize("NFC", path)


class Truth:
    """What a vault says right now, read by itself: every (path, text) of it."""

    def __init__(self, vault: Path) -> None:
        failed: list[list[str]] = []
        self.pairs = Counter((same_path(note.path), text) for note in documents(vault, failed) for text in note.chunks)
        self._unread = {same_path(path) for path, _ in failed}
        self.texts: dict[str, set[str]] = {}
        for path, text in self.pairs:
            self.texts.setdefault(path, set()).add(text)

    def compare(self, stored: Iterable[Sequence[str]]) -> dict[str, int]:
        """How many are lost, how many are there once too often, and how many are no longer true."""
        found = Counter((same_path(path), text) for path, text in stored)
        extra = {pair: count for pair, count in (found - self.pairs).items() if pair[0] not in self._unread}
        doubled = sum(count for pair, count in extra.items() if pair in self.pairs)
        lost = sum((self.pairs - found).values())
        return {"lost": lost, "doubled": doubled, "stale": sum(extra.values()) - doubled}

    def is_stale(self, path: str, text: str) -> bool:
        """Whether a hit shows what the vault does not say (any more)."""
        path = same_path(path)
        return path not in self._unread and text not in self.texts.get(path, ())


def japanese(truth: Truth, count: int = 10) -> dict[str, set[str]]:
    """Pieces of one to three characters that the vault has, `count` of each length, with the notes that hold them."""
    rng = random.Random("japanese")
    texts = {path: normal("\n".join(sorted(texts))) for path, texts in sorted(truth.texts.items())}
    runs = [run for text in texts.values() for run in _PIECE.findall(text)]
    wanted: dict[str, set[str]] = {}
    for length in (1, 2, 3):
        enough = [run for run in runs if len(run) >= length]
        got = 0
        for _ in range(200 if enough else 0):
            run = rng.choice(enough)
            at = rng.randrange(len(run) - length + 1)
            piece = run[at : at + length]
            holders = {path for path, text in texts.items() if piece in text}
            if piece in wanted or len(holders) > _MOST_TRUE:
                continue
            wanted[piece] = holders
            got += 1
            if got == count:
                break
    return wanted


def write_queries(place: Path, queries: Sequence[str], limit: int, **more: object) -> Path:
    """The file that the step `search` reads."""
    place.write_text(json.dumps({"queries": list(queries), "limit": limit, **more}), "utf-8")
    return place


def own_words(truth: Truth, count: int, seed: str) -> list[tuple[str, str]]:
    """(path, text) of chunks that are asked for by their own text."""
    pairs = sorted(pair for pair in truth.pairs if len(pair[1]) > 80)
    return random.Random(seed).sample(pairs, min(count, len(pairs)))


def removed(before: Truth, after: Truth, count: int = 20) -> list[tuple[str, str]]:
    """(path, text) that were true before and are not now."""
    gone = sorted(before.pairs.keys() - after.pairs.keys())
    return random.Random("removed").sample(gone, min(count, len(gone)))
