"""What the file of a note is called: a date and its title, as a name that every system can have.

Windows forbids some signs, takes no dot or blank at the end, and like macOS it takes `A.md` and `a.md` for one file.
Obsidian's links cannot hold some others. Names are NFC and short enough to be cut nowhere on their way.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

SUFFIX = ".md"
MOST_BYTES = 120
# What Windows forbids, and what would end a wiki link or begin an anchor or a tag in it.
_FORBIDDEN = frozenset('<>:"/\\|?*#^[]%')
# Without a shape of their own; a name that holds them cannot be typed.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))
_BLANK = "-"


class Names:
    """Gives each file a name of its own: `taken` are the paths that are known to be there, or to have been."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {_folded(path) for path in taken}

    def take(self, paths: Iterable[str]) -> None:
        """These are there, too."""
        self._taken.update(_folded(path) for path in paths)

    def give(self, folder: str, stem: str) -> str:
        """A path in `folder` ("": at the top) that nobody else has, also where case does not count."""
        number, path = 1, _path(folder, stem, "")
        while _folded(path) in self._taken:
            number += 1
            path = _path(folder, stem, f"-{number}")
        self._taken.add(_folded(path))
        return path


def stem_of(day: str, title: str) -> str:
    """`2026-11-24-題名`; of a title nothing of which may stand in a name: `2026-11-24-note`."""
    shown = [
        _BLANK if character.isspace() or character in _FORBIDDEN else character
        for character in unicodedata.normalize("NFC", title)
        if character.isspace() or unicodedata.category(character) not in _UNSEEN
    ]
    words = [word for word in "".join(shown).split(_BLANK) if word]
    return f"{day}-{_BLANK.join(words).strip('. ') or 'note'}"


def conflict_stem(path: str, day: str) -> str:
    """What the other version of a file is called, beside it."""
    stem = path.rpartition("/")[2].removesuffix(SUFFIX)
    return f"{_shortened(stem, MOST_BYTES - len(f'-conflict-{day}-99{SUFFIX}'))}-conflict-{day}"


def folder_of(path: str) -> str:
    """The folder that a path lies in; "" at the top."""
    return path.rpartition("/")[0]


def _path(folder: str, stem: str, number: str) -> str:
    name = _shortened(stem, MOST_BYTES - len(number) - len(SUFFIX)) + number + SUFFIX
    return f"{folder}/{name}" if folder else name


def _shortened(stem: str, most: int) -> str:
    """Cut within `most` bytes, not before a sign that belongs to the letter it follows."""
    if len(stem.encode()) <= most:
        return stem
    cut = stem.encode()[:most].decode(errors="ignore")
    while cut and unicodedata.combining(stem[len(cut)]):
        cut = cut[:-1]
    return cut.rstrip(" .-")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
