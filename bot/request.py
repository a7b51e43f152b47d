"""An interaction as plain values: what the inbox keeps of it, and all that a handler ever sees.

Handlers work from this and not from `discord.Interaction`, so that the next process can finish what this one accepted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import discord

from nescord.identifiers import uuid7

if TYPE_CHECKING:
    from nescord.inbox import Accepted

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"
Context = Literal["guild", "dm", "private"]
Language = Literal["ja", "en", ""]
AnyInteraction: TypeAlias = "discord.Interaction[Any]"

# How long Discord takes answers under the token of an interaction.
TOKEN_LIFE = timedelta(minutes=15)
# What a file may have if Discord does not say.
_FILE_LIMIT = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for. `id` is Discord's for the interaction; `options` are JSON; `language` is "" for one that
    we have no texts in; `is_shared`: others can see the answer; `note_id` is that of the note which may come of it."""

    id: str
    kind: str
    options: Mapping[str, JSON]
    user: int
    user_name: str
    guild: int | None
    channel: int
    context: Context
    language: Language
    is_manager: bool
    is_shared: bool
    application: int
    token: str
    note_id: str
    accepted_at: datetime
    file_limit: int = _FILE_LIMIT
    _deadline: float = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # By the clock that nobody sets: one that jumps must not leave a person before "thinking…", or have us wait
        # for longer than Discord does.
        left = min(self.expires_at - datetime.now(UTC), TOKEN_LIFE)
        object.__setattr__(self, "_deadline", time.monotonic() + left.total_seconds())

    @property
    def who(self) -> str:
        """The space of the person, and the author of what they keep: `user:42`."""
        return f"user:{self.user}"

    @property
    def guild_space(self) -> str:
        """The space of the guild, `guild:7`; "" outside of one."""
        return "" if self.guild is None else f"guild:{self.guild}"

    @property
    def expires_at(self) -> datetime:
        """Until when it can be answered, for a later process; this one asks `seconds_left`."""
        return self.accepted_at + TOKEN_LIFE

    @property
    def seconds_left(self) -> float:
        """For how long it can still be answered; negative when it is too late."""
        return self._deadline - time.monotonic()

    def string(self, name: str, default: str = "") -> str:
        """An option that is a text; the default if it is not given."""
        value = self.options.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: int = 0) -> int:
        """An option that is a whole number; the default if it is not given."""
        value = self.options.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def flag(self, name: str) -> bool:
        """Whether an option is given and true."""
        return self.options.get(name) is True

    @classmethod
    def of(
        cls, interaction: AnyInteraction, kind: str, options: Mapping[str, JSON], *, is_shared: bool = False
    ) -> Request:
        """What `interaction` asks for; options that are None are left out."""
        context = _context(interaction)
        permissions = interaction.permissions
        return cls(
            id=str(interaction.id),
            kind=kind,
            options={name: value for name, value in options.items() if value is not None},
            user=interaction.user.id,
            user_name=interaction.user.display_name,
            guild=interaction.guild_id,
            channel=interaction.channel_id or 0,
            context=context,
            language=_language(interaction.locale),
            is_manager=context == "guild" and (permissions.manage_guild or permissions.administrator),
            is_shared=is_shared and context == "guild",
            application=interaction.application_id,
            token=interaction.token,
            note_id=str(uuid7()),
            accepted_at=datetime.now(UTC),
            file_limit=interaction.filesize_limit or _FILE_LIMIT,
        )

    def to_accepted(self) -> Accepted:
        """The row of the inbox."""
        from nescord.inbox import Accepted

        return Accepted(
            id=self.id,
            kind=self.kind,
            who=self.who,
            payload={
                "options": dict(self.options),
                "user": self.user,
                "user_name": self.user_name,
                "guild": self.guild,
                "channel": self.channel,
                "context": self.context,
                "language": self.language,
                "is_manager": self.is_manager,
                "is_shared": self.is_shared,
                "application": self.application,
                "file_limit": self.file_limit,
            },
            token=self.token,
            note_id=self.note_id,
            accepted_at=self.accepted_at,
            expires_at=self.expires_at,
        )

    @classmethod
    def of_accepted(cls, accepted: Accepted) -> Request:
        """What a row of the inbox asks for."""
        fields = accepted.payload
        return cls(
            id=accepted.id,
            kind=accepted.kind,
            token=accepted.token,
            note_id=accepted.note_id,
            accepted_at=accepted.accepted_at,
            **fields,
        )


def attachment_option(attachment: discord.Attachment) -> dict[str, JSON]:
    """An attachment as an option: name, url, media type and size in bytes. `Visit.fetch` gets its bytes."""
    return {
        "name": attachment.filename,
        "url": attachment.url,
        "media_type": attachment.content_type or "",
        "size": attachment.size,
    }


def _context(interaction: AnyInteraction) -> Context:
    if interaction.guild_id is not None:
        return "guild"
    # Only Discord's word that this is between the person and us makes it a direct message.
    return "dm" if interaction.context.dm_channel else "private"


def _language(locale: discord.Locale) -> Language:
    return cast(Language, {"ja": "ja", "en": "en"}.get(str(locale).partition("-")[0], ""))
