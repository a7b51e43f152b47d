"""Every word that the bot says, in English and Japanese, joined from the modules of this package.

Each module has `TEXTS: dict[str, tuple[str, str]]`: a key that begins with its area, and the text in English and in
Japanese, with the same `{placeholders}`. What Discord shows of commands has the keys `cmd.<command>…`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

import discord
from discord import app_commands

LANGUAGES = ("en", "ja")


@cache
def catalogue() -> dict[str, tuple[str, str]]:
    """All texts. ValueError where two modules have the same key."""
    joined: dict[str, tuple[str, str]] = {}
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        texts: dict[str, tuple[str, str]] = importlib.import_module(f"{__name__}.{found.name}").TEXTS
        if twice := sorted(joined.keys() & texts.keys()):
            raise ValueError(f"bot/texts/{found.name}.py has texts that another module has, too: {', '.join(twice)}")
        joined |= texts
    return joined


def text(key: str, language: str, **values: object) -> str:
    """The text of that key: Japanese for "ja", English for anything else. KeyError if there is none."""
    pair = catalogue()[key]
    return pair[1 if language == "ja" else 0].format(**values)


def named(key: str, **values: object) -> app_commands.locale_str:
    """A name or description of a command, for discord.py to have translated."""
    return app_commands.locale_str(text(key, "en", **values), key=key, values=values)


class CommandTexts(app_commands.Translator):
    """Gives discord.py the names and descriptions of commands in both languages."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        key: Any = string.extras.get("key")
        if key is None or locale not in (discord.Locale.japanese, discord.Locale.american_english):
            return None
        return text(key, "ja" if locale is discord.Locale.japanese else "en", **string.extras["values"])
