"""JSON that is nested without end is refused before it is parsed: what parses it holds the way to every level."""

from __future__ import annotations

import re
from typing import BinaryIO

MOST_LEVELS = 500
_INSIDE = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
# Of a string that has no end here its beginning is left, and a backslash that goes on in the next part. It must match,
# too: else a part would be looked through once more for every quotation mark in it.
_STRING = re.compile(rb'"%b"|(")%b(\\?)\Z' % (_INSIDE, _INSIDE), re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")


class TooDeepError(ValueError):
    """There are more levels than any export has."""


class Shallow:
    """A file of JSON that is read as it is, up to where its levels are too many."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._level = 0
        self._open = b""  # what matters of a string that goes on in the next part

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        outside, quote, rest = _STRING.sub(rb"\1\2", self._open + part).partition(b'"')
        self._open = quote + rest
        opened = outside.count(b"[") + outside.count(b"{")
        if self._level + opened > MOST_LEVELS:
            self._count(outside)
        else:
            self._level += opened - outside.count(b"]") - outside.count(b"}")
        return part

    def _count(self, outside: bytes) -> None:
        for bracket in _BRACKET.findall(outside):
            self._level += 1 if bracket in (b"[", b"{") else -1
            if self._level > MOST_LEVELS:
                raise TooDeepError(f"it is nested deeper than {MOST_LEVELS} levels")
