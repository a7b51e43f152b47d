"""Search by meaning, and by meaning and words together.

Both sides give their best candidates, filters are applied in SQLite to either, every note keeps its best chunk, and one
fused score orders them. Where filters leave few notes, all of their chunks are scored exactly instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw
import numpy as np

from nescord.catalog import search as search_sql
from nescord.catalog.search import Filter, FoundChunk
from nescord.catalog.vectors import LANGUAGE_GROUPS
from nescord.embedding import Vectors
from nescord.fusion import Fusion, Scores, fused, standardised
from nescord.index import VectorIndex
from nescord.index.exact import ExactIndex
from nescord.language import detect
from nescord.notes import Scope
from nescord.query import Filters, Query, by_parts, telling

# With so few chunks allowed by the filters, all of them are scored: what an index finds first may all be filtered out.
FEW_CHUNKS = 4_000
_SAMPLE = 500
# Chosen on the tune half of the golden queries (docs/measured/golden.md): a note whose words do not say the whole
# query, and whose vector is neither this near nor this far above its language's mean, is hardly an answer.
WEAK_COSINE = 0.25
WEAK_Z = 3.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A note with its best chunk, and its scores: bm25 (0: the words are not there) and cosine similarity."""

    note: int
    chunk: int
    score: float
    keyword: float
    cosine: float
    weak: bool


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
) -> list[Candidate]:
    """The best `limit` notes by both sides, best first; by vectors alone with `fusion=None`."""
    width = max(50, 5 * limit)
    allowed = Filter(query, scope, required=[term for term in query.terms if term.is_required])
    chunks = _near(connection, index, exact, vector, allowed, width)
    words: dict[int, FoundChunk] = {}
    says_all: set[int] = set()
    if query.terms:
        wanted = telling(query.terms)
        everything = " AND ".join(term.match for term in wanted)
        says_all = {chunk.note for chunk in search_sql.best_chunks(connection, everything, allowed, width)}
        if fusion is not None:
            some = search_sql.best_chunks(connection, by_parts(wanted), allowed, width)
            words = {chunk.note: chunk for chunk in some}
            chunks += [chunk.id for chunk in some]
    notes = search_sql.allowed_chunks(connection, allowed, list(dict.fromkeys(chunks)))
    cosines = exact.scores(connection, vector, list(notes))
    best: dict[int, tuple[float, int, str]] = {}
    for chunk, (note, lang) in notes.items():
        near = cosines.get(chunk, -1.0)
        if note not in best or (near, -chunk) > (best[note][0], -best[note][1]):
            best[note] = (near, chunk, lang)
    if not best:
        return []
    keys = list(best)
    cosine = np.array([best[note][0] for note in keys])
    keyword = np.array([words[note].score if note in words else 0.0 for note in keys])
    z = _standardised(connection, exact, vector, cosine, [best[note][2] for note in keys])
    if fusion is None:
        scores = z
    else:
        is_japanese = detect(query.text) == "ja"
        same = np.array([(best[note][2] == "ja") == is_japanese for note in keys])
        scores = fused(fusion, keyword, cosine, z, alpha, same)
    candidates = [
        Candidate(
            note=note,
            # A note that its words put here is shown where they stand.
            chunk=words[note].id if note in words else best[note][1],
            score=float(scores[at]),
            keyword=float(keyword[at]),
            cosine=float(cosine[at]),
            weak=bool(cosine[at] < WEAK_COSINE and z[at] < WEAK_Z and note not in says_all),
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


def _near(
    connection: apsw.Connection,
    index: VectorIndex,
    exact: ExactIndex,
    vector: Vectors,
    allowed: Filter,
    width: int,
) -> list[int]:
    """Chunks near the vector: what the index finds, or every chunk that the filters leave where these are few."""
    few = search_sql.every_allowed_chunk(connection, allowed, FEW_CHUNKS)
    if few:
        scored = exact.scores(connection, vector, few)
        return sorted(scored, key=lambda chunk: (-scored[chunk], chunk))[:width]
    return [hit.chunk for hit in index.query(connection, vector, width)]


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
    groups = ["ja" if lang == "ja" else "other" for lang in langs]
    mean = np.array([statistics[group][0] for group in groups])
    std = np.array([statistics[group][1] for group in groups])
    return standardised(cosine, mean, std)
