"""Tell Discord which commands there are: all of them in one request, and only when they differ from what it was told.

What it knows is remembered as a digest in the database, together with the application: a registration counts against
a limit of 200 a day, and commands that are written anew are gone from people's screens for a moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bot.client import NescordBot
from nescord import bot_commands
from nescord.settings import Settings


@dataclass(frozen=True, slots=True)
class Synced:
    """How many commands and menus there are, and whether Discord was told."""

    commands: int
    is_changed: bool


async def sync(bot: NescordBot, settings: Settings, *, force: bool = False) -> Synced:
    """Tell Discord of the commands of this bot, which has logged in.

    Raises:
        discord.HTTPException and other errors of a request: Discord does not know them yet. NescordError: what it knows
            cannot be looked up or remembered now.
    """
    payload = await payload_of(bot)
    digest = digest_of(payload, bot.application_id)
    if not force and await asyncio.to_thread(bot_commands.known, settings) == digest:
        return Synced(len(payload), is_changed=False)
    assert bot.application_id is not None  # known since the login
    await bot.http.bulk_upsert_global_commands(bot.application_id, payload)
    await asyncio.to_thread(bot_commands.remember, settings, digest)
    return Synced(len(payload), is_changed=True)


async def payload_of(bot: NescordBot) -> list[dict[str, Any]]:
    """The commands as Discord is told of them, in both languages."""
    translator = bot.tree.translator
    assert translator is not None  # set at every login
    commands = [*bot.tree.get_commands()]
    payload = [await each.get_translated_payload(bot.tree, translator) for each in commands]
    return sorted(payload, key=lambda each: (each.get("type", 1), each["name"]))


def digest_of(payload: list[dict[str, Any]], application: int | None) -> str:
    """What changes when a command, a text or the application does."""
    text = json.dumps([application, payload], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
