"""The exact scan against plain numpy: after any change, on any thread, reading only what the log says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nescord.catalog import vectors as sql
from nescord.embedding import Vectors
from nescord.index import VectorHit
from nescord.index.exact import ExactIndex
from tests.index_world import World, random_vectors

QUERY = random_vectors(1, seed=99)[0]
# Few different vectors, so that many chunks are equally near.
POOL = random_vectors(5, seed=7)
STEPS = st.lists(
    st.tuples(st.sampled_from(("add", "delete", "edit")), st.sampled_from(sql.LANGUAGE_GROUPS), st.integers(0, 4)),
    max_size=10,
)


def brute_force(connection: apsw.Connection, model: int, vector: Vectors, k: int) -> list[tuple[int, str]]:
    """The k nearest of each group as (chunk, group), by a scan of everything that is stored."""
    found = []
    for group in sql.LANGUAGE_GROUPS:
        rows = [
            (-float(np.frombuffer(blob, "<f4").astype(np.float64) @ vector.astype(np.float64)), chunk)
            for chunk, _, blob in sql.all_vectors(connection, model, group)
        ]
        found += [(chunk, group) for _, chunk in sorted(rows)[:k]]
    return found


def assert_right(world: World, index: ExactIndex, k: int = 3) -> None:
    with world.catalog.read() as connection:
        hits = index.query(connection, QUERY, k)
        assert [(hit.chunk, hit.language_group) for hit in hits] == brute_force(connection, world.model, QUERY, k)
        everything = {chunk: blob for chunk, _, blob in sql.all_vectors(connection, world.model, None)}
        scores = index.scores(connection, QUERY, [*everything, 10**9])
        assert set(scores) == set(everything)
        for chunk, score in scores.items():
            assert score == pytest.approx(float(np.frombuffer(everything[chunk], "<f4") @ QUERY), abs=1e-5)
        assert len(index.vectors(connection, list(everything))) == len(everything)
        placed = index.placed(connection, QUERY, [*everything, 10**9])
        assert {chunk: one.cosine for chunk, one in placed.items()} == scores
        assert {chunk: (one.note, one.language_group) for chunk, one in placed.items()} == {
            chunk: (note, group)
            for chunk, note, group in connection.execute("SELECT id, note, language_group FROM chunk")
            if chunk in everything
        }


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_change_the_matrix_equals_a_scan_of_what_is_stored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    with World(tmp_path_factory.mktemp("world"), vector="exact") as world:
        index = ExactIndex(world.model)
        living: list[int] = []
        assert_right(world, index)
        for verb, group, which in steps:
            if verb in ("delete", "edit") and living:
                world.delete([living.pop(which % len(living))])
            if verb in ("add", "edit"):
                living += world.add(1 + which, group=group, vectors=POOL[: 1 + which])
            assert_right(world, index)


def test_a_chunk_keeps_its_note_when_others_go_and_come(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        with world.catalog.write() as connection:
            for key in range(2, 5):
                columns = (
                    "source, path, size, mtime_ns, ctime_ns, inode, content_hash, title, lang, author, space, kind"
                )
                columns += ", owner, origin, created_at, updated_at"
                connection.execute(
                    f"INSERT INTO note (key, id, {columns}) SELECT ?, ?, {columns.replace('path', '?')} "
                    "FROM note WHERE key = 1",
                    (key, str(key), str(key)),
                )
        index = ExactIndex(world.model)
        ids: list[int] = []
        for step in range(12):
            # What a writer does in one transaction, and the matrix sees at once.
            new = world.add(30, group=sql.LANGUAGE_GROUPS[step % 2])
            with world.catalog.write() as connection:
                connection.execute("UPDATE chunk SET note = ? WHERE id >= ?", (1 + step % 4, new[0]))
            assert_right(world, index)
            ids += new
            world.delete([ids.pop(where) for where in (0, len(ids) // 2, -1)])
            assert_right(world, index)


def test_changes_are_followed_row_by_row_and_the_whole_is_read_once(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        ids = world.add(300)
        index = ExactIndex(world.model)
        with world.catalog.read() as connection, whole_reads(connection) as reads:
            index.query(connection, QUERY, 5)
            assert len(reads) == 1
        for step in range(5):
            world.delete(ids[step : step + 1])
            world.add(2)
            with world.catalog.read() as connection, whole_reads(connection) as reads:
                index.query(connection, QUERY, 5)
                assert reads == []
            assert_right(world, index)


def test_a_reader_whose_snapshot_is_older_sees_its_own_state_without_a_whole_read(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        ids = world.add(300)
        index = ExactIndex(world.model)
        assert_right(world, index)
        world.add(3)
        assert_right(world, index)
        with world.catalog.read() as older:
            before = brute_force(older, world.model, QUERY, 1000)

            def go_on() -> None:
                world.delete(ids[:5])
                world.add(4, group="ja")
                assert_right(world, index)

            other = threading.Thread(target=go_on)
            other.start()
            other.join()
            with whole_reads(older) as reads:
                hits = index.query(older, QUERY, 1000)
                assert reads == []
            # Which state it is, not the order of two that differ in the last bit.
            assert sorted((hit.chunk, hit.language_group) for hit in hits) == sorted(before)
        assert_right(world, index, k=1000)


def test_a_reader_older_than_what_is_remembered_sees_its_own_state_too(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        ids = world.add(30)
        index = ExactIndex(world.model)
        with world.catalog.read() as older:
            before = brute_force(older, world.model, QUERY, 1000)

            def go_on() -> None:
                world.delete(ids[:5])
                assert_right(world, index)  # read whole: what was before is not known
                world.add(4)
                assert_right(world, index)

            other = threading.Thread(target=go_on)
            other.start()
            other.join()
            assert [(hit.chunk, hit.language_group) for hit in index.query(older, QUERY, 1000)] == before


def test_another_life_of_the_knowledge_base_is_read_anew(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        ids = world.add(30)
        index = ExactIndex(world.model)
        assert_right(world, index)
        # As after a restore: other rows behind the same number of the log.
        with world.catalog.write() as connection:
            connection.execute("DELETE FROM chunk WHERE id = ?", (ids[0],))
            connection.execute("UPDATE meta SET value = 'another' WHERE name = 'epoch'")
        assert_right(world, index, k=50)


def test_a_log_that_was_trimmed_meanwhile_is_no_loss(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        ids = world.add(30)
        index = ExactIndex(world.model)
        assert_right(world, index)
        world.delete(ids[:10])
        world.add(10)
        with world.catalog.write() as connection:
            connection.execute("DELETE FROM index_log WHERE seq < (SELECT max(seq) FROM index_log)")
        assert_right(world, index, k=50)


def test_equally_near_chunks_come_in_the_order_of_their_ids_wherever_the_list_is_cut(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        ids = world.add(40, vectors=np.repeat(POOL[:1], 40, axis=0))
        world.delete(ids[:3])  # the last rows take their places
        index = ExactIndex(world.model)
        with world.catalog.read() as connection:
            whole = [hit.chunk for hit in index.query(connection, QUERY, 100)]
            assert whole == ids[3:]
            for k in (1, 7, 36):
                assert [hit.chunk for hit in index.query(connection, QUERY, k)] == whole[:k]


def test_an_empty_base_answers_with_nothing(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world, world.catalog.read() as connection:
        index = ExactIndex(world.model)
        assert index.query(connection, QUERY, 5) == []
        assert index.scores(connection, QUERY, [1]) == {}
        assert len(index.vectors(connection, [1])) == len(index.sample(connection, "ja", 5)) == 0


def test_a_sample_is_fixed_and_no_larger_than_asked_for(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        world.add(50)
        with world.catalog.read() as connection:
            samples = [ExactIndex(world.model).sample(connection, "other", 20) for _ in range(2)]
            assert samples[0].shape == (20, 16)
            assert (samples[0] == samples[1]).all()
            assert len(ExactIndex(world.model).sample(connection, "other", 500)) == 50


def test_many_threads_ask_while_notes_are_stored_and_deleted(tmp_path: Path) -> None:
    with World(tmp_path, vector="exact") as world:
        world.add(200)
        index = ExactIndex(world.model)
        wrong: list[tuple[list[VectorHit], list[tuple[int, str]]]] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                with world.catalog.read() as connection:
                    hits = index.query(connection, QUERY, 5)
                    expected = brute_force(connection, world.model, QUERY, 5)
                if [(hit.chunk, hit.language_group) for hit in hits] != expected:
                    wrong.append((hits, expected))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            world.delete(world.add(2)[:1])
        is_over.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert_right(world, index)
