"""All that the fake knows: its app, people, guilds, channels, messages and files."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.discord import refusals
from tests.fakes.discord.messages import COMPONENTS_V2, EPHEMERAL, LOADING, Attachment, File, Message, numbered
from tests.fakes.discord.people import DIRECT, GROUP, GUILD_TEXT, Channel, Guild, User

JsonObject = dict[str, Any]

APPLICATION_ID = 1_111_111_111_111_111_111
_EPOCH = 1_420_070_400_000


class Changes:
    """Lets threads of tests wait for what happens in the fake."""

    def __init__(self) -> None:
        self._condition = threading.Condition()

    def tell(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def wait(self, until: Callable[[], object], timeout: float, what: Callable[[], str] | str) -> None:
        """AssertionError saying `what` if `until()` does not become true within `timeout` seconds."""
        with self._condition:
            if self._condition.wait_for(until, timeout):
                return
        raise AssertionError(f"waited {timeout:g} s for {what if isinstance(what, str) else what()}")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass
class World:
    """The state of the fake."""

    bot: User = field(default_factory=lambda: User(APPLICATION_ID, "nescord", is_bot=True, has_installed=False))
    users: dict[int, User] = field(default_factory=dict)
    guilds: dict[int, Guild] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    messages: dict[int, list[Message]] = field(default_factory=dict)
    cdn: dict[str, Attachment] = field(default_factory=dict)
    cdn_base: str = ""
    changes: Changes = field(default_factory=Changes)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def snowflake(self) -> int:
        return (int(time.time() * 1000) - _EPOCH) << 22 | next(self._numbers) & 0x3FFFFF

    def add_user(self, user: User) -> User:
        self.users[user.id] = user
        return user

    def add_guild(self, guild: Guild) -> Guild:
        self.guilds[guild.id] = guild
        self.add_channel(guild, "general")
        return guild

    def add_channel(self, guild: Guild, name: str, *, channel_id: int = 0, can_send: bool = True) -> Channel:
        channel = Channel(channel_id or self.snowflake(), GUILD_TEXT, name, guild, can_send=can_send)
        guild.channels.append(channel)
        self.channels[channel.id] = channel
        return channel

    def direct(self, user: User) -> Channel:
        """The DM channel between the bot and `user`."""
        for channel in self.channels.values():
            if channel.type == DIRECT and channel.recipients == (user,):
                return channel
        return self._private(Channel(self.snowflake(), DIRECT, recipients=(user,)))

    def group(self, user: User) -> Channel:
        """A group DM that `user` is in and the bot is not."""
        for channel in self.channels.values():
            if channel.type == GROUP and channel.recipients[0] == user:
                return channel
        return self._private(Channel(self.snowflake(), GROUP, "friends", recipients=(user,)))

    def _private(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        return channel

    def attach(self, file: File, channel: Channel) -> Attachment:
        number = self.snowflake()
        path = f"/attachments/{channel.id}/{number}/{file.name}"
        attachment = Attachment(number, file, f"{self.cdn_base}{path}?ex=66aa&is=66ab&hm=0123")
        self.cdn[path] = attachment
        return attachment

    def post(
        self, channel: Channel, author: User, body: JsonObject, files: Iterable[File] = (), **more: Any
    ) -> Message:
        """Lay a message with the fields of a REST body into a channel."""
        flags = body.get("flags") or 0
        message = Message(
            self.snowflake(),
            channel,
            author,
            now(),
            content=body.get("content") or "",
            embeds=list(body.get("embeds") or ()),
            components=numbered(body.get("components")),
            attachments=[self.attach(file, channel) for file in files],
            flags=flags & (EPHEMERAL | COMPONENTS_V2 | LOADING | 1 << 2),
            nonce=body.get("nonce"),
            allowed_mentions=body.get("allowed_mentions"),
            **more,
        )
        self.messages.setdefault(channel.id, []).append(message)
        self.changes.tell()
        return message

    def edit(self, message: Message, body: JsonObject, files: Iterable[File] = ()) -> Message:
        """Change what the body names; attachments that it lists by id stay, and new files come in addition."""
        if "content" in body:
            message.content = body["content"] or ""
        if "embeds" in body:
            message.embeds = list(body["embeds"] or ())
        if "components" in body:
            message.components = numbered(body["components"])
        if "attachments" in body:
            kept = {str(each.get("id")) for each in body["attachments"] or ()}
            message.attachments = [each for each in message.attachments if str(each.id) in kept]
        message.attachments = message.attachments + [self.attach(file, message.channel) for file in files]
        message.flags &= ~LOADING
        message.edited_at = now()
        message.edits += 1
        self.changes.tell()
        return message

    def find_message(self, channel_id: int, message_id: int) -> Message:
        for message in self.messages.get(channel_id, ()):
            if message.id == message_id and not message.is_deleted:
                return message
        raise refusals.unknown("message")

    def visible(self, channel: Channel) -> list[Message]:
        """What everyone in the channel sees, oldest first."""
        return [each for each in self.messages.get(channel.id, ()) if not (each.is_ephemeral or each.is_deleted)]
