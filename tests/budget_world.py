"""A budget with a clock that tests set, and the ledger read past the code under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from nescord import KnowledgeManager
from nescord.budget import Budget, Purpose
from nescord.errors import BudgetError
from tests.survival import DATABASE
from tests.vaults import open_base

LIMIT = 1_000_000
MODEL = "gemini-embedding-001"


@dataclass(slots=True)
class Clock:
    """Noon in Tokyo in the middle of a month, until it is set."""

    now: datetime = datetime(2026, 11, 15, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).astimezone(UTC)


def budget_of(km: KnowledgeManager, clock: Clock) -> Budget:
    """As `km.budget`, by another clock."""
    return Budget(km._base.verb, km.folder.backups, km._base.settings, now=clock)


@contextmanager
def budget_at(data: Path, clock: Clock, *, limit: int = LIMIT, **more: object) -> Iterator[Budget]:
    """The budget of the knowledge base at `data`, begun where there is none."""
    with open_base(data, gemini_monthly_limit=limit, vector="exact", **more) as km:
        yield budget_of(km, clock)


def spend(budget: Budget, tokens: int, purpose: Purpose = Purpose.EMBED_NEW, who: str = "") -> None:
    """One call whose estimate was right."""
    budget.reserve(purpose, MODEL, tokens, who=who).settle(tokens)


def ledger(data: Path, columns: str = "purpose, tokens, settled_at IS NOT NULL") -> list[tuple[apsw.SQLiteValue, ...]]:
    """The rows, in their order."""
    connection = apsw.Connection(str(data / DATABASE), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(f"SELECT {columns} FROM ledger ORDER BY id").fetchall()
    finally:
        connection.close()


def allowed(budget: Budget) -> set[Purpose]:
    """The purposes that calls are made for now."""
    found = set()
    for purpose in Purpose:
        try:
            budget.reserve(purpose, MODEL, 0).settle(0)
        except BudgetError:
            continue
        found.add(purpose)
    return found
