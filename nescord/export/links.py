"""Links of an exported note whose target is called otherwise there: each is made to name its path.

Only these are touched. A link that leads to the same note under the old name stays as it was written.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nescord.drafting import link_name
from nescord.export.names import Layout
from nescord.markdown import Target, link_targets
from nescord.notes import Link, Note

# What may not be in the target of a [[link]].
_UNLINKABLE = re.compile(r"[\[\]|#^\n]")
# A table needs the bar of [[target\|text]] with a backslash.
_WIKI = re.compile(r"(!?\[\[)([^\[\]|#\n]+?)(?=\\?[\]|#])")

Moves = Mapping[tuple[str, str], str]


def moves(note: Note, place: str, layout: Layout) -> Moves:
    """What links of a note must call their targets now: (kind, target) -> the path of the note that is meant."""
    found: dict[tuple[str, str], str] = {}
    for link in note.links:
        target = layout.place(link.note_id) if link.note_id else None
        if target is None or layout.meant(link_name(Link(link.kind, link.target), place)) == link.note_id:
            continue
        if not _UNLINKABLE.search(target):
            found[link.kind, link.target] = target
    return found


def rewritten(body: str, moved: Moves, place: str) -> str:
    """The text with those links leading to where their targets are."""
    data, pieces, at = body.encode(), list[bytes](), 0
    for found in link_targets(body):
        if (target := moved.get((found.kind, found.target))) is None or found.start < at:
            continue
        source = data[found.start : found.end].decode()
        pieces += [data[at : found.start], _renamed(source, found, target, place).encode()]
        at = found.end
    return b"".join([*pieces, data[at:]]).decode()


def rewritten_values(value: Any, moved: Moves) -> Any:  # Any: JSON
    """The values of a front matter with those links leading to where their targets are."""
    if isinstance(value, str):
        return _WIKI.sub(lambda found: found[1] + _wiki(moved.get(("wiki", _plain(found[2]))), found[2]), value)
    if isinstance(value, list):
        return [rewritten_values(one, moved) for one in value]
    if isinstance(value, dict):
        return {key: rewritten_values(one, moved) for key, one in value.items()}
    return value


def _renamed(source: str, found: Target, target: str, place: str) -> str:
    if found.is_wiki:
        return _WIKI.sub(lambda match: match[1] + _wiki(target, match[2]), source, count=1)
    head, bracket, rest = source.rpartition("](")
    # A link by reference has its target elsewhere, for others as well: it stays.
    old = re.match(r"\s*(?:<[^<>#\n]*(?=[#>])|(?!\s*<)[^\s)#]*)", rest) if bracket else None
    if old is None:
        return source
    relative = posixpath.relpath(target, posixpath.dirname(place) or ".")
    return f"{head}]({'<' if '<' in old[0] else ''}{quote(relative)}{rest[old.end() :]}"


def _wiki(target: str | None, former: str) -> str:
    return former if target is None else posixpath.splitext(target)[0]


def _plain(name: str) -> str:
    return " ".join(name.split())
