"""A message of Discord as plain values: what it says, who said it, and what hangs on it.

Without the intent for message content, a message is seen only where somebody uses a message menu on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import discord

from bot.request import JSON, attachment_option


def text_of(message: discord.Message) -> str:
    """What it says, with forwarded messages and the texts of its embeds; parts with a blank line between them."""
    parts = [message.content]
    for forwarded in message.message_snapshots:
        parts += [forwarded.content, *(_of_embed(embed) for embed in forwarded.embeds)]
    parts += [_of_embed(embed) for embed in message.embeds]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def message_options(message: discord.Message) -> dict[str, JSON]:
    """All that is kept of a message, as options of a request."""
    files = [*message.attachments, *(file for each in message.message_snapshots for file in each.attachments)]
    return {
        "text": text_of(message),
        "name": message.author.display_name,
        "when": message.created_at.isoformat(),
        "jump": message.jump_url,
        "files": [dict(attachment_option(file)) for file in files],
    }


def _of_embed(embed: discord.Embed) -> str:
    return "\n".join(part for part in _embed_parts(embed) if part.strip())


def _embed_parts(embed: discord.Embed) -> Iterator[str]:
    yield embed.author.name or ""
    if embed.title:
        yield f"**{embed.title}**" + (f" ({embed.url})" if embed.url else "")
    elif embed.url:
        yield embed.url
    yield embed.description or ""
    for field in embed.fields:
        yield f"{field.name}: {field.value}"
    yield embed.footer.text or ""
