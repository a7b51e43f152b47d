"""A source of notes that tests fill by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nescord.sources.entries import Entry, SourceNote, UnreadableError, digest_of


@dataclass
class Shelf:
    """Notes by path; None is one that cannot be read."""

    notes: dict[str, SourceNote | None] = field(default_factory=dict)
    name: str = "shelf"
    root: str = "test:shelf"
    was_read: list[str] = field(default_factory=list)

    def scan(self) -> Iterator[Entry]:
        for path, note in self.notes.items():
            yield Entry(path, digest_of(repr(note)))

    def read(self, entry: Entry) -> SourceNote:
        self.was_read.append(entry.path)
        note = self.notes[entry.path]
        if note is None:
            raise UnreadableError("its text is cut off")
        return note
