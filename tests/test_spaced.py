"""Spaced reviews: what is due first, five new notes a day, nothing that may not be seen, each click counted once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fsrs import Card, Rating, Scheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.errors import NotFoundError, UsageError
from nescord.spaced import NEW_A_DAY, Spaced
from tests.maintain_world import done, raw
from tests.vaults import open_base

ME = "user:42"
# Noon in Tokyo.
NOON = datetime(2026, 11, 28, 3, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "data", vector="exact", timezone="Asia/Tokyo") as made:
        yield made


def keep(km: KnowledgeManager, *texts: str, space: str = ME) -> list[str]:
    """Notes, each a minute newer than the one before; their ids."""
    ids = [km.capture(text, space=space).id for text in texts]
    for number, note_id in enumerate(ids):
        when = f"2026-11-01T00:{number:02}:00Z"
        raw(km.folder.path, f"UPDATE note SET created_at = '{when}' WHERE id = '{note_id}'")
    return ids


def spaced(km: KnowledgeManager, *spaces: str, who: str = ME) -> Spaced:
    return km.scoped(spaces or {ME}).spaced(who)


def grade(cards: Spaced, now: datetime, rating: int = EASY) -> str:
    """Grade what is shown; the body of the note."""
    card = cards.next(now)
    assert card is not None
    cards.grade(card.note.id, rating, card.stamp, now)
    return card.note.body


def test_new_notes_come_newest_first_and_five_a_day(km: KnowledgeManager) -> None:
    keep(km, *(f"note {number}" for number in range(8)))
    cards = spaced(km)
    assert [grade(cards, NOON) for _ in range(NEW_A_DAY)] == [f"note {number}" for number in (7, 6, 5, 4, 3)]
    assert cards.next(NOON) is None
    # 14:59:59 UTC is the last second of that day in Tokyo.
    assert cards.next(datetime(2026, 11, 28, 14, 59, 59, tzinfo=UTC)) is None
    assert grade(cards, datetime(2026, 11, 28, 15, tzinfo=UTC)) == "note 2"


def test_a_day_is_one_in_the_zone_that_a_person_has_chosen(km: KnowledgeManager) -> None:
    keep(km, *(f"note {number}" for number in range(8)))
    km.preferences.set(ME, timezone="America/New_York")
    cards = spaced(km)
    for _ in range(NEW_A_DAY):
        grade(cards, NOON)  # 22:00 of the 27th in New York
    assert cards.next(NOON + timedelta(minutes=119)) is None
    assert cards.next(NOON + timedelta(minutes=120)) is not None
    # The day of somebody else is theirs, and so are the five.
    assert grade(spaced(km, who="user:43"), NOON) == "note 7"


def test_a_new_note_is_shown_until_it_is_graded(km: KnowledgeManager) -> None:
    keep(km, "older", "newer")
    cards = spaced(km)
    first, second = cards.next(NOON), cards.next(NOON)
    assert first is not None
    assert first == second
    assert (first.is_new, first.due_left, first.note.body) == (True, 0, "newer")
    assert cards.count_due(NOON) == 0


def test_what_is_due_comes_first_the_longest_due_before_the_rest(km: KnowledgeManager) -> None:
    keep(km, "a", "b", "c")
    cards = spaced(km)
    assert [grade(cards, NOON + number * MINUTE / 6, AGAIN) for number in range(2)] == ["c", "b"]
    assert cards.count_due(NOON) == 0
    later = NOON + 2 * MINUTE
    assert cards.count_due(later) == 2
    card = cards.next(later)
    assert card is not None
    assert (card.note.body, card.is_new, card.due_left) == ("c", False, 1)
    assert [grade(cards, later, EASY) for _ in range(3)] == ["c", "b", "a"]
    assert cards.next(later) is None
    assert cards.count_due(later) == 0


def test_due_is_what_fsrs_says(km: KnowledgeManager) -> None:
    (note_id,) = keep(km, "a")
    cards, card, now = spaced(km), Card(card_id=1, due=NOON), NOON
    scheduler = Scheduler(enable_fuzzing=False)
    for rating in (GOOD, GOOD, GOOD, AGAIN, HARD, EASY):
        shown = cards.next(now)
        assert shown is not None
        due = cards.grade(note_id, rating, shown.stamp, now)
        card, _ = scheduler.review_card(card, Rating(rating), now)
        assert due == card.due.replace(microsecond=0)
        assert cards.next(due - timedelta(seconds=1)) is None
        now = due
    reviews = raw(km.folder.path, "SELECT rating FROM review_event WHERE who = 'user:42' ORDER BY id")
    assert [rating for (rating,) in reviews] == [GOOD, GOOD, GOOD, AGAIN, HARD, EASY]


def test_a_button_pressed_twice_grades_once(km: KnowledgeManager) -> None:
    (note_id,) = keep(km, "a")
    cards = spaced(km)
    new = cards.next(NOON)
    assert new is not None
    due = cards.grade(note_id, GOOD, new.stamp, NOON)
    assert cards.grade(note_id, AGAIN, new.stamp, NOON + MINUTE) == due
    assert cards.grade(note_id, AGAIN, "nonsense", NOON + MINUTE) == due
    old = cards.next(due)
    assert old is not None
    next_due = cards.grade(note_id, EASY, old.stamp, due)
    assert next_due > due
    assert cards.grade(note_id, EASY, old.stamp, due) == next_due
    assert cards.grade(note_id, EASY, new.stamp, due) == next_due
    assert raw(km.folder.path, "SELECT count(*) FROM review_event") == [(2,)]
    assert len(new.stamp) <= 12 >= len(old.stamp)


def test_a_card_of_a_note_that_went_is_not_shown_and_blocks_nothing(km: KnowledgeManager) -> None:
    erased, trashed, elsewhere, stays = keep(km, "erased", "trashed", "elsewhere", "stays")
    cards = spaced(km)
    for number in range(4):
        grade(cards, NOON + number * MINUTE / 60, AGAIN)
    later = NOON + 5 * MINUTE
    assert cards.count_due(later) == 4
    raw(km.folder.path, f"UPDATE review_card SET due = '2026-11-01T00:00:00Z' WHERE note_id <> '{stays}'")
    km.erase_note(erased)
    raw(
        km.folder.path,
        f"UPDATE note SET trashed_at = '2026-11-28T03:00:00Z' WHERE id = '{trashed}'",
        f"UPDATE note SET space = 'guild:7' WHERE id = '{elsewhere}'",
    )
    card = cards.next(later)
    assert card is not None
    assert (card.note.id, card.due_left, cards.count_due(later)) == (stays, 0, 1)
    for note_id in (erased, trashed, elsewhere):
        with pytest.raises(NotFoundError, match="go on with the next one"):
            cards.grade(note_id, GOOD, "new", later)
    # Where its space is seen it is due, as it was.
    assert spaced(km, ME, "guild:7").count_due(later) == 2


def test_new_notes_are_those_of_the_spaces_that_are_seen(km: KnowledgeManager) -> None:
    keep(km, "theirs", space="user:43")
    keep(km, "another guild's", space="guild:8")
    keep(km, "personal", space="personal")
    keep(km, "here", space="guild:7")
    cards = spaced(km, ME, "guild:7")
    assert grade(cards, NOON) == "here"
    assert cards.next(NOON) is None
    assert spaced(km).next(NOON) is None


def test_maintenance_forgets_cards_of_erased_notes_and_keeps_those_of_the_trash(km: KnowledgeManager) -> None:
    erased, trashed, _ = keep(km, "erased", "trashed", "stays")
    for number in range(3):
        grade(spaced(km), NOON + number * MINUTE)
    km.erase_note(erased)
    raw(km.folder.path, f"UPDATE note SET trashed_at = '2026-11-28T03:00:00Z' WHERE id = '{trashed}'")
    assert done(km, NOON, dry_run=True)["review cards"].after == 2
    assert done(km, NOON)["review cards"].after == 2
    assert raw(km.folder.path, "SELECT count(*) FROM review_event") == [(2,)]


@pytest.mark.parametrize("rating", [0, 5, -1])
def test_there_are_four_ratings(km: KnowledgeManager, rating: int) -> None:
    (note_id,) = keep(km, "a")
    with pytest.raises(UsageError, match="1 again, 2 hard, 3 good, 4 easy"):
        spaced(km).grade(note_id, rating, "new", NOON)
    assert raw(km.folder.path, "SELECT count(*) FROM review_card") == [(0,)]


def test_a_card_that_was_forgotten_meanwhile_begins_anew(km: KnowledgeManager) -> None:
    (note_id,) = keep(km, "a")
    cards = spaced(km)
    grade(cards, NOON, AGAIN)
    card = cards.next(NOON + 2 * MINUTE)
    assert card is not None
    raw(km.folder.path, "DELETE FROM review_card")
    with pytest.raises(NotFoundError, match="begin with the next one"):
        cards.grade(note_id, GOOD, card.stamp, NOON + 2 * MINUTE)
    fresh = cards.next(NOON + 2 * MINUTE)
    assert fresh is not None
    assert fresh.is_new


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 400_000)), max_size=40))
@settings(max_examples=25)
def test_whoever_goes_on_sees_what_is_due_and_five_new_notes_a_day_and_no_more(steps: list[tuple[int, int]]) -> None:
    now, begun, due = NOON, dict[str, set[str]](), dict[str, datetime]()
    with TemporaryDirectory() as folder, open_base(Path(folder) / "data", vector="exact", timezone="UTC") as km:
        for number in range(12):
            km.capture(f"note {number}", space=ME)
        cards = spaced(km)
        for rating, seconds in steps:
            now += timedelta(seconds=seconds)
            expected = {note_id for note_id, when in due.items() if when <= now}
            assert cards.count_due(now) == len(expected)
            card, day = cards.next(now), begun.setdefault(now.date().isoformat(), set())
            if card is None:
                assert not expected
                assert len(day) == NEW_A_DAY or len(due) == 12
                continue
            assert card.is_new is (not expected)
            if card.is_new:
                assert card.note.id not in due
                day.add(card.note.id)
                assert len(day) <= NEW_A_DAY
            else:
                assert card.note.id in expected
                assert card.due_left == len(expected) - 1
            due[card.note.id] = cards.grade(card.note.id, rating, card.stamp, now)
            assert now < due[card.note.id] <= now + 36_500 * DAY
            # The same click again, whatever it says, changes nothing.
            assert cards.grade(card.note.id, 5 - rating, card.stamp, now) == due[card.note.id]
