"""Notes seen again after growing whiles: just before they would be forgotten, as FSRS (package fsrs) expects it.

A person has a card of each note that they have reviewed once. What is due comes first, then at most 5 new notes a day,
the newest first. Cards of notes in the trash, gone, or in a space that is not seen from here are passed over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from nescord.catalog import cards as sql
from nescord.catalog import notes as notes_sql
from nescord.errors import NotFoundError, UsageError
from nescord.notes import Note, Scope
from nescord.opened import OpenBase
from nescord.preferences import Preferences
from nescord.times import utc_text

if TYPE_CHECKING:
    import apsw
    from fsrs import Scheduler

NEW_A_DAY = 5
_NEW = "new"


@dataclass(frozen=True, slots=True)
class ReviewCard:
    """A note to look at. `stamp` goes back with the rating; `due_left` is how many more are due besides this one."""

    note: Note
    stamp: str
    is_new: bool
    due_left: int


class Spaced:
    """The spaced reviews of one person, as far as the notes of some spaces go. Made by `ScopedKnowledge.spaced`."""

    def __init__(self, base: OpenBase, scope: Scope, who: str) -> None:
        self._base = base
        self._scope = scope
        self._who = who
        self._zone = Preferences(base.verb, base.settings).zone(who)

    def next(self, now: datetime) -> ReviewCard | None:
        """What to look at now, None when that is all. A new note is shown again until it is graded."""
        with self._base.verb() as catalog, catalog.read() as connection:
            due = sql.count_due(connection, self._who, self._scope, utc_text(now))
            if due:
                note_id = sql.due(connection, self._who, self._scope, utc_text(now))
            elif sql.count_begun(connection, self._who, self._begin_of_day(now)) < NEW_A_DAY:
                note_id = sql.newest_without(connection, self._who, self._scope)
            else:
                note_id = None
            if note_id is None:
                return None
            stored = sql.card(connection, self._who, note_id)
            note = notes_sql.find(connection, note_id, self._scope)[0]
        return ReviewCard(note, _stamp(stored), is_new=stored is None, due_left=max(0, due - 1))

    def grade(self, note_id: str, rating: int, stamp: str, now: datetime) -> datetime:
        """It went so: 1 again, 2 hard, 3 good, 4 easy. When the note is due again.

        A `stamp` from before the last rating, of a button pressed twice, grades nothing: the due that stands is told.

        Raises:
            UsageError: no such rating. NotFoundError: the note is gone, in the trash or in a space not seen from here,
                or its card is gone.
        """
        if rating not in (1, 2, 3, 4):
            raise UsageError(f"rating {rating} is not known: 1 again, 2 hard, 3 good, 4 easy")
        # Before the transaction: it is imported by the first that needs it.
        scheduler = _scheduler()
        with self._base.verb() as catalog, catalog.write() as connection:
            self._check(connection, note_id)
            stored = sql.card(connection, self._who, note_id)
            if stamp == _stamp(stored):
                return self._graded(connection, scheduler, note_id, stored, rating, now.astimezone(UTC))
            if stored is None:
                raise NotFoundError("this card is gone: begin with the next one")
            return datetime.fromisoformat(stored[1])

    def count_due(self, now: datetime) -> int:
        """How many notes that were reviewed before are due: what `next` shows before anything new."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return sql.count_due(connection, self._who, self._scope, utc_text(now))

    def _check(self, connection: apsw.Connection, note_id: str) -> None:
        found = notes_sql.find(connection, note_id, self._scope)
        if not found or found[0].id != note_id or found[0].trashed_at:
            raise NotFoundError(f'no note "{note_id}": it may have been deleted meanwhile; go on with the next one')

    def _graded(
        self,
        connection: apsw.Connection,
        scheduler: Scheduler,
        note_id: str,
        stored: tuple[str, str] | None,
        rating: int,
        now: datetime,
    ) -> datetime:
        from fsrs import Card, Rating

        card = Card.from_json(stored[0]) if stored else Card(card_id=_milliseconds(now), due=now)
        card, _ = scheduler.review_card(card, Rating(rating), now)
        due = utc_text(card.due)
        sql.keep(connection, self._who, note_id, card.to_json(), due)
        sql.note_review(connection, utc_text(now), self._who, note_id, rating)
        return datetime.fromisoformat(due)

    def _begin_of_day(self, now: datetime) -> int:
        here = now.astimezone(self._zone)
        return _milliseconds(datetime.combine(here.date(), datetime.min.time(), self._zone))


def _stamp(stored: tuple[str, str] | None) -> str:
    """What a card is known by until it is graded again; short enough for the id of a button."""
    return hashlib.blake2b(stored[0].encode(), digest_size=6).hexdigest() if stored else _NEW


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@lru_cache(maxsize=1)
def _scheduler() -> Scheduler:
    from fsrs import Scheduler

    # The same ratings lead to the same days: so few new notes a day do not pile up on one.
    return Scheduler(enable_fuzzing=False)
