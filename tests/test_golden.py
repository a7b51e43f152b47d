"""The golden queries over the sample vault: keyword search must not get worse than it is."""

from __future__ import annotations

from pathlib import Path

from benchmarks import golden
from tests.vaults import SAMPLE, contents, open_base


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
