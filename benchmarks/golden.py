"""How well the golden queries of data/sample are answered: recall@5 and MRR@10 with bootstrap intervals.

Recall@k is the share of a query's expected notes among the first k; MRR is the mean of 1 / rank of the first expected
note (0 beyond 10). The interval is the 95 % percentile bootstrap over queries (Efron 1979), 2,000 resamples, seeded.
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parent.parent / "data" / "sample"


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden query; `kind` is keyword, paraphrase, cross or unanswerable, `split` is tune or judge."""

    id: str
    query: str
    lang: str
    kind: str
    split: str
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean with its 95 % interval over `count` queries."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.count})"


def load() -> list[Golden]:
    """The golden queries."""
    lines = (SAMPLE / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Golden(**{**row, "expected": tuple(row["expected"])}) for row in rows]


def recall_at_5(found: Sequence[str], expected: Sequence[str]) -> float:
    """Share of the expected notes among the first five found."""
    return len(set(found[:5]) & set(expected)) / len(expected)


def reciprocal_rank(found: Sequence[str], expected: Sequence[str]) -> float:
    """1 / rank of the first expected note among the first ten found, else 0."""
    return next((1 / rank for rank, path in enumerate(found[:10], 1) if path in expected), 0.0)


def bootstrap(values: Sequence[float], seed: int = 1) -> Figure:
    """The mean of `values` and its percentile interval."""
    rng = random.Random(seed)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(2000))
    return Figure(statistics.fmean(values), means[50], means[1949], len(values))


def evaluate(search: Callable[[str], Sequence[str]], split: str | None = None) -> dict[str, Figure]:
    """Figures per language and kind for a function from a query to paths, best first (`split=None`: all queries)."""
    values: dict[str, list[float]] = {}
    for golden in load():
        if split not in (None, golden.split):
            continue
        found = search(golden.query)
        name = f"{golden.lang} {golden.kind}"
        if golden.kind == "unanswerable":
            values.setdefault(f"{name}: empty", []).append(float(not found))
            continue
        values.setdefault(f"{name}: recall@5", []).append(recall_at_5(found, golden.expected))
        values.setdefault(f"{name}: MRR@10", []).append(reciprocal_rank(found, golden.expected))
    return {name: bootstrap(value) for name, value in sorted(values.items())}
