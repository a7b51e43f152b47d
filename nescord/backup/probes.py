"""Probes: queries kept in a snapshot with the answers that the database gave, so that a drill can ask them again.

A restored file may pass every check of SQLite and still not find a note. No model is needed: vectors are those of
stored chunks.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import apsw
import numpy as np

from nescord.backup.manifest import Probe
from nescord.catalog import search as search_sql
from nescord.index.exact import ExactIndex
from nescord.notes import Scope
from nescord.query import parse_query
from nescord.search import keyword_search

PROBES = 30
_HITS = 10
# Matrix products differ in their last bits between machines: answers this near to each other may change places.
_TIE = 1e-4
_Hits = tuple[tuple[int, float], ...]


def make_probes(connection: apsw.Connection, seed: int) -> tuple[str, tuple[Probe, ...]]:
    """Up to 30 probes of a database and the key of the model whose vectors they are ("" where there are none)."""
    notes: list[tuple[str, str]] = connection.execute(
        "SELECT id, title FROM note WHERE trashed_at IS NULL ORDER BY id"
    ).fetchall()  # type: ignore[assignment]  # two columns
    chosen = random.Random(seed).sample(notes, min(PROBES, len(notes)))
    model = _model_with_most(connection)
    exact = ExactIndex(model[0]) if model else None
    probes = []
    for note_id, title in chosen:
        vector = ""
        if exact is not None:
            _, chunks = search_sql.chunks_of_note(connection, note_id)
            if len(own := exact.vectors(connection, chunks[:1])):
                vector = base64.b64encode(own[0].astype("<f4").tobytes()).decode("ascii")
        probes.append(_answered(connection, exact, title, vector))
    return model[1] if model else "", tuple(probes)


def failed_probes(connection: apsw.Connection, model_key: str, probes: Sequence[Probe]) -> list[str]:
    """The probes whose answers are no longer those that were kept, in words."""
    number = connection.execute("SELECT id FROM model WHERE key = ?", (model_key,)).get
    exact = None if number is None else ExactIndex(number)
    failed = []
    for probe in probes:
        now = _answered(connection, exact, probe.text, probe.vector)
        for way, before, after in (("words", probe.keyword, now.keyword), ("vectors", probe.exact, now.exact)):
            if not _agree(before, after):
                chunks = [[one for one, _ in hits] for hits in (before, after)]
                failed.append(f'"{probe.text}" by {way}: {chunks[0]} before, {chunks[1]} now')
    return failed


def _answered(connection: apsw.Connection, exact: ExactIndex | None, text: str, vector: str) -> Probe:
    found = keyword_search(connection, parse_query(text, ZoneInfo("UTC")), Scope(), _HITS)
    near: _Hits = ()
    if vector and exact is not None:
        asked = np.frombuffer(base64.b64decode(vector), "<f4")
        hits = sorted(exact.query(connection, asked, _HITS), key=lambda hit: (-hit.score, hit.chunk))
        near = tuple((hit.chunk, round(float(hit.score), 6)) for hit in hits[:_HITS])
    return Probe(text, vector, tuple((hit.chunk_id, hit.score) for hit in found), near)


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


def _model_with_most(connection: apsw.Connection) -> tuple[int, str] | None:
    row = connection.execute(
        "SELECT model.id, model.key FROM embedding JOIN model ON model.id = embedding.model "
        "GROUP BY model.id ORDER BY count(*) DESC LIMIT 1"
    ).get
    return None if row is None else (int(row[0]), str(row[1]))
