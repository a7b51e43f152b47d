"""The sentences of notes that say most of what the notes are about, as they stand there.

A sentence weighs what its words weigh in all of the texts together, against its length; each one taken makes its words
count less, so that the next says something else (Nenkova and Vanderwende, "The impact of frequency on summarization",
2005). Works in any language that `terms` knows, and needs no model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nescord.catalog.knowing import SeenText
from nescord.knowing.terms import Sentence, sentences, terms

_SHORTEST, _LONGEST = 8, 400
# The opening sentence of a note, and words of its title, tell more than others.
_OPENING, _TITLE = 1.3, 3
# What the words of a sentence weigh when it was taken.
_SAID = 0.2
# As if each sentence had so many words more: else the shortest would say the most.
_FEW = 6
# So many sentences of a text are compared with those of others.
_OF_EACH = 12
# Beyond this much of a text its begin says what it is about.
_READ = 60_000


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters `start:end` of the body of a note, which read as `text`."""

    note_id: str
    path: str
    title: str
    start: int
    end: int
    text: str


class _Candidate(NamedTuple):
    text: int
    sentence: Sentence
    words: Counter[str]
    favour: float


def extract(texts: Sequence[SeenText], most: int, *, of_each: int | None = None) -> list[Passage]:
    """The best `most` sentences, at most `of_each` of one note, in the order in which they stand."""
    weights: defaultdict[str, float] = defaultdict(float)
    candidates = [one for number, text in enumerate(texts) for one in _candidates(number, text, weights)]
    chosen: list[_Candidate] = []
    taken: Counter[int] = Counter()
    said: set[str] = set()
    while candidates and len(chosen) < most:
        best = max(candidates, key=lambda one: _score(one, weights))
        candidates.remove(best)
        if best.sentence.text in said or (of_each is not None and taken[best.text] >= of_each):
            continue
        taken[best.text] += 1
        said.add(best.sentence.text)
        chosen.append(best)
        for word in best.words:
            weights[word] *= _SAID
    return [_passage(texts[one.text], one.sentence) for one in sorted(chosen)]


def _candidates(number: int, text: SeenText, weights: defaultdict[str, float]) -> list[_Candidate]:
    """The sentences of one text that may be taken; adds to `weights` what its words weigh."""
    found: list[_Candidate] = []
    own: Counter[str] = Counter()
    for sentence in sentences(text.body[:_READ]):
        words = terms(sentence.text)
        own.update(words)
        if words and _SHORTEST <= len(sentence.text) <= _LONGEST:
            found.append(_Candidate(number, sentence, words, 1.0 if found else _OPENING))
    for word in terms(text.note.title):
        own[word] *= _TITLE
    # By share: a long note is not worth more of a period than a short one.
    total = own.total() or 1
    for word, count in own.items():
        weights[word] += count / total
    shares = {word: count / total for word, count in own.items()}
    return sorted(found, key=lambda one: -_score(one, shares))[:_OF_EACH]


def _score(one: _Candidate, weights: Mapping[str, float]) -> float:
    return one.favour * sum(weights[word] for word in one.words) / (len(one.words) + _FEW)


def _passage(text: SeenText, sentence: Sentence) -> Passage:
    note = text.note
    return Passage(note.note_id, note.path, note.title, sentence.start, sentence.end, sentence.text)
