"""Which messages of a channel are one note: a thread is one, else a conversation, which ends where nobody writes.

Where a note begins is kept for ever: a later export adds to the notes that there are, and makes new ones between them,
but none of them is ever taken up into another. Pure, and in one pass: of a channel of any length no more is held than
two notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

GAP_MINUTES = 60
# A note as long as this is still one conversation to read, and a dozen chunks to find.
MOST_MESSAGES, MOST_CHARACTERS = 60, 12_000
# A thread has one subject for all its length; yet a note is held in memory as a whole.
MOST_OF_THREAD, MOST_CHARACTERS_OF_THREAD = 2_000, 400_000


class Told(Protocol):
    """What grouping asks of a message: when it was said (Unix seconds), how long it is, and whether a stored note
    begins with it."""

    @property
    def at(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def begins(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When a note ends: after `gap` seconds without a message (None: never), and before it is longer than this."""

    gap: int | None
    messages: int
    characters: int

    @classmethod
    def of(cls, gap_minutes: int, *, is_thread: bool) -> Limits:
        if is_thread:
            return cls(None, MOST_OF_THREAD, MOST_CHARACTERS_OF_THREAD)
        return cls(gap_minutes * 60, MOST_MESSAGES, MOST_CHARACTERS)


T = TypeVar("T", bound=Told)


def groups(messages: Iterable[T], limits: Limits) -> Iterator[list[T]]:
    """The messages of one channel, oldest first, in groups: all of them, in order, each once.

    What is too long is cut at the longest silence in its last two thirds.
    """
    group: list[T] = []
    size = 0
    for message in messages:
        is_over = limits.gap is not None and group and message.at - group[-1].at >= limits.gap
        if group and (message.begins or is_over):
            yield group
            group, size = [], 0
        while group and (len(group) >= limits.messages or size + message.size > limits.characters):
            cut = _longest_silence([*group, message])
            yield group[:cut]
            group = group[cut:]
            size = sum(each.size for each in group)
        group.append(message)
        size += message.size
    if group:
        yield group


def _longest_silence(messages: list[T]) -> int:
    """Before which message to cut; of equal silences the last one, so that notes are long rather than many."""
    candidates = range(max(1, len(messages) // 3), len(messages))
    return max(candidates, key=lambda at: (messages[at].at - messages[at - 1].at, at))
