"""Limits that Discord holds messages, modals and choices to, by hand: its description leaves many of them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.fakes.discord.messages import BUTTON, COMPONENTS_V2, LINK_STYLE, walk
from tests.fakes.discord.refusals import Violation

JsonObject = dict[str, Any]
Path = tuple[str | int, ...]

CONTENT, EMBEDS, EMBED_SUM, COMPONENTS = 2000, 10, 6000, 40
ACTION_ROW, TEXT_INPUT, LABEL, TEXT = 1, 4, 18, 10
SELECTS = {3, 5, 6, 7, 8}
_EMBED = (("title", 256), ("description", 4096))


def length(text: str) -> int:
    """Discord counts code points, as Python does, after it has stripped both ends."""
    return len(text.strip())


def of_message(body: JsonObject, path: Path = (), *, is_new: bool = True, has_files: bool = False) -> list[Violation]:
    """What is wrong with a message to be sent or an edit of one."""
    found = list(_too_long(body.get("content"), (*path, "content"), CONTENT, least=0))
    embeds, components = body.get("embeds") or [], body.get("components") or []
    found += _of_embeds(embeds, (*path, "embeds"))
    found += _of_components(components, (*path, "components"), is_v2=bool((body.get("flags") or 0) & COMPONENTS_V2))
    if (body.get("flags") or 0) & COMPONENTS_V2 and (body.get("content") or embeds):
        found.append(Violation((*path, "flags"), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", "no content"))
    said = any((body.get("content") or "").strip() for _ in "1") or embeds or components or body.get("poll")
    if is_new and not said and not has_files and not body.get("sticker_ids"):
        found.append(Violation(path, "MESSAGE_EMPTY", "Cannot send an empty message"))
    nonce = body.get("nonce")
    if nonce is not None and len(str(nonce)) > 25:
        found.append(Violation((*path, "nonce"), "NONCE_TOO_LONG", "Must be 25 or fewer in length."))
    if len(body.get("attachments") or []) > 10:
        found.append(_many((*path, "attachments"), 10))
    return found


def of_callback(body: JsonObject, *, has_files: bool) -> list[Violation]:
    """What is wrong with the answer to an interaction."""
    kind, written = body.get("type"), body.get("data") or {}
    if kind in (4, 7):
        return of_message(written, ("data",), is_new=kind == 4, has_files=has_files)
    if kind == 8:
        return list(_of_choices(written.get("choices") or [], ("data", "choices")))
    if kind == 9:
        return list(_of_modal(written, ("data",)))
    return []


def _too_long(text: Any, path: Path, most: int, *, least: int = 1) -> Iterator[Violation]:
    if text is None:
        return
    if not isinstance(text, str):
        yield Violation(path, "BASE_TYPE_BAD_TYPE", "Must be a string.")
    elif least and not text.strip():
        yield Violation(path, "BASE_TYPE_REQUIRED", "This field is required")
    elif length(text) > most:
        yield Violation(path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")


def _many(path: Path, most: int) -> Violation:
    return Violation(path, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {most} in length.")


def _of_embeds(embeds: Sequence[JsonObject], path: Path) -> list[Violation]:
    found: list[Violation] = []
    if len(embeds) > EMBEDS:
        found.append(_many(path, EMBEDS))
    total = 0
    for number, embed in enumerate(embeds):
        here = (*path, number)
        parts: list[tuple[Path, Any, int]] = [((name,), embed.get(name), most) for name, most in _EMBED]
        parts += [(("footer", "text"), (embed.get("footer") or {}).get("text"), 2048)]
        parts += [(("author", "name"), (embed.get("author") or {}).get("name"), 256)]
        rows = embed.get("fields") or []
        if len(rows) > 25:
            found.append(_many((*here, "fields"), 25))
        for place, row in enumerate(rows):
            for name, most in (("name", 256), ("value", 1024)):
                if not row.get(name):
                    found.append(Violation((*here, "fields", place, name), "BASE_TYPE_REQUIRED", "is required"))
                parts.append((("fields", place, name), row.get(name), most))
        for where, text, most in parts:
            found += _too_long(text, (*here, *where), most, least=0)
            total += length(text) if isinstance(text, str) else 0
        if not any(embed.get(name) for name in ("title", "description", "fields", "image", "thumbnail", "author")) and (
            not embed.get("footer")
        ):
            found.append(Violation(here, "MESSAGE_EMBED_EMPTY", "an embed says nothing"))
    if total > EMBED_SUM:
        found.append(Violation(path, "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_SUM}"))
    return found


def _of_components(components: Sequence[JsonObject], path: Path, *, is_v2: bool) -> Iterator[Violation]:
    if not is_v2:
        if len(components) > 5:
            yield _many(path, 5)
        for number, row in enumerate(components):
            if row.get("type") != ACTION_ROW:
                yield Violation((*path, number, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1}.")
    everything = list(walk(components))
    if len(everything) > COMPONENTS:
        yield _many(path, COMPONENTS)
    seen: set[str] = set()
    for number, each in enumerate(everything):
        kind = each.get("type")
        if kind == ACTION_ROW:
            inside = each.get("components") or []
            buttons = sum(1 for one in inside if one.get("type") == BUTTON)
            if not 1 <= len(inside) <= 5 or (buttons != len(inside) and len(inside) > 1):
                yield Violation((*path, number, "components"), "BASE_TYPE_BAD_LENGTH", "5 buttons or one select a row")
        if kind == BUTTON:
            yield from _of_button(each, (*path, number))
        if kind in SELECTS:
            yield from _of_select(each, (*path, number))
        if kind == TEXT:
            yield from _too_long(each.get("content"), (*path, number, "content"), 4000)
        custom_id = each.get("custom_id")
        if custom_id is not None:
            if custom_id in seen:
                yield Violation((*path, number), "COMPONENT_CUSTOM_ID_DUPLICATED", f"custom id {custom_id!r} twice")
            seen.add(custom_id)


def _of_button(button: JsonObject, path: Path) -> Iterator[Violation]:
    yield from _too_long(button.get("label"), (*path, "label"), 80)
    yield from _too_long(button.get("custom_id"), (*path, "custom_id"), 100)
    if button.get("style") == LINK_STYLE:
        url = str(button.get("url") or "")
        if not url.startswith(("http://", "https://", "discord://")) or len(url) > 512:
            yield Violation((*path, "url"), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
        if button.get("custom_id"):
            yield Violation((*path, "custom_id"), "BUTTON_COMPONENT_INVALID", "a link has no custom id")
    elif not button.get("custom_id") or button.get("url"):
        yield Violation((*path, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED", "A custom id is required")
    if not button.get("label") and not button.get("emoji"):
        yield Violation((*path, "label"), "BUTTON_COMPONENT_INVALID", "a label or an emoji is required")


def _of_select(select: JsonObject, path: Path) -> Iterator[Violation]:
    yield from _too_long(select.get("custom_id") or "", (*path, "custom_id"), 100)
    yield from _too_long(select.get("placeholder"), (*path, "placeholder"), 150, least=0)
    if select.get("type") != 3:
        return
    options = select.get("options") or []
    if not 1 <= len(options) <= 25:
        yield _many((*path, "options"), 25)
    for number, option in enumerate(options):
        for name in ("label", "value", "description"):
            yield from _too_long(option.get(name), (*path, "options", number, name), 100)


def _of_choices(choices: Sequence[JsonObject], path: Path) -> Iterator[Violation]:
    if len(choices) > 25:
        yield _many(path, 25)
    for number, choice in enumerate(choices):
        yield from _too_long(choice.get("name") or "", (*path, number, "name"), 100)
        if isinstance(choice.get("value"), str):
            yield from _too_long(choice["value"], (*path, number, "value"), 100)
        for locale, name in (choice.get("name_localizations") or {}).items():
            yield from _too_long(name, (*path, number, "name_localizations", locale), 100)


def _of_modal(modal: JsonObject, path: Path) -> Iterator[Violation]:
    yield from _too_long(modal.get("title") or "", (*path, "title"), 45)
    yield from _too_long(modal.get("custom_id") or "", (*path, "custom_id"), 100)
    rows = modal.get("components") or []
    if not 1 <= len(rows) <= 5:
        yield _many((*path, "components"), 5)
    for number, row in enumerate(rows):
        here = (*path, "components", number)
        if row.get("type") not in (ACTION_ROW, LABEL, TEXT):
            yield Violation((*here, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1, 10, 18}.")
        if row.get("type") == LABEL:
            yield from _too_long(row.get("label") or "", (*here, "label"), 45)
            yield from _too_long(row.get("description"), (*here, "description"), 100, least=0)
    inputs = [each for each in walk(rows) if each.get("type") == TEXT_INPUT]
    for number, each in enumerate(inputs):
        here = (*path, "components", number)
        yield from _too_long(each.get("custom_id") or "", (*here, "custom_id"), 100)
        yield from _too_long(each.get("label"), (*here, "label"), 45)
        yield from _too_long(each.get("placeholder"), (*here, "placeholder"), 100, least=0)
        most = each.get("max_length") or 4000
        yield from _too_long(each.get("value"), (*here, "value"), min(most, 4000), least=0)
        if not 0 <= (each.get("min_length") or 0) <= most <= 4000:
            yield Violation((*here, "max_length"), "NUMBER_TYPE_MAX", "min_length ≤ max_length ≤ 4000")
    names = [each["custom_id"] for each in walk(rows) if each.get("custom_id")]
    if len(set(names)) < len(names):
        yield Violation((*path, "components"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be twice")
