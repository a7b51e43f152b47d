"""What a digest says, in English and Japanese, within the length of a message. Text of notes does nothing in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nescord.discord_text import escape, units

LONGEST = 1900
_MOST_LINES = 10
_LONGEST_TITLE = 80
_LONGEST_TASK = 120

_TEXTS: Mapping[str, tuple[str, str]] = {
    "head": ("📓 **Your notes, {day}**", "📓 **{day} のノートのまとめ**"),
    "written": ("**New notes ({count})**", "**新しいノート ({count} 件)**"),
    "changed": ("**Changed notes ({count})**", "**更新されたノート ({count} 件)**"),
    "tasks": ("**Open tasks ({count})**", "**未完了のタスク ({count} 件)**"),
    "due": (
        "🔁 **Cards to review: {count}** (`/review`)",
        "🔁 **復習するカードが {count} 枚あります** (`/振り返り`)",
    ),
    "more": ("… and {count} more", "… ほか {count} 件"),
    "untitled": ("(untitled)", "(無題)"),
}


@dataclass(frozen=True, slots=True)
class DigestText:
    """A digest in one message, and what it tells of: how many notes, tasks and cards."""

    text: str
    written: int
    changed: int
    tasks: int
    due: int


def last_line(day: str) -> str:
    """By which the digest of a day is known again, in whatever language."""
    return f"-# NescordBot · digest {day}"


def digest_text(
    language: Literal["ja", "en"],
    day: str,
    written: Sequence[str],
    changed: Sequence[str],
    tasks: Sequence[tuple[str, str]],
    due: int,
) -> DigestText | None:
    """The message of a day about titles, (task, title) pairs and cards; None where there is nothing to tell."""
    if not (written or changed or tasks or due):
        return None
    lists = {
        "written": [f"- {_title(language, title)}" for title in written],
        "changed": [f"- {_title(language, title)}" for title in changed],
        "tasks": [f"- {escape(text, _LONGEST_TASK)} — {_title(language, title)}" for text, title in tasks],
    }
    for most in range(_MOST_LINES, 0, -1):
        text = _text(language, day, lists, due, most)
        if units(text) <= LONGEST:
            break
    return DigestText(text, len(written), len(changed), len(tasks), due)


def _text(language: Literal["ja", "en"], day: str, lists: Mapping[str, Sequence[str]], due: int, most: int) -> str:
    parts = [_said(language, "head", day=day)]
    for name, lines in lists.items():
        if lines:
            parts += ["", _said(language, name, count=len(lines)), *lines[:most]]
        if len(lines) > most:
            parts.append(_said(language, "more", count=len(lines) - most))
    if due:
        parts += ["", _said(language, "due", count=due)]
    return "\n".join([*parts, last_line(day)])


def _title(language: Literal["ja", "en"], title: str) -> str:
    # One line: a title with a break in it could begin a line as it likes.
    return escape(" ".join(title.split()), _LONGEST_TITLE) or _said(language, "untitled")


def _said(language: Literal["ja", "en"], key: str, **values: object) -> str:
    english, japanese = _TEXTS[key]
    return (japanese if language == "ja" else english).format(**values)
