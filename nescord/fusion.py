"""One order out of two: what the words say and what the vectors say about each candidate note.

Pure functions over arrays, one element a candidate. Words count by bm25, vectors by cosine similarity; neither scale
means anything across languages, so vector scores are standardised per language before they are compared.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Fusion = Literal["rrf", "convex", "imputed"]

_RRF_K = 60
# What words that say only a part of the query count of what they would otherwise: the best of notes that hold two words
# of nine is as good as bm25 / max(bm25) gets, and yet says little. The middle of the best values on the tune half of
# the golden queries (docs/measured/golden.md).
_PARTIAL = 0.45
# Fewer candidates of one language than this tell nothing about a line between words and vectors.
_FEW = 5


def standardised(cosines: Scores, mean: Scores, std: Scores) -> Scores:
    """Z = (D - mean_L) / std_L, with mean and deviation of the candidate's language over a sample of stored vectors."""
    return (cosines - mean) / np.maximum(std, 1e-3)


def together(first: Scores, second: Scores, has_first: NDArray[np.bool_], has_second: NDArray[np.bool_]) -> Scores:
    """What two models say, in deviations: the mean where a candidate has vectors of both, else that of the one."""
    return np.where(has_first & has_second, (first + second) / 2, np.where(has_second, second, first))


def min_max(values: Scores) -> Scores:
    """Values scaled to 0..1; all 1 where they are equal."""
    if not values.size:
        return values
    low, high = values.min(), values.max()
    return np.ones_like(values) if high - low < 1e-9 else (values - low) / (high - low)


def rrf(keyword: Scores, vector: Scores) -> Scores:
    """Reciprocal rank fusion, sum of 1 / (60 + rank) over both lists (Cormack, Clarke, Büttcher 2009).

    `keyword` is 0 where the words do not match at all: such a candidate is in no keyword list.
    """
    by_words = np.where(keyword > 0, 1 / (_RRF_K + _ranks(keyword)), 0)
    return by_words + 1 / (_RRF_K + _ranks(vector))


def evidence(keyword: Scores, says_all: NDArray[np.bool_]) -> Scores:
    """What the words say, 0..1: bm25 / max(bm25), less where they are only a part of the query."""
    highest = keyword.max(initial=0)
    return keyword / highest * np.where(says_all, 1, _PARTIAL) if highest > 0 else keyword


def convex(words: Scores, z: Scores, alpha: float) -> Scores:
    """alpha * min-max(z) + (1 - alpha) * words (Bruch, Gai, Ingber 2023, with the theoretical minimum 0 of bm25)."""
    return alpha * min_max(z) + (1 - alpha) * words


def imputed(words: Scores, z: Scores, alpha: float, same_language: NDArray[np.bool_]) -> Scores:
    """As `convex`, with words that a note in another language cannot have put in its place.

    For such a note the keyword evidence is missing, not zero: it is read off the line fitted by least squares over the
    candidates in the query's language (those without the words, too: a line through the others promises too much),
    clipped to 0..1, and never below what its words really score.
    """
    vector = min_max(z)
    if same_language.sum() >= _FEW and np.ptp(vector[same_language]) > 1e-6:
        slope, intercept = _line(vector[same_language], words[same_language])
        words = np.where(same_language, words, np.maximum(words, np.clip(slope * vector + intercept, 0, 1)))
    return alpha * vector + (1 - alpha) * words


def fused(
    fusion: Fusion,
    keyword: Scores,
    says_all: NDArray[np.bool_],
    cosines: Scores,
    z: Scores,
    alpha: float,
    same_language: NDArray[np.bool_],
    certain: NDArray[np.bool_],
) -> Scores:
    """The score of each candidate by the fusion of that name; higher is better.

    `certain`: its words alone count as much as words and vector together, since what they are in has no vector yet, or
    since hardly any other note has them. Else a note would not be found by a word that only it has.
    """
    if fusion == "rrf":
        return rrf(keyword, cosines)
    words = evidence(keyword, says_all)
    both = convex(words, z, alpha) if fusion == "convex" else imputed(words, z, alpha, same_language)
    return np.where(certain, np.maximum(both, words), both)


def _line(x: Scores, y: Scores) -> tuple[float, float]:
    """Slope and intercept of the line fitted by least squares; polyfit takes ten times as long to say the same."""
    mean_x, mean_y = x.mean(), y.mean()
    off = x - mean_x
    slope = float(off @ (y - mean_y) / (off @ off))
    return slope, float(mean_y - slope * mean_x)


def _ranks(values: Scores) -> Scores:
    """1 for the highest."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks
