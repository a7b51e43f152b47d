"""The words that say what a text is about, and its sentences: what extracts and suggested tags are made of.

Japanese without a dictionary: runs of kanji and of katakana carry the meaning, hiragana joins them. That finds 自動搬送
and パンケーキ, and of 引っ越し nothing: good enough to weigh sentences by, and to suggest.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from nescord.markdown import parse
from nescord.words import STOP_WORDS, normalise, pieces, stem

_CJK_WORD = re.compile(
    "[\u3005-\u3007\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{2,}"
    "|[\u30a1-\u30fa\u30fc]{2,}|[\uac00-\ud7ff]{2,}"
)
_SENTENCE_END = re.compile(r"(?<=[。！？｡])[」』）)】”’\"']*|(?<=[.!?])[\"')\]”’]*(?=\s)|\n")
_MARKS = re.compile(
    r"!?\[\[(?:[^\[\]|\n]*\|)?([^\[\]\n]*)\]\]|!?\[([^\[\]\n]*)\]\([^()\n]*\)|[a-z][a-z0-9+.-]*://\S+|[*_`~]{1,3}",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\s*(?:(?:[-*+>]|\d{1,9}[.)])\s+)*(?:\[[ xX]\]\s+)?")
_SHORTEST_WORD = 3
_LONGEST_CJK_WORD = 12
_TOLD_IN = ("paragraph", "list", "quote")


class Sentence(NamedTuple):
    """Characters `start:end` of a body; `text` is how it reads, without Markdown's marks."""

    start: int
    end: int
    text: str


def terms(text: str) -> Counter[str]:
    """How often each word that says something is in `text`, normalised; words in Latin letters by their stems."""
    found: Counter[str] = Counter()
    for is_cjk, piece in pieces(normalise(text)):
        if is_cjk:
            found.update(word for word in _CJK_WORD.findall(piece) if len(word) <= _LONGEST_CJK_WORD)
        elif len(piece) >= _SHORTEST_WORD and piece not in STOP_WORDS and not piece.isdigit():
            found[stem(piece)] += 1
    return found


def surfaces(text: str) -> dict[str, str]:
    """Each word of `terms` -> the form in which it is written most often."""
    written: dict[str, Counter[str]] = {}
    for is_cjk, piece in pieces(normalise(text)):
        for word in _CJK_WORD.findall(piece) if is_cjk else [piece]:
            written.setdefault(word if is_cjk else stem(word), Counter())[word] += 1
    return {term: forms.most_common(1)[0][0] for term, forms in written.items()}


def plain(text: str) -> str:
    """`text` without Markdown's marks: links as they are read, no URLs, no stars."""
    return " ".join(_MARKS.sub(lambda found: found[1] or found[2] or "", text).split())


def sentences(body: str) -> list[Sentence]:
    """The sentences of what is told in a note; not of its headings, tables and code."""
    found = []
    for block in parse(body, "").blocks:
        if block.kind not in _TOLD_IN:
            continue
        at = block.start
        while at < block.end:
            end = _SENTENCE_END.search(body, at + 1, block.end)  # at its begin ends the one before
            stop = end.end() if end else block.end
            bullet = _BULLET.match(body, at, stop)
            begin = bullet.end() if bullet else at
            written = body[begin:stop].rstrip()
            if text := plain(written):
                found.append(Sentence(begin, begin + len(written), text))
            at = stop
    return found
