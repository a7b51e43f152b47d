"""The commands that the app has registered, and what a person's client makes of what is typed into one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.discord import refusals
from tests.fakes.discord.messages import File
from tests.fakes.discord.people import Channel, Guild, User
from tests.fakes.discord.world import World

JsonObject = dict[str, Any]

SLASH, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMAND, SUBCOMMAND_GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)
_CONTEXTS = {"guild": 0, "dm": 1, "private": 2}
Context = Literal["guild", "dm", "private"]


class CannotError(AssertionError):
    """What no person's client would let them do: the scenario is wrong, or the bot did not offer it."""


@dataclass
class Commands:
    """Global commands by (type, name)."""

    application_id: int
    registered: dict[tuple[int, str], JsonObject] = field(default_factory=dict)
    syncs: int = 0
    _versions: Any = field(default_factory=lambda: itertools.count(900_000_000_000_000_001))

    def replace(self, commands: Sequence[JsonObject]) -> list[JsonObject]:
        """The bulk overwrite: commands of the same type and name keep their id."""
        before, self.registered = self.registered, {}
        for command in commands:
            self.add(command, before)
        self.syncs += 1
        return list(self.registered.values())

    def add(self, command: JsonObject, before: Mapping[tuple[int, str], JsonObject] | None = None) -> JsonObject:
        key = (command.get("type") or SLASH, command["name"])
        known = (self.registered if before is None else before).get(key)
        version = str(next(self._versions))
        self.registered[key] = {
            "description": "",
            "default_member_permissions": None,
            "nsfw": False,
            "contexts": None,
            **command,
            # What an app that can be installed both ways has by itself.
            "integration_types": command.get("integration_types") or [0, 1],
            "type": key[0],
            "id": known["id"] if known else version,
            "application_id": str(self.application_id),
            "version": version,
        }
        return self.registered[key]

    def by_id(self, command_id: str) -> JsonObject:
        for command in self.registered.values():
            if command["id"] == command_id:
                return command
        raise refusals.unknown("command")

    def remove(self, command_id: str) -> None:
        command = self.by_id(command_id)
        del self.registered[command["type"], command["name"]]

    def offered(
        self, kind: int, name: str, context: Context, owners: Mapping[str, str], permissions: int
    ) -> JsonObject:
        """The command as the client offers it there, or CannotError."""
        command = self.registered.get((kind, name))
        if command is None:
            known = sorted(each for which, each in self.registered if which == kind)
            raise CannotError(f"there is no command {name!r} of type {kind}; registered are {known}")
        contexts = command["contexts"]
        if contexts is not None and _CONTEXTS[context] not in contexts:
            raise CannotError(f"the command {name!r} is not offered in a {context} (contexts {contexts})")
        if not any(int(which) in command["integration_types"] for which in owners):
            raise CannotError(f"{name!r} is for installs {command['integration_types']}, here is only {dict(owners)}")
        needed = int(command["default_member_permissions"] or 0)
        if context == "guild" and needed and not permissions & (needed | 1 << 3):
            raise CannotError(f"the client hides {name!r} from who has not the permissions {needed}")
        return command


@dataclass
class Typed:
    """Options as an interaction carries them."""

    options: list[JsonObject]
    resolved: dict[str, dict[str, JsonObject]]


def split(command: JsonObject, words: Sequence[str]) -> tuple[list[JsonObject], JsonObject]:
    """The path of subcommands down `words`, and the (sub)command at its end."""
    path: list[JsonObject] = []
    at = command
    for word in words:
        at = next((o for o in at.get("options") or () if o["name"] == word and o["type"] <= SUBCOMMAND_GROUP), {})
        if not at:
            raise CannotError(f"/{command['name']} has no subcommand {word!r}")
        path.append(at)
    if any(option["type"] <= SUBCOMMAND_GROUP for option in at.get("options") or ()):
        raise CannotError(f"/{command['name']} {' '.join(words)} wants a subcommand")
    return path, at


def typed(
    command: JsonObject,
    words: Sequence[str],
    values: Mapping[str, Any],
    *,
    world: World,
    channel: Channel,
    guild: Guild | None,
    focused: str | None = None,
) -> Typed:
    """What the client sends for these values, by their base names; CannotError for what it would not send."""
    path, at = split(command, words)
    known = {option["name"]: option for option in at.get("options") or ()}
    if unknown := set(values) - set(known):
        raise CannotError(f"/{command['name']} {' '.join(words)} has no options {sorted(unknown)}, but {sorted(known)}")
    if focused is not None and not known.get(focused, {}).get("autocomplete"):
        raise CannotError(f"the option {focused!r} does not autocomplete")
    result = Typed([], {})
    for name, option in known.items():
        value = values.get(name)
        if value is None:
            if option.get("required") and focused is None:
                raise CannotError(f"/{command['name']} {' '.join(words)}: {name} is required")
            if name != focused:
                continue
            value = ""
        sent = {"name": name, "type": option["type"]}
        sent["value"] = str(value) if name == focused else _value(option, value, result, world, channel, guild)
        result.options.append(sent | ({"focused": True} if name == focused else {}))
    for step in reversed(path):
        result.options = [{"name": step["name"], "type": step["type"], "options": result.options}]
    return result


def _value(option: JsonObject, value: Any, result: Typed, world: World, channel: Channel, guild: Guild | None) -> Any:
    name, kind = option["name"], option["type"]
    wanted: dict[int, type | tuple[type, ...]] = {
        STRING: str,
        INTEGER: int,
        BOOLEAN: bool,
        USER: User,
        CHANNEL: Channel,
        NUMBER: (int, float),
        ATTACHMENT: File,
    }
    if not isinstance(value, wanted.get(kind, object)) or (isinstance(value, bool) and kind != BOOLEAN):
        raise CannotError(f"the option {name!r} is of type {kind}, not {value!r}")
    if isinstance(value, User | Channel | File):
        return _entity(option, value, result, world, channel, guild)
    if choices := option.get("choices"):
        for choice in choices:
            if value in (choice["value"], choice["name"]):
                return choice["value"]
        raise CannotError(f"the option {name!r} has the choices {[choice['value'] for choice in choices]}")
    size = len(value) if kind == STRING else value
    what = "length" if kind == STRING else "value"
    least, most = option.get(f"min_{what}"), option.get(f"max_{what}", 6000 if kind == STRING else None)
    if (least is not None and size < least) or (most is not None and size > most):
        raise CannotError(f"the option {name!r} takes a {what} from {least} to {most}, not {size}")
    return value


def _entity(
    option: JsonObject, value: User | Channel | File, result: Typed, world: World, channel: Channel, guild: Guild | None
) -> str:
    """The id of what was chosen, which the interaction describes under `resolved`."""
    resolved = result.resolved
    if isinstance(value, User):
        resolved.setdefault("users", {})[str(value.id)] = value.payload()
        if guild is not None and value.id in guild.members:
            member = guild.members[value.id].payload(is_whole=False)
            resolved.setdefault("members", {})[str(value.id)] = member
        return str(value.id)
    if isinstance(value, Channel):
        allowed = option.get("channel_types")
        if allowed and value.type not in allowed:
            raise CannotError(f"the option {option['name']!r} takes channels of the types {allowed}")
        resolved.setdefault("channels", {})[str(value.id)] = partial_channel(value)
        return str(value.id)
    attachment = world.attach(value, channel)
    resolved.setdefault("attachments", {})[str(attachment.id)] = attachment.payload()
    return str(attachment.id)


def partial_channel(channel: Channel, permissions: int = 0) -> JsonObject:
    """The channel as interactions carry it."""
    return channel.payload() | {"permissions": str(permissions)}
