"""Whether a passage can be what a sentence was taken from.

Numbers must be there, and a share of the telling words; else it must mean the same, which a model in this process is
asked for. Between two languages that is nearly all there is to compare: without such a model little is supported there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nescord.answering.figures import claimed_numbers, is_number_word, numbers
from nescord.embedding import local
from nescord.errors import EmbeddingError, ServiceUnavailableError
from nescord.language import detect
from nescord.words import STOP_WORDS, bigrams, is_hiragana, normalise, pieces, stem

if TYPE_CHECKING:
    from nescord.opened import OpenBase

Cosine = Callable[[str, str], float]

# Shares of a sentence's words that its passages hold together, and that each of several must hold by itself. At this
# share 3 % of the sentences of data/sample would pass for another note of their language (docs/answers.md).
LEAST = 0.34
LEAST_OF_EACH = 0.12

# What answers say about notes, and notes do not say about themselves.
_ABOUT = "note notes say says said according mention mentions written record recorded passage passages"
_ABOUT_NOTES = {*map(stem, _ABOUT.split()), "メモ", "ノー", "ート", "記録", "記載", "記述", "答え", "質問"}


@dataclass(frozen=True, slots=True)
class Words:
    """What is compared of a text: telling words (CJK by pairs of characters), numbers, and the language it is in."""

    telling: frozenset[str]
    numbers: frozenset[str]
    language: str

    @classmethod
    def of_passage(cls, text: str) -> Words:
        """All that may be a number is one."""
        return cls(frozenset(_telling(text)), numbers(text), detect(text))

    @classmethod
    def of_claim(cls, text: str) -> Words:
        """Only what surely is a number is one."""
        return cls(frozenset(_telling(text)), claimed_numbers(text), detect(text))


def supporting(
    claim: Words, passages: Mapping[int, Words], known: frozenset[str], is_alike: Callable[[int], bool]
) -> list[int]:
    """Those of the passages, by number, that a sentence may be taken from; none where together they do not hold it.

    `known` are numbers that need not stand in a passage: those of the question. `is_alike` tells of a passage whose
    words are others whether it means the same.
    """
    there = frozenset[str]().union(known, *(passage.numbers for passage in passages.values()))
    if not claim.numbers <= there:
        return []
    able, is_meant = [], False
    for number, passage in passages.items():
        # A sentence without any telling word is held by whatever there is. That says something only of its numbers, and
        # only in the same language.
        is_told = bool(claim.telling) or (bool(claim.numbers) and passage.language == claim.language)
        held = _held(claim.telling, passage.telling) if is_told else 0.0
        if held >= LEAST:
            able.append(number)
        elif is_alike(number):
            able.append(number)
            is_meant = True
        elif held >= LEAST_OF_EACH:
            able.append(number)
    together = frozenset[str]().union(*(passages[number].telling for number in able))
    return able if is_meant or _held(claim.telling, together) >= LEAST else []


def local_cosine(base: OpenBase) -> Cosine | None:
    """By the local model, whatever model searches: it costs nothing, and knows more than one language. None where it is
    not installed."""
    if not local.is_installed():
        return None
    model = base.meaning.models.by_key(local.LocalEmbedder.model_key)
    embed = lru_cache(lambda text: model.embed([text])[0])

    def cosine(one: str, other: str) -> float:
        try:
            return float(embed(one) @ embed(other))
        except (EmbeddingError, ServiceUnavailableError):
            return -1.0  # what cannot be compared supports nothing

    return cosine


def _held(wanted: frozenset[str], there: frozenset[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 1.0


def _telling(text: str) -> Iterable[str]:
    for is_cjk, piece in pieces(normalise(text)):
        if is_cjk:
            found = [part for part in bigrams(piece) or [piece] if not is_hiragana(part)]
        else:
            found = [] if piece in STOP_WORDS or is_number_word(piece) else [stem(piece)]
        yield from (part for part in found if part and part not in _ABOUT_NOTES)
