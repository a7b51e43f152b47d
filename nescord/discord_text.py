"""Text that is not ours, made harmless: nothing in it acts in Discord, and it is cut between graphemes.

Discord takes a backslash before ASCII punctuation for that character alone, so what would open a construct gets one.
Pings get a zero-width space as well: other programs than Discord's own read messages, too. Lengths are UTF-16 code
units, the larger of the two ways in which a limit of Discord can be meant.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import regex  # type: ignore[import-untyped]  # it has no types; only its \X is used

ELLIPSIS = "…"
# Longer ones are of no use to a person and take the place of the text.
_LONGEST_URL = 512

_GRAPHEME = regex.compile(r"\X")
_BREAK = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Control characters, and those that turn the direction of text, also of ours that follows.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
_ACTING = re.compile(
    r"""
      [\\*_~|`\[\]<>]             # emphasis, spoilers, code, links, quotes, mentions, timestamps, emoji
    | :(?=//|[^\s:]+:)            # addresses, and :smile:
    | \.(?=[a-z]+/)               # invites, which Discord finds without https://
    | (?m:^)(?:                   # at the beginning of a line, where spaces may come first
          [^\S\n]*[#+-]           # headings, lists, small print
        | [^\S\n]*\d+[.)](?=\s|$) # numbered lists
      )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_PING = re.compile(r"@(?=everyone|here)", re.IGNORECASE)


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clip(text: str, limit: int) -> str:
    """At most `limit` units, cut between graphemes, with "…" where something is left out."""
    # The length is asked first: a note may have megabytes.
    if len(text) <= limit and units(text) <= limit:
        return text
    if limit < 1:
        return ""
    left, end = limit - 1, 0
    # One character more than could fit, so that the last grapheme that fits is seen to be whole.
    for found in _GRAPHEME.finditer(text[: limit + 1]):
        left -= units(found[0])
        if left < 0:
            break
        end = found.end()
    return text[:end].rstrip() + ELLIPSIS


def clean(text: str) -> str:
    """Text without what cannot be seen and yet does something; every line break is "\\n"."""
    return _HALF_PAIR.sub("\ufffd", _UNSEEN.sub("", _BREAK.sub("\n", text)))


def escape(text: str, limit: int | None = None) -> str:
    """Text that is not ours, so that none of it acts in Discord. What is escaped has at most `limit` units."""
    # Of megabytes only the beginning is looked at; more than that is never taken out of a text that people read.
    cleaned = clean(text if limit is None else text[: 4 * limit + 1000])
    return _within(lambda most: _escaped(clip(cleaned, most)), limit, units(cleaned))


def marked(text: str, marks: Iterable[tuple[int, int]], limit: int | None = None) -> str:
    """As `escape`, with the characters start:end of each mark in bold."""
    # What is taken out or becomes another length would move the marks: they go through it piece by piece.
    pieces = [(clean(piece), is_bold) for piece, is_bold in _pieces(text, marks)]
    whole = "".join(piece for piece, _ in pieces)

    def made(most: int) -> str:
        shown = clip(whole, most)
        parts: list[str] = []
        begin = 0
        for piece, is_bold in pieces:
            part = shown[begin : begin + len(piece)]
            begin += len(piece)
            parts.append(_bold(part) if is_bold else _escaped(part))
        # The ellipsis, where it is longer than what it stands for.
        return "".join(parts) + _escaped(shown[begin:])

    return _within(made, limit, units(whole))


def link(title: str, url: str) -> str:
    """A masked link whose title is escaped here; the title alone unless the address is https."""
    shown = escape(" ".join(title.split())) or ELLIPSIS
    return f"[{shown}](<{url}>)" if is_https(url) else shown


def is_https(url: str) -> bool:
    """Whether an address may be linked: https, with a host, and nothing in it that would end a link."""
    if len(url) > _LONGEST_URL or re.search(r"[\s<>()\[\]\\\"'`|\x00-\x20\x7f-\x9f]", url) or url != clean(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def _escaped(text: str) -> str:
    # A number of a list has its backslash before the dot, all else before its first character that is no space.
    made = _ACTING.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)
    return _PING.sub("@\u200b", made)


def _bold(text: str) -> str:
    inner = text.strip()
    if not inner:
        return _escaped(text)
    begin = text.index(inner)
    return f"{_escaped(text[:begin])}**{_escaped(inner)}**{_escaped(text[begin + len(inner) :])}"


def _pieces(text: str, marks: Iterable[tuple[int, int]]) -> list[tuple[str, bool]]:
    """The text in pieces, each with whether it is bold. Marks that touch are one: `**a****b**` would show stars."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    merged: list[tuple[int, int]] = []
    ends = [0, *(found.end() for found in _GRAPHEME.finditer(text))]
    for first, last in sorted((max(0, first), min(last, len(text))) for first, last in marks):
        if first >= last:
            continue
        # Stars within a grapheme would tear it.
        start, end = ends[bisect_right(ends, first) - 1], ends[bisect_left(ends, last)]
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    for start, end in merged:
        pieces += [(text[at:start], False), (text[start:end], True)]
        at = end
    pieces.append((text[at:], False))
    return [piece for piece in pieces if piece[0]]


def _within(made: Callable[[int], str], limit: int | None, length: int) -> str:
    """What `made` makes of as much as fits when it is made."""
    most = length if limit is None else min(length, limit)
    text = made(most)
    while limit is not None and units(text) > limit:
        if most < 1:
            return ""
        # A character is at most two units when it is escaped: leaving out half the excess never takes too much.
        most -= max(1, (units(text) - limit) // 2)
        text = made(most)
    return text
