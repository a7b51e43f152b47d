"""Grouping: all messages, once, in order; no note too long, none across a silence, and what once began a note does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nescord.sources.discord_threads import Limits, groups

LIMITS = Limits(gap=3600, messages=10, characters=100)


@dataclass(frozen=True)
class Line:
    at: int
    size: int = 1
    begins: bool = False


def timeline(gaps: list[tuple[int, int]]) -> list[Line]:
    at, lines = 0, []
    for gap, size in gaps:
        at += gap
        lines.append(Line(at, size))
    return lines


lines = st.lists(st.tuples(st.sampled_from([0, 5, 60, 3599, 3600, 9000]), st.integers(1, 130)), max_size=80).map(
    timeline
)


@given(lines)
def test_every_message_is_in_one_group_and_no_group_is_too_long_or_has_a_silence(told: list[Line]) -> None:
    found = list(groups(told, LIMITS))
    assert [line for group in found for line in group] == told
    for group in found:
        assert len(group) <= 10
        assert len(group) == 1 or sum(line.size for line in group) <= 100
        assert all(later.at - line.at < 3600 for line, later in pairwise(group))


@given(lines, lines)
def test_groups_stay_as_they_are_when_they_are_made_again(told: list[Line], more: list[Line]) -> None:
    found = list(groups(told, LIMITS))
    stored = [replace(line, begins=not at) for group in found for at, line in enumerate(group)]
    assert [[line.at for line in group] for group in groups(stored, LIMITS)] == [
        [line.at for line in group] for group in found
    ]
    # What comes later, and in between, never joins two of them.
    merged = sorted([*stored, *more], key=lambda line: line.at)
    for group in groups(merged, LIMITS):
        assert not any(line.begins for line in group[1:])


def test_a_silence_of_the_gap_ends_a_conversation_and_a_shorter_one_does_not() -> None:
    told = [Line(0), Line(3599), Line(3599 + 3600)]
    assert [len(group) for group in groups(told, LIMITS)] == [2, 1]
    assert [len(group) for group in groups(told, Limits.of(60, is_thread=True))] == [3]


def test_a_long_conversation_is_cut_at_its_longest_silence_but_not_near_its_beginning() -> None:
    told = timeline([(0, 1), (1000, 1), (5, 1), (5, 1), (5, 1), (900, 1), (5, 1), (5, 1), (5, 1), (5, 1), (5, 1)])
    assert [len(group) for group in groups(told, LIMITS)] == [5, 6]


def test_of_a_channel_that_is_never_silent_only_two_notes_are_held_at_a_time() -> None:
    seen = 0

    def endless() -> Iterator[Line]:
        nonlocal seen
        while True:
            seen += 1
            yield Line(seen)

    made = groups(endless(), LIMITS)
    for _ in range(100):
        assert len(next(made)) <= 10
        assert seen <= 100 * 10 + 20
