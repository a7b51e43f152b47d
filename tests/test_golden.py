"""The golden queries over the sample vault: search must not get worse than it is (docs/measured/golden.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from survival import SOAK

from benchmarks import fusion, golden
from benchmarks.fusion import DEFAULT, Sample, Variant
from tests.vaults import SAMPLE, contents, open_base


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with Sample(tmp_path_factory.mktemp("sample") / "kb") as sample:
        yield sample


def test_keyword_search_answers_the_golden_queries_as_measured(tmp_path: Path) -> None:
    before = contents(SAMPLE / "vault")
    with open_base(tmp_path / "kb") as km:
        report = km.ingest(SAMPLE / "vault")
        assert (report.failed, report.warned) == (0, 1)
        figures = golden.evaluate(lambda query: [hit.path for hit in km.search(query, limit=10)])
    for name, figure in figures.items():
        print(f"{name:28} {figure}")
    for lang in ("ja", "en"):
        assert figures[f"{lang} keyword: recall@5"].mean == 1
        assert figures[f"{lang} keyword: MRR@10"].mean == 1
    # Words alone answer about half of the questions that were put in other words; meaning comes with the vectors.
    assert figures["ja paraphrase: MRR@10"].mean >= 0.40
    assert figures["en paraphrase: MRR@10"].mean >= 0.42
    assert contents(SAMPLE / "vault") == before


def test_every_golden_row_names_notes_that_are_there_and_not_ignored(tmp_path: Path) -> None:
    rows = golden.load()
    kinds = {kind: sum(row.kind == kind for row in rows) for kind in ("keyword", "paraphrase", "cross", "unanswerable")}
    assert kinds["cross"] >= 20
    assert kinds["unanswerable"] >= 10
    assert len(rows) >= 90
    with open_base(tmp_path / "kb") as km:
        km.ingest(SAMPLE / "vault")
        for path in {path for row in rows for path in row.expected}:
            assert km.note(path).path == path


def test_the_figures_are_what_their_names_say() -> None:
    assert golden.recall_at_5(["a", "b", "c", "d", "e", "f"], ["b", "f"]) == 0.5
    assert golden.reciprocal_rank(["a", "b"], ["b"]) == 0.5
    assert golden.reciprocal_rank([*"abcdefghij", "k"], ["k"]) == 0
    figure = golden.bootstrap([0.0, 1.0] * 50)
    assert figure.low < 0.5 < figure.high


@pytest.mark.parametrize("split", fusion.SPLITS)
def test_hybrid_search_is_nowhere_more_than_one_query_behind_the_better_mode(sample: Sample, split: str) -> None:
    lost = fusion.lost_to_the_better_mode(sample, DEFAULT, split)
    print(split, lost)
    assert set(lost) == {"ja", "en", "across"}
    assert max(lost.values()) <= 1


def test_the_default_is_the_only_fusion_of_its_weight_that_reaches_across_languages(sample: Sample) -> None:
    for other in (Variant("hybrid", "rrf"), Variant("hybrid", "convex", DEFAULT.alpha)):
        assert fusion.lost_to_the_better_mode(sample, other, "judge")["across"] > 1


def test_search_by_meaning_and_by_both_answers_the_golden_queries_as_measured(sample: Sample) -> None:
    # A little below what was measured, for machines that add numbers in another order.
    vector = golden.evaluate(sample.search(Variant("vector")))
    hybrid = golden.evaluate(sample.search(DEFAULT))
    for name, figure in hybrid.items():
        print(f"{name:28} {figure}")
    for lang, by_vector, by_both in (("ja", 0.82, 0.76), ("en", 0.79, 0.76)):
        assert vector[f"{lang} cross: MRR@10"].mean >= by_vector
        assert hybrid[f"{lang} cross: MRR@10"].mean >= by_both
        assert hybrid[f"{lang} keyword: recall@5"].mean == 1
        assert hybrid[f"{lang} keyword: MRR@10"].mean >= 0.88
        assert hybrid[f"{lang} paraphrase: MRR@10"].mean >= 0.56


@pytest.mark.skipif(not SOAK, reason="e5 takes a minute (NESCORD_SOAK=1)")
def test_local_and_e5_together_answer_the_golden_queries_better_than_local(tmp_path: Path) -> None:
    with Sample(tmp_path / "kb", embedder="local+e5") as both:
        for split in fusion.SPLITS:
            ranks = {
                model: [
                    rank
                    for group in fusion.GROUPS
                    for rank in fusion.reciprocal_ranks(both.search(replace(DEFAULT, model=model)), group, split)
                ]
                for model in fusion.MODELS
            }
            means = {model: sum(found) / len(found) for model, found in ranks.items()}
            print(split, means)
            assert means["local+e5"] >= 0.82
            assert means["local+e5"] > means["local"]


def test_queries_that_nothing_answers_are_marked_weak_as_measured(sample: Sample) -> None:
    rates = fusion.weak_rates(sample, None)
    print(rates)
    # The aim of 0.9 at 0.03 is out of this model's reach: docs/measured/golden.md says why.
    assert rates.caught >= 0.75
    assert rates.lost <= 0.2
