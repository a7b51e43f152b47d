"""SQL of who gets a digest, and of what became of the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import apsw

State = Literal["", "begun", "sent", "failed"]


@dataclass(frozen=True, slots=True)
class Digest:
    """Who gets one: `target` is `user:<id>`, or `channel:<id>` of `guild` (`guild:<id>`); `who` has asked for it.

    `hour` is one of the clock of `timezone`. `state` is what became of the digest of `day` ("": none was sent yet);
    `changed_at` (UTC text) is up to when all was told.
    """

    target: str
    guild: str
    who: str
    language: Literal["ja", "en"]
    hour: int
    timezone: str
    day: str
    state: State
    changed_at: str


_COLUMNS = "target, guild, who, language, hour, timezone, day, state, changed_at"


def all_digests(connection: apsw.Connection) -> list[Digest]:
    """Every one, by target."""
    return [Digest(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM digest ORDER BY target")]


def find(connection: apsw.Connection, target: str) -> Digest | None:
    """That of a target."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM digest WHERE target = ?", (target,)).fetchone()
    return None if row is None else Digest(*row)


def put(connection: apsw.Connection, digest: Digest) -> None:
    """Insert it, or bring its row up to date."""
    connection.execute(
        "INSERT OR REPLACE INTO digest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            digest.target, digest.guild, digest.who, digest.language, digest.hour, digest.timezone, digest.day,
            digest.state, digest.changed_at,
        ),
    )  # fmt: skip


def drop(connection: apsw.Connection, target: str) -> bool:
    """Whether there was one to be dropped."""
    connection.execute("DELETE FROM digest WHERE target = ?", (target,))
    return connection.changes() > 0


def mark(connection: apsw.Connection, target: str, day: str, state: State, told_until: str = "") -> bool:
    """What became of the digest of a day; whether somebody still gets it. `told_until` only where it was sent."""
    connection.execute(
        "UPDATE digest SET day = ?2, state = ?3, changed_at = coalesce(nullif(?4, ''), changed_at) WHERE target = ?1",
        (target, day, state, told_until),
    )
    return connection.changes() > 0
