"""HTML from small pieces, of which each is escaped unless it was made here: nothing can be forgotten."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str) -> Markup:
    """`<name …>content</name>`. An attribute whose name is a keyword of Python ends with an underscore."""
    written = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{joined(*content)}</{name}>")


def joined(*content: str) -> Markup:
    """One after the other; what is plain text is escaped."""
    return Markup("".join(each if isinstance(each, Markup) else escape(each) for each in content))
