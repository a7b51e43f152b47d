"""Who and what there is on the fake: people, guilds with their members, and channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

ADMINISTRATOR = 1 << 3
MANAGE_GUILD = 1 << 5
# View channels, send messages, embed links, attach files, read the history, use the commands of applications.
EVERYONE = 1 << 10 | 1 << 11 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 31
ALL = (1 << 50) - 1
GUILD_TEXT, DIRECT, GROUP = 0, 1, 3
JOINED = "2025-01-02T03:04:05.000000+00:00"


@dataclass(frozen=True, slots=True)
class User:
    """A person (or the bot). `has_installed`: the app for themselves; `accepts_messages`: whether a DM reaches them."""

    id: int
    name: str
    locale: str = "en-US"
    is_bot: bool = False
    has_installed: bool = True
    accepts_messages: bool = True

    def payload(self) -> JsonObject:
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": None if self.is_bot else self.name.title(),
            "discriminator": "0",
            "avatar": None,
            "bot": self.is_bot,
            "system": False,
            "banner": None,
            "accent_color": None,
            "primary_guild": None,
            "flags": 0,
            "public_flags": 0,
        }


@dataclass(frozen=True, slots=True)
class Member:
    """A user in a guild, with their permissions there (a bit field, EVERYONE included)."""

    user: User
    permissions: int = EVERYONE
    nick: str | None = None

    def payload(self, *, is_whole: bool = True) -> JsonObject:
        """The member object; inside `resolved` Discord leaves the user out."""
        member: JsonObject = {
            "roles": [],
            "joined_at": JOINED,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "nick": self.nick,
            "avatar": None,
            "banner": None,
            "pending": False,
            "flags": 0,
            "communication_disabled_until": None,
            "permissions": str(self.permissions),
        }
        return {**member, "user": self.user.payload()} if is_whole else member


@dataclass(slots=True, eq=False)
class Channel:
    """A text channel of a guild (type 0), a DM (1) or a group DM (3). `can_send`: whether the bot may write there."""

    id: int
    type: int
    name: str = ""
    guild: Guild | None = None
    recipients: tuple[User, ...] = ()
    can_send: bool = True

    def payload(self) -> JsonObject:
        channel: JsonObject = {"id": str(self.id), "type": self.type, "flags": 0, "last_message_id": None}
        if self.guild is not None:
            return channel | {
                "name": self.name,
                "guild_id": str(self.guild.id),
                "position": 0,
                "parent_id": None,
                "topic": None,
                "nsfw": False,
                "rate_limit_per_user": 0,
                "permission_overwrites": [],
            }
        channel["recipients"] = [user.payload() for user in self.recipients]
        if self.type == GROUP:
            channel |= {"name": self.name, "icon": None, "owner_id": str(self.recipients[0].id)}
        return channel


@dataclass(slots=True, eq=False)
class Guild:
    """A server. `has_bot`: the app is installed in it; otherwise only who installed it for themselves uses it here."""

    id: int
    name: str
    bot: User
    locale: str = "en-US"
    has_bot: bool = True
    members: dict[int, Member] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)

    def member(self, user: User, permissions: int = 0, nick: str | None = None) -> Member:
        """Let `user` join (or change) with what everyone may do and these `permissions`."""
        member = self.members[user.id] = Member(user, EVERYONE | int(permissions), nick)
        return member

    @property
    def general(self) -> Channel:
        return self.channels[0]

    def payload(self) -> JsonObject:
        """As GUILD_CREATE tells it: with channels, and of the members only the bot."""
        me = Member(self.bot)
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "splash": None,
            "discovery_splash": None,
            "owner_id": str(next(iter(self.members), self.bot.id)),
            "afk_channel_id": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "roles": [self._everyone()],
            "emojis": [],
            "stickers": [],
            "features": [],
            "mfa_level": 0,
            "application_id": None,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "safety_alerts_channel_id": None,
            "vanity_url_code": None,
            "description": None,
            "banner": None,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "preferred_locale": self.locale,
            "nsfw_level": 0,
            "joined_at": JOINED,
            "large": False,
            "unavailable": False,
            "member_count": len(self.members) + 1,
            "members": [me.payload()],
            "channels": [channel.payload() for channel in self.channels],
            "threads": [],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "home_header": None,
            "region": "deprecated",
            "widget_enabled": False,
            "widget_channel_id": None,
            "max_presences": None,
            "max_members": 500_000,
            "max_stage_video_channel_users": 50,
            "max_video_channel_users": 25,
            "nsfw": False,
            "incidents_data": None,
        }

    def _everyone(self) -> JsonObject:
        return {
            "id": str(self.id),
            "name": "@everyone",
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "icon": None,
            "unicode_emoji": None,
            "position": 0,
            "permissions": str(EVERYONE),
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }
