"""`/settings`: language, time zone, default tags and default visibility, of a person or, by a manager, of a server."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.commands.digesting import zone_choices
from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.registry import handles
from bot.render import Field, Reply, escape
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.errors import UsageError
from nescord.preferences import Preference

# What takes a choice back: Discord has no empty text.
_NONE = "-"


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/settings`."""

    @tree.command(name=named("cmd.settings.name"), description=named("cmd.settings.description"))
    @everywhere
    @options("settings", "language", "zone", "tags", "visibility", "whose")
    @app_commands.choices(
        language=[
            app_commands.Choice(name=named("cmd.settings.language.ja"), value="ja"),
            app_commands.Choice(name=named("cmd.settings.language.en"), value="en"),
            app_commands.Choice(name=named("cmd.settings.language.none"), value=_NONE),
        ],
        visibility=[
            app_commands.Choice(name=named("cmd.settings.visibility.me"), value="me"),
            app_commands.Choice(name=named("cmd.settings.visibility.server"), value="server"),
            app_commands.Choice(name=named("cmd.settings.visibility.none"), value=_NONE),
        ],
        whose=[
            app_commands.Choice(name=named("cmd.settings.whose.me"), value="me"),
            app_commands.Choice(name=named("cmd.settings.whose.server"), value="server"),
        ],
    )
    async def settings(
        interaction: discord.Interaction,
        language: str | None = None,
        zone: app_commands.Range[str, 1, 60] | None = None,
        tags: app_commands.Range[str, 1, 500] | None = None,
        visibility: str | None = None,
        whose: str = "me",
    ) -> None:
        chosen = {"language": language, "zone": zone, "tags": tags, "visibility": visibility, "whose": whose}
        await desk.accept(interaction, "settings", chosen)

    @settings.autocomplete("zone")
    async def zones(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: zone_choices(typed))


@handles("settings")
async def settings(visit: Visit) -> Reply:
    """Change what is given, and show all."""
    is_of_server = visit.request.string("whose") == "server"
    if is_of_server and not visit.guild_space:
        raise Refused("settings.no_guild")
    if is_of_server and not visit.is_manager:
        raise Refused("frame.managers_only")
    who = visit.guild_space if is_of_server else visit.who
    names = {"language": "language", "zone": "timezone", "tags": "tags", "visibility": "visibility"}
    chosen = {
        field: "" if (value := visit.request.string(option)) == _NONE else value
        for option, field in names.items()
        if option in visit.request.options
    }
    try:
        found = await visit.call(visit.base.preferences.set, who, **chosen)
    except UsageError:
        raise Refused("settings.refused") from None
    if "language" in chosen and not is_of_server:
        # The answer is the first thing to be said in it.
        visit.language = found.language or visit.request.language or visit.language
    title = visit.text("settings.of_server" if is_of_server else "settings.of_you")
    body = visit.text("settings.changed") if chosen else visit.text("settings.as_is")
    return Reply(title=title, body=body, fields=_fields(visit, found))


def _fields(visit: Visit, found: Preference) -> list[Field]:
    languages = {"ja": "settings.ja", "en": "settings.en", "": "settings.by_discord"}
    visibilities = {"me": "settings.me", "server": "settings.server", "": "settings.me_by_default"}
    zone = escape(found.timezone) or visit.text("settings.zone_default", zone=escape(visit.base.settings.timezone))
    tags = " ".join(f"#{escape(tag)}" for tag in found.tags) or visit.text("settings.no_tags")
    return [
        Field(visit.text("settings.language"), visit.text(languages[found.language]), is_inline=True),
        Field(visit.text("settings.zone"), zone, is_inline=True),
        Field(visit.text("settings.visibility"), visit.text(visibilities[found.visibility]), is_inline=True),
        Field(visit.text("settings.tags"), tags),
    ]
