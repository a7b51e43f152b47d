"""Every word of the bot in both languages: none is missing, none is left over, and Discord takes the names."""

from __future__ import annotations

import ast
import asyncio
import importlib
import pkgutil
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import discord
import pytest
import regex
from discord import app_commands

import bot.texts
from bot.commands import add_all
from bot.desk import Desk
from bot.knowledge import Base
from bot.texts import CommandTexts, catalogue, named, text
from nescord.discord_text import units
from nescord.settings import Settings

BOT = Path(__file__).resolve().parents[1] / "bot"
KEYS = sorted(catalogue())
SAID = [key for key in KEYS if not key.startswith("cmd.")]
OF_COMMANDS = [key for key in KEYS if key.startswith("cmd.")]
CALLS = {"text", "speaking", "named", "Refused"}
NAME = regex.compile(r"^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}ー]{1,32}$")
JAPANESE = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Han}]")
# What is the same in both languages.
SAME = regex.compile(r"[\s\d{}_a-z\p{P}\p{S}]*|[A-Z]+")


def placeholders(pattern: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(BOT.rglob("*.py")):
        if path.parent.name != "texts":
            yield str(path.relative_to(BOT)), ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize("key", KEYS)
def test_a_text_says_the_same_in_both_languages(key: str) -> None:
    english, japanese = catalogue()[key]
    assert english.strip() == english != ""
    assert japanese.strip() == japanese != ""
    assert placeholders(english) == placeholders(japanese)
    assert all(name.isidentifier() for name in placeholders(english))
    assert not JAPANESE.search(english)
    assert JAPANESE.search(japanese) or SAME.fullmatch(japanese), "the Japanese text is not in Japanese"


def test_a_key_begins_with_the_area_of_its_module() -> None:
    modules: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(bot.texts.__path__):
        for key in importlib.import_module(f"bot.texts.{module.name}").TEXTS:
            area, dot, _ = key.partition(".")
            assert dot, key
            if area != "cmd":
                modules.setdefault(area, set()).add(module.name)
    assert {area: names for area, names in modules.items() if len(names) > 1} == {}


def test_every_text_is_used_and_every_text_that_is_used_is_there() -> None:
    written = {
        node.value
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(SAID) - written == set(), "nobody says this"
    asked = {
        (name, node.args[0].value, keywords(node))
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) in CALLS and node.args
        if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }
    assert asked
    for where, key, given in asked:
        assert key in catalogue(), f"{where} says {key}, which there is not"
        if given is not None:
            assert given == placeholders(catalogue()[key][0]), f"{where}: {key} is given {sorted(given)}"


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def keywords(node: ast.Call) -> frozenset[str] | None:
    """The names of the values; None if they are not written out."""
    if any(word.arg is None for word in node.keywords):
        return None
    return frozenset(word.arg for word in node.keywords if word.arg)


def test_a_text_takes_its_values() -> None:
    assert text("frame.left_notes", "en", left=3) == "Notes left today: 3"
    assert text("frame.left_notes", "ja", left=3) == "本日保存できる残りのノート：3件"
    assert text("frame.left_notes", "", left=3) == "Notes left today: 3"
    with pytest.raises(KeyError):
        text("frame.nothing", "en")


class Noting(CommandTexts):
    """The translator of the bot, and what it was asked."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.plain: set[str] = set()

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        if key := string.extras.get("key"):
            self.asked.add(key)
        else:
            self.plain.add(string.message)
        return await super().translate(string, locale, context)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Noting]:
    """What Discord is told of the commands."""

    async def told() -> tuple[list[dict[str, Any]], Noting]:
        async with discord.Client(intents=discord.Intents.none()) as client:
            tree = app_commands.CommandTree(client)
            folder = tmp_path_factory.mktemp("texts")
            with Base.open(Settings(data_dir=folder / "kb", embedder="none")) as base:
                desk = Desk(base, client)
                add_all(tree, desk)
                await desk.close()
            noting = Noting()
            commands = tree._get_all_commands()
            return [dict(await command.get_translated_payload(tree, noting)) for command in commands], noting

    return asyncio.run(told())


def parts(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A command, its subcommands, options and their choices."""
    yield payload
    for part in [*payload.get("options", []), *payload.get("choices", [])]:
        yield from parts(part)


def test_every_text_of_a_command_is_used(registered: tuple[list[dict[str, Any]], Noting]) -> None:
    assert registered[1].asked == set(OF_COMMANDS)


def test_every_name_and_description_is_in_both_languages_and_fits(
    registered: tuple[list[dict[str, Any]], Noting],
) -> None:
    for command in registered[0]:
        is_menu = command.get("type", 1) != 1
        for part in parts(command):
            is_choice = "value" in part
            names = [part["name"], *named_in(part, "name", command["name"])]
            if is_choice:
                assert all(1 <= units(name) <= 100 for name in names), names
                continue
            for name in names:
                assert is_menu or NAME.match(name), f"{command['name']}: {name}"
                assert len(name) <= 32
                assert is_menu or name == name.lower()
            if not is_menu:
                for described in [part["description"], *named_in(part, "description", command["name"])]:
                    assert 1 <= units(described) <= 100, f"{command['name']}: {described}"
        assert whole_length(command) <= 8000


def named_in(part: dict[str, Any], what: str, command: str) -> list[str]:
    localized = part.get(f"{what}_localizations") or {}
    assert set(localized) == {"ja", "en-US"}, f"/{command}: the {what} of {part['name']} has {sorted(localized)}"
    assert localized["en-US"] == part[what]
    return list(localized.values())


def whole_length(command: dict[str, Any]) -> int:
    """Discord adds names, descriptions and values up, in the longest of the languages."""
    total = 0
    for part in parts(command):
        for what in ("name", "description"):
            total += max(map(len, [part.get(what) or "", *(part.get(f"{what}_localizations") or {}).values()]))
        total += len(str(part.get("value", "")))
    return total


def test_options_have_names_of_their_own_in_each_language(registered: tuple[list[dict[str, Any]], Noting]) -> None:
    for command in registered[0]:
        for part in parts(command):
            for locale in ("ja", "en-US"):
                names = [option["name_localizations"][locale] for option in part.get("options", [])]
                assert len(names) == len(set(names)), f"/{command['name']}: {names}"


def test_every_command_says_where_it_may_be_used(registered: tuple[list[dict[str, Any]], Noting]) -> None:
    assert registered[0]
    for command in registered[0]:
        assert command.get("contexts") == [0, 1, 2], command["name"]
        assert command.get("integration_types") == [0, 1], command["name"]


def test_other_languages_get_the_english_names() -> None:
    async def translated(locale: discord.Locale) -> str | None:
        context: Any = None
        return await CommandTexts().translate(named("frame.managers_only"), locale, context)

    assert asyncio.run(translated(discord.Locale.japanese)) == text("frame.managers_only", "ja")
    assert asyncio.run(translated(discord.Locale.american_english)) == text("frame.managers_only", "en")
    assert asyncio.run(translated(discord.Locale.french)) is None
