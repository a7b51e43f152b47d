"""What people do in their clients: type commands, use menus, press buttons, fill in forms: an interaction each."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from tests.fakes.discord.commands import (
    MESSAGE_MENU,
    SLASH,
    USER_MENU,
    CannotError,
    Commands,
    Context,
    partial_channel,
    typed,
)
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL, Call, Interactions
from tests.fakes.discord.messages import BUTTON, LINK_STYLE, Message, walk
from tests.fakes.discord.people import ALL, DIRECT, EVERYONE, GROUP, Channel, Guild, User
from tests.fakes.discord.world import World

JsonObject = dict[str, Any]
T = TypeVar("T")

SELECT, TEXT_INPUT, LABEL = 3, 4, 18
ATTACHMENT_SIZE_LIMIT = 10 * 1024 * 1024


class Acting:
    """The acts. All are synchronous, and may be called from any thread but the fake's."""

    world: World
    commands: Commands
    interactions: Interactions
    gateway_side: Gateway

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    def slash(
        self,
        user: User,
        name: str,
        values: Mapping[str, Any] | None = None,
        *,
        guild: Guild | None = None,
        channel: Channel | None = None,
        private: bool = False,
        **more: Any,
    ) -> Call:
        """Type `/name` (subcommands after a blank) with options by their base names.

        In `guild` (its first channel, or `channel`); without one in the DM with the bot, or with `private` in a group
        DM. Raises CannotError for what the client would not let them do. `more`: further options as keywords.
        """
        return self._type(user, name, {**(values or {}), **more}, guild, channel, private)

    def autocomplete(
        self,
        user: User,
        name: str,
        values: Mapping[str, Any] | None = None,
        *,
        focused: str,
        guild: Guild | None = None,
        channel: Channel | None = None,
        private: bool = False,
    ) -> list[JsonObject]:
        """The choices that the bot offers for the option `focused` with what is typed so far."""
        return self._type(user, name, dict(values or {}), guild, channel, private, focused).choices

    def menu(
        self,
        user: User,
        name: str,
        target: Message | User,
        *,
        guild: Guild | None = None,
        channel: Channel | None = None,
        private: bool = False,
    ) -> Call:
        """Use the command `name` of the context menu of a message (where it lies) or of a person."""
        if isinstance(target, Message):
            if target.seen_by not in (None, user):
                raise CannotError(f"{user.name} does not see the message")
            place = target.channel
            kind, resolved = MESSAGE_MENU, {"messages": {str(target.id): target.payload()}}
        else:
            place = self._place(user, guild, channel, private)
            kind, resolved = USER_MENU, {"users": {str(target.id): target.payload()}}
            if place.guild is not None and target.id in place.guild.members:
                member = place.guild.members[target.id].payload(is_whole=False)
                resolved["members"] = {str(target.id): member}
        command = self._offered(kind, name, user, place)
        chosen = {"id": command["id"], "name": command["name"], "type": kind, "target_id": str(target.id)}
        return self._send(COMMAND, name, user, place, {**chosen, "resolved": resolved})

    def click(self, user: User, message: Message, button: str) -> Call:
        """Press the button with that label or custom id. Raises CannotError if it is not there, or disabled."""
        if message.is_deleted or message.seen_by not in (None, user):
            raise CannotError(f"{user.name} does not see the message {message.text[:80]!r}")
        pressed = _component(message, button, {BUTTON})
        if pressed.get("style") == LINK_STYLE:
            raise CannotError(f"{button!r} is a link")
        chosen = {"component_type": BUTTON, "custom_id": pressed["custom_id"]}
        return self._send(COMPONENT, button, user, message.channel, chosen, message=message)

    def select(self, user: User, message: Message, custom_id: str, values: Sequence[str]) -> Call:
        """Choose values (or their labels) in a select menu."""
        menu = _component(message, custom_id, {SELECT})
        known = {each["value"]: each["value"] for each in menu["options"]}
        known |= {each["label"]: each["value"] for each in menu["options"]}
        if unknown := [value for value in values if value not in known]:
            raise CannotError(f"the menu has no {unknown}, but {sorted(known)}")
        chosen = {"component_type": SELECT, "custom_id": menu["custom_id"], "values": [known[each] for each in values]}
        return self._send(COMPONENT, custom_id, user, message.channel, chosen, message=message)

    def submit(self, user: User, opened: Call, values: Mapping[str, str]) -> Call:
        """Fill in the form that `opened` got, by custom id or label, and send it. What is not named stays as it is."""
        modal = opened.modal
        if opened.user != user:
            raise CannotError(f"the form was opened for {opened.user.name}")
        rows, left = [], dict(values)
        for row in modal["components"]:
            if (inside := row.get("component")) is not None:
                rows.append({"type": row["type"], "id": 0, "component": _filled(inside, row.get("label", ""), left)})
            elif "components" in row:
                filled = [_filled(each, each.get("label", ""), left) for each in row["components"]]
                rows.append({"type": row["type"], "id": 0, "components": filled})
            else:
                rows.append({"type": row["type"], "id": 0})
        if left:
            raise CannotError(f"the form has no fields {sorted(left)}: {list(walk(modal['components']))}")
        chosen = {"custom_id": modal["custom_id"], "components": rows}
        return self._send(MODAL, modal["custom_id"], user, opened.channel, chosen, message=opened.clicked)

    # How an interaction is made.

    def _type(
        self,
        user: User,
        name: str,
        values: Mapping[str, Any],
        guild: Guild | None,
        channel: Channel | None,
        private: bool,
        focused: str | None = None,
    ) -> Call:
        place = self._place(user, guild, channel, private)
        first, *words = name.split()
        command = self._offered(SLASH, first, user, place)
        made = typed(command, words, values, world=self.world, channel=place, guild=place.guild, focused=focused)
        chosen: JsonObject = {"id": command["id"], "name": first, "type": SLASH, "options": made.options}
        if made.resolved:
            chosen["resolved"] = made.resolved
        return self._send(COMMAND if focused is None else AUTOCOMPLETE, name, user, place, chosen)

    def _place(self, user: User, guild: Guild | None, channel: Channel | None, private: bool) -> Channel:
        if channel is not None:
            return channel
        if guild is not None:
            return guild.general
        return self.world.group(user) if private else self.world.direct(user)

    def _offered(self, kind: int, name: str, user: User, place: Channel) -> JsonObject:
        return self.commands.offered(kind, name, _context(place), _owners(user, place), _permissions(user, place))

    def _send(
        self, kind: int, name: str, user: User, place: Channel, chosen: JsonObject, message: Message | None = None
    ) -> Call:
        call = Call(self.world.snowflake(), kind, name, user, place.guild, place, {}, self.world, clicked=message)
        call.payload = self._payload(call, chosen)
        gateway = self.gateway_side
        self.world.changes.wait(
            lambda: gateway.current is not None and gateway.current.is_valid, 10, "the bot to be connected"
        )
        self._do(self._deliver(call))
        return call

    async def _deliver(self, call: Call) -> None:
        self.interactions.add(call)
        await self.gateway_side.dispatch("INTERACTION_CREATE", call.payload)

    def _payload(self, call: Call, chosen: JsonObject) -> JsonObject:
        place, user, guild = call.channel, call.user, call.guild
        payload: JsonObject = {
            "id": str(call.id),
            "application_id": str(self.world.bot.id),
            "type": call.kind,
            "token": call.token,
            "version": 1,
            "data": chosen,
            "channel_id": str(place.id),
            "channel": partial_channel(place, _permissions(user, place)),
            "locale": user.locale,
            "app_permissions": str(EVERYONE if guild is None or guild.has_bot else 1 << 11),
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": _owners(user, place),
            "context": {"guild": 0, "dm": 1, "private": 2}[_context(place)],
            "attachment_size_limit": ATTACHMENT_SIZE_LIMIT,
        }
        if guild is None:
            payload["user"] = user.payload()
        else:
            payload["guild_id"] = str(guild.id)
            payload["guild"] = {"id": str(guild.id), "locale": guild.locale, "features": []}
            payload["guild_locale"] = guild.locale
            payload["member"] = _member(user, guild)
        if call.clicked is not None:
            payload["message"] = call.clicked.payload()
        return payload


def _context(place: Channel) -> Context:
    if place.guild is not None:
        return "guild"
    return "dm" if place.type == DIRECT else "private"


def _owners(user: User, place: Channel) -> dict[str, str]:
    """By whose install the app is here: "0" the guild's ("0" in the bot's DM), "1" the person's."""
    owners = {"1": str(user.id)} if user.has_installed else {}
    if place.guild is not None and place.guild.has_bot:
        owners["0"] = str(place.guild.id)
    elif place.type == DIRECT:
        owners["0"] = "0"
    return owners


def _permissions(user: User, place: Channel) -> int:
    if place.guild is None:
        return ALL if place.type in (DIRECT, GROUP) else 0
    if user.id not in place.guild.members:
        raise CannotError(f"{user.name} is not in {place.guild.name}")
    permissions = place.guild.members[user.id].permissions
    return ALL if permissions & 1 << 3 else permissions


def _member(user: User, guild: Guild) -> JsonObject:
    return guild.members[user.id].payload() | {"permissions": str(_permissions(user, guild.general))}


def _component(message: Message, name: str, kinds: set[int]) -> JsonObject:
    found = [each for each in walk(message.components) if each["type"] in kinds]
    for each in found:
        if name in (each.get("custom_id"), each.get("label")):
            if each.get("disabled"):
                raise CannotError(f"{name!r} is disabled")
            return each
    there = [each.get("label") or each.get("custom_id") for each in found]
    raise CannotError(f"the message has no {name!r}, but {there}: {message.text[:200]!r}")


def _filled(component: JsonObject, label: str, values: dict[str, str]) -> JsonObject:
    """One field as it is sent; takes its value out of `values`."""
    custom_id = component["custom_id"]
    if component["type"] != TEXT_INPUT:
        chosen = values.pop(custom_id, values.pop(label, None))
        return {"type": component["type"], "id": 0, "custom_id": custom_id, "values": [chosen] if chosen else []}
    value = component.get("value") or ""
    for name in (custom_id, label):
        if name in values:
            value = values.pop(name)
    least, most = component.get("min_length") or 0, component.get("max_length") or 4000
    if (component.get("required", True) and not value.strip()) or (value and not least <= len(value) <= most):
        raise CannotError(f"the field {label or custom_id!r} takes {least} to {most} characters, not {len(value)}")
    return {"type": TEXT_INPUT, "id": 0, "custom_id": custom_id, "value": value}
