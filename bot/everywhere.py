"""What all commands have in common where they are declared: where they may be used, and texts for their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from discord import app_commands

from bot.texts import named

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def everywhere(command: T) -> T:
    """Decorator: for guilds and people who installed it; in guilds, with the bot, and among people outside of guilds.

    For commands, groups and message menus; below `@tree.command(…)`.
    """
    command = app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)(command)
    return app_commands.allowed_installs(guilds=True, users=True)(command)


def options(command: str, *names: str) -> Callable[[F], F]:
    """Decorator: names and descriptions of options from the texts `cmd.<command>.<option>.name` and `….description`."""

    def decorate(function: F) -> F:
        renamed = {name: named(f"cmd.{command}.{name}.name") for name in names}
        described = {name: named(f"cmd.{command}.{name}.description") for name in names}
        function = app_commands.rename(**renamed)(function)
        return app_commands.describe(**described)(function)

    return decorate
