"""What was accepted from Discord: on disk before Discord hears so, and there until it is done.

Why: whoever was told that a note is being kept must find it, whatever becomes of the process in between. A row is one
interaction; the note that it makes has its id from the start, so doing it twice makes it once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nescord.catalog import inbox as sql
from nescord.catalog.database import Catalog
from nescord.catalog.inbox import InboxRow
from nescord.times import utc_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """An interaction that was accepted. `payload` is whatever JSON can say; the times have a zone."""

    id: str
    kind: str
    who: str
    payload: Mapping[str, Any]
    token: str
    note_id: str
    accepted_at: datetime
    expires_at: datetime


class Inbox:
    """The interactions that are not done. Safe to use from many threads and processes."""

    def __init__(self, verb: Callable[[], AbstractContextManager[Catalog]]) -> None:
        self._verb = verb

    def accept(self, rows: Sequence[Accepted]) -> list[bool]:
        """Keep all of them in one transaction, on disk when this returns; False for each that was accepted before.

        Raises:
            LockTimeoutError, CatalogError: none of them is kept.
        """
        prepared = [_row(one) for one in rows]
        with self._verb() as catalog, catalog.write() as connection:
            return [sql.add(connection, row) for row in prepared]

    def done(self, *accepted_ids: str) -> None:
        """They need not be done again: what they said is deleted, their ids stay. One that is not there changes
        nothing. All in one transaction."""
        with self._verb() as catalog, catalog.write() as connection:
            for accepted_id in accepted_ids:
                sql.finish(connection, accepted_id, utc_text(datetime.now(UTC)))

    def pending(self) -> list[Accepted]:
        """All that are not done, the oldest first. One that cannot be read stays where it is, and the log names it."""
        with self._verb() as catalog, catalog.read() as connection:
            rows = sql.open_rows(connection)
        found = []
        for row in rows:
            try:
                found.append(_accepted(row))
            except (ValueError, TypeError, RecursionError) as error:
                _log.error("inbox: the %s %s cannot be read (%s): it is left out", row.kind, row.id, error)
        return found

    def prune(self, before: datetime) -> int:
        """Forget what was done before that moment; how many it were."""
        with self._verb() as catalog, catalog.write() as connection:
            return sql.prune(connection, utc_text(before))


def _row(one: Accepted) -> InboxRow:
    # ASCII: what a person typed may hold half a surrogate pair, which SQLite has no place for.
    payload = json.dumps(dict(one.payload)).encode("ascii")
    times = (_moment(one.accepted_at), _moment(one.expires_at))
    return InboxRow(one.id, one.kind, one.who, payload, one.token, one.note_id, *times)


def _accepted(row: InboxRow) -> Accepted:
    payload = json.loads(row.payload)
    if not isinstance(payload, dict):
        raise TypeError(f"its payload is a {type(payload).__name__}")
    accepted_at, expires_at = _aware(row.accepted_at), _aware(row.expires_at)
    return Accepted(row.id, row.kind, row.who, payload, row.token, row.note_id, accepted_at, expires_at)


def _moment(moment: datetime) -> str:
    """To the microsecond, since the order of what was accepted within a second counts. Sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment
