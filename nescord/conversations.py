"""Questions with their answers as people were shown them, for the buttons below an answer: sources, follow-up, rating.

A conversation is seen again only by whoever asked, or by anybody if it was shared, and in either case only from where
all of the spaces are seen that it was answered from. It is kept for 30 days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nescord.answering import Answer, Citation, Turn
from nescord.backup.erasures import erased_people
from nescord.catalog import conversations as sql
from nescord.catalog.conversations import StoredConversation
from nescord.errors import UsageError
from nescord.times import utc_text

if TYPE_CHECKING:
    import apsw

    from nescord.catalog.database import Catalog

KEPT_DAYS = 30
# What a model is given of a conversation at most: older turns tell it little, and each of them costs.
MOST_TURNS = 5
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Conversation:
    """A question and its answer. `previous` is the id of the one that it follows up, or ""; `is_useful` is what was
    said about it, None before anybody has."""

    id: str
    at: str
    who: str
    spaces: frozenset[str]
    is_shared: bool
    question: str
    answer: str
    citations: tuple[Citation, ...]
    previous: str
    is_useful: bool | None


class Conversations:
    """The conversations of one knowledge base. `verb` lends the catalog for one transaction, beside `backups` is
    remembered who was erased; `now` is the clock."""

    def __init__(
        self,
        verb: Callable[[], AbstractContextManager[Catalog]],
        backups: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._verb = verb
        self._backups = backups
        self._now = now

    def keep(
        self,
        wanted: str,
        who: str,
        spaces: Collection[str],
        question: str,
        answer: Answer,
        *,
        is_shared: bool,
        previous: str = "",
        asked_at: datetime | None = None,
    ) -> None:
        """Keep what `who` has asked and was shown, under the id `wanted`; kept again, the last answer counts.

        Nothing is kept of who was erased since `asked_at`: an answer takes a while.

        Raises:
            UsageError: somebody else has a conversation with that id.
        """
        row = StoredConversation(
            id=wanted,
            at=utc_text(self._now()),
            who=who,
            spaces=json.dumps(sorted(spaces)),
            is_shared=is_shared,
            question=_storable(question),
            answer=_storable(answer.text),
            citations=json.dumps([asdict(citation) for citation in answer.citations]),
            previous=previous,
            is_useful=None,
        )
        with self._verb() as catalog, catalog.write() as connection:
            if asked_at is not None and erased_people(self._backups).get(who, "") > utc_text(asked_at):
                return
            if not sql.keep(connection, row):
                raise UsageError(f'the conversation "{wanted}" is somebody else\'s: keep this one under another id')

    def find(self, wanted: str, scope_spaces: Collection[str], who: str) -> Conversation | None:
        """The conversation with that id, as far as `who` may see it, who sees these spaces now; else None."""
        with self._verb() as catalog, catalog.read() as connection:
            return self._visible(connection, wanted, scope_spaces, who)

    def history(self, wanted: str, scope_spaces: Collection[str], who: str) -> tuple[Turn, ...]:
        """The conversation and those before it, which it follows up, oldest first, at most 5; as far back as `who` may
        see them: none from before one that is hidden or forgotten."""
        turns: dict[str, Turn] = {}
        with self._verb() as catalog, catalog.read() as connection:
            # One that follows itself up, in however many steps, has no more to tell.
            while wanted and wanted not in turns and len(turns) < MOST_TURNS:
                found = self._visible(connection, wanted, scope_spaces, who)
                if found is None:
                    break
                turns[wanted] = Turn(found.question, found.answer)
                wanted = found.previous
        return tuple(reversed(turns.values()))

    def rate(self, wanted: str, who: str, is_useful: bool, *, scope_spaces: Collection[str] | None = None) -> bool:
        """Remember whether the answer was of use; the last word counts. Whether `who` may see it, and so rate it.

        Without `scope_spaces`, the spaces that `who` sees now, only one's own conversations can be rated.
        """
        with self._verb() as catalog, catalog.write() as connection:
            found = self._visible(connection, wanted, scope_spaces, who)
            if found is not None:
                sql.rate(connection, wanted, is_useful=is_useful)
            return found is not None

    def expire(self, now: datetime | None = None) -> int:
        """Forget what is older than 30 days; how many it were."""
        oldest, forgotten = utc_text((now or self._now()) - timedelta(days=KEPT_DAYS)), 0
        while True:
            with self._verb() as catalog, catalog.write() as connection:
                batch = sql.forget(connection, oldest, _BATCH)
            forgotten += batch
            if batch < _BATCH:
                return forgotten

    def _visible(
        self, connection: apsw.Connection, wanted: str, scope_spaces: Collection[str] | None, who: str
    ) -> Conversation | None:
        row = sql.find(connection, wanted, utc_text(self._now() - timedelta(days=KEPT_DAYS)))
        if row is None:
            return None
        found = _conversation(row)
        is_within = found.who == who if scope_spaces is None else found.spaces <= frozenset(scope_spaces)
        return found if is_within and (found.is_shared or found.who == who) else None


def _conversation(row: StoredConversation) -> Conversation:
    citations = tuple(
        Citation(**{**citation, "marks": tuple((start, end) for start, end in citation["marks"])})
        for citation in json.loads(row.citations)
    )
    return Conversation(
        row.id, row.at, row.who, frozenset(json.loads(row.spaces)), row.is_shared, row.question, row.answer,
        citations, row.previous, row.is_useful,
    )  # fmt: skip


def _storable(text: str) -> str:
    """Half a character, which Discord may send, cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")
