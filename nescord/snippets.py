"""The passage of a chunk that shows why it was found, with the matched words marked.

A contentless FTS5 table has no text to make snippets of, so they are made here, for the hits that are shown only.
Matches are found in normalised text and mapped back to the characters as written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from nescord.words import LETTER, normalise, stem

# Characters of text in a snippet.
WIDTH = 160
# More matches than this do not change which passage is the best.
_MOST = 200

_CLUSTER = re.compile("(?s).[\u0300-\u036f\u3099\u309a\uff9e\uff9f\ufe00-\ufe0f\U000e0100-\U000e01ef]*")
# All that normalisation can join to the character before it, or drop; without any of these no text gets shorter.
_JOINING = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u20d0-\u20ff\u2de0-\u2dff\u302a-\u302f\u3099\u309a\ua66f-\uabff"
    "\ufb1e\ufe00-\ufe0f\ufe20-\ufe2f\uff9e\uff9f\U000101fd-\U0001afef\U0001b170-\U0001ffff\U000e0100-\U000e01ef]"
)
# All but what normalisation leaves as it is, save for its case, whatever stands beside it, and full-width punctuation,
# which stays punctuation: where there is none of these, nothing more is found in the normalised text.
_CHANGING = re.compile(
    "[^\0-\x7f\u3001-\u3029\u3041-\u3096\u309d\u309e\u30a0-\u30fe\u4e00-\u9fff"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff3d\uff5b-\uff5e]"
)
_LETTER = re.compile(LETTER)
_REST = re.compile(f"{LETTER}*")
# Latin letters without their diacritics, one for one: `élan` begins like the stem `elan`.
_ACCENTED = re.compile("[\u00e0-\u024f\u1e01-\u1eff]")
_PLAIN = {
    code: unicodedata.normalize("NFD", chr(code))[0]
    for code in (*range(0xE0, 0x250), *range(0x1E00, 0x1F00))
    if unicodedata.normalize("NFD", chr(code))[0].isascii()
}
_SPACE = re.compile(r"\s")
_BREAK = re.compile(r"[\s。、．，.!?！？]")


class Marker:
    """Marks what a query looks for: made once a query, used for each hit.

    `marks` are (is CJK, normalised text): CJK is matched as substring, words by their stems.
    """

    def __init__(self, marks: Iterable[tuple[bool, str]]) -> None:
        unique = dict.fromkeys(marks)
        self._runs = [text for is_cjk, text in unique if is_cjk]
        # A letter that the index takes for none has no stem.
        self._stems = {stemmed: text for is_cjk, text in unique if not is_cjk and (stemmed := stem(text))}
        self._is_cased = bool(self._stems) or any(run.upper() != run for run in self._runs)
        # Stemming changes the ends of words, so only those that begin like a stem are worth stemming.
        self._begins = {stemmed[: max(1, min(3, len(stemmed) - 1))] for stemmed in self._stems}

    def snippet(self, text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The passage of `text` with the most different matches, on one line, and each match's (start, end) in it."""
        found = self._matches(text)
        start = _best_start(found, WIDTH)
        if start > 0:
            # Begin a little before the first match, at a natural break where one is near.
            start = max(0, start - WIDTH // 5)
            near = _BREAK.search(text, start, start + WIDTH // 8) if start else None
            start = near.end() if near else start
        end = min(len(text), start + WIDTH)
        left, right = "…" if start else "", "…" if end < len(text) else ""
        shift = len(left) - start
        inside = tuple((a + shift, min(b, end) + shift) for a, b in _merged(found) if start <= a < end)
        return left + _SPACE.sub(" ", text[start:end]) + right, inside

    def marks(self, text: str) -> tuple[tuple[int, int], ...]:
        """(start, end) of every match in `text`."""
        return tuple(_merged(self._matches(text)))

    def densest(self, text: str, width: int) -> tuple[int, int]:
        """The window of about `width` characters with the most different matches, from one natural break to another."""
        start = max(0, _best_start(self._matches(text), width) - width // 5)
        if start:
            near = _BREAK.search(text, start, start + width // 5)
            start = near.end() if near else start
        end = min(len(text), start + width)
        if end < len(text):
            breaks = [match.end() for match in _BREAK.finditer(text, max(start, end - width // 5), end)]
            end = breaks[-1] if breaks else end
        return start, end

    def _matches(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, mark) of every match, in characters of `text`, in order."""
        # Most text is written as it is looked for but for its case, and normalising it costs more than searching it.
        # Only where something is not found so does it matter that it may be written in another form.
        lower = text.lower() if self._is_cased else text
        if len(lower) == len(text):
            found = self._find(lower)
            if len({mark for _, _, mark in found}) == len(self._runs) + len(self._stems):
                return found
            if not _CHANGING.search(text):
                return found
        normal, places = _mapped(text)
        found = self._find(normal)
        if places is not None:
            return sorted((places[a][0], places[b - 1][1], mark) for a, b, mark in found)
        return found

    def _find(self, text: str) -> list[tuple[int, int, str]]:
        found: list[tuple[int, int, str]] = []
        for run in self._runs:
            at = text.find(run)
            while at >= 0 and len(found) < _MOST:
                found.append((at, at + len(run), run))
                at = text.find(run, at + len(run))
        plain = text.translate(_PLAIN) if self._begins and _ACCENTED.search(text) else text
        for begin in self._begins:
            at = plain.find(begin)
            while at >= 0 and len(found) < 2 * _MOST:
                end = at + len(begin)
                if not (at and _LETTER.match(plain, at - 1)):
                    end = _REST.match(plain, end).end()  # type: ignore[union-attr]  # it matches nothing as well
                    if mark := self._stems.get(stem(text[at:end])):
                        found.append((at, end, mark))
                at = plain.find(begin, end)
        return sorted(found)


def _mapped(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """Normalised text, and which characters of `text` each of its characters stands for (None: the same ones)."""
    normal = normalise(text)
    if _is_one_to_one(text, normal):
        return normal, None
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for line in text.splitlines(keepends=True):
        part = normalise(line)
        if _is_one_to_one(line, part):
            parts.append(part)
            places += [(at + i, at + i + 1) for i in range(len(line))]
        else:
            for cluster in _CLUSTER.finditer(line):
                part = normalise(cluster[0])
                parts.append(part)
                places += [(at + cluster.start(), at + cluster.end())] * len(part)
        at += len(line)
    return "".join(parts), places


def _is_one_to_one(text: str, normal: str) -> bool:
    """Where nothing can have got shorter and the length is the same, nothing has got longer either."""
    return len(text) == len(normal) and (text.isascii() or not _JOINING.search(text))


def _best_start(found: Sequence[tuple[int, int, str]], width: int) -> int:
    """Where the window with the most different marks begins; the earliest of equals."""
    best, best_count = 0, 0
    for index, (start, _, _) in enumerate(found[:_MOST]):
        kinds = set()
        for _, end, mark in found[index : index + 50]:
            if end > start + width * 4 // 5:
                break
            kinds.add(mark)
        if len(kinds) > best_count:
            best, best_count = start, len(kinds)
    return best


def _merged(found: Iterable[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """Overlapping and touching matches as one."""
    merged: list[tuple[int, int]] = []
    for start, end, _ in found:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
