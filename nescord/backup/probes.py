"""Probes: queries kept in a snapshot with the answers that the database gave, so that a drill can ask them again.

A restored file may pass every check of SQLite and still not find a note. No model is needed: vectors are those of
stored chunks.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mode
from zoneinfo import ZoneInfo

import apsw
import numpy as np

from nescord.backup.manifest import Probe
from nescord.catalog import model_choice
from nescord.catalog import vectors as vectors_sql
from nescord.embedding import Vectors
from nescord.notes import Scope
from nescord.query import parse_query
from nescord.search import keyword_search

PROBES = 20
_HITS = 10
# Matrix products differ in their last bits between machines: answers this near to each other may change places.
_TIE = 1e-4
# What a query takes for filters, phrases and exclusions: a title means none of it.
_SYNTAX = re.compile(r'[-:"“”]')
_BATCH = 256
_FIRST_VECTOR = """
SELECT vector FROM embedding WHERE model = ? AND text_hash = (
    SELECT text_hash FROM chunk WHERE note = (SELECT key FROM note WHERE id = ?) ORDER BY ordinal LIMIT 1
)
"""
_Hits = tuple[tuple[int, float], ...]


def make_probes(connection: apsw.Connection, seed: int) -> tuple[str, tuple[Probe, ...]]:
    """Up to 20 probes of a database and the key of the model whose vectors they are ("" where there are none)."""
    notes: list[tuple[str, str]] = connection.execute(
        "SELECT id, title FROM note WHERE trashed_at IS NULL ORDER BY id"
    ).fetchall()  # type: ignore[assignment]  # two columns
    chosen = random.Random(seed).sample(notes, min(PROBES, len(notes)))
    model = _live_model(connection)
    texts = [_SYNTAX.sub(" ", title) for _, title in chosen]
    vectors = [_vector_of(connection, model[0], note_id) if model else "" for note_id, _ in chosen]
    return model[1] if model else "", _answered(connection, model[0] if model else None, texts, vectors)


@dataclass(frozen=True, slots=True)
class Answer:
    """One probe asked again: the chunks found `by` words or vectors when the snapshot was made, and now, best first."""

    query: str
    by: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    agrees: bool

    def __str__(self) -> str:
        return f'"{self.query}" by {self.by}: {list(self.before)} before, {list(self.after)} now'


def asked_again(connection: apsw.Connection, model_key: str, probes: Sequence[Probe]) -> list[Answer]:
    """The answers to all probes, and whether they are still those that were kept. Two for each: words, vectors."""
    model = connection.execute("SELECT id FROM model WHERE key = ?", (model_key,)).get
    texts, vectors = [probe.text for probe in probes], [probe.vector for probe in probes]
    answers = []
    for probe, now in zip(probes, _answered(connection, model, texts, vectors), strict=True):
        for way, before, after in (("words", probe.keyword, now.keyword), ("vectors", probe.exact, now.exact)):
            chunks = [tuple(one for one, _ in hits) for hits in (before, after)]
            answers.append(Answer(probe.text, way, chunks[0], chunks[1], agrees=_agree(before, after)))
    return answers


def decoded(vector: str) -> Vectors:
    """A probe's vector as numbers."""
    return np.frombuffer(base64.b64decode(vector), "<f4")


def _answered(
    connection: apsw.Connection, model: int | None, texts: Sequence[str], vectors: Sequence[str]
) -> tuple[Probe, ...]:
    near = _nearest(connection, model, {vector: decoded(vector) for vector in vectors if vector})
    probes = []
    for text, vector in zip(texts, vectors, strict=True):
        found = keyword_search(connection, parse_query(text, ZoneInfo("UTC")), Scope(), _HITS)
        words = tuple((hit.chunk_id, hit.score) for hit in found)
        probes.append(Probe(text, vector, words, near.get(vector, ())))
    return tuple(probes)


def _vector_of(connection: apsw.Connection, model: int, note_id: str) -> str:
    """The vector of a note's first chunk, "" where it has none that could be asked for."""
    stored = connection.execute(_FIRST_VECTOR, (model, note_id)).get
    if stored is None or len(stored) % 4 or not np.isfinite(np.frombuffer(stored, "<f4")).all():
        return ""
    return base64.b64encode(stored).decode("ascii")


def _nearest(connection: apsw.Connection, model: int | None, asked: Mapping[str, Vectors]) -> dict[str, _Hits]:
    """The chunks nearest to each vector: one pass over all that are stored, in the order of the file.

    ExactIndex would read them chunk by chunk into a matrix to be asked again and again: three times the CPU.
    """
    if model is None or not asked:
        return {}
    size = mode(len(vector) for vector in asked.values())
    asked = {key: vector for key, vector in asked.items() if len(vector) == size}
    queries = np.array(list(asked.values()))
    hashes: list[bytes] = []
    parts: list[Vectors] = []
    stored = connection.execute("SELECT text_hash, vector FROM embedding NOT INDEXED WHERE model = ?", (model,))
    while batch := list(islice(stored, _BATCH)):
        # What is no vector is for nescord verify to find: it must not stop a backup.
        rows = [row for row in batch if len(row[1]) == 4 * size]
        hashes += (text_hash for text_hash, _ in rows)
        vectors = np.frombuffer(b"".join(vector for _, vector in rows), "<f4").reshape(-1, size)
        # Not `@`: OpenBLAS would share that among its threads, which then spin for longer than the product takes.
        with np.errstate(invalid="ignore", over="ignore"):
            parts.append(np.vecdot(vectors[np.newaxis], queries[:, np.newaxis]))
    scores = np.concatenate(parts, axis=1)
    return {key: _best(connection, hashes, scores[number]) for number, key in enumerate(asked)}


def _best(connection: apsw.Connection, hashes: Sequence[bytes], scores: Vectors) -> _Hits:
    """The chunks that stand for the highest scores; texts that no chunk has any more have none."""
    found: list[tuple[int, float]] = []
    for place in np.argsort(-scores):
        if not np.isfinite(scores[place]):
            continue
        score = round(float(scores[place]), 6)
        if len(found) >= _HITS and score < found[-1][1]:
            break
        rows = connection.execute("SELECT id FROM chunk WHERE text_hash = ?", (hashes[place],))
        found += ((int(chunk), score) for (chunk,) in rows)
    return tuple(sorted(found, key=lambda hit: (-hit[1], hit[0]))[:_HITS])


def _agree(before: _Hits, after: _Hits) -> bool:
    """Whether two lists are the same but for answers that are as good as equal."""
    if len(before) != len(after):
        return False
    scores_before, scores_after = dict(before), dict(after)
    least = min((score for _, score in before), default=0.0)
    for (one, score), (other, now) in zip(before, after, strict=True):
        if one != other and abs(score - now) > _TIE:
            return False
    # What is only in one of the lists stood at its end, level with others.
    strays = [*(scores_before[one] for one in scores_before.keys() - scores_after.keys())]
    return all(abs(score - least) <= _TIE for score in strays)


def _live_model(connection: apsw.Connection) -> tuple[int, str] | None:
    key = model_choice.live_key(connection)
    number = None if key is None else vectors_sql.model_id(connection, key)
    return None if key is None or number is None else (number, key)
