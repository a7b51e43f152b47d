"""Limits on the commands that an app registers, checked by hand: names, locales, sums, and the order of options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import regex

from tests.fakes.discord.checks import Path
from tests.fakes.discord.refusals import Violation

JsonObject = dict[str, Any]

LOCALES = frozenset(
    (
        *(
            "id",
            "da",
            "de",
            "en-GB",
            "en-US",
            "es-ES",
            "es-419",
            "fr",
            "hr",
            "it",
            "lt",
            "hu",
            "nl",
            "no",
            "pl",
            "pt-BR",
        ),
        *("ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW", "ko"),
    )
)
SLASH, SUBCOMMAND, SUBCOMMAND_GROUP = 1, 1, 2
MOST = {1: 100, 2: 5, 3: 5}
LARGEST_COMMAND = 8000
_NAME = regex.compile(r"[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}")


def of_commands(commands: Sequence[JsonObject]) -> list[Violation]:
    """What is wrong with a bulk overwrite."""
    found: list[Violation] = []
    for kind, most in MOST.items():
        names = [command.get("name") for command in commands if (command.get("type") or SLASH) == kind]
        if len(names) > most:
            message = f"Maximum number of application commands of type {kind} reached ({most})."
            found.append(Violation((), "APPLICATION_COMMANDS_TOO_MANY", message))
        if len(set(names)) < len(names):
            message = "Application command names must be unique"
            found.append(Violation((), "APPLICATION_COMMANDS_DUPLICATE_NAME", message))
    for number, command in enumerate(commands):
        found += of_command(command, (number,))
    return found


def of_command(command: JsonObject, path: Path = ()) -> list[Violation]:
    kind = command.get("type") or SLASH
    found = list(_names(command, path, is_slash=kind == SLASH))
    if kind == SLASH:
        found += _descriptions(command, path)
        found += _options(command.get("options") or [], (*path, "options"), depth=0)
    elif command.get("description") or command.get("options"):
        message = "Context menu commands cannot have description or options"
        found.append(Violation((*path, "description"), "APPLICATION_COMMAND_INVALID", message))
    size = _size(command)
    if size > LARGEST_COMMAND:
        message = f"Command exceeds maximum size ({LARGEST_COMMAND}): {size}"
        found.append(Violation(path, "APPLICATION_COMMAND_TOO_LARGE", message))
    return found


def _names(thing: JsonObject, path: Path, *, is_slash: bool) -> Iterator[Violation]:
    names = {(*path, "name"): thing.get("name")}
    for locale, name in (thing.get("name_localizations") or {}).items():
        here = (*path, "name_localizations", locale)
        if locale not in LOCALES:
            yield Violation(here, "BASE_TYPE_CHOICES", f"unknown locale {locale!r}")
        names[here] = name
    for where, name in names.items():
        if not isinstance(name, str) or not 1 <= len(name) <= 32:
            yield Violation(where, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 32 in length.")
        elif is_slash and (not _NAME.fullmatch(name) or name != name.lower()):
            yield Violation(where, "APPLICATION_COMMAND_INVALID_NAME", f"Command name is invalid: {name!r}")


def _descriptions(thing: JsonObject, path: Path) -> Iterator[Violation]:
    texts = {(*path, "description"): thing.get("description")}
    for locale, text in (thing.get("description_localizations") or {}).items():
        here = (*path, "description_localizations", locale)
        if locale not in LOCALES:
            yield Violation(here, "BASE_TYPE_CHOICES", f"unknown locale {locale!r}")
        texts[here] = text
    for where, text in texts.items():
        if not isinstance(text, str) or not 1 <= len(text) <= 100:
            yield Violation(where, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")


def _options(options: Sequence[JsonObject], path: Path, *, depth: int) -> Iterator[Violation]:
    if len(options) > 25:
        yield Violation(path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 25 in length.")
    names = [option.get("name") for option in options]
    if len(set(names)) < len(names):
        yield Violation(path, "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE", "Option names must be unique")
    optional = False
    for number, option in enumerate(options):
        here = (*path, number)
        yield from _names(option, here, is_slash=True)
        yield from _descriptions(option, here)
        if option.get("type") in (SUBCOMMAND, SUBCOMMAND_GROUP):
            if depth > 1 or (depth == 1 and option["type"] == SUBCOMMAND_GROUP):
                yield Violation((*here, "type"), "BASE_TYPE_CHOICES", "too deep")
            yield from _options(option.get("options") or [], (*here, "options"), depth=depth + 1)
            continue
        if option.get("required") and optional:
            message = "Required options must be placed before non-required options"
            yield Violation(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional = optional or not option.get("required")
        choices = option.get("choices") or []
        if choices and option.get("autocomplete"):
            yield Violation((*here, "autocomplete"), "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_CHOICES", "not both")
        if len(choices) > 25:
            yield Violation((*here, "choices"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 25 in length.")
        yield from _choices(choices, (*here, "choices"))


def _choices(choices: Sequence[JsonObject], path: Path) -> Iterator[Violation]:
    for number, choice in enumerate(choices):
        names = {(*path, number, "name"): choice.get("name")}
        for locale, name in (choice.get("name_localizations") or {}).items():
            here = (*path, number, "name_localizations", locale)
            if locale not in LOCALES:
                yield Violation(here, "BASE_TYPE_CHOICES", f"unknown locale {locale!r}")
            names[here] = name
        if isinstance(choice.get("value"), str):
            names[*path, number, "value"] = choice["value"]
        for where, text in names.items():
            if not isinstance(text, str) or not 1 <= len(text) <= 100:
                yield Violation(where, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")


def _size(thing: JsonObject) -> int:
    """Names, descriptions and values together, each in its longest language."""
    size = 0
    for key in ("name", "description"):
        texts = [thing.get(key) or "", *(thing.get(f"{key}_localizations") or {}).values()]
        size += max(len(text) for text in texts if isinstance(text, str))
    size += sum(_size(each) for each in thing.get("options") or ())
    for choice in thing.get("choices") or ():
        size += len(str(choice.get("value", ""))) + max(
            map(len, [choice.get("name") or "", *(choice.get("name_localizations") or {}).values()])
        )
    return size
