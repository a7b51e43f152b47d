"""Knowledge bases that are exported and read again, and what must be equal then."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nescord import KnowledgeManager
from nescord.notes import Note, ResolvedLink


@dataclass(frozen=True, slots=True)
class Same:
    """What of a note comes back. A link that leads to a note counts by that note, others by what they say."""

    title: str
    body: str
    tags: frozenset[str]
    aliases: tuple[str, ...]
    author: str
    created_at: str
    updated_at: str
    links: frozenset[tuple[str, ...]]


def notes_of(km: KnowledgeManager) -> list[Note]:
    """All living notes."""
    total = km.status().notes
    return [km.note(each.note_id) for each in km.recent_notes(limit=1000)] if total else []


def as_same(notes: Sequence[Note], names: Mapping[str, str], *, texts: bool = True) -> dict[str, Same]:
    """The notes by the name that `names` has for their id."""
    return {
        names[note.id]: Same(
            note.title,
            note.body if texts else "",
            frozenset(note.tags),
            note.aliases,
            note.author,
            note.created_at,
            note.updated_at,
            frozenset(_link(link, names) for link in note.links),
        )
        for note in notes
    }


def exported_ids(notes: Sequence[Note]) -> dict[str, str]:
    """How the notes of a base are called that was made of an export: by the id that stands in them, else their path."""
    named = {}
    for note in notes:
        ours = note.front_matter.get("nescord", {})
        named[note.id] = str(ours.get("id") or note.path)
    return named


def own_names(notes: Sequence[Note]) -> dict[str, str]:
    """The same of the base that was exported: notes of ours by their id, those of vaults by their path."""
    return {note.id: note.id if note.owner == "us" else note.path for note in notes}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at) / name
            found[unicodedata.normalize("NFC", str(path.relative_to(folder)))] = path.read_bytes()
    return found


def _link(link: ResolvedLink, names: Mapping[str, str]) -> tuple[str, ...]:
    if link.note_id:
        return (link.kind, names[link.note_id], link.anchor, link.text)
    return (link.kind, f"?{link.target}", link.anchor, link.text)
