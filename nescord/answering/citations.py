"""What a model wrote, checked sentence by sentence against the passages that it was given.

`[n]` must be one of them and hold what the sentence says; a citation that does not is taken out, and a sentence that is
left without any is marked. Nothing of a text is given out before a sentence of it has support: without one there is
no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nescord.answering import UNSUPPORTED
from nescord.answering.cleaning import cleaned, urls_of
from nescord.answering.figures import numbers
from nescord.answering.pack import Passage
from nescord.answering.sentences import Sentences
from nescord.answering.support import Cosine, Words, supporting
from nescord.words import CJK

# What a model is told to write when the passages hold no answer.
NOT_IN_NOTES = "NOT_IN_NOTES"

# How near a passage must be to a sentence whose words it does not hold, across languages and within one; chosen on
# data/sample with Google's multilingual USE (docs/answers.md).
LEAST_ACROSS, LEAST_WITHIN = 0.15, 0.3

_BETWEEN = r"\s*(?:[,;、，；]|[-–~〜]|and|と)\s*"
_MARK = re.compile(
    r"[ \t]*[\[［【]{1,2}\s*\^?(?:(?:passages?|notes?|sources?|出典|資料|文書|メモ)[\s.:#]*)?"
    rf"(\d{{1,6}}(?:{_BETWEEN}\d{{1,6}})*)\s*(?:†[^\]】\n]*)?[\]］】]{{1,2}}(?:\(\s*(?:\w+:|www\.|#)[^)\s]*\))?",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d+)\s*[-–~〜]\s*(\d+)")
_MARKED = re.compile(r"[ \t]*\[\s*\?\s*\]")
_BULLET = re.compile(r"^\s*(?:[-*+>#]+|\(?\d{1,3}[.)])\s+")
_FULL_STOP = re.compile(r"[。！？｡.!?]+[」』）)】”’\"'*_]*$")
_WORD = re.compile(r"[^\W_]")
_UNSPACED = re.compile(f"[{CJK}\u3000-\u303f\uff00-\uff60]$")


class CheckedText:
    """Takes what a model writes, in pieces, and gives what of it may be shown.

    `cited` are the numbers of the passages that are cited, in the order of their new numbers 1, 2, …, each with the
    first sentence that cites it; `unsupported` counts the marked sentences. `cosine` compares what texts mean; without
    it a passage must hold the words of a sentence, which one in another language mostly does not.
    """

    def __init__(self, passages: Sequence[Passage], question: str, *, cosine: Cosine | None = None) -> None:
        self.cited: dict[int, str] = {}
        self.unsupported = 0
        self._cosine = cosine
        self._texts = {passage.number: passage.whole for passage in passages}
        self._words = {passage.number: Words.of_passage(passage.whole) for passage in passages}
        self._urls = {passage.number: urls_of(passage.whole) for passage in passages}
        self._known = numbers(question)
        self._sentences = Sentences()
        self._waiting = ""
        self._gap = ""
        self._last = ""

    def feed(self, piece: str) -> str:
        """What `piece` makes ready to be shown: mostly nothing, and then a sentence."""
        return self._ready(self._sentences.feed(piece))

    def finish(self) -> str:
        """What the end of the text makes ready to be shown."""
        return self._ready([self._sentences.rest()])

    def _ready(self, sentences: Iterable[str]) -> str:
        for sentence in sentences:
            if checked := self._checked(sentence.strip()):
                self._waiting += self._joined(checked)
                self._last, self._gap = checked[-1], ""
            self._gap += sentence[len(sentence.rstrip()) :]
        if not self.cited:
            return ""
        ready, self._waiting = self._waiting, ""
        return ready

    def _joined(self, checked: str) -> str:
        """With what was between it and the sentence before; two that are right apart are none of `](` and `![`."""
        if not self._last:
            return checked
        return (self._gap or (" " if self._last in "]!" and checked[0] in "([" else "")) + checked

    def _checked(self, sentence: str) -> str:
        """A sentence as it may be shown; "" where nothing is left to be said."""
        if NOT_IN_NOTES in sentence:
            return ""
        wanted = [number for number in _numbers(sentence) if number in self._words]
        text = self._clean(sentence, wanted)
        if not _WORD.search(text):
            return ""
        able = self._supporting(_BULLET.sub("", text), wanted) if wanted else []
        if len(able) < len(wanted):
            text = self._clean(sentence, able)
        for number in able:
            self.cited.setdefault(number, text)
        if not able:
            self.unsupported += 1
            return _with_mark(text, UNSUPPORTED)
        order = list(self.cited)
        return _with_mark(text, "".join(f"[{place}]" for place in sorted(order.index(number) + 1 for number in able)))

    def _supporting(self, claim: str, wanted: Sequence[int]) -> list[int]:
        words = Words.of_claim(claim)

        def is_alike(number: int) -> bool:
            if self._cosine is None:
                return False
            is_foreign = self._words[number].language != words.language
            return self._cosine(claim, self._texts[number]) >= (LEAST_ACROSS if is_foreign else LEAST_WITHIN)

        return supporting(words, {number: self._words[number] for number in wanted}, self._known, is_alike)

    def _clean(self, sentence: str, numbers: Sequence[int]) -> str:
        """Without citations, and without all that `cleaned` removes; links may be those of the passages `numbers`."""
        urls = frozenset[str]().union(*(self._urls[number] for number in numbers))
        while True:
            text = cleaned(_MARKED.sub("", _MARK.sub(_without_brackets, sentence)), urls)
            if text == sentence:
                return text.strip()
            sentence = text


def _numbers(sentence: str) -> list[int]:
    """The numbers that a sentence cites, each once."""
    found: list[int] = []
    for match in _MARK.finditer(sentence):
        spans = [range(int(first), min(int(last), int(first) + 50) + 1) for first, last in _RANGE.findall(match[1])]
        found += [int(number) for number in re.findall(r"\d+", match[1])]
        found += [number for span in spans for number in span]
    return list(dict.fromkeys(found))


def _without_brackets(mark: re.Match[str]) -> str:
    """A year in brackets is no citation: it stays, as a number that has to stand in a passage."""
    return f" ({mark[1]})" if re.fullmatch(r"\d{4,6}(?:\D+\d+)*", mark[1]) else ""


def _with_mark(text: str, mark: str) -> str:
    """The mark before the full stop, as in a book; after a blank where words are parted by blanks."""
    stop = _FULL_STOP.search(text)
    before, after = (text[: stop.start()], stop[0]) if stop else (text, "")
    blank = "" if _UNSPACED.search(before) else " "
    return f"{before}{blank}{mark}{after}"
