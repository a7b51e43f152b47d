"""`nescord bot sync`: tell Discord of the commands once, without connecting to its gateway."""

from __future__ import annotations

import asyncio

from bot import refusals
from bot.client import NescordBot
from bot.health import Health
from bot.knowledge import Base
from bot.patience import described
from bot.run import AWAY, logged_in, token_of
from bot.sync import Synced, sync
from nescord.errors import ServiceUnavailableError
from nescord.home import DataFolder, drop_privileges
from nescord.settings import Settings


def sync_once(settings: Settings, *, force: bool = False) -> Synced:
    """Log in, tell of the commands if they are new (with `force` in any case), and leave.

    Raises:
        NescordError: the token is refused (77), Discord cannot be reached (69), there is no token or no knowledge base
            (2).
    """
    token = token_of(settings)
    drop_privileges(DataFolder.at(settings).path)
    folder = DataFolder.find(settings)
    with Base.open(settings) as base:
        return asyncio.run(_sync(base, settings, token, Health(folder.run, is_told=False), force=force))


async def _sync(base: Base, settings: Settings, token: str, health: Health, *, force: bool) -> Synced:
    try:
        async with NescordBot(base, health) as bot:
            try:
                with refusals.told():
                    await logged_in(bot, token)
                    return await sync(bot, settings, force=force)
            finally:
                await bot.desk.close(0)
    except AWAY as error:
        raise ServiceUnavailableError(f"Discord was not told of the commands: {described(error)}") from error
