"""What a person or a guild prefers: language, time zone, tags and visibility of the notes they keep.

What nobody has chosen is "" (no tags: an empty tuple), and whoever asks decides what holds then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast
from zoneinfo import ZoneInfo

from nescord.catalog import people as people_sql
from nescord.errors import UsageError
from nescord.frontmatter import MAX_TAG, fold_tag
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.settings import Settings

Language = Literal["ja", "en", ""]
Visibility = Literal["me", "server", ""]

MOST_TAGS = 20
_WHO = re.compile(r"(user|guild):[0-9]{1,20}")
_CHOICES = {"language": ("ja", "en"), "visibility": ("me", "server")}


@dataclass(frozen=True, slots=True)
class Preference:
    """What somebody has chosen. `timezone` is a key such as `Asia/Tokyo`, `tags` are folded as those of notes are."""

    language: Language = ""
    timezone: str = ""
    tags: tuple[str, ...] = ()
    visibility: Visibility = ""


class Preferences:
    """The preferences of all people and guilds. `verb` lends the catalog for one transaction."""

    def __init__(self, verb: Callable[[], AbstractContextManager[Catalog]], settings: Settings) -> None:
        self._verb = verb
        self._timezone = settings.timezone

    def get(self, who: str) -> Preference:
        """What `who` (`user:42`, `guild:7`) has chosen."""
        with self._verb() as catalog, catalog.read() as connection:
            return _preference(people_sql.preferences(connection, who))

    def set(
        self,
        who: str,
        *,
        language: str | None = None,
        timezone: str | None = None,
        tags: str | Iterable[str] | None = None,
        visibility: str | None = None,
    ) -> Preference:
        """Change what is given, leave the rest; "" (or no tags) takes a choice back. What has been chosen then.

        `tags` may be one text with commas, or else blanks, between them.

        Raises:
            UsageError: a language, zone, tag or visibility that there is not, or too many tags; nothing is changed.
        """
        if not _WHO.fullmatch(who):
            raise UsageError(f'"{who}" has no preferences: they are those of user:<id> or guild:<id>')
        chosen = {}
        for name, value in (("language", language), ("visibility", visibility)):
            if value is not None:
                chosen[name] = _one_of(name, value)
        if timezone is not None:
            chosen["timezone"] = _time_zone(timezone)
        if tags is not None:
            folded = _tags(tags)
            chosen["tags"] = json.dumps(folded, ensure_ascii=False) if folded else ""
        if not chosen:
            return self.get(who)
        with self._verb() as catalog, catalog.write() as connection:
            people_sql.prefer(connection, who, chosen, utc_text(datetime.now(UTC)))
            return _preference(people_sql.preferences(connection, who))

    def zone(self, who: str) -> ZoneInfo:
        """The time zone of `who`: the chosen one, or that of the settings."""
        return ZoneInfo(self.get(who).timezone or self._timezone)


def _preference(stored: dict[str, str]) -> Preference:
    # What an older or newer version has stored, or a zone that its country has given up, must not be in the way.
    def known(name: str) -> str:
        value = stored.get(name, "")
        return value if value in _CHOICES[name] else ""

    timezone = stored.get("timezone", "")
    return Preference(
        language=cast("Language", known("language")),
        timezone=timezone if timezone and _is_time_zone(timezone) else "",
        tags=tuple(json.loads(stored["tags"])) if "tags" in stored else (),
        visibility=cast("Visibility", known("visibility")),
    )


def _one_of(name: str, value: str) -> str:
    if value and value not in _CHOICES[name]:
        raise UsageError(
            f'{name} "{value}" is not known: it is {" or ".join(_CHOICES[name])}, or empty to leave it open'
        )
    return value


def _time_zone(given: str) -> str:
    key = given.strip()
    if key and not _is_time_zone(key):
        raise UsageError(f'time zone "{key[:100]}" is not known: name one such as Asia/Tokyo, Europe/Berlin or UTC')
    return key


def _is_time_zone(key: str) -> bool:
    try:
        ZoneInfo(key)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder such as "Asia"
        return False
    return True


def _tags(given: str | Iterable[str]) -> list[str]:
    if isinstance(given, str):
        commas = "[,、，]" if re.search("[,、，]", given) else r"\s"
        given = [part for part in re.split(commas, given) if part.strip()]
    folded = list(dict.fromkeys(_tag(tag) for tag in given))
    if len(folded) > MOST_TAGS:
        raise UsageError(f"{len(folded)} tags are too many to give to every note: name at most {MOST_TAGS}")
    return folded


def _tag(tag: str) -> str:
    folded = fold_tag(tag)
    if not folded or len(folded) > MAX_TAG or not folded.isprintable() or re.search("[,、，]", folded):
        reason = f"a tag has 1 to {MAX_TAG} characters, without commas"
        raise UsageError(f'"{tag[:100]}" cannot be a tag: {reason}')
    return folded
