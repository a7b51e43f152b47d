"""Which commands Discord knows of us, as a digest kept in the database: they are told again only where that differs."""

from __future__ import annotations

from nescord.catalog import bot_commands as commands_sql
from nescord.home import DataFolder
from nescord.opened import OpenBase
from nescord.settings import Settings


def known(settings: Settings) -> str:
    """The digest of what Discord was last told; "" when that was nothing, or is not known.

    Raises:
        NescordError: the knowledge base cannot be used now.
    """
    base = _opened(settings)
    try:
        with base.verb() as catalog, catalog.read() as connection:
            return commands_sql.known(connection)
    finally:
        base.close()


def remember(settings: Settings, digest: str) -> None:
    """Discord knows what has this digest. Raises as `known` does."""
    base = _opened(settings)
    try:
        with base.verb() as catalog, catalog.write() as connection:
            commands_sql.remember(connection, digest)
    finally:
        base.close()


def _opened(settings: Settings) -> OpenBase:
    return OpenBase(DataFolder.find(settings), settings, is_new=False)
