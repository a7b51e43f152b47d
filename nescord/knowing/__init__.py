"""What is known about notes beyond finding them: what belongs together, what is there twice, what a time was about.

All of it works on what is stored, without a model and without a call. Where a generator is set, summaries may be
written by it; what it writes is marked, kept apart from notes, and never takes the place of a person's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nescord.catalog.knowing import SeenNote
    from nescord.notes import SearchHit

# In deviations above the mean of its language, for a cosine means another thing for each model: there is always a
# nearest note, and below this it says nothing (looked at on the sample vault).
_NEAR = 1.5


@dataclass(frozen=True, slots=True)
class NoteRef:
    """A note as lists name it."""

    note_id: str
    path: str
    title: str

    @classmethod
    def of(cls, note: SeenNote) -> NoteRef:
        return cls(note.note_id, note.path, note.title)


def near_enough(hits: Iterable[SearchHit]) -> list[SearchHit]:
    """Those of the hits of `related` that are near and not only the nearest."""
    return [hit for hit in hits if hit.score >= _NEAR and not hit.weak]
