"""The commands: one module per area, each of which registers thin callbacks and the functions that answer them."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import discord

    from bot.desk import Desk


def add_all(tree: discord.app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register every command with the tree."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        importlib.import_module(f"{__name__}.{found.name}").add_to(tree, desk)
