"""Conversations: seen again by who may see them, followed up, rated, and forgotten after 30 days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.answering import Answer, Citation, Turn
from nescord.catalog import conversations as sql
from nescord.conversations import MOST_TURNS, Conversations
from nescord.errors import UsageError
from tests.vaults import open_base

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
ME, HERE = "user:42", "guild:7"
CITATION = Citation(1, "note-1", "a/鍵.md", "鍵", "家 > 玄関", "https://x/1", 3, 9, "鍵は棚の上", ((0, 1), (3, 4)), 0.5)
ANSWER = Answer("棚の上です [1]。", (CITATION,), "generated", "model", 12)


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "data", vector="exact") as made:
        yield made


@pytest.fixture
def clock() -> list[datetime]:
    return [NOW]


@pytest.fixture
def conversations(km: KnowledgeManager, clock: list[datetime]) -> Conversations:
    """As `km.conversations`, by another clock."""
    return Conversations(km._base.verb, km.folder.backups, now=lambda: clock[0])


def test_a_conversation_is_found_as_it_was_shown(conversations: Conversations) -> None:
    conversations.keep("1", ME, {ME, HERE}, "鍵はどこ？", ANSWER, is_shared=False)
    found = conversations.find("1", {ME, HERE}, ME)
    assert found is not None
    assert (found.question, found.answer, found.citations) == ("鍵はどこ？", ANSWER.text, ANSWER.citations)
    assert (found.who, found.spaces, found.is_shared) == (ME, {ME, HERE}, False)
    assert (found.previous, found.is_useful, found.at) == ("", None, "2026-11-28T03:00:00Z")
    assert conversations.find("2", {ME, HERE}, ME) is None


@pytest.mark.parametrize(
    ("is_shared", "who", "scope", "is_seen"),
    [
        (False, ME, {ME, HERE}, True),
        (False, ME, {ME, HERE, "personal"}, True),
        (False, ME, {ME}, False),  # in a DM nothing of the guild is seen
        (False, ME, {ME, "guild:8"}, False),
        (False, "user:43", {ME, HERE}, False),  # whatever they can see: they have not asked
        (True, "user:43", {"user:43", HERE}, True),
        (True, "user:43", {HERE}, True),
        (True, "user:43", {"user:43", "guild:8"}, False),
        (True, ME, {ME}, False),
    ],
)
def test_it_is_seen_by_who_asked_or_all_of_a_guild_and_only_where_its_spaces_are(
    conversations: Conversations, is_shared: bool, who: str, scope: set[str], is_seen: bool
) -> None:
    conversations.keep("1", ME, {HERE} if is_shared else {ME, HERE}, "q", ANSWER, is_shared=is_shared)
    assert (conversations.find("1", scope, who) is not None) is is_seen
    assert len(conversations.history("1", scope, who)) == is_seen
    assert conversations.rate("1", who, True, scope_spaces=scope) is is_seen
    found = conversations.find("1", {ME, HERE}, ME)
    assert found is not None
    assert found.is_useful is (True if is_seen else None)


def test_the_last_rating_counts_and_without_a_scope_only_ones_own_can_be_rated(conversations: Conversations) -> None:
    conversations.keep("1", ME, {HERE}, "q", ANSWER, is_shared=True)
    assert conversations.rate("1", ME, True)
    assert conversations.rate("1", "user:43", False, scope_spaces={HERE})
    assert not conversations.rate("1", "user:43", True)
    assert not conversations.rate("2", ME, True)
    found = conversations.find("1", {HERE}, ME)
    assert found is not None
    assert found.is_useful is False


def test_a_history_holds_the_last_five_turns_oldest_first(conversations: Conversations) -> None:
    for number in range(8):
        previous = str(number - 1) if number else ""
        conversations.keep(
            str(number), ME, {ME}, f"q{number}", Answer(f"a{number}", ()), is_shared=False, previous=previous
        )
    assert conversations.history("7", {ME}, ME) == tuple(Turn(f"q{number}", f"a{number}") for number in range(3, 8))
    assert conversations.history("1", {ME}, ME) == (Turn("q0", "a0"), Turn("q1", "a1"))
    assert conversations.history("9", {ME}, ME) == ()


def test_a_shared_follow_up_tells_others_nothing_of_what_was_asked_in_private(conversations: Conversations) -> None:
    conversations.keep("1", ME, {ME, HERE}, "private", ANSWER, is_shared=False)
    conversations.keep("2", ME, {HERE}, "shared", ANSWER, is_shared=True, previous="1")
    conversations.keep("3", "user:43", {HERE}, "theirs", ANSWER, is_shared=True, previous="2")
    asked = [turn.question for turn in conversations.history("3", {"user:43", HERE}, "user:43")]
    assert asked == ["shared", "theirs"]
    # Nor does who asked, where the answer will be shared.
    assert [turn.question for turn in conversations.history("3", {HERE}, ME)] == ["shared", "theirs"]
    assert [turn.question for turn in conversations.history("3", {ME, HERE}, ME)] == ["private", "shared", "theirs"]


def test_an_answer_that_was_made_once_more_replaces_the_first_and_nobody_elses(conversations: Conversations) -> None:
    conversations.keep("1", ME, {ME}, "q", Answer("first", ()), is_shared=False)
    conversations.rate("1", ME, True)
    conversations.keep("1", ME, {ME}, "q", Answer("second", ()), is_shared=False)
    with pytest.raises(UsageError, match="somebody else's"):
        conversations.keep("1", "user:43", {"user:43"}, "q", Answer("third", ()), is_shared=False)
    found = conversations.find("1", {ME}, ME)
    assert found is not None
    assert (found.answer, found.is_useful) == ("second", True)


def test_a_conversation_is_forgotten_after_30_days_by_who_looks_and_on_disk(
    conversations: Conversations, clock: list[datetime]
) -> None:
    conversations.keep("1", ME, {ME}, "q", ANSWER, is_shared=False)
    clock[0] += timedelta(days=20)
    conversations.keep("2", ME, {ME}, "q2", ANSWER, is_shared=False, previous="1")
    clock[0] = NOW + timedelta(days=30)
    assert conversations.expire() == 0
    assert len(conversations.history("2", {ME}, ME)) == 2
    clock[0] += timedelta(seconds=1)
    assert conversations.find("1", {ME}, ME) is None
    assert len(conversations.history("2", {ME}, ME)) == 1
    assert not conversations.rate("1", ME, True)
    assert conversations.expire() == 1
    assert conversations.expire(clock[0] + timedelta(days=30)) == 1


def test_what_quotes_a_note_goes_with_it(km: KnowledgeManager) -> None:
    km.conversations.keep("1", ME, {ME}, "q", ANSWER, is_shared=False)
    km.conversations.keep("2", ME, {ME}, "note-1", Answer("note-1", ()), is_shared=False)
    with km._base.verb() as catalog, catalog.write() as connection:
        assert sql.forget_citing(connection, ["note-0", "note-1"]) == 1
    assert km.conversations.find("1", {ME}, ME) is None
    assert km.conversations.find("2", {ME}, ME) is not None


def test_half_a_character_is_no_reason_to_fail(conversations: Conversations) -> None:
    conversations.keep("1", ME, {ME}, "half \ud83d", Answer("\ud83d half", ()), is_shared=False)
    found = conversations.find("1", {ME}, ME)
    assert found is not None
    assert (found.question, found.answer) == ("half ?", "? half")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=30)
def test_whatever_follows_up_what_a_history_ends_and_tells_nothing_twice(previous: list[int], begin: int) -> None:
    with TemporaryDirectory() as folder, open_base(Path(folder) / "data", vector="exact") as km:
        for number, one in enumerate(previous):
            km.conversations.keep(
                str(number), ME, {ME}, f"q{number}", Answer("", ()), is_shared=False, previous=str(one)
            )
        turns = km.conversations.history(str(begin), {ME}, ME)
        assert len(turns) <= MOST_TURNS
        assert len(set(turns)) == len(turns)
        assert bool(turns) is (begin < len(previous))
        for earlier, later in pairwise(turns):
            assert earlier.question == f"q{previous[int(later.question[1:])]}"


def test_nothing_is_kept_of_who_was_erased_while_the_answer_was_made(km: KnowledgeManager) -> None:
    asked_at = datetime.now(UTC)
    km.privacy(ME).erase()
    km.conversations.keep("1", ME, {ME}, "private", ANSWER, is_shared=False, asked_at=asked_at)
    assert km.conversations.find("1", {ME}, ME) is None
    km.conversations.keep("2", "user:43", {"user:43"}, "of another", ANSWER, is_shared=False, asked_at=asked_at)
    assert km.conversations.find("2", {"user:43"}, "user:43") is not None
    km.conversations.keep(
        "3", ME, {ME}, "later", ANSWER, is_shared=False, asked_at=datetime.now(UTC) + timedelta(seconds=2)
    )
    assert km.conversations.find("3", {ME}, ME) is not None
