"""Links that a note might have and has not: to notes that its text names, and to those that are near in meaning.

Nothing is written: a note of a vault belongs to its vault. Vectors are those that are stored, so no model is asked.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import apsw

from nescord.catalog import knowing as sql
from nescord.catalog.knowing import SeenNote
from nescord.knowing import near_enough
from nescord.notes import Note, Scope, SearchHits
from nescord.words import CJK, LETTER, normalise

_IS_CJK = re.compile(f"[{CJK}]")
# Shorter names are words of the language as often as names of a note.
_SHORTEST_CJK, _SHORTEST = 2, 4
_LETTER = re.compile(LETTER)


@dataclass(frozen=True, slots=True)
class LinkSuggestion:
    """A note to link to, and why: its name `mentioned` stands in the text ("": it does not), or its meaning is near,
    by cosine `nearness` (0: not known). `name` is what to write between the brackets of the link."""

    note_id: str
    path: str
    title: str
    name: str
    reason: Literal["mentioned", "near"]
    mentioned: str
    nearness: float


class LinkSuggestions(list[LinkSuggestion]):
    """Suggestions, what is named in the text first; `degraded` says what could not be asked and why."""

    def __init__(self, suggestions: Sequence[LinkSuggestion] = (), degraded: Sequence[str] = ()) -> None:
        super().__init__(suggestions)
        self.degraded = tuple(degraded)


def suggest(connection: apsw.Connection, scope: Scope, note: Note, near: SearchHits, limit: int) -> LinkSuggestions:
    """The best `limit` of both kinds; `near` are the notes nearest in meaning."""
    taken = sql.linked_with(connection, scope, note.id) | {note.id}
    nearness = {hit.note_id: hit.vector_score for hit in near}
    found: list[LinkSuggestion] = []
    for one, name in _mentioned(connection, scope, note):
        if one.note_id not in taken:
            taken.add(one.note_id)
            found.append(_suggestion(one.note_id, one.path, one.title, name, nearness.get(one.note_id, 0.0)))
    found.sort(key=lambda one: (-one.nearness, -len(one.mentioned), one.path))
    found += [
        _suggestion(hit.note_id, hit.path, hit.title, "", hit.vector_score)
        for hit in near_enough(near)
        if hit.note_id not in taken
    ]
    return LinkSuggestions(found[:limit], near.degraded)


def _suggestion(note_id: str, path: str, title: str, mentioned: str, nearness: float) -> LinkSuggestion:
    reason: Literal["mentioned", "near"] = "mentioned" if mentioned else "near"
    return LinkSuggestion(note_id, path, title, _stem(path), reason, mentioned, round(nearness, 4))


def _mentioned(connection: apsw.Connection, scope: Scope, note: Note) -> Iterator[tuple[SeenNote, str]]:
    """Notes whose title, file name or alias stands in the text, each with that name; longer names first, and what is a
    part of a longer one that was found is no mention of its own."""
    text = normalise(note.body)
    known = {one.key: one for one in sql.notes(connection, scope)}
    names = [(name, one) for one in known.values() for name in (one.title, _stem(one.path))]
    names += [
        (str(name), known[key]) for key, written in sql.aliases(connection, scope) for name in json.loads(written)
    ]
    # What the note is called itself its text may well say, and another of that name is hardly meant by it.
    own = {normalise(name) for name in (note.title, _stem(note.path), *note.aliases)}
    seen: set[str] = set()
    for name, one in sorted(((normalise(name), one) for name, one in names), key=lambda pair: -len(pair[0])):
        if name in own:
            continue
        if name not in seen:
            least = _SHORTEST_CJK if _IS_CJK.search(name) else _SHORTEST
            if len(name) < least or name.isdigit() or not _stands_alone(name, text):
                continue
            seen.add(name)
            text = text.replace(name, "\n")
        yield one, name


def _stands_alone(name: str, text: str) -> bool:
    """Whether it is there as a word of its own, where it begins or ends with a letter of an alphabet."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if not (at and _LETTER.match(name) and _LETTER.match(text, at - 1)) and not (
            _LETTER.match(name[-1]) and _LETTER.match(text, end)
        ):
            return True
        at = text.find(name, at + 1)
    return False


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]
