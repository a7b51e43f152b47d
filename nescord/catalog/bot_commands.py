"""What Discord was last told of our commands: a digest, so that it is told again only what is new to it."""

from __future__ import annotations

import apsw

_ROW = "bot_commands"


def known(connection: apsw.Connection) -> str:
    """The digest; "" when nothing was told yet."""
    digest: str | None = connection.execute("SELECT value FROM meta WHERE name = ?", (_ROW,)).get
    return digest or ""


def remember(connection: apsw.Connection, digest: str) -> None:
    """From now on Discord knows what has this digest."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_ROW, digest))
