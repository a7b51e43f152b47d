"""A text that comes in pieces → whole sentences, each with the citations behind it.

Nothing is given out before its end has been seen, so that whoever checks a sentence sees every link and mention in it
whole. A text without any end is held however long it gets: what a model may write is bounded.
"""

from __future__ import annotations

import re

# `…です。[1]` and `… done. [1, 2]`: citations behind the full stop belong to the sentence before it.
_CITED = r"(?:[ \t]*[\[［【]{1,2}[^\[\]［］【】\n]{0,40}[\]］】]{1,2})*"
_CLOSING = r"[」』）)】”’\"'*_]*"
_END = re.compile(rf"[。！？｡]+{_CLOSING}{_CITED}[ \t]*\n*|(?P<latin>[.!?]+{_CLOSING}{_CITED}(?=\s))[ \t]*\n*|\n+")
# `e.g. this`, `Dr. Smith`, `2. Then`: a full stop that ends no sentence.
_ABBREVIATED = re.compile(
    r"(?:^\s*(?:[-*+]\s+)?\(?\d{1,3}|\b(?:[A-Za-z]|e\.g|i\.e|a\.m|p\.m|approx|ca|cf|dr|fig|jr|mr|mrs|ms|no|prof|sr|st|vs))\.$",
    re.IGNORECASE,
)
# Within brackets that are not closed yet: a citation, perhaps, of a sentence that ended before them.
_OPEN = re.compile(r"[\[［【][^\[\]［］【】\n]{0,40}\Z")


class Sentences:
    """Takes pieces, gives sentences; together they are the text, character for character."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> list[str]:
        """The sentences that `piece` completes."""
        self._held += piece
        found: list[str] = []
        start = 0
        for match in _END.finditer(self._held):
            # At the end of what came so far: a citation, or more full stops, may follow.
            if match.end() == len(self._held):
                break
            if _is_end(self._held, start, match):
                found.append(self._held[start : match.end()])
                start = match.end()
        self._held = self._held[start:]
        return found

    def rest(self) -> str:
        """What came after the last whole sentence."""
        rest, self._held = self._held, ""
        return rest


def _is_end(text: str, start: int, match: re.Match[str]) -> bool:
    following = text[match.end()]
    # A citation that is not whole yet. Should it be none, the two sentences are taken for one.
    if (following in "[［【" and not match[0].endswith("\n")) or _OPEN.search(text, start, match.end()):
        return False
    if match["latin"] is None or "\n" in match[0]:
        return True
    return not following.islower() and not _ABBREVIATED.search(text[start : match.end("latin")])
