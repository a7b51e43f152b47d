"""Search by meaning, and by meaning and words together.

Both sides give their best candidates, filters are applied in SQLite to either, every note keeps its best chunk, and one
fused score orders them. Where filters leave few notes, all of their chunks are scored exactly instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import apsw
import numpy as np

from nescord.catalog import search as search_sql
from nescord.catalog.search import Filter, FoundChunk
from nescord.catalog.vectors import LANGUAGE_GROUPS
from nescord.embedding import Vectors
from nescord.fusion import Fusion, Scores, fused, standardised
from nescord.index import VectorIndex
from nescord.index.exact import ExactIndex
from nescord.language import detect, language_group
from nescord.notes import Scope
from nescord.query import Filters, Query, by_parts, telling

# With so few chunks allowed by the filters, all of them are scored: what an index finds first may all be filtered out.
FEW_CHUNKS = 4_000
_SAMPLE = 500
# Chosen on the tune half of the golden queries (docs/measured/golden.md): a note whose words do not say the whole
# query, and whose vector is neither this near nor this far above its language's mean, is hardly an answer.
WEAK_COSINE = 0.25
WEAK_Z = 3.0
# Below every cosine: of a chunk whose text waits for its vector, or was refused one.
_NO_VECTOR = -2.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A note with its best chunk, and its scores: bm25 (0: the words are not there), cosine similarity (0: it has no
    vector yet), and `z`, the cosine in deviations of the note's language. `says_all`: every word of the query is there.
    """

    note: int
    chunk: int
    score: float
    keyword: float
    cosine: float
    z: float
    says_all: bool

    @property
    def weak(self) -> bool:
        """Whether this is the nearest there is and yet hardly an answer."""
        return self.cosine < WEAK_COSINE and self.z < WEAK_Z and not self.says_all


def hybrid_candidates(
    connection: apsw.Connection,
    index: VectorIndex,
    exact: ExactIndex,
    vector: Vectors,
    query: Query,
    scope: Scope,
    limit: int,
    *,
    fusion: Fusion | None,
    alpha: float,
    minimum: float | None = None,
) -> list[Candidate]:
    """The best `limit` notes by both sides, best first; by vectors alone with `fusion=None`.

    A note whose cosine is below `minimum`, or that has no vector, is left out if that is given.
    """
    width = max(50, 5 * limit)
    allowed = Filter(query, scope, required=[term for term in query.terms if term.is_required])
    whole = _whole(connection, query, allowed, width)
    says_all = {chunk.note for chunk in whole}
    words = {} if fusion is None else {chunk.note: chunk for chunk in _partly(connection, query, allowed, width, whole)}
    found = _near(connection, index, exact, vector, allowed, width, limit)
    if words:
        found |= search_sql.allowed_chunks(connection, allowed, [chunk.id for chunk in words.values()])
    cosines = exact.scores(connection, vector, list(found))
    best: dict[int, tuple[float, int, str]] = {}
    for chunk, (note, lang) in found.items():
        near = cosines.get(chunk, _NO_VECTOR)
        if note not in best or (near, -chunk) > (best[note][0], -best[note][1]):
            best[note] = (near, chunk, lang)
    if minimum is not None:
        best = {note: one for note, one in best.items() if one[0] >= max(minimum, -1)}
    if not best:
        return []
    keys = list(best)
    langs = [best[note][2] for note in keys]
    cosine = np.array([best[note][0] for note in keys])
    keyword = np.array([words[note].score if note in words else 0.0 for note in keys])
    z = _standardised(connection, exact, vector, cosine, langs)
    if fusion is None:
        scores = z
    else:
        asked_in = language_group(detect(query.text))
        same = np.array([language_group(lang) == asked_in for lang in langs])
        says = np.array([note in says_all for note in keys])
        scores = fused(fusion, keyword, says, cosine, z, alpha, same)
    candidates = [
        Candidate(
            note=note,
            # A note that its words put here is shown where they stand.
            chunk=words[note].id if note in words else best[note][1],
            score=float(scores[at]),
            keyword=float(keyword[at]),
            cosine=float(cosine[at]) if cosine[at] > _NO_VECTOR else 0.0,
            z=float(z[at]),
            says_all=note in says_all,
        )
        for at, note in enumerate(keys)
    ]
    return sorted(candidates, key=lambda one: (-one.score, one.chunk))[:limit]


def related_candidates(
    connection: apsw.Connection, index: VectorIndex, exact: ExactIndex, note_id: str, scope: Scope, limit: int
) -> list[Candidate]:
    """The notes nearest to the mean of a note's stored vectors, without itself."""
    key, chunks = search_sql.chunks_of_note(connection, note_id)
    own = exact.vectors(connection, chunks)
    if not len(own):
        return []
    mean = own.mean(axis=0)
    vector = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)
    nothing = Query((), (), Filters())
    found = hybrid_candidates(connection, index, exact, vector, nothing, scope, limit + 1, fusion=None, alpha=1)
    return [candidate for candidate in found if candidate.note != key][:limit]


def _whole(connection: apsw.Connection, query: Query, allowed: Filter, width: int) -> list[FoundChunk]:
    """The best chunk of each of the best notes that hold every word of the query."""
    if not query.terms:
        return []
    wanted = telling(query.terms)
    everything = " AND ".join(term.match for term in wanted)
    checked = replace(allowed, checks=[term.recheck for term in wanted if term.recheck])
    return search_sql.best_chunks(connection, everything, checked, width)


def _partly(
    connection: apsw.Connection, query: Query, allowed: Filter, width: int, whole: list[FoundChunk]
) -> list[FoundChunk]:
    """The best chunk of each of the best notes that hold any part of the query."""
    wanted = telling(query.terms)
    # A single word, or up to three CJK characters, are found as they are or not at all, as in search by words.
    if not wanted or (len(wanted) == 1 and not wanted[0].parts):
        return whole
    return search_sql.best_chunks(connection, by_parts(wanted), allowed, width)


def _near(
    connection: apsw.Connection,
    index: VectorIndex,
    exact: ExactIndex,
    vector: Vectors,
    allowed: Filter,
    width: int,
    limit: int,
) -> dict[int, tuple[int, str]]:
    """Chunks near the vector that are allowed -> (note, language): the best `width` of each language group, and more
    until they are of `limit` notes, for the chunks that come first may be of one long note, or all be filtered out."""
    few = search_sql.every_allowed_chunk(connection, allowed, FEW_CHUNKS)
    if few is not None:
        scored = exact.scores(connection, vector, list(few))
        return _best_of_each_group({chunk: few[chunk] for chunk in _by_score(scored)}, width, limit)
    wanted = width
    while True:
        hits = index.query(connection, vector, wanted)
        found = search_sql.allowed_chunks(connection, allowed, [hit.chunk for hit in hits])
        counts = Counter(hit.language_group for hit in hits)
        notes = {
            group: {found[hit.chunk][0] for hit in hits if hit.language_group == group and hit.chunk in found}
            for group in counts
        }
        # A group that gives fewer than were asked for has no more.
        if all(count < wanted or len(notes[group]) >= limit for group, count in counts.items()):
            return found
        wanted *= 8


def _by_score(scored: Mapping[int, float]) -> list[int]:
    return sorted(scored, key=lambda chunk: (-scored[chunk], chunk))


def _best_of_each_group(ordered: Mapping[int, tuple[int, str]], width: int, limit: int) -> dict[int, tuple[int, str]]:
    # Each group apart: cosines across languages are lower, and are compared only when they are standardised.
    kept: dict[int, tuple[int, str]] = {}
    counts: Counter[str] = Counter()
    notes: dict[str, set[int]] = {group: set() for group in LANGUAGE_GROUPS}
    for chunk, (note, lang) in ordered.items():
        group = language_group(lang)
        if counts[group] < width or len(notes[group]) < limit:
            kept[chunk] = (note, lang)
            counts[group] += 1
            notes[group].add(note)
    return kept


def _standardised(
    connection: apsw.Connection, exact: ExactIndex, vector: Vectors, cosine: Scores, langs: Sequence[str]
) -> Scores:
    """The cosines in deviations of their language group, over a fixed sample of its stored vectors."""
    statistics: dict[str, tuple[float, float]] = {}
    for group in LANGUAGE_GROUPS:
        rows = exact.sample(connection, group, _SAMPLE)
        sample = rows @ vector if len(rows) else np.zeros(0)
        # A handful of notes has no distribution: the model's usual one stands in for it.
        statistics[group] = (float(sample.mean()), float(sample.std())) if len(sample) >= 20 else (0.1, 0.1)
    groups = [language_group(lang) for lang in langs]
    mean = np.array([statistics[group][0] for group in groups])
    std = np.array([statistics[group][1] for group in groups])
    z = standardised(cosine, mean, std)
    # What has no vector yet is as far as the farthest that has one: a made-up distance would squeeze all others.
    known = cosine > _NO_VECTOR
    return np.where(known, z, z[known].min() if known.any() else 0.0)
