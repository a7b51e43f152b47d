"""Showing an answer: over the webhook of its interaction, which works for 15 minutes and after a restart, too.

Whoever sees "thinking…" is to see an answer: what passes is waited for as long as Discord takes answers, and what
Discord refuses is told in one plain line.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, cast

import aiohttp
import discord

from bot.render import Reply, to_message
from bot.request import AnyInteraction, Request

_log = logging.getLogger(__name__)

# What a connection ends with that breaks or does not come about: nobody knows whether what was sent has arrived.
CUT_OFF = (aiohttp.ClientError, OSError, TimeoutError)
# Seconds before each further attempt while Discord cannot be reached, or wants us to wait; the last one for good.
_RESTS = (1.0, 3.0, 9.0, 27.0, 60.0)
# Discord waits three seconds for an acknowledgement; the way there takes a part of them.
_ACKNOWLEDGED_WITHIN = timedelta(seconds=2.7)
_SHORTEST_REST = 0.2
_TOO_MANY = 429
# The message or the token is gone: nothing more can be said.
_GONE = frozenset({401, 404})
# Discord's code for an interaction that has its acknowledgement.
_ACKNOWLEDGED = 40060
_ORIGINAL = cast(int, "@original")

Text = Callable[..., str]
_Sending = Callable[[discord.Webhook, Reply], Awaitable[object]]


class Shower:
    """Shows answers to requests in Discord, in the words of `text(key, **values)` where they are refused. What cannot
    be shown is in the log. Raises ValueError for a reply that is none (`to_message`), and nothing else."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    @property
    def is_logged_in(self) -> bool:
        """Whether anything can be shown at all."""
        return self._client.user is not None

    async def show(self, request: Request, reply: Reply, text: Text, *, updates: bool = False) -> bool:
        """In the place that the acknowledgement holds; whether it arrived. `updates`: that place is a message which is
        not to be replaced by what went wrong."""
        return await self._shown(request, reply, text, _edit, _send if updates else _edit)

    async def aside(self, request: Request, reply: Reply, text: Text) -> bool:
        """As a message of its own that only the person sees; whether it arrived."""
        return await self._shown(request, reply, text, _send, _send)

    async def hint(self, request: Request, reply: Reply) -> None:
        """How far it is, in the place of the answer to come. Tried once."""
        if not self.is_logged_in:
            return
        try:
            await _edit(self._webhook(request), reply)
        except (discord.HTTPException, *CUT_OFF) as error:
            _log.warning("how far %s by %s is cannot be shown: %r", request.kind, request.id, error)

    async def _shown(self, request: Request, reply: Reply, text: Text, send: _Sending, plainly: _Sending) -> bool:
        try:
            return await self._try(request, lambda webhook: send(webhook, reply))
        except discord.HTTPException as error:
            reference = secrets.token_hex(4)
            _log.error("%s: Discord refuses the answer to %s by %s: %s", reference, request.kind, request.id, error)
            if error.status in _GONE:
                return False
        try:
            plain = Reply(body=text("errors.not_shown", reference=reference))
            return await self._try(request, lambda webhook: plainly(webhook, plain))
        except discord.HTTPException as error:
            _log.error("%s: Discord refuses to have that said, too: %s", reference, error)
            return False

    async def _try(self, request: Request, send: Callable[[discord.Webhook], Awaitable[object]]) -> bool:
        """Until it arrives or Discord takes nothing more. Raises what Discord refuses for good."""
        why: Exception | None = None
        for rest in _rests():
            if request.seconds_left <= 0:
                _log.warning("%s by %s was done too late to be answered: %r", request.kind, request.id, why)
                return False
            try:
                await send(self._webhook(request))
                return True
            except discord.HTTPException as error:
                if not _passes(error):
                    raise
                why, pause = error, max(rest, _asked_to_wait(error))
            except CUT_OFF as error:
                why, pause = error, rest
            if pause >= request.seconds_left:
                break
            _log.warning("%s by %s is answered again in %.0f s: %r", request.kind, request.id, pause, why)
            await asyncio.sleep(pause)
        _log.warning("the answer to %s by %s cannot be sent: %r", request.kind, request.id, why)
        return False

    def _webhook(self, request: Request) -> discord.Webhook:
        webhook = discord.Webhook.partial(request.application, request.token, client=self._client)
        # Only a webhook of an application may send what one person sees.
        webhook.type = discord.WebhookType.application
        return webhook


async def acknowledged(interaction: AnyInteraction, received: datetime, send: Callable[[], Awaitable[object]]) -> bool:
    """Whether Discord took the first answer to an interaction that came at `received`, or may have."""
    is_cut_off = False
    rest = _SHORTEST_REST
    while True:
        try:
            await send()
        except discord.InteractionResponded:
            return True
        except discord.HTTPException as error:
            pause = max(rest, _asked_to_wait(error))
            left = received + _ACKNOWLEDGED_WITHIN - datetime.now(UTC)
            if error.status != _TOO_MANY or timedelta(seconds=pause) > left:
                _log.warning("Discord does not take the answer to interaction %d: %s", interaction.id, error)
                return error.code == _ACKNOWLEDGED or error.status >= 500
            await asyncio.sleep(pause)
            rest *= 2
        except CUT_OFF as error:
            if is_cut_off:
                _log.warning("the answer to interaction %d was cut off: %r", interaction.id, error)
                return True
            # A connection that was idle for long may be gone when it is used. Once more does no harm: what has arrived
            # is refused then.
            _log.warning("the answer to interaction %d was cut off and is sent again: %r", interaction.id, error)
            is_cut_off = True
        else:
            return True


def new_message(reply: Reply) -> dict[str, Any]:
    """The arguments for a new message; discord.py wants what is not there left out."""
    message = to_message(reply)
    return {name: value for name, value in message.items() if value} | {
        "allowed_mentions": discord.AllowedMentions.none()
    }


async def _edit(webhook: discord.Webhook, reply: Reply) -> None:
    message = to_message(reply)
    with _freed(message["files"]):
        await webhook.edit_message(
            _ORIGINAL,
            content=message["content"] or None,
            embeds=message["embeds"],
            view=message["view"],
            attachments=message["files"],
            allowed_mentions=discord.AllowedMentions.none(),
        )


async def _send(webhook: discord.Webhook, reply: Reply) -> None:
    message = new_message(reply)
    with _freed(message.get("files", ())):
        await webhook.send(ephemeral=True, wait=True, **message)


@contextmanager
def _freed(files: Sequence[discord.File]) -> Iterator[None]:
    """Files whose bytes go with the block. aiohttp has a copy of them in a cycle of references, which may be there for
    another thirty files."""
    try:
        yield
    finally:
        for file in files:
            file.fp.close()


def _rests() -> Iterator[float]:
    return chain(_RESTS, repeat(_RESTS[-1]))


def _passes(error: discord.HTTPException) -> bool:
    return error.status == _TOO_MANY or error.status >= 500


def _asked_to_wait(error: discord.HTTPException) -> float:
    """Seconds, as Discord or what stands before it says; 0.0 where it does not."""
    try:
        return max(0.0, float(error.response.headers.get("Retry-After", "")))
    except ValueError:
        return 0.0
