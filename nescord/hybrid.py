"""Search by meaning, and by meaning and words together.

Both sides give their best candidates, filters are applied in SQLite to either, every note keeps its best chunk, and one
fused score orders them. Where filters leave few notes, all of their chunks are scored exactly instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import apsw
import numpy as np
from numpy.typing import NDArray

from nescord.catalog import search as search_sql
from nescord.catalog.search import Filter, FoundChunk
from nescord.catalog.vectors import LANGUAGE_GROUPS
from nescord.embedding import Vectors
from nescord.fusion import Fusion, Scores, fused, standardised, together
from nescord.index import VectorIndex
from nescord.index.exact import ExactIndex, PlacedChunk
from nescord.language import detect, language_group
from nescord.notes import Scope
from nescord.query import Filters, Query, by_parts, telling

# With so few chunks allowed by the filters, all of them are scored: what an index finds first may all be filtered out.
FEW_CHUNKS = 4_000
_SAMPLE = 500
_FEWEST = 20
# Chosen on the tune half of the golden queries (docs/measured/golden.md): a note whose words do not say the whole
# query, and whose vector is neither this near nor this far above its language's mean, is hardly an answer. This is of
# the local model: all cosines of the others are higher, and nothing of theirs is marked.
WEAK_COSINE = 0.25
WEAK_Z = 3.0
# So many notes may hold every word of a query for it to be certain that these are meant.
RARE = 3
# The vectors of another model, and the query as one of them.
Second = tuple[ExactIndex, Vectors]
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
    second: Second | None = None,
) -> list[Candidate]:
    """The best `limit` notes by both sides, best first; by vectors alone with `fusion=None`.

    A note whose cosine is below `minimum`, or that has no vector, is left out if that is given. With a `second` model,
    whatever vectors it has count together with those of the first.
    """
    width = max(50, 5 * limit)
    allowed = Filter(query, scope, required=[term for term in query.terms if term.is_required])
    words: dict[int, FoundChunk] = {}
    if fusion is None:
        says_all = _saying_all(connection, query, allowed, width)
    else:
        words, says_all = _by_words(connection, query, allowed, width)
    found = _near(connection, index, exact, vector, allowed, width, limit)
    found |= _placed(connection, exact, vector, allowed, [one.id for one in words.values() if one.id not in found])
    if second is not None:
        more = [hit.chunk for hit in second[0].query(connection, second[1], width) if hit.chunk not in found]
        found |= _placed(connection, exact, vector, allowed, list(search_sql.allowed_chunks(connection, allowed, more)))
    nearness = None if second is None else _both(connection, exact, vector, second, found)
    best: dict[int, tuple[float, int, str]] = {}
    for chunk, (note, group, near) in found.items():
        if nearness is not None:
            near = nearness[chunk]
        if note not in best or (near, -chunk) > (best[note][0], -best[note][1]):
            best[note] = (near, chunk, group)
    if minimum is not None:
        best = {note: one for note, one in best.items() if found[one[1]].cosine >= max(minimum, -1)}
    if not best:
        return []
    keys = list(best)
    groups = np.array([group for _, _, group in best.values()])
    cosine = np.array([found[chunk].cosine for _, chunk, _ in best.values()])
    keyword = np.array([words[note].score if note in words else 0.0 for note in keys])
    # A note that its words put here is shown where they stand.
    shown = np.array([words[note].id if note in words else chunk for note, (_, chunk, _) in best.items()])
    z = _standardised(connection, exact, vector, cosine, groups)
    near_all = z if nearness is None else np.array([near for near, _, _ in best.values()])
    if fusion is None:
        scores = near_all
    else:
        says = np.array([note in says_all for note in keys])
        ranked = cosine if nearness is None else near_all
        waits = np.array([_waits(found, words.get(note)) for note in keys])
        # Words that stand together in hardly any note are meant: a name, a number, a code that vectors know nothing of.
        certain = waits | (says & (len(says_all) <= RARE))
        same = groups == language_group(detect(query.text))
        scores = fused(fusion, keyword, says, ranked, near_all, alpha, same, certain)
    return [
        Candidate(
            note=keys[at],
            chunk=int(shown[at]),
            score=float(scores[at]),
            keyword=float(keyword[at]),
            cosine=float(cosine[at]) if cosine[at] > _NO_VECTOR else 0.0,
            z=float(z[at]),
            says_all=keys[at] in says_all,
        )
        for at in np.lexsort((shown, -scores))[:limit]
    ]


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


def _by_words(
    connection: apsw.Connection, query: Query, allowed: Filter, width: int
) -> tuple[dict[int, FoundChunk], set[int]]:
    """The best notes that hold any part of the query -> their best chunks, and the notes that hold every word."""
    wanted = telling(query.terms)
    if not wanted:
        return {}, set()
    # A single word, or up to three CJK characters, are found as they are or not at all, as in search by words.
    if len(wanted) == 1 and not wanted[0].parts:
        whole = {chunk.note: chunk for chunk in search_sql.best_chunks(connection, *_everything(query, allowed), width)}
        return whole, set(whole)
    some = search_sql.best_chunks(connection, by_parts(wanted), allowed, width)
    return {chunk.note: chunk for chunk in some}, _saying_all(connection, query, allowed, width)


def _saying_all(connection: apsw.Connection, query: Query, allowed: Filter, width: int) -> set[int]:
    """The notes that hold every word of the query; the best of them, where they are more than `width`."""
    if not query.terms:
        return set()
    expression, checked = _everything(query, allowed)
    notes = search_sql.notes_holding(connection, expression, checked, width)
    if notes is None:
        notes = {chunk.note for chunk in search_sql.best_chunks(connection, expression, checked, width)}
    return notes


def _everything(query: Query, allowed: Filter) -> tuple[str, Filter]:
    """What finds the chunks that hold every word of the query."""
    wanted = telling(query.terms)
    checks = [term.recheck for term in wanted if term.recheck]
    return " AND ".join(term.match for term in wanted), replace(allowed, checks=checks)


def _near(
    connection: apsw.Connection,
    index: VectorIndex,
    exact: ExactIndex,
    vector: Vectors,
    allowed: Filter,
    width: int,
    limit: int,
) -> dict[int, PlacedChunk]:
    """Chunks near the vector that are allowed: the best `width` of each language group, and more until they are of
    `limit` notes, for the chunks that come first may be of one long note, or all be filtered out."""
    is_all_allowed = allowed.allows_all
    few = None if is_all_allowed else search_sql.every_allowed_chunk(connection, allowed, FEW_CHUNKS)
    if few is not None:
        scored = exact.scores(connection, vector, list(few))
        ordered = {chunk: few[chunk] for chunk in _by_score(scored)}
        return exact.placed(connection, vector, _best_of_each_group(ordered, width, limit))
    wanted = width
    while True:
        hits = index.query(connection, vector, wanted)
        chunks = [hit.chunk for hit in hits]
        if not is_all_allowed:
            chunks = list(search_sql.allowed_chunks(connection, allowed, chunks))
        # What has a vector in this very snapshot: without filters that is all there is to ask.
        found = exact.placed(connection, vector, chunks)
        counts = Counter(hit.language_group for hit in hits)
        notes: dict[str, set[int]] = {group: set() for group in LANGUAGE_GROUPS}
        for note, group, _ in found.values():
            notes[group].add(note)
        # A group that gives fewer than were asked for has no more.
        if all(count < wanted or len(notes[group]) >= limit for group, count in counts.items()):
            return found
        wanted *= 8


def _placed(
    connection: apsw.Connection, exact: ExactIndex, vector: Vectors, allowed: Filter, chunks: list[int]
) -> dict[int, PlacedChunk]:
    """Chunks that passed the filters, with vectors or without."""
    if not chunks:
        return {}
    found = exact.placed(connection, vector, chunks)
    if len(found) < len(chunks):
        waiting = [chunk for chunk in chunks if chunk not in found]
        for chunk, (note, group) in search_sql.allowed_chunks(connection, allowed, waiting).items():
            found[chunk] = PlacedChunk(note, group, _NO_VECTOR)
    return found


def _by_score(scored: Mapping[int, float]) -> list[int]:
    return sorted(scored, key=lambda chunk: (-scored[chunk], chunk))


def _best_of_each_group(ordered: Mapping[int, tuple[int, str]], width: int, limit: int) -> list[int]:
    # Each group apart: cosines across languages are lower, and are compared only when they are standardised.
    kept: list[int] = []
    counts: Counter[str] = Counter()
    notes: dict[str, set[int]] = {group: set() for group in LANGUAGE_GROUPS}
    for chunk, (note, group) in ordered.items():
        if counts[group] < width or len(notes[group]) < limit:
            kept.append(chunk)
            counts[group] += 1
            notes[group].add(note)
    return kept


def _waits(found: Mapping[int, PlacedChunk], words: FoundChunk | None) -> bool:
    """Whether the chunk that has the words has no vector yet."""
    return words is not None and found[words.id].cosine <= _NO_VECTOR


def _both(
    connection: apsw.Connection, exact: ExactIndex, vector: Vectors, second: Second, found: Mapping[int, PlacedChunk]
) -> dict[int, float]:
    """How near each chunk is in deviations of its language, by the vectors of both models that it has."""
    other, other_vector = second
    groups = np.array([placed.language_group for placed in found.values()])
    cosine = np.array([placed.cosine for placed in found.values()])
    scores = other.scores(connection, other_vector, list(found))
    others = np.array([scores.get(chunk, _NO_VECTOR) for chunk in found])
    z = together(
        _standardised(connection, exact, vector, cosine, groups),
        _standardised(connection, other, other_vector, others, groups),
        cosine > _NO_VECTOR,
        others > _NO_VECTOR,
    )
    return dict(zip(found, z.tolist(), strict=True))


def _standardised(
    connection: apsw.Connection, exact: ExactIndex, vector: Vectors, cosine: Scores, groups: NDArray[np.str_]
) -> Scores:
    """The cosines in deviations of their language group, over a fixed sample of its stored vectors."""
    mean, std = np.empty(len(groups)), np.empty(len(groups))
    samples = [
        rows @ vector if len(rows := exact.sample(connection, group, _SAMPLE)) else np.zeros(0)
        for group in LANGUAGE_GROUPS
    ]
    # A handful of notes has no distribution: that of all notes stands in for it, or what is usual.
    usual = _spread(np.concatenate(samples), (0.1, 0.1))
    for group, sample in zip(LANGUAGE_GROUPS, samples, strict=True):
        here = groups == group
        mean[here], std[here] = _spread(sample, usual)
    z = standardised(cosine, mean, std)
    # What has no vector yet is as far as the farthest that has one: a made-up distance would squeeze all others.
    known = cosine > _NO_VECTOR
    return np.where(known, z, z[known].min() if known.any() else 0.0)


def _spread(sample: NDArray[np.floating], usual: tuple[float, float]) -> tuple[float, float]:
    return (float(sample.mean()), float(sample.std())) if len(sample) >= _FEWEST else usual
