"""SQL of what calls to models elsewhere have cost, are about to cost, and may cost beyond the limit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID

import apsw

from nescord.identifiers import uuid7

# What was spent in a life of the database that this one does not remember (backup/spent.py).
FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of one month: `settled` are known, `reserved` are the estimates of calls without a known end."""

    settled: int
    reserved: int

    @property
    def total(self) -> int:
        return self.settled + self.reserved


@dataclass(frozen=True, slots=True)
class Use:
    """Tokens and calls of one day, one purpose, one model or one person."""

    name: str
    tokens: int
    calls: int


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A call whose end nobody has recorded; it counts with its estimate."""

    at: str
    model: str
    purpose: str
    who: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Override:
    """Tokens beyond the limit that the owner has allowed, by whom and until when; 0 takes back all before it."""

    at: str
    who: str
    tokens: int
    until: str


_IN_MONTH = "day BETWEEN ?1 || '-01' AND ?1 || '-31'"
_USE_BY = {
    "day": f"SELECT day, sum(tokens), count(*) FROM ledger WHERE {_IN_MONTH} GROUP BY day ORDER BY day",
    **{
        column: f"SELECT {column}, sum(tokens), count(*) FROM ledger WHERE {_IN_MONTH} GROUP BY {column} "
        f"ORDER BY sum(tokens) DESC, {column}"
        for column in ("purpose", "model", "who")
    },
}


def spent(connection: apsw.Connection, month: str) -> Spent:
    """What has been spent in a month (`2026-11`), and what may be by calls that are under way."""
    settled, reserved = connection.execute(
        "SELECT coalesce(sum(tokens) FILTER (WHERE settled_at IS NOT NULL), 0), "
        f"coalesce(sum(tokens) FILTER (WHERE settled_at IS NULL), 0) FROM ledger WHERE {_IN_MONTH}",
        (month,),
    ).get
    return Spent(settled, reserved)


def reserve(
    connection: apsw.Connection, key: str, at: str, day: str, model: str, purpose: str, who: str, tokens: int
) -> None:
    """A call that is about to be made."""
    connection.execute(
        "INSERT INTO ledger (id, at, day, model, purpose, who, estimate, tokens) VALUES (?, ?, ?, ?, ?, ?, ?7, ?7)",
        (key, at, day, model, purpose, who, tokens),
    )


def day_of(connection: apsw.Connection, key: str) -> str:
    """The day of a call that is to be settled; "" when it is settled already or not known here."""
    return str(connection.execute("SELECT day FROM ledger WHERE id = ? AND settled_at IS NULL", (key,)).get or "")


def settle(connection: apsw.Connection, key: str, tokens: int, at: str) -> None:
    """What the call has cost. Only the first time counts."""
    connection.execute(
        "UPDATE ledger SET tokens = ?, settled_at = ? WHERE id = ? AND settled_at IS NULL", (tokens, at, key)
    )


def add_forgotten(connection: apsw.Connection, key: str, at: str, day: str, tokens: int) -> None:
    """Count what an earlier life of the database has spent, without knowing for what."""
    connection.execute(
        "INSERT INTO ledger VALUES (?1, ?2, ?3, '', ?4, '', ?5, ?5, ?2)", (key, at, day, FORGOTTEN, tokens)
    )


def forgotten_months(connection: apsw.Connection) -> list[str]:
    """The months of which this database has a sum that it does not know the calls of."""
    rows = connection.execute("SELECT DISTINCT substr(day, 1, 7) FROM ledger WHERE purpose = ?", (FORGOTTEN,))
    return [str(month) for (month,) in rows]


def drop_forgotten(connection: apsw.Connection, month: str) -> None:
    """Count no sum any more that stands for calls of that month."""
    connection.execute(f"DELETE FROM ledger WHERE {_IN_MONTH} AND purpose = ?2", (month, FORGOTTEN))


def use_by(connection: apsw.Connection, what: str, month: str) -> list[Use]:
    """The month's use by `day`, or by `purpose`, `model` or `who`, the largest first."""
    return [Use(*row) for row in connection.execute(_USE_BY[what], (month,))]


def unsettled(connection: apsw.Connection, month: str) -> list[Unsettled]:
    """The calls of the month that have no known end, the oldest first."""
    rows = connection.execute(
        f"SELECT at, model, purpose, who, tokens FROM ledger WHERE {_IN_MONTH} AND settled_at IS NULL ORDER BY id",
        (month,),
    )
    return [Unsettled(*row) for row in rows]


def allow(connection: apsw.Connection, override: Override) -> None:
    """Record what the owner has allowed."""
    key, last = str(uuid7()), connection.execute("SELECT max(id) FROM budget_override").get
    if last and key <= last:
        # By a clock that was ahead. Ids are the order of what was allowed; chance keeps those of two lives apart.
        key = str(UUID(int=UUID(last).int + 1 + secrets.randbits(48)))
    connection.execute(
        "INSERT INTO budget_override VALUES (?, ?, ?, ?, ?)",
        (key, override.at, override.who, override.tokens, override.until),
    )


def overrides(connection: apsw.Connection, now: str) -> list[Override]:
    """What is allowed beyond the limit at that moment, the oldest first."""
    rows = connection.execute(
        "SELECT at, who, tokens, until FROM budget_override WHERE tokens > 0 AND until > ?1 "
        "AND id > coalesce((SELECT max(id) FROM budget_override WHERE tokens = 0), '') ORDER BY id",
        (now,),
    )
    return [Override(*row) for row in rows]
