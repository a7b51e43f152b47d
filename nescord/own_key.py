"""What an exported note says of itself under `nescord:` in its front matter, so that it comes back with the author and
the dates that it had. An id or a space that stands there is for people: it is never believed. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY = "nescord"


@dataclass(frozen=True, slots=True)
class Said:
    """What it says; "" where it does not, and None where it does not tell that there is no author."""

    author: str | None = None
    created: str = ""
    updated: str = ""


def said(front_matter: Mapping[str, Any], body: str) -> Said:
    """What the front matter says of the note. When it was changed last counts only as long as its text is the one that
    was exported."""
    own = front_matter.get(KEY)
    if not isinstance(own, Mapping):
        return Said()
    updated = _text(own.get("updated")) if own.get("digest") == digest(body) else ""
    return Said(_text(own["author"]) if "author" in own else None, _text(own.get("created")), updated)


def digest(body: str) -> str:
    """What tells whether a text is still the one that was exported. A letter first: it is no number in any YAML."""
    return f"b{hashlib.blake2b(body.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
