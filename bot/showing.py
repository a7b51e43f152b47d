"""Showing an answer: over the webhook of its interaction, which works for 15 minutes and after a restart, too."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import discord

from bot.render import Reply, to_message
from bot.request import Request

_log = logging.getLogger(__name__)

# What a connection ends with that breaks or does not come about: nobody knows whether what was sent has arrived.
CUT_OFF = (aiohttp.ClientError, OSError, TimeoutError)
# Seconds before each further attempt while Discord cannot be reached.
_RESTS = (1, 3, 9, 27)
_ORIGINAL = cast(int, "@original")


class Shower:
    """Shows answers to requests in Discord. Never raises: an answer that cannot be shown is in the log."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def show(self, request: Request, reply: Reply) -> bool:
        """In the place that the acknowledgement holds; whether it arrived."""

        async def edit(webhook: discord.Webhook) -> None:
            message = to_message(reply)
            await webhook.edit_message(
                _ORIGINAL,
                content=message["content"] or None,
                embeds=message["embeds"],
                view=message["view"],
                attachments=message["files"],
                allowed_mentions=discord.AllowedMentions.none(),
            )

        return await self._try(request, edit)

    async def aside(self, request: Request, reply: Reply) -> bool:
        """As a message of its own that only the person sees; whether it arrived."""

        async def send(webhook: discord.Webhook) -> None:
            await webhook.send(ephemeral=True, wait=True, **new_message(reply))

        return await self._try(request, send)

    async def _try(self, request: Request, send: Any) -> bool:
        for rest in (*_RESTS, None):
            if datetime.now(UTC) >= request.expires_at:
                _log.warning("%s by %s was done too late to be answered", request.kind, request.id)
                return False
            webhook = discord.Webhook.partial(request.application, request.token, client=self._client)
            # Only a webhook of an application may send what one person sees.
            webhook.type = discord.WebhookType.application
            try:
                await send(webhook)
            except (discord.DiscordServerError, *CUT_OFF) as error:
                if rest is None:
                    _log.warning("the answer to %s by %s cannot be sent: %r", request.kind, request.id, error)
                    return False
                await asyncio.sleep(rest)
            except discord.HTTPException as error:
                _log.warning("Discord refuses the answer to %s by %s: %s", request.kind, request.id, error)
                return False
            else:
                return True
        return False


def new_message(reply: Reply) -> dict[str, Any]:
    """The arguments for a new message; discord.py wants what is not there left out."""
    message = to_message(reply)
    return {name: value for name, value in message.items() if value} | {
        "allowed_mentions": discord.AllowedMentions.none()
    }
