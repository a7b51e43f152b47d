"""Chroma follows SQLite: what is told, replayed, swapped and compared."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chroma_server import ChromaServer
from index_world import DIMS, MODEL, PREFIX, World, random_vectors

from nescord.catalog import vectors as sql
from nescord.embedding import Vectors
from nescord.errors import ServiceUnavailableError
from nescord.index import drain
from nescord.index.chroma import ChromaDBService
from nescord.index.http import HttpStore

_KILLS = 60 if os.environ.get("NESCORD_SOAK") == "1" else 4


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        yield world


def test_what_is_stored_is_told_once_and_then_followed(world: World) -> None:
    ids = world.add(1500) + world.add(30, group="ja")
    first = world.drain()
    more = world.add(5)
    world.delete(ids[:7])
    second = world.drain()
    third = world.drain()
    assert (first.added, len(first.rebuilt), first.found) == (1530, 2, ())
    assert (second.added, second.deleted, second.rebuilt) == (5, 7, ())
    assert not third.has_written
    assert set(more) <= world.truth()["other"]
    with world.open() as service:
        world.assert_right(service)
        nearest = service.query(world.collections()["ja"].name, random_vectors(1)[0], 3)
        assert len(nearest) == 3
        assert nearest[0][1] >= nearest[1][1]


def test_nothing_is_opened_when_nothing_changed(world: World) -> None:
    assert not world.needs_drain()
    world.add(3)
    assert world.needs_drain()
    world.drain()
    assert not world.needs_drain()


def test_a_batch_told_twice_does_no_harm(world: World) -> None:
    ids = world.add(50)
    world.drain()
    world.delete(ids[:5])
    world.drain()
    live = world.collections()["other"]
    with world.catalog.write() as connection:
        connection.execute("UPDATE collection SET applied_seq = 0 WHERE name = ?", (live.name,))
    assert world.drain().applied == 55
    with world.open() as service:
        world.assert_right(service)


def test_a_rebuild_takes_the_place_of_the_old_collections_in_one_step(world: World) -> None:
    world.add(200)
    world.add(20, group="ja")
    world.drain()
    before = {row.name for row in world.collections().values()}
    with world.open() as service:
        report = drain.rebuild(world.catalog, service, MODEL, prefix=PREFIX)
        assert (report.indexed, report.embedded) == (220, 0)
        world.assert_right(service)
    assert not before & {row.name for row in world.collections().values()}


def test_another_epoch_is_never_used(world: World) -> None:
    world.add(20)
    world.drain()
    with world.catalog.write() as connection:
        connection.execute("UPDATE meta SET value = 'ffffffffffffffff' WHERE name = 'epoch'")
    assert len(world.drain().rebuilt) == 2
    with world.open() as service:
        world.assert_right(service)


def test_a_half_built_collection_is_finished(world: World) -> None:
    ids = world.add(60)
    with world.open() as service:
        drain.drain(world.catalog, service, MODEL, prefix=PREFIX)
        name = world.collections()["other"].name
        service.delete(name, ids[20:])
        with world.catalog.write() as connection:
            connection.execute("UPDATE collection SET state = 'building' WHERE name = ?", (name,))
        world.delete(ids[:3])
        assert drain.drain(world.catalog, service, MODEL, prefix=PREFIX).added == 40
        world.assert_right(service)
    assert world.collections()["other"].name == name


def test_what_a_killed_rebuild_left_goes(world: World) -> None:
    world.add(20)
    world.drain()
    name = "nescord-left-over"
    with world.open() as service:
        with world.catalog.write() as connection:
            epoch = sql.epoch(connection)
            sql.put_collection(connection, sql.Collection(name, world.model, "other", epoch, "building", 0))
        service.ensure_collection(name, DIMS, model_key=MODEL, language_group="other", epoch=epoch)
        assert drain.drain(world.catalog, service, MODEL, prefix=PREFIX).rebuilt == ()
        world.assert_right(service)


def test_near_duplicates_that_a_sound_graph_does_not_reach_are_no_damage(world: World) -> None:
    numbers = np.random.default_rng(1)

    def clustered(count: int) -> Vectors:
        centres = numbers.normal(size=(60, DIMS))
        rows = centres[numbers.integers(0, 60, count)] + 0.05 * numbers.normal(size=(count, DIMS))
        return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)

    world.add(3000, vectors=clustered(3000))
    # How many equal ones it takes is chance: the graph is built by several threads.
    for _ in range(12):
        world.add(400, vectors=np.repeat(clustered(1), 400, axis=0))
        world.drain()
        with world.open() as service:
            (name,) = [name for name in service.collections() if service.count(name)]
            is_short = len(service.all_found(name, DIMS)) < service.count(name)
        if is_short:
            break
    assert is_short, "this test shows nothing"
    assert world.drain().found == ()


def test_the_log_is_trimmed_to_what_somebody_still_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "KEPT_ROWS", 10)
    world.add(50)
    world.drain()
    with world.catalog.read() as connection:
        assert (sql.first_seq(connection), sql.last_seq(connection)) == (41, 50)


@pytest.mark.slow
def test_a_server_killed_in_the_middle_is_told_the_rest_later(tmp_path: Path) -> None:
    with ChromaServer(tmp_path / "server") as server, World(tmp_path / "data", url=server.url) as world:
        world.add(30, group="ja")
        world.add(3000)

        class Dying(HttpStore):
            calls = 0

            def add(self, name, ids, vectors):  # type: ignore[no-untyped-def]
                self.calls += 1
                if self.calls == 3:
                    server.kill()
                super().add(name, ids, vectors)

        with ChromaDBService(Dying(server.url)) as service, pytest.raises(ServiceUnavailableError, match="does not"):
            drain.drain(world.catalog, service, MODEL, prefix=PREFIX)
        with pytest.raises(ServiceUnavailableError):
            world.drain()
        server.start()
        report = world.drain()
        assert 0 < report.added < 3000
        with world.open() as service:
            world.assert_right(service)
            assert service.kind == "chroma-server"


@pytest.mark.slow
def test_killed_at_any_moment_the_index_is_right_after_the_next_drain(world: World) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    broken = 0
    for number in range(_KILLS):
        new = world.add(chance.choice((10, 400, 1500)), group=chance.choice(("ja", "other")))
        world.delete(chance.sample(new, 3))
        verb = chance.choice(("drain", "rebuild"))
        child = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("index_world.py"), verb, world.folder.path],
            stdout=subprocess.PIPE,
        )
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.random() * 0.6)
            child.send_signal(signal.SIGKILL)
        if number % 5 == 4 or number == _KILLS - 1:
            report = world.drain()
            broken += bool(report.found)
            with world.open() as service:
                world.assert_right(service)
    print(f"{broken} times something was found broken in {_KILLS} kills")
    with world.catalog.read() as connection:
        assert sql.count_embeddings(connection, world.model) == len(
            {row[0] for row in connection.execute("SELECT text_hash FROM embedding")}
        )
        assert connection.execute("SELECT max(length(vector)) FROM embedding").get == DIMS * 4
