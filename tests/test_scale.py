"""The scale benchmark at its smallest: every step is measured, a stopped run goes on, a failed step is told. And what
it has brought to light: with many chunks nothing may read all vectors to look at some.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import numpy as np
import pytest

from benchmarks import scale, scale_page
from benchmarks.scale import STEPS, Record, Step
from nescord.catalog import vectors as sql
from nescord.index import exact
from nescord.index.exact import ExactIndex
from tests.index_world import World, random_vectors

CHUNKS = 300
QUERY = random_vectors(1, seed=99)[0]


def lines(place: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (place / "scale.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_step_is_measured_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    scale.run(tmp_path, [CHUNKS], seed=1, limit=120, keep=True)
    whole = lines(tmp_path)
    assert [line["step"] for line in whole] == [step.name for step in STEPS]
    assert [line["error"] for line in whole] == [""] * len(STEPS)
    assert all(line["cpu"] and line["wall"] and line["rss_mb"] for line in whole)
    figures = {str(line["step"]): line["figures"] for line in whole}
    assert figures["drain"] == {"indexed": figures["ingest"]["chunks"]}  # type: ignore[index]
    assert all("fail" not in line for step in ("verify", "verify_deep") for line in figures[step]["not passed"])  # type: ignore[index]

    # Stopped in the middle of a line, and of a step that had begun its folder.
    journal = tmp_path / "scale.jsonl"
    kept = journal.read_text("utf-8").splitlines(keepends=True)
    at = [step.name for step in STEPS].index("backup")
    journal.write_text("".join(kept[:at]) + kept[at][:40], "utf-8")
    scale.run(tmp_path, [CHUNKS], seed=1, limit=120)
    records = scale.read(journal)
    assert [step for _, step in records] == [step.name for step in STEPS]
    assert not any(record.error for record in records.values())
    assert not (tmp_path / str(CHUNKS)).exists()

    # All is done: nothing is begun again.
    before = journal.read_bytes()
    scale.run(tmp_path, [CHUNKS], seed=1, limit=120)
    assert journal.read_bytes() == before
    assert "–" not in scale_page.tables(records.values()).split("## What failed")[0].replace("| – |\n", "|\n")


def test_a_step_that_fails_or_takes_too_long_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    failed = scale.one(Step("drain"), CHUNKS, tmp_path / "nothing", 1, 120)
    assert "no knowledge base" in failed.error
    late = scale.one(Step("generate"), CHUNKS, tmp_path / "late", 1, 0.05)
    assert late.error == "stopped after 0 s"


def test_growth_is_the_exponent_between_sizes(tmp_path: Path) -> None:
    assert scale_page.exponent(1_000, 2.0, 10_000, 20.0) == pytest.approx(1)
    assert scale_page.exponent(1_000, 2.0, 10_000, 200.0) == pytest.approx(2)
    assert scale_page.exponent(1_000, 2.0, 10_000, 2.0) == 0
    records = [
        Record(size, step, cpu=size / 500, wall=1.0, rss_mb=50, figures={"chunks": size, "bytes": size}, disk=disk)
        for size in (1_000, 10_000)
        for step in ("ingest", "fill", "drain")
        for disk in [{"database": size * 9, "chroma": size, "backups": 0}]
    ]
    broken = Record(10_000, "verify", error="stopped after 7200 s")
    page = scale_page.tables([*records, broken])
    assert "| ingest, notes and words | 2.00 | 20.0 | **1.00** |" in page
    assert "| verify | – | – | **–** |" in page
    assert "- 10,000, verify: stopped after 7200 s" in page
    scale_page.picture(records, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


PLANS = {
    "all": lambda c, m: next(sql.all_vectors(c, m, None)),
    "of a group": lambda c, m: next(sql.all_vectors(c, m, "ja")),
    "placed": lambda c, m: next(sql.placed_vectors(c, m, None)),
    "some": lambda c, m: sql.vectors_of(c, m, "other", [1, 2]),
    "some placed": lambda c, m: list(sql.placed_vectors(c, m, [1, 2])),
}


@pytest.mark.parametrize("read", PLANS.values(), ids=PLANS)
def test_vectors_are_read_in_the_order_of_chunks_and_never_sorted(
    tmp_path: Path, read: Callable[[apsw.Connection, int], object]
) -> None:
    with World(tmp_path, vector="exact") as world:
        world.add(20)
        world.add(20, group="ja")
        with world.catalog.read() as connection:
            asked: list[tuple[str, apsw.Bindings | None]] = []

            def trace(_: object, statement: str, bindings: apsw.Bindings | None) -> bool:
                asked.append((statement, bindings))
                return True

            connection.exec_trace = trace
            read(connection, world.model)
            connection.exec_trace = None
            plan = [
                str(step)
                for statement, bindings in asked
                for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)
            ]
            assert not [step for step in plan if "TEMP B-TREE" in step]
            assert [step for step in plan if "embedding" in step and "model=? AND text_hash=?" in step]
            assert not [step for step in plan if step.endswith("embedding_by_text (model=?)")]


@pytest.fixture
def _a_few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_FEW_CHUNKS", 10)


@contextmanager
def whole_reads(connection: apsw.Connection) -> Iterator[list[str]]:
    """The statements meanwhile that read every stored vector."""
    seen: list[str] = []

    def trace(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        if "embedding.vector" in statement and "json_each" not in statement:
            seen.append(statement)
        return True

    connection.exec_trace = trace
    try:
        yield seen
    finally:
        connection.exec_trace = None


@pytest.mark.usefixtures("_a_few_are_many")
def test_rows_are_read_one_by_one_until_somebody_scans_and_are_the_same(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        chunks = world.add(30) + world.add(20, group="ja")
        wanted = [*chunks[10:40], 10**9]
        with world.catalog.read() as connection:
            index, loaded = ExactIndex(world.model), ExactIndex(world.model)
            loaded.query(connection, QUERY, 1)
            with whole_reads(connection) as seen:
                assert index.placed(connection, QUERY, wanted) == loaded.placed(connection, QUERY, wanted)
                assert index.scores(connection, QUERY, wanted) == loaded.scores(connection, QUERY, wanted)
                assert index.placed(connection, QUERY, []) == {}
                rows = index.vectors(connection, wanted)
                assert {row.tobytes() for row in rows} == {row.tobytes() for row in loaded.vectors(connection, wanted)}
                assert seen == []
                index.query(connection, QUERY, 1)
                assert len(seen) == 1
                index.placed(connection, QUERY, wanted)
                index.sample(connection, "ja", 5)
                assert len(seen) == 1


@pytest.mark.usefixtures("_a_few_are_many")
def test_a_note_that_was_just_deleted_or_added_counts_at_once(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        chunks = world.add(30)
        index = ExactIndex(world.model)
        world.delete(chunks[:1])
        added = world.add(1)
        with world.catalog.read() as connection:
            assert list(index.placed(connection, QUERY, [chunks[0], chunks[1], *added])) == [chunks[1], *added]


@pytest.mark.usefixtures("_a_few_are_many")
def test_a_sample_without_the_matrix_is_spread_and_stays_until_the_base_has_grown(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        world.add(300)
        world.add(100, group="ja")
        index = ExactIndex(world.model)
        with world.catalog.read() as connection, whole_reads(connection) as seen:
            first = index.sample(connection, "other", 20)
            assert first.shape == (20, 16)
            assert index.sample(connection, "ja", 20).shape == (20, 16)
            stored = [blob for _, _, blob in sql.all_vectors(connection, world.model, "other")]
            places = [stored.index(row.tobytes()) for row in first]
            assert places == sorted(places)
            assert places[-1] - places[0] > 250
            assert len(seen) == 1  # that of this test
        world.add(2)
        with world.catalog.read() as connection:
            assert (index.sample(connection, "other", 20) == first).all()
        world.add(50)
        with world.catalog.read() as connection:
            assert not np.array_equal(index.sample(connection, "other", 20), first)
