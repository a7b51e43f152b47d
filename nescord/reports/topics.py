"""What the notes are about: clusters of near notes, named by their own words, and where they lie on a map.

Means of notes say the language first and the topic second; each language is therefore moved to the middle before
notes are compared, so that 珈琲 and coffee meet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nescord.knowing.terms import plain, surfaces, terms
from nescord.reports.nearness import Floats, unit

SEED = 0
FEWEST = 8
"""Notes below which clusters say nothing."""
_MOST_TOPICS = 12
_AXES = 50
_FEWEST_OF_LANGUAGE = 20
# What a topic is called is told by the notes nearest to its middle, and by how each of them begins.
_TOLD_BY = 60
_TOLD_FROM = 3_000


@dataclass(frozen=True, slots=True)
class TopicMap:
    """`topics[i]` is the topic of note i (0 the largest), `places[i]` its point; `kept` is the share of how the notes
    differ that two dimensions still show; `middles` are the topics' points."""

    topics: NDArray[np.int64]
    places: Floats
    kept: float
    middles: Floats
    nearest: tuple[NDArray[np.int64], ...]


def topic_map(vectors: Floats, languages: Sequence[str]) -> TopicMap | None:
    """Clusters and a map in two dimensions; None for fewer than FEWEST notes. The same vectors give the same map.

    Args:
        vectors: means of notes, of length 1 (n × d).
        languages: of each note.
    """
    from sklearn.cluster import MiniBatchKMeans  # type: ignore[import-untyped]
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]

    if len(vectors) < FEWEST:
        return None
    levelled = _without_language(vectors, np.array(languages))
    axes = min(_AXES, len(vectors) - 1, vectors.shape[1])
    fitted = PCA(axes, svd_solver="randomized", random_state=SEED)
    reduced = fitted.fit_transform(levelled)
    count = max(2, min(_MOST_TOPICS, round(math.sqrt(len(vectors) / 2))))
    means = MiniBatchKMeans(count, n_init=5, batch_size=2048, random_state=SEED)
    found = means.fit_predict(unit(reduced))
    present, sizes = np.unique(found, return_counts=True)
    order = present[np.argsort(-sizes, kind="stable")]
    topics = np.searchsorted(np.sort(order), found)
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    topics = rank[topics]
    distances = np.linalg.norm(unit(reduced) - means.cluster_centers_[found], axis=1)
    members = [np.flatnonzero(topics == topic) for topic in range(len(order))]
    nearest = tuple(each[np.argsort(distances[each], kind="stable")] for each in members)
    places = reduced[:, :2] if axes > 1 else np.c_[reduced, np.zeros(len(reduced))]
    middles = np.array([np.median(places[each], axis=0) for each in members], np.float32)
    return TopicMap(topics, places, float(fitted.explained_variance_ratio_[:2].sum()), middles, nearest)


def topic_names(found: TopicMap, texts: Mapping[int, str], *, words: int = 3) -> list[str]:
    """The words that set each topic apart, as they are written: those in many of its notes and few of the others'.

    Args:
        texts: of the notes (by their row) that tell what topics are about: those of `told_by`. None: topics by number.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # type: ignore[import-untyped]

    holding: list[Counter[str]] = []
    written: dict[str, str] = {}
    sizes = []
    for rows in told_by(found):
        counter: Counter[str] = Counter()
        bodies = [plain(texts[row][:_TOLD_FROM]) for row in rows if texts.get(row)]
        for body in bodies:
            counter.update(set(terms(body)))
        written.update(surfaces("\n".join(bodies)))
        holding.append(counter)
        sizes.append(max(1, len(bodies)))
    everywhere: Counter[str] = Counter()
    for counter, size in zip(holding, sizes, strict=True):
        for term, notes in counter.items():
            everywhere[term] += notes / size  # type: ignore[assignment]  # a sum of shares
    names = []
    for number, (counter, size) in enumerate(zip(holding, sizes, strict=True), 1):
        score = {
            term: (notes / size) * (notes / size) / everywhere[term]
            for term, notes in counter.items()
            if (notes > 1 or size < FEWEST) and written[term] not in ENGLISH_STOP_WORDS
        }
        best = sorted(score, key=lambda term: (-score[term], term))
        names.append(" · ".join(written[term] for term in _apart(best, words)) or f"#{number}")
    return names


def told_by(found: TopicMap) -> list[list[int]]:
    """The rows of the notes whose words name each topic: those nearest to its middle."""
    return [rows[:_TOLD_BY].tolist() for rows in found.nearest]


def _apart(ranked: Sequence[str], count: int) -> list[str]:
    """The first `count` that do not lie within each other."""
    chosen: list[str] = []
    for term in ranked:
        if not any(term in other or other in term for other in chosen):
            chosen.append(term)
        if len(chosen) == count:
            break
    return chosen


def _without_language(vectors: Floats, languages: NDArray[np.str_]) -> Floats:
    levelled = vectors - vectors.mean(axis=0)
    for language in np.unique(languages):
        rows = languages == language
        if rows.sum() >= _FEWEST_OF_LANGUAGE:
            levelled[rows] -= levelled[rows].mean(axis=0)
    return unit(levelled)
