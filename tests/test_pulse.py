"""The sign of life of a child: felt while it comes, not felt for what came long ago, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from nescord import pulse
from nescord.pulse import Pulse, beat


@pytest.fixture
def felt() -> Iterator[Pulse]:
    one = Pulse()
    yield one
    one.close()


def _is_felt(one: Pulse) -> bool:
    return asyncio.run(one.is_felt())


def test_it_is_felt_from_the_first_beat_on(felt: Pulse) -> None:
    assert not _is_felt(felt)
    beat(felt.writing)
    assert _is_felt(felt)
    assert _is_felt(felt), "between two beats, too"
    felt.hand_over()


def test_it_is_no_longer_felt_when_none_came_for_a_while(felt: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    beat(felt.writing)
    assert _is_felt(felt)
    monkeypatch.setattr(pulse, "_FRESH", 0.0)
    assert not _is_felt(felt)
    beat(felt.writing)
    monkeypatch.setattr(pulse, "_FRESH", 30.0)
    assert _is_felt(felt)
    felt.hand_over()


def test_a_dead_child_gives_no_sign(felt: Pulse) -> None:
    felt.hand_over()
    assert not _is_felt(felt)


def test_a_parent_that_feels_nothing_holds_nobody_up(felt: Pulse) -> None:
    for _ in range(70_000):  # more than a pipe holds
        beat(felt.writing)
    assert _is_felt(felt)
    felt.hand_over()


def test_a_parent_that_is_gone_is_no_error() -> None:
    gone = Pulse()
    gone.close()
    beat(gone.writing)
    gone.hand_over()
