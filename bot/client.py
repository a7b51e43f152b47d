"""The client: discord.py, told to ask for as little as there is, with our commands, buttons and modals on it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot import buttons, modals
from bot.commands import add_all
from bot.desk import Desk
from bot.health import Health
from bot.knowledge import Base
from bot.texts import CommandTexts
from nescord.settings import Settings

_log = logging.getLogger(__name__)
# A request that Discord wants to have put off for longer fails, and who asked is told; half a minute is discord.py's
# least.
_LONGEST_RATE_LIMIT = 30.0
# It speaks to nobody, and that what it would need for that is missing is no warning.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


class NescordBot(discord.Client):
    """One connection to Discord. It reads no messages: what a command needs comes with its interaction."""

    def __init__(self, base: Base, health: Health) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            max_ratelimit_timeout=_LONGEST_RATE_LIMIT,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
        )
        self.health = health
        self.tree: discord.app_commands.CommandTree[Any] = discord.app_commands.CommandTree(self)
        self.desk = Desk(base, self)
        self.tree.error(self.desk.failed)
        add_all(self.tree, self.desk)
        buttons.add_to(self, self.desk)
        self._resuming: asyncio.Task[None] | None = None

    async def setup_hook(self) -> None:
        """Called at the end of every login."""
        await self.tree.set_translator(CommandTexts())

    def finish_what_was_accepted(self) -> None:
        """Begin with what the process before us had taken on: keep it now, answer it once logged in."""
        if self._resuming is None:
            self._resuming = asyncio.create_task(self.desk.resume())

    async def on_connect(self) -> None:
        """READY has come."""
        self.health.enter("ready")

    async def on_resumed(self) -> None:
        """The connection goes on where it was torn."""
        self.health.enter("ready")

    async def on_disconnect(self) -> None:
        """Torn, or not even there; discord.py connects again."""
        if self.health.gateway == "ready":
            self.health.enter("resuming")

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Commands and buttons find their way by themselves; a modal may be that of another process."""
        await modals.submitted(interaction, self.desk)


def point_elsewhere(settings: Settings) -> None:
    """Let discord.py speak to another server than Discord's, where the settings name one."""
    if settings.discord_api_base is not None:
        Route.BASE = settings.discord_api_base
        _log.warning("DISCORD_API_BASE is set: %s is asked instead of Discord", settings.discord_api_base)
    if settings.discord_gateway is not None:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway)
        _log.warning("DISCORD_GATEWAY is set: %s is listened to instead of Discord", settings.discord_gateway)
