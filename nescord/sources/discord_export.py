"""The JSON files of DiscordChatExporter: one channel, thread or direct conversation each, read as a stream.

The schema is that of its JsonMessageWriter: `guild`, `channel`, … `messages` (any order, any number), one object each.
What is not understood is left out and counted; a file that is cut off gives what it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from nescord.errors import UsageError
from nescord.sources.discord_messages import HOST, DiscordChannel, DiscordMessage, Kind, readable
from nescord.sources.json_depth import Shallow, TooDeepError

_KINDS: dict[str, Kind] = {
    "guildpublicthread": "thread", "guildnewsthread": "thread", "publicthread": "thread", "newsthread": "thread",
    "announcementthread": "thread", "guildprivatethread": "private thread", "privatethread": "private thread",
    "10": "thread", "11": "thread", "12": "private thread",
    "directtextchat": "direct", "directgrouptextchat": "direct", "dm": "direct", "groupdm": "direct",
    "1": "direct", "3": "direct",
}  # fmt: skip
# What Discord itself says in a channel: somebody came, somebody pinned something.
_NOTICES = {
    *("RecipientAdd", "RecipientRemove", "Call", "ChannelNameChange", "ChannelIconChange", "ChannelPinnedMessage"),
    *("GuildMemberJoin", "ThreadCreated"),
    *(str(number) for number in (*range(1, 19), 22, *range(24, 30), 31, 32, 36, 37, 38, 39, 44, 46)),
}
_LATEST = 253_370_764_800  # the last day that every zone can show


class NotAnExportError(UsageError):
    """A file is nothing that can be imported from Discord."""


class UnusableError(ValueError):
    """A message that says neither which it is nor when it was said."""


def kind_of(kind: object, *, has_guild: bool) -> Kind:
    """What the type of a channel means, as a name or a number, in the spelling of any of the formats."""
    known = _KINDS.get(re.sub(r"[^a-z0-9]", "", str(kind).lower()))
    return known or ("channel" if has_guild else "direct")


class DiscordExport:
    """One file. `left_out` counts the messages that could not be used, `cut_off` says why it ended too early."""

    def __init__(self, path: Path, zone: tzinfo = UTC) -> None:
        self.path = path
        self.left_out = 0
        self.cut_off = ""
        self._zone = zone
        with self._open() as file:
            self.channel = _channel(_preamble(file, path), path)

    def messages(self) -> Iterator[DiscordMessage]:
        """All that was said, in the order of the file."""
        import ijson  # type: ignore[import-untyped]  # it has no types

        with self._open() as file:
            try:
                for value in ijson.items(Shallow(file), "messages.item", use_float=True):
                    try:
                        found = _message(value, self.channel, self._zone)
                    except UnusableError:
                        self.left_out += 1
                    else:
                        if found:
                            yield found
            except (ijson.JSONError, TooDeepError) as error:
                self.cut_off = _reason(error)

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as file:
                if file.read(3) != b"\xef\xbb\xbf":
                    file.seek(0)
                yield file
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror or error}") from error


def _preamble(file: BinaryIO, path: Path) -> Mapping[str, Any]:
    """`guild` and `channel`, which stand before the messages in every version there was; wherever they stand."""
    import ijson

    found: dict[str, Any] = {}
    builder, building = None, ""
    try:
        for prefix, event, value in ijson.parse(Shallow(file), use_float=True):
            top = prefix.partition(".")[0]
            if prefix == "" and event not in ("start_map", "map_key", "end_map"):
                break
            if top not in ("guild", "channel"):
                if len(found) == 2:
                    break
                continue
            if building != top:
                builder, building = ijson.ObjectBuilder(), top
            assert builder is not None
            builder.event(event, value)
            found[top] = builder.value if hasattr(builder, "value") else None
    except (ijson.JSONError, TooDeepError) as error:
        raise NotAnExportError(f"{path} is no JSON: {_reason(error)}") from error
    return found


def _channel(preamble: Mapping[str, Any], path: Path) -> DiscordChannel:
    guild, channel = preamble.get("guild"), preamble.get("channel")
    number = snowflake(channel.get("id")) if isinstance(channel, dict) else 0
    if not isinstance(guild, dict) or not isinstance(channel, dict) or not number:
        raise NotAnExportError(
            f"{path} is no export of a channel: there is no guild and channel in it. Export with DiscordChatExporter "
            "as JSON, or take the zip of Discord's data package"
        )
    guild_id = snowflake(guild.get("id"))
    kind = kind_of(channel.get("type"), has_guild=True) if guild_id else "direct"
    return DiscordChannel(
        id=number,
        name=string(channel.get("name")) or str(number),
        kind=kind,
        guild="" if kind == "direct" else str(guild_id),
        guild_name="" if kind == "direct" else string(guild.get("name")),
        above=string(channel.get("category")),
    )


def _message(value: object, channel: DiscordChannel, zone: tzinfo) -> DiscordMessage | None:
    """None: a notice of Discord's own."""
    if not isinstance(value, dict):
        raise UnusableError
    number, at = snowflake(value.get("id")), seconds(value.get("timestamp"))
    if not number or not at:
        raise UnusableError
    if str(value.get("type")) in _NOTICES:
        return None
    author = mapping(value.get("author"))
    reply_to, reply_link = _reply(mapping(value.get("reference")), channel)
    text = string(value.get("content"))
    forwarded = mapping(value.get("forwardedMessage"))
    if forwarded:
        reply_to, reply_link = 0, ""
        quoted = string(forwarded.get("content"))
        text = "\n".join(filter(None, (text, *(f"> {line}" for line in quoted.splitlines()))))
    sources = (value, forwarded)
    stickers = [f":{name}:" for each in objects(value.get("stickers")) if (name := string(each.get("name")))]
    return DiscordMessage(
        id=number,
        at=at,
        author=string(author.get("nickname")) or string(author.get("name")),
        author_id=str(snowflake(author.get("id")) or ""),
        text=readable("\n".join(filter(None, (text, *stickers))), _names(value, channel), zone),
        edited=seconds(value.get("timestampEdited")),
        reply_to=reply_to,
        reply_link=reply_link,
        files=tuple(_file_name(each) for one in sources for each in objects(one.get("attachments"))),
        embeds=tuple(filter(any, (_embed(each) for one in sources for each in objects(one.get("embeds"))))),
    )


def _reply(reference: Mapping[str, Any], channel: DiscordChannel) -> tuple[int, str]:
    """The id that is answered, and where it is unless it is in this channel."""
    number = snowflake(reference.get("messageId"))
    elsewhere = snowflake(reference.get("channelId"))
    if not number or elsewhere in (0, channel.id):
        return number, ""
    guild = snowflake(reference.get("guildId"))
    return number, f"{HOST}/{guild or channel.guild or '@me'}/{elsewhere}/{number}"


def _names(value: Mapping[str, Any], channel: DiscordChannel) -> dict[str, str]:
    names = {f"#{channel.id}": channel.name}
    for each in objects(value.get("mentions")):
        names[f"@{snowflake(each.get('id'))}"] = string(each.get("nickname")) or string(each.get("name"))
    return {key: name for key, name in names.items() if name}


def _file_name(attachment: Mapping[str, Any]) -> str:
    return string(attachment.get("fileName")) or name_in(string(attachment.get("url")))


def _embed(embed: Mapping[str, Any]) -> tuple[str, str]:
    title = string(embed.get("title")) or string(mapping(embed.get("author")).get("name"))
    description = " ".join(string(embed.get("description")).split())
    # Where nothing else says what it is: what a bot wrote.
    return (title or description[:300], string(embed.get("url")))


def name_in(url: str) -> str:
    """The name of a file by its address."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2]) or "file"
    except ValueError:
        return "file"


def snowflake(value: object) -> int:
    """An id of Discord as text or number; 0 for what is none, or more than SQLite can count."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63 else 0


def seconds(value: object) -> int:
    """Unix seconds of an ISO 8601 moment, UTC unless it says otherwise; 0 for none."""
    if not isinstance(value, str) or not value:
        return 0
    try:
        moment = datetime.fromisoformat(value.strip())
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0
    return int(at) if 0 < at < _LATEST else 0


def string(value: object) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _reason(error: Exception) -> str:
    # The lines below the first one show the place, as it would look in a terminal.
    return next(iter(str(error).splitlines()), "").strip()[:120] or "it ends too early"
