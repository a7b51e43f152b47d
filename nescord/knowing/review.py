"""What a stretch of time was about: the notes that were written and changed in it, their tags, what is still to do.

Made of what is stored, so it is there without any model; the passages are sentences of the notes as they stand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import apsw

from nescord.catalog import knowing as sql
from nescord.catalog.knowing import SeenNote, SeenText
from nescord.knowing import NoteRef
from nescord.knowing.extract import Passage, extract
from nescord.knowing.period import Period
from nescord.knowing.terms import plain
from nescord.notes import Scope

# The texts of more notes than this are not read for what a period was about: the ones written last are.
MOST_READ = 500
PASSAGES = 7
_OF_EACH = 2
_OPEN_TASK = re.compile(r"^[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]+\[ \][ \t]+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Task:
    """A box that is not ticked (`- [ ] …`), and the note it stands in."""

    note: NoteRef
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """A period. `written` notes are new in it, `changed` ones are older; `days` counts both by the day, `tags` over
    both; `questions` were asked in it, and the notes had no answer. `degraded` says what was left out."""

    period: Period
    written: tuple[NoteRef, ...]
    changed: tuple[NoteRef, ...]
    days: tuple[tuple[str, int], ...]
    tags: tuple[tuple[str, int], ...]
    tasks: tuple[Task, ...]
    passages: tuple[Passage, ...]
    questions: tuple[str, ...]
    degraded: tuple[str, ...] = ()


def review(connection: apsw.Connection, scope: Scope, period: Period, timezone: tzinfo) -> Review:
    """The review of a period."""
    notes = sql.written_between(connection, scope, period.begin, period.end)
    written = [note for note in notes if period.begin <= note.created_at < period.end]
    is_written = {note.key for note in written}
    texts, degraded = read(connection, scope, notes)
    tags = Counter(tag for _, tag in sql.tags_of(connection, scope, [note.note_id for note in notes]))
    days = Counter(_day(note.created_at if note.key in is_written else note.updated_at, timezone) for note in notes)
    return Review(
        period=period,
        written=tuple(map(NoteRef.of, written)),
        changed=tuple(NoteRef.of(note) for note in notes if note.key not in is_written),
        days=tuple(sorted(days.items())),
        tags=tuple(sorted(tags.items(), key=lambda one: (-one[1], one[0]))),
        tasks=tuple(
            Task(NoteRef.of(note), plain(found[1])) for note, body in texts for found in _OPEN_TASK.finditer(body)
        ),
        passages=tuple(extract(texts, PASSAGES, of_each=_OF_EACH)),
        questions=tuple(sql.unanswered(connection, scope, period.begin, period.end)),
        degraded=degraded,
    )


def read(
    connection: apsw.Connection, scope: Scope, notes: Sequence[SeenNote]
) -> tuple[list[SeenText], tuple[str, ...]]:
    """The texts of the last MOST_READ of the notes, in their order, and what is to say when that is not all."""
    last = notes[-MOST_READ:]
    by_key = {text.note.key: text for text in sql.texts(connection, scope, [note.key for note in last])}
    degraded = (f"only the last {MOST_READ:,} of {len(notes):,} notes were read",) if len(last) < len(notes) else ()
    return [by_key[note.key] for note in last if note.key in by_key], degraded


def _day(moment: str, timezone: tzinfo) -> str:
    return datetime.fromisoformat(moment).astimezone(timezone).strftime("%Y-%m-%d")
