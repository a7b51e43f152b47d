"""What was paid, held against what was called: the ledger of tokens and the count of the fake that was called.

Each call has a row that was there before it; a row without an end belongs to a call that was under way at a kill. No
text is embedded twice but where the answer got lost, or whoever had it was killed before it was stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from tests.fakes.gemini.reading import Call

FORGOTTEN = "forgotten"
AT_ONCE = 6
"""So many calls may be under way at a kill: two each of the bot, of a flow's run, and of a command."""
_STORED_WITHIN = 30.0
"""Seconds from an answer until its vectors are certainly stored."""
_BEFORE = 2.0
"""Two processes that find a text without its vector within the time of one call both ask for it: neither can know."""
_PAID = ("embed", "generate", "stream")
_DOCUMENT = "RETRIEVAL_DOCUMENT"
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger."""

    model: str
    purpose: str
    estimate: int
    tokens: int
    settled_at: str | None = None

    @property
    def is_settled(self) -> bool:
        return self.settled_at is not None


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which what was answered may not have been stored."""

    began: float
    ended: float


@dataclass(slots=True)
class Sums:
    """Calls and rows of one model."""

    answered: int = 0
    broken: int = 0
    refused: int = 0
    paid: int = 0
    free: int = 0
    open: int = 0

    def __str__(self) -> str:
        return (
            f"{self.answered} calls answered, {self.broken} broken off, {self.refused} refused; "
            f"{self.paid} rows paid, {self.free} free, {self.open} without an end"
        )


def rows_in(database: Path) -> list[Row]:
    """The whole ledger."""
    with closing(apsw.Connection(str(database))) as connection:
        rows = connection.execute("SELECT model, purpose, estimate, tokens, settled_at FROM ledger")
        return [Row(*row) for row in rows]


def sums(rows: Iterable[Row], calls: Iterable[Call]) -> dict[str, Sums]:
    """Calls and rows by model. What was answered is done; what broke off may be; what was refused is not."""
    found: dict[str, Sums] = {}
    for call in calls:
        if not call.method.lower().startswith(_PAID) and "embed" not in call.method.lower():
            continue
        one = found.setdefault(call.model, Sums())
        if call.status == 200:
            one.answered += 1
        elif isinstance(call.status, int):
            one.refused += 1
        else:
            one.broken += 1
    for row in rows:
        if row.purpose == FORGOTTEN:
            continue
        one = found.setdefault(row.model, Sums())
        if not row.is_settled:
            one.open += 1
        elif row.tokens:
            one.paid += 1
        else:
            one.free += 1
    return found


def wrong_tokens(found: Mapping[str, Sums], kills: int, hangs: int = 0) -> Iterator[str]:
    """Models whose rows are not their calls. `kills` may each have left `AT_ONCE` without an end, `hangs` as many that
    were given up and never arrived."""
    for model, one in sorted(found.items()):
        if one.answered > one.paid + one.open:
            yield f"{model}: {one.answered - one.paid - one.open} calls are in no row of the ledger ({one})"
        if one.paid > one.answered + one.broken + AT_ONCE * hangs:
            yield f"{model}: {one.paid - one.answered - one.broken} rows are paid that no call stands for ({one})"
        if one.open > AT_ONCE * kills:
            yield f"{model}: {one.open} rows have no end, after {kills} kills ({one})"


def wrong_rows(rows: Iterable[Row]) -> Iterator[str]:
    """Rows without an end that do not count with their estimate."""
    for row in rows:
        if not row.is_settled and row.tokens != row.estimate:
            yield f"a call of {row.model} without an end counts {row.tokens} tokens, and was estimated {row.estimate}"


def paid_twice(calls: Sequence[Call], windows: Sequence[Window], forgotten: Sequence[Window] = ()) -> Iterator[str]:
    """Texts of notes that were embedded, answered and paid more than once with nothing in the way.

    Whenever it was `forgotten`, all vectors went that no note used then.
    """
    times: dict[str, list[float]] = {}
    for call in calls:
        if call.status == 200 and call.task == _DOCUMENT:
            for text, count in Counter(call.texts).items():
                times.setdefault(text, []).extend([call.at] * count)
    for text, answered in sorted(times.items()):
        again = [
            (first, second)
            for first, second in zip(sorted(answered), sorted(answered)[1:], strict=False)
            if not any(first <= window.ended and second >= window.began for window in forgotten)
            and not any(
                window.began - _STORED_WITHIN <= first <= window.ended + _BEFORE and window.began - _BEFORE <= second
                for window in windows
            )
        ]
        if again:
            first, second = again[0]
            yield f"embedded again after {second - first:.1f} s: {text[:_SHOWN]!r}"
