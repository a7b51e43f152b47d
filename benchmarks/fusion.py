"""Search modes and fusions over the golden queries: what the default is chosen by (docs/measured/golden.md).

`python -m benchmarks.fusion` prints the tables; `--write` puts them into docs/measured/golden.md. Defaults are chosen
on the tune half of the queries and judged on the other. It embeds the sample vault with the local model, ten seconds,
and for the tables with e5, a minute.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from benchmarks import golden
from benchmarks.golden import SAMPLE, Golden
from nescord import KnowledgeManager, Settings
from nescord.catalog import vectors as sql
from nescord.fusion import Fusion
from nescord.hybrid import WEAK_COSINE, WEAK_Z, Candidate, hybrid_candidates
from nescord.index.exact import ExactIndex
from nescord.notes import Scope
from nescord.query import parse_query

PAGE = Path(__file__).parent.parent / "docs" / "measured" / "golden.md"
ALPHAS = (0.5, 0.6, 0.7, 0.8)
SPLITS = ("tune", "judge")
# What hybrid search is compared in: within Japanese, within English, across languages.
GROUPS: dict[str, Callable[[Golden], bool]] = {
    "ja": lambda row: row.lang == "ja" and row.kind in ("keyword", "paraphrase"),
    "en": lambda row: row.lang == "en" and row.kind in ("keyword", "paraphrase"),
    "across": lambda row: row.kind == "cross",
}


Model = Literal["local", "e5", "local+e5"]
MODELS: tuple[Model, ...] = ("local", "e5", "local+e5")


@dataclass(frozen=True, slots=True)
class Variant:
    """A mode, or a fusion with the weight of vectors; by whose vectors."""

    mode: Literal["keyword", "vector", "hybrid"]
    fusion: Fusion | None = None
    alpha: float = 0.7
    model: Model = "local"

    def __str__(self) -> str:
        if self.fusion is None or self.fusion == "rrf":
            return self.fusion or self.mode
        return f"{self.fusion} {self.alpha}"


VARIANTS = (
    Variant("keyword"),
    Variant("vector"),
    Variant("hybrid", "rrf"),
    *(Variant("hybrid", fusion, alpha) for fusion in ("convex", "imputed") for alpha in ALPHAS),
)
DEFAULT = Variant("hybrid", Settings.model_fields["fusion"].default)
Search = Callable[[str], Sequence[str]]


class Sample:
    """The sample vault, embedded with the local model and perhaps with e5, asked in every way. A context manager."""

    def __init__(self, folder: Path, *, embedder: Literal["local", "local+e5"] = "local") -> None:
        self._resources = ExitStack()
        settings = Settings(data_dir=folder, embedder=embedder, vector="exact")
        self._km = self._resources.enter_context(KnowledgeManager.open(settings))
        self._km.ingest(SAMPLE / "vault")
        meaning = self._km._base.meaning
        catalog = self._resources.enter_context(self._km._base.verb())
        self._connection = self._resources.enter_context(catalog.read())
        self._services = {name: meaning.models.named(name) for name in embedder.split("+")}
        self._exact = {
            name: ExactIndex(sql.model_id(self._connection, service.model_key) or 0)
            for name, service in self._services.items()
        }
        rows = self._connection.execute("SELECT key, path FROM note")
        self._paths = {key: str(path) for key, path in rows}

    def __enter__(self) -> Sample:
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()

    def search(self, variant: Variant) -> Search:
        """From a query to the paths of ten notes, best first."""
        if variant.mode == "keyword":
            return lambda query: [hit.path for hit in self._km.search(query, mode="keyword", limit=10)]
        return lambda query: [self._paths[found.note] for found in self.candidates(query, variant)]

    def candidates(self, query: str, variant: Variant = DEFAULT) -> list[Candidate]:
        """The ten best notes with their scores."""
        parsed = parse_query(query, ZoneInfo("UTC"))
        first, _, second = variant.model.partition("+")
        exact, vector = self._exact[first], self._services[first].query(parsed.text)
        return hybrid_candidates(
            self._connection,
            exact,
            exact,
            vector,
            parsed,
            Scope(),
            10,
            fusion=variant.fusion,
            alpha=variant.alpha,
            second=(self._exact[second], self._services[second].query(parsed.text)) if second else None,
        )


def reciprocal_ranks(search: Search, group: str, split: str) -> list[float]:
    """One for each golden query of a group and half, in order."""
    rows = [row for row in golden.load() if row.split == split and GROUPS[group](row)]
    return [golden.reciprocal_rank(search(row.query), row.expected) for row in rows]


def lost_to_the_better_mode(sample: Sample, variant: Variant, split: str) -> dict[str, float]:
    """Per group, by how many whole queries' worth of reciprocal rank the better single mode is ahead (negative: is
    behind)."""
    lost = {}
    for group in GROUPS:
        single = max(
            sum(reciprocal_ranks(sample.search(Variant(mode)), group, split)) for mode in ("keyword", "vector")
        )
        lost[group] = single - sum(reciprocal_ranks(sample.search(variant), group, split))
    return lost


@dataclass(frozen=True, slots=True)
class WeakRates:
    """Shares of the unanswerable queries that come back empty or all weak, and of the answerable ones that do too."""

    caught: float
    lost: float


def weak_rates(sample: Sample, split: str | None, cosine: float = WEAK_COSINE, z: float = WEAK_Z) -> WeakRates:
    """The rates of the rule `weak` = cosine and z below these, and not every word found."""
    answers: dict[bool, list[bool]] = {True: [], False: []}
    for row in golden.load():
        if split in (None, row.split):
            found = sample.candidates(row.query)
            is_weak = all(one.cosine < cosine and one.z < z and not one.says_all for one in found)
            answers[row.kind == "unanswerable"].append(is_weak)
    return WeakRates(statistics.fmean(answers[True]), statistics.fmean(answers[False]))


def figures_table(sample: Sample, split: str) -> str:
    """Recall@5 and MRR@10 of every variant with 95 % intervals."""
    kinds = [f"{lang} {kind}" for kind in ("keyword", "paraphrase", "cross") for lang in ("ja", "en")]
    lines = [f"| {split} | measure | {' | '.join(kinds)} |", f"|---|---|{'---|' * len(kinds)}"]
    for variant in VARIANTS:
        figures = golden.evaluate(sample.search(variant), split)
        for measure in ("recall@5", "MRR@10"):
            cells = [figures[f"{kind}: {measure}"] for kind in kinds]
            shown = " | ".join(f"{cell.mean:.2f} [{cell.low:.2f}, {cell.high:.2f}]" for cell in cells)
            name = f"**{variant}**" if variant == DEFAULT else str(variant)
            lines.append(f"| {name} | {measure} | {shown} |")
    return "\n".join(lines)


def models_table(sample: Sample, split: str) -> str:
    """MRR@10 of each model, by vectors alone and by the default fusion, with 95 % intervals."""
    kinds = [f"{lang} {kind}" for kind in ("keyword", "paraphrase", "cross") for lang in ("ja", "en")]
    lines = [f"| {split} | by | {' | '.join(kinds)} | all |", f"|---|---|{'---|' * (len(kinds) + 1)}"]
    for model in MODELS:
        for variant in (Variant("vector", model=model), replace(DEFAULT, model=model)):
            search = sample.search(variant)
            figures = golden.evaluate(search, split)
            every = [rank for group in GROUPS for rank in reciprocal_ranks(search, group, split)]
            cells = [*(figures[f"{kind}: MRR@10"] for kind in kinds), golden.bootstrap(every)]
            shown = " | ".join(f"{cell.mean:.2f} [{cell.low:.2f}, {cell.high:.2f}]" for cell in cells)
            lines.append(f"| {model} | {'vectors' if variant.fusion is None else variant} | {shown} |")
    return "\n".join(lines)


def lost_table(sample: Sample) -> str:
    """By how many queries the better single mode is ahead of each fusion."""
    heads = [f"{split}: {group}" for split in SPLITS for group in GROUPS]
    lines = [f"| fusion | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for variant in VARIANTS[2:]:
        cells = [lost for split in SPLITS for lost in lost_to_the_better_mode(sample, variant, split).values()]
        name = f"**{variant}**" if variant == DEFAULT else str(variant)
        lines.append(f"| {name} | {' | '.join(f'{cell:+.2f}' for cell in cells)} |")
    return "\n".join(lines)


def weak_table(sample: Sample) -> str:
    """What each pair of thresholds catches and loses."""
    lines = [
        "| cosine < | z < | unanswerable caught: tune | judge | answerable lost: tune | judge |",
        "|---|---|---|---|---|---|",
    ]
    for cosine in (0.18, 0.2, 0.22, 0.25, 0.28, 0.32):
        for z in (2.5, 3.0, 3.5, 9.0):
            tune, judge = (weak_rates(sample, split, cosine, z) for split in SPLITS)
            mark = "**" if (cosine, z) == (WEAK_COSINE, WEAK_Z) else ""
            lines.append(
                f"| {mark}{cosine}{mark} | {mark}{z}{mark} | {tune.caught:.0%} | {judge.caught:.0%} "
                f"| {tune.lost:.1%} | {judge.lost:.1%} |"
            )
    return "\n".join(lines)


def page(sample: Sample) -> str:
    """docs/measured/golden.md."""
    rates = weak_rates(sample, None)
    return f"""# Golden queries, measured

Made by `python -m benchmarks.fusion --write`: {len(golden.load())} queries over `data/sample/vault`, the local model
where no other is named, the exact scan. Brackets are 95 % bootstrap intervals over queries; there are 7 to 9 queries in
a cell, so most differences between neighbours are chance. `convex` and `imputed` stand with the weight of vectors.

## Modes and fusions

Chosen on this half:

{figures_table(sample, "tune")}

Judged on this one:

{figures_table(sample, "judge")}

## Against the better single mode

By how many whole queries (summed reciprocal rank) the better of keyword and vector is ahead; negative: the fusion is.
`ja` and `en` are keyword and paraphrase queries together, `across` is both directions. The default may nowhere be more
than 1 behind.

{lost_table(sample)}

`rrf` and `convex` lose queries across languages that vectors alone answer: notes in the query's language outvote the
right one with words that it cannot have. `imputed` at 0.7 is the default.

## Models

MRR@10 with the vectors of USE (`local`), of multilingual-e5-small in 4 bits (`e5`), and of both (`local+e5`: chunks
found by either, and the mean of the two z-scores where a chunk has both).

{models_table(sample, "tune")}

{models_table(sample, "judge")}

`local+e5` is the best of the three over all queries on both halves, but the intervals overlap: some fifty queries over
eighty chunks do not tell them apart for sure. `e5` alone is ahead within a language at times and clearly behind from an
English question to a Japanese note, for it puts all texts of one language near to each other; it is no better default.
It takes a quarter of a CPU second a chunk, many times what USE takes: that is why it follows in the background, and why
USE answers meanwhile.

## Queries that no note answers

A hit is weak if its cosine and its z are both below these and not every word of the query is in one of its chunks. A
query is caught if nothing or only weak hits come back; an answerable one is lost if the same happens to it.

{weak_table(sample)}

**The aim, 90 % caught at 3 % lost, is not reached**, and no pair of thresholds comes near it: the default catches
{rates.caught:.0%} and marks {rates.lost:.1%} of the answerable queries as weak, too, more on the half that it was not
chosen on. Cosines of the best note reach from 0.12 to 0.27 for unanswerable queries, from 0.16 for paraphrases and
from 0.17 across languages: the model does not tell "the same subject" from "the answer". Tried besides, fitted on the
tune half: the share of the query's words in one chunk weighted by rarity, the lead of the best note over the next and
over the mean of ten, bm25 of the best note, and whether words and vectors name the same note. A logistic rule over all
but the first and the query's length catches at best 50 % at 3 % lost and 62 % at 10 %, mostly by the length, which
says something of these queries and nothing of the notes; it is not used.

This holds for `local` and for `local+e5`, whose marks are those of `local`. With `e5` and with models elsewhere no hit
is marked: their cosines are all high (of `e5`, the best note's lies between 0.79 and 0.87 for unanswerable queries and
between 0.78 and 0.91 for the others), and its z does not tell the two apart either.

A weak hit is shown all the same and marked, so a query that is lost costs a mark and not the answer. Fewer marks on
right answers cost nearly all of what is caught (0.18 and 2.5). A model that reads query and note together would help.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/measured/golden.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Sample(Path(folder) / "kb", embedder="local+e5") as sample:
        text = page(sample)
    print(text)
    if arguments.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
