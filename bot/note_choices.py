"""Notes to choose from while somebody types a title."""

from __future__ import annotations

from collections import Counter

from bot.render import Choice, clip
from bot.visit import Visit

_TITLE = 85


def note_choices(visit: Visit, typed: str, *, ours_only: bool = False) -> list[Choice]:
    """The notes in scope whose title holds what was typed, those of one title told apart by their day. Blocks."""
    found = visit.view.title_choices(typed, ours_only=ours_only)
    titles = Counter(note.title for note in found)
    return [
        Choice(
            note.title if titles[note.title] == 1 else f"{clip(note.title, _TITLE)} · {note.updated_at[:10]}",
            note.note_id,
        )
        for note in found
    ]
