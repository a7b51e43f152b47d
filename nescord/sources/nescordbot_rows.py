"""What the values in the database of the bot that came before mean: it has had several ways to write each. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime, tzinfo

from nescord.decoding import DecodeError, decode
from nescord.sources.entries import UnreadableError
from nescord.times import utc_text

# What a link in a text calls a note, up to an anchor or another text.
_WIKI = re.compile(r"\[\[([^\[\]|#\n]+)")
_NOT_IN_A_LINK = re.compile(r"[\[\]|#^\\/\x00-\x1f]")
_SNOWFLAKE = re.compile(r"[0-9]{1,20}")
_QUOTES = " \t\r\n[](){}\"'`「」"
_YEAR_3000 = 32_503_680_000


def text_of(value: object) -> str:
    """A column of text, whatever it holds. UnreadableError where it is no text."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            try:
                return decode(value).text
            except DecodeError as error:
                raise UnreadableError(f"it holds what is no text: {error}") from None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def id_of(value: object) -> str:
    """An id of Discord, kept as text or as a number; "" where it is none."""
    try:
        text = text_of(value).strip()
    except UnreadableError:
        return ""
    return text if _SNOWFLAKE.fullmatch(text) and int(text) else ""


def tags_of(value: object) -> tuple[str, ...]:
    """Tags as a JSON list; a list that is broken, or was never JSON, is taken by its commas."""
    text = text_of(value).strip()
    if not text:
        return ()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = re.split("[,、，\n]", text)
    if isinstance(found, str):
        found = re.split("[,、，\n]", found)
    if not isinstance(found, list):
        found = list(found) if isinstance(found, dict) else [found]
    tags = (
        str(tag).strip(_QUOTES) for tag in found if isinstance(tag, str | int | float) and not isinstance(tag, bool)
    )
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def moment_of(value: object, zone: tzinfo) -> str:
    """A moment as UTC text, "" where it is none. With a `T` and no offset it is the clock of the machine that the bot
    ran on, `zone`; with a blank it is SQLite's own, UTC."""
    try:
        if isinstance(value, int | float):
            seconds = value / 1000 if abs(value) > _YEAR_3000 else value
            return utc_text(datetime.fromtimestamp(seconds, UTC))
        text = text_of(value).strip()
        moment = datetime.fromisoformat(text)
        return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=zone if "T" in text.upper() else UTC))
    except (ValueError, OverflowError, OSError, UnreadableError):
        return ""


def names_in(text: str) -> set[str]:
    """What the links of a text call notes, as `folded`."""
    return {folded(name) for name in _WIKI.findall(text)}


def folded(title: str) -> str:
    """The form in which links and titles are compared."""
    return unicodedata.normalize("NFC", " ".join(title.split())).casefold()


def is_name(title: str) -> bool:
    """Whether a link may call a note by its title as it is."""
    return bool(title.strip()) and not _NOT_IN_A_LINK.search(title) and not title.lower().endswith((".md", ".markdown"))


def shown(title: str) -> str:
    """A title as the text of a link."""
    return " ".join(re.sub(r"[\[\]|\x00-\x1f]", " ", title).split())[:200]
