"""What was searched for, by whom, and whether anything was found: to see what people miss in the notes.

A search does not wait for it: it is written after the answer is there, in a transaction that is not waited for and not
synced, and whatever is in the way of that loses the event and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import apsw

from nescord.catalog import search_events as sql
from nescord.catalog.search_events import SearchEvent
from nescord.errors import NescordError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.notes import Scope, SearchHits

OWNER = "owner"
# Of a query; Discord lets people type 6,000 characters, a program may pass a whole book.
LONGEST = 6_000

_log = logging.getLogger(__name__)
_who: ContextVar[str] = ContextVar("searches_of", default="")
_is_recorded: ContextVar[bool] = ContextVar("searches_are_recorded", default=True)
Given = ParamSpec("Given")
Result = TypeVar("Result")


@contextmanager
def asked_by(who: str) -> Iterator[None]:
    """Searches within the block are those of `who` (`user:42`). Otherwise they are the owner's, where every space is
    seen, and nobody's by name elsewhere."""
    token = _who.set(who)
    try:
        yield
    finally:
        _who.reset(token)


def unrecorded(search: Callable[Given, Result]) -> Callable[Given, Result]:
    """`search` for what a person did not type, such as a question that a model has put in other words."""

    def quietly(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        token = _is_recorded.set(False)
        try:
            return search(*args, **kwargs)
        finally:
            _is_recorded.reset(token)

    return quietly


def note(catalog: Catalog, scope: Scope, query: str, hits: SearchHits, seconds: float) -> None:
    """Remember a search that took so long, if the database takes it at once. Never within a transaction."""
    if not _is_recorded.get():
        return
    event = SearchEvent(
        at=utc_text(datetime.now(UTC)),
        who=_who.get() or (OWNER if scope.spaces is None else ""),
        spaces=scope.spaces,
        # Half a character, which a shell or Discord may pass on, cannot be stored.
        query=query[:LONGEST].encode("utf-8", "replace").decode("utf-8"),
        mode=hits.mode,
        hits=len(hits),
        milliseconds=round(1000 * seconds, 3),
        degraded=hits.degraded,
    )
    try:
        with catalog.jot() as connection:
            sql.note(connection, event)
    except (NescordError, apsw.Error) as error:  # whatever it is: the search has its answer
        _log.debug("a search is not remembered: %s", error)
