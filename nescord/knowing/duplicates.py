"""Notes that are there twice, or nearly: pairs whose texts agree, however they came to be.

Which pairs to look at is told by what is stored: a whole chunk in common, or vectors that are near. Whether they are
duplicates is decided by their texts alone, character by character, so a model's taste cannot call different notes the
same. Both steps are bounded: comparing every pair of 8,000 notes by their texts would take an hour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import apsw

from nescord.catalog import knowing as sql
from nescord.catalog.knowing import SeenNote
from nescord.knowing import NoteRef
from nescord.notes import Scope
from nescord.words import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nescord.embedding import Vectors

# Texts that agree to this share are called near-duplicates, unless somebody asks otherwise.
MINIMUM = 0.8
# How near the vectors of two notes must be for their texts to be compared, how many neighbours of a note are, and how
# many pairs in all: the nearest first.
_NEAR = 0.85
_NEIGHBOURS = 10
_MOST_PAIRS = 40_000
# What is compared of a text: comparing grows with the square of it, and who writes on after that has written another.
_COMPARED = 20_000
# Of so many notes with a chunk in common every two are looked at; of more, a boilerplate mostly, each with its next.
_MOST_SHARING = 10
_ROWS = 256
# Up to so many characters two texts are compared as they are, which takes microseconds; of 20,000 it takes 10 ms.
# Longer ones must share a tenth of the shorter's clauses: of 8,000 notes that leaves 300 of 4,400 pairs to compare.
_SHORT = 500
_CLAUSE, _FEW_CLAUSES, _SHARED = 8, 5, 0.1
_CLAUSE_END = re.compile(r"[\n.,;:!?。、，；：！？｡]")


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two notes whose texts agree; `similarity` is the share of their characters that do, in order (1: the same)."""

    first: NoteRef
    second: NoteRef
    similarity: float


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """Pairs, the likest first; `compared` pairs of texts were looked at. `degraded` says what could not be."""

    pairs: tuple[DuplicatePair, ...]
    compared: int
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Compared:
    """A text as it is compared, and what stands between its punctuation."""

    text: str
    clauses: frozenset[str]

    @classmethod
    def of(cls, body: str) -> _Compared:
        text = normalise(body[:_COMPARED])
        clauses = frozenset(clause for part in _CLAUSE_END.split(text) if len(clause := part.strip()) >= _CLAUSE)
        return cls(" ".join(text.split()), clauses)

    def may_agree(self, other: _Compared, minimum: float) -> bool:
        """False where comparing all characters could only say no: their lengths differ too much, or they are long and
        hardly a clause of either is in the other (letters alone agree to a half in any two texts of a language)."""
        shorter, longer = sorted((len(self.text), len(other.text)))
        if not shorter or 2 * shorter < minimum * (shorter + longer):
            return False
        few = min(len(self.clauses), len(other.clauses))
        return shorter <= _SHORT or few < _FEW_CLAUSES or len(self.clauses & other.clauses) >= _SHARED * few


def find(connection: apsw.Connection, scope: Scope, model: int | None, minimum: float, limit: int) -> DuplicateReport:
    """The first `limit` pairs whose similarity is `minimum` or more. `model` is whose vectors tell what is near."""
    from rapidfuzz import fuzz

    wanted = set(_sharing(connection, scope))
    degraded: tuple[str, ...] = ()
    if model is not None:
        near = _near(connection, scope, model)
        if len(near) > _MOST_PAIRS:
            degraded = (f"only the nearest {_MOST_PAIRS:,} of {len(near):,} pairs were compared",)
        wanted.update(near[:_MOST_PAIRS])
    keys = sorted({key for pair in wanted for key in pair})
    notes: dict[int, SeenNote] = {}
    compared: dict[int, _Compared] = {}
    for note, body in sql.texts(connection, scope, keys):
        notes[note.key], compared[note.key] = note, _Compared.of(body)
    found = []
    for first, second in wanted:
        one, other = compared[first], compared[second]
        if not one.may_agree(other, minimum):
            continue
        similarity = fuzz.ratio(one.text, other.text, score_cutoff=100 * minimum) / 100
        if similarity >= minimum:
            found.append((similarity, first, second))
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    pairs = (
        DuplicatePair(NoteRef.of(notes[first]), NoteRef.of(notes[second]), round(similarity, 4))
        for similarity, first, second in found[:limit]
    )
    return DuplicateReport(tuple(pairs), len(wanted), degraded)


def without_vectors(report: DuplicateReport, reason: str) -> DuplicateReport:
    """A report that says why no vectors told what is near."""
    missing = "only notes that have a whole passage in common were compared"
    return replace(report, degraded=(reason, missing, *report.degraded))


def _sharing(connection: apsw.Connection, scope: Scope) -> Iterator[tuple[int, int]]:
    for keys in sql.sharing(connection, scope):
        yield from combinations(keys, 2) if len(keys) <= _MOST_SHARING else pairwise(keys)


def _near(connection: apsw.Connection, scope: Scope, model: int) -> list[tuple[int, int]]:
    """Pairs of notes whose mean vectors are near, the nearest first."""
    import numpy as np

    keys, means = _means(connection, scope, model)
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(keys), _ROWS):
        block: NDArray[np.float32] = means[start : start + _ROWS] @ means.T
        block[np.arange(len(block)), start + np.arange(len(block))] = -1  # itself
        if len(keys) > _NEIGHBOURS:
            # The neighbours of each; what is less near than they is not looked at.
            least = np.partition(block, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS]
            block[block < least[:, None]] = -1
        for row, column in np.argwhere(block >= _NEAR).tolist():
            first, second = sorted((int(keys[start + row]), int(keys[column])))
            pairs[first, second] = float(block[row, column])
    return sorted(pairs, key=lambda pair: (-pairs[pair], pair))


def _means(connection: apsw.Connection, scope: Scope, model: int) -> tuple[NDArray[np.int64], Vectors]:
    """The notes that have vectors, and the mean of each one's, of length 1."""
    import numpy as np

    sums: dict[int, Vectors] = {}
    for note, blob in sql.vectors(connection, scope, model):
        vector = np.frombuffer(blob, "<f4")
        if note in sums:
            sums[note] += vector
        else:
            sums[note] = vector.copy()
    means = np.array(list(sums.values()), np.float32).reshape(len(sums), -1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.array(list(sums), np.int64), means / np.maximum(lengths, np.float32(1e-9))
