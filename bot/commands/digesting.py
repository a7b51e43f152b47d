"""`/digest`: a daily message about what is new and what is due, to oneself or, by a manager, to a channel."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.registry import handles
from bot.render import Choice, Reply, escape
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.digests import Digest
from nescord.errors import UsageError

_HOUR = 7
_MOST_CHOICES = 25


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/digest`."""

    @tree.command(name=named("cmd.digest.name"), description=named("cmd.digest.description"))
    @everywhere
    @options("digest", "switch", "hour", "zone", "where")
    @app_commands.choices(
        switch=[
            app_commands.Choice(name=named("cmd.digest.switch.on"), value="on"),
            app_commands.Choice(name=named("cmd.digest.switch.off"), value="off"),
            app_commands.Choice(name=named("cmd.digest.switch.show"), value="show"),
        ],
        where=[
            app_commands.Choice(name=named("cmd.digest.where.me"), value="me"),
            app_commands.Choice(name=named("cmd.digest.where.channel"), value="channel"),
        ],
    )
    async def digest(
        interaction: discord.Interaction,
        switch: str,
        hour: app_commands.Range[int, 0, 23] | None = None,
        zone: app_commands.Range[str, 1, 60] | None = None,
        where: str = "me",
    ) -> None:
        await desk.accept(interaction, "digest", {"switch": switch, "hour": hour, "zone": zone, "where": where})

    @digest.autocomplete("zone")
    async def zones(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: zone_choices(typed))


def zone_choices(typed: str) -> list[Choice]:
    """Time zones whose name holds what was typed, those of cities that begin with it first. Blocks the first time."""
    wanted = typed.strip().casefold().replace(" ", "_")
    found = [zone for zone in _zones() if wanted in zone.casefold()]
    found.sort(key=lambda zone: not zone.rpartition("/")[2].casefold().startswith(wanted))
    return [Choice(zone, zone) for zone in found[:_MOST_CHOICES]]


@handles("digest")
async def digest(visit: Visit) -> Reply:
    """Switch it on or off, or tell how it is set."""
    is_for_channel = visit.request.string("where") == "channel"
    if is_for_channel and not visit.guild_space:
        raise Refused("digest.no_guild")
    if is_for_channel and not visit.is_manager:
        raise Refused("frame.managers_only")
    target = f"channel:{visit.request.channel}" if is_for_channel else visit.who
    digests = visit.base.digests
    switch = visit.request.string("switch")
    if switch == "off":
        was_on = await visit.call(digests.unsubscribe, target)
        return Reply(body=visit.text("digest.off" if was_on else "digest.was_off"))
    known = await visit.call(digests.find, target)
    if switch == "show":
        return _shown(visit, known)
    return _shown(visit, await _switched_on(visit, target, known))


async def _switched_on(visit: Visit, target: str, known: Digest | None) -> Digest:
    """What is not named stays as it was; else it is what the person prefers."""
    zone = visit.request.string("zone").strip()
    if not zone:
        zone = known.timezone if known else await _preferred_zone(visit)
    hour = visit.request.number("hour", known.hour if known else _HOUR)
    try:
        return await visit.call(
            visit.base.digests.subscribe,
            target,
            guild=visit.guild_space if target.startswith("channel:") else "",
            who=visit.who,
            language=visit.language or "en",
            hour=hour,
            timezone=zone,
        )
    except UsageError:
        raise Refused("digest.no_zone", zone=escape(zone, 60)) from None


async def _preferred_zone(visit: Visit) -> str:
    """That of the person, else of the server, else of the settings."""
    for who in filter(None, (visit.who, visit.guild_space)):
        if zone := (await visit.call(visit.base.preferences.get, who)).timezone:
            return zone
    return visit.base.settings.timezone


def _shown(visit: Visit, found: Digest | None) -> Reply:
    if found is None:
        return Reply(body=visit.text("digest.is_off"))
    moment = visit.base.digests.next_at(found, datetime.now(UTC))
    where = visit.text("digest.here" if found.target.startswith("channel:") else "digest.to_you")
    notices = [visit.text("digest.failed")] if found.state == "failed" else []
    return Reply(
        body=visit.text(
            "digest.on",
            where=where,
            hour=f"{found.hour:02}:00",
            zone=escape(found.timezone),
            when=f"<t:{int(moment.timestamp())}:R>",
        ),
        notices=notices,
    )


@cache
def _zones() -> tuple[str, ...]:
    """Those named after a place, which keep their summer time, before UTC and the like."""
    places = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))
    return (*places, "UTC")
