"""Where each note lies in an exported vault, and what links may call it there.

A note of a vault keeps its path. What was captured gets one of its date and title. Names never differ in their case
alone, so that the vault is the same on every system, and an earlier note keeps its name when later ones come.
"""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections.abc import Iterable

from nescord.catalog.exporting import NamedNote
from nescord.drafting import note_names
from nescord.note_files import clip, safe_name
from nescord.sources.vault import NOTE_SUFFIXES

# Of a name in a file system.
_LONGEST_PART = 255
_CAPTURED = re.compile(r"(\d{4}-\d{2}-\d{2})/[0-9a-f-]{36}\.md")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class Layout:
    """The places of all notes of an export: some hundred bytes each, and no text.

    `by_space` and `by_source` put the notes of each space, of each vault, below a folder of its own.
    """

    def __init__(self, notes: Iterable[NamedNote], *, by_space: bool, by_source: bool) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()
        self._places: dict[str, str] = {}
        # The note that a link by this name means: of several the one whose path is shortest, as in every search.
        self._meant: dict[str, str] = {}
        self._tops: dict[str, str] = {}
        for note in notes:
            top = f"{safe_name(note.space)}/" if by_space else ""
            wanted = top + self._wanted(note, by_source=by_source)
            place = self._places[note.note_id] = self.take(wanted)
            if top:
                self._tops[note.note_id] = top
            for name in note_names(place, json.loads(note.aliases)):
                held = self._meant.get(name)
                if held is None or self._rank(note.note_id) < self._rank(held):
                    self._meant[name] = note.note_id

    def place(self, note_id: str) -> str | None:
        """The path of a note; None where it is not exported."""
        return self._places.get(note_id)

    def top(self, note_id: str) -> str:
        """The folder of its space, with a slash; "" where all lie together."""
        return self._tops.get(note_id, "")

    def meant(self, name: str) -> str:
        """The id of the note that a link by that name means ("": none)."""
        return self._meant.get(name, "")

    def take(self, wanted: str) -> str:
        """A free path for a file, as near to the wanted one as can be; nobody else gets it."""
        while not self._taken.isdisjoint(_above(_folded(wanted))):
            wanted = f"_/{wanted}"  # what should be its folder is a file
        stem, suffix = posixpath.splitext(wanted)
        place, number = wanted, 1
        while _folded(place) in self._taken or _folded(place) in self._folders:
            number += 1
            place = _numbered(stem, f"-{number}{suffix}")
        folded = _folded(place)
        self._taken.add(folded)
        self._folders.update(_above(folded))
        return place

    def _rank(self, note_id: str) -> tuple[int, str]:
        place = self._places[note_id]
        return len(place), place

    def _wanted(self, note: NamedNote, *, by_source: bool) -> str:
        if note.kind_of_source != "capture":
            return (f"{safe_name(note.source)}/" if by_source else "") + tamed(note.path)
        captured = _CAPTURED.fullmatch(note.path)
        name = f"{captured[1]}-{safe_name(note.title)}.md" if captured else tamed(note.path)
        return f"{safe_name(note.source)}/{name}"


def tamed(path: str) -> str:
    """A path of a note that leads to nowhere but below the folder that it is put in, and is seen there as a note."""
    parts = [_CONTROLS.sub("_", part) for part in path.split("/") if part]
    *folders, name = parts or ["untitled.md"]
    stem, suffix = posixpath.splitext(name)
    if suffix not in NOTE_SUFFIXES or not stem.strip("."):
        stem, suffix = name.strip(".") or "untitled", ".md"
    # Folders whose names begin with a dot are none to Obsidian, nor to an ingest.
    safe = [clip(f"_{part[1:]}" if part.startswith(".") else part, _LONGEST_PART) for part in folders]
    return "/".join([*safe, _numbered(stem, suffix)])


def file_name(name: str) -> str:
    """What a file of a note is called beside it: never so that it would be taken for a note."""
    stem, suffix = posixpath.splitext(name)
    safe = f"{safe_name(stem)}{f'.{safe_name(suffix[1:], 20)}' if suffix[1:].strip() else ''}"
    return f"{safe}.txt" if safe.lower().endswith(NOTE_SUFFIXES) else safe


def _numbered(stem: str, end: str) -> str:
    """A path that ends so, its last part no longer than a file system has them."""
    head, slash, name = stem.rpartition("/")
    return f"{head}{slash}{clip(name, _LONGEST_PART - len(end.encode('utf-8')))}{end}"


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
