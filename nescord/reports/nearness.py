"""Which notes are near each other in meaning, from the vectors of the marts: means of notes, and pairs of them.

Everything is done block by block: a matrix of every note against every other would be 256 MB for 8,000 notes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nescord import marts

if TYPE_CHECKING:
    import duckdb
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

Floats: TypeAlias = NDArray[np.float32]
_ROWS = 256
_SHARED = """
    WITH held AS (SELECT DISTINCT text_hash, note_id, chars FROM chunks),
    few AS (SELECT text_hash FROM held GROUP BY 1 HAVING count(*) BETWEEN 2 AND 10),
    size AS (SELECT note_id, sum(chars) AS chars FROM chunks GROUP BY 1),
    common AS (
        SELECT one.note_id AS first, other.note_id AS second, count(*) AS passages, sum(one.chars) AS chars
        FROM few JOIN held AS one USING (text_hash) JOIN held AS other USING (text_hash)
        WHERE one.note_id < other.note_id GROUP BY ALL
    )
    SELECT first, second, passages, (common.chars / greatest(1, least(a.chars, b.chars)))::DOUBLE
    FROM common JOIN size AS a ON a.note_id = first JOIN size AS b ON b.note_id = second ORDER BY ALL
"""
_COMPARED = 5_000


@dataclass(frozen=True, slots=True)
class NoteMeans:
    """The living notes that have vectors, by id, and the mean of the vectors of each, of length 1 (n × d)."""

    ids: tuple[str, ...]
    vectors: Floats

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows with their cosine, the nearest first; `first` < `second` in each."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    cosine: Floats

    def __len__(self) -> int:
        return len(self.cosine)


def note_means(connection: duckdb.DuckDBPyConnection) -> NoteMeans:
    """The means of all notes; none where nothing is embedded."""
    ids, matrix = marts.vectors(connection)
    notes = dict(connection.sql("SELECT chunk_id, note_id FROM chunk_vectors").fetchall())
    names, rows = np.unique([notes[chunk] for chunk in ids.tolist()], return_inverse=True)
    sums = np.zeros((len(names), matrix.shape[1]), np.float32)
    np.add.at(sums, rows, matrix)
    return NoteMeans(tuple(map(str, names)), unit(sums))


def unit(vectors: Floats) -> Floats:
    """Each row at length 1; one of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
    return scaled


def cosines(vectors: Floats, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    """The cosine of each pair of rows, 1 at most: rounding makes 1.0000001 of a copy, which is beyond every axis.

    Args:
        vectors: rows of length 1.
    """
    found: Floats = np.minimum((vectors[first] * vectors[second]).sum(axis=1), 1)
    return found


def near_pairs(vectors: Floats, *, at_least: float, neighbours: int = 10) -> Pairs:
    """The pairs whose cosine is `at_least` or more, of each row those with its `neighbours` nearest.

    Args:
        vectors: rows of length 1.
    """
    found: dict[tuple[int, int], float] = {}
    count = min(neighbours, len(vectors) - 1)
    for start in range(0, len(vectors) if count > 0 else 0, _ROWS):
        block = vectors[start : start + _ROWS] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -1  # oneself
        nearest = np.argpartition(block, -count, axis=1)[:, -count:]
        for row, column in zip(*np.nonzero(np.take_along_axis(block, nearest, axis=1) >= at_least), strict=True):
            other = int(nearest[row, column])
            found[min(start + int(row), other), max(start + int(row), other)] = min(1.0, float(block[row, other]))
    ranked = sorted(found, key=lambda pair: (-found[pair], pair))
    both = np.array(ranked, np.int64).reshape(-1, 2)
    return Pairs(both[:, 0], both[:, 1], np.array([found[pair] for pair in ranked], np.float32))


def nearest_cosines(vectors: Floats) -> Floats:
    """For each row, the cosine of the other row that is nearest to it; nothing for a single row."""
    if len(vectors) < 2:
        return np.zeros(0, np.float32)
    found = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -1
        found[start : start + _ROWS] = np.minimum(block.max(axis=1), 1)
    return found


def twins(connection: duckdb.DuckDBPyConnection, means: NoteMeans, *, near: float, share: float) -> pd.DataFrame:
    """Pairs of notes that say nearly the same: a cosine of `near` or more, or that `share` of the shorter in common.

    Columns: first, second (ids, first < second); cosine, NaN where less than `near`; passages that they have in common
    to the letter; share of the shorter note's characters that those are. A passage of more than ten notes is
    boilerplate and does not count.
    """
    import pandas as pd

    shared = {(one, other): rest for one, other, *rest in connection.sql(_SHARED).fetchall()}
    pairs = near_pairs(means.vectors, at_least=near)
    cosines = {
        (means.ids[one], means.ids[other]): cosine
        for one, other, cosine in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.cosine.tolist(), strict=True)
    }
    rows = [
        (*pair, cosines.get(pair, math.nan), *shared.get(pair, (0, 0.0)))
        for pair in sorted({*cosines, *(pair for pair, (_, part) in shared.items() if part >= share)})
    ]
    rows.sort(key=lambda row: (-max(cosines.get(row[:2], 0.0), row[4]), row[:2]))
    return pd.DataFrame(rows, columns=["first", "second", "cosine", "passages", "share"])


def agreement(connection: duckdb.DuckDBPyConnection, pairs: pd.DataFrame) -> list[float | None]:
    """For each of the pairs (columns first, second): the share of their characters that agree, in order; None without
    texts. The first 5,000 characters count: comparing grows with their square."""
    from rapidfuzz import fuzz

    wanted = sorted({*pairs["first"], *pairs["second"]})
    texts = dict(
        connection.execute(
            f"SELECT note_id, left(text, {_COMPARED}) FROM notes WHERE note_id IN (SELECT unnest(?))", [wanted]
        ).fetchall()
    )
    return [
        round(fuzz.ratio(texts[one], texts[other]) / 100, 2) if texts[one] and texts[other] else None
        for one, other in zip(pairs["first"], pairs["second"], strict=True)
    ]
