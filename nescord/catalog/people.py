"""SQL of what is kept about a person or a guild: what they prefer, and how often they did something on a day."""

from __future__ import annotations

from collections.abc import Mapping

import apsw


def preferences(connection: apsw.Connection, who: str) -> dict[str, str]:
    """What somebody has chosen, by name; a name that is not there was left open."""
    rows = connection.execute("SELECT name, value FROM preference WHERE who = ?", (who,))
    return {str(name): str(value) for name, value in rows}


def prefer(connection: apsw.Connection, who: str, chosen: Mapping[str, str], now: str) -> None:
    """Keep what somebody has chosen, by name; "" leaves a name open again."""
    connection.executemany(
        "INSERT INTO preference VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE "
        "SET value = excluded.value, changed_at = excluded.changed_at WHERE value <> excluded.value",
        ((who, name, value, now) for name, value in chosen.items() if value),
    )
    connection.executemany(
        "DELETE FROM preference WHERE who = ? AND name = ?",
        ((who, name) for name, value in chosen.items() if not value),
    )


def used(connection: apsw.Connection, who: str, day: str) -> dict[str, int]:
    """How often somebody did each thing on a day (`2026-11-28`)."""
    rows = connection.execute("SELECT what, used FROM quota_use WHERE who = ? AND day = ?", (who, day))
    return {str(what): int(count) for what, count in rows}


def count_use(connection: apsw.Connection, who: str, day: str, what: str) -> None:
    """Somebody did it once more."""
    connection.execute(
        "INSERT INTO quota_use VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET used = used + 1", (who, day, what)
    )


def count_days(connection: apsw.Connection, before: str = "~") -> int:
    """How many counts there are, or are of days before that one."""
    count: int = connection.execute("SELECT count(*) FROM quota_use WHERE day < ?", (before,)).get
    return count


def forget_days(connection: apsw.Connection, before: str, limit: int) -> int:
    """Forget up to `limit` counts of days before that one; how many it were."""
    connection.execute(
        "DELETE FROM quota_use WHERE (who, day, what) IN (SELECT who, day, what FROM quota_use WHERE day < ? LIMIT ?)",
        (before, limit),
    )
    return connection.changes()
