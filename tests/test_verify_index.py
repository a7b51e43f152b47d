"""Verification of Chroma: what it lost, kept or changed is found, nothing is moved, and a repair mends it."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chroma_server import ChromaServer
from index_world import MODEL, PREFIX, World, random_vectors
from survival import SOAK
from test_index_damage import _DAMAGE, _garble_data, _garble_header, _lose_index, _lose_sqlite

from nescord.catalog import vectors as sql
from nescord.index.chroma import ChromaDBService
from nescord.index.seal import Folder
from nescord.persistence import PersistenceReport
from nescord.persistence.index import find_sentinel, leave_sentinel
from tests.verified import changed, look_into, mend, statuses, verified_base

_WORKER = Path(__file__).with_name("verify_worker.py")
_ALL = [f"index.{name}" for name in ("store", "ids", "query_all", "vectors", "canaries", "sentinel")]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        world.add(300)
        world.add(40, group="ja")
        world.drain()
        yield world


def passes(report: PersistenceReport) -> bool:
    return statuses(report) == dict.fromkeys(_ALL, "pass")


def is_sealed(world: World) -> bool:
    return Folder(world.folder.chroma, world.folder.run).is_sealed()


def folders(world: World) -> set[str]:
    return {path.name for path in world.folder.chroma.iterdir()}


def other(world: World) -> str:
    return world.collections()["other"].name


def rows(world: World, service: ChromaDBService) -> dict[str, set[int]]:
    return {name: service.ids(name) for name in service.collections()}


def test_a_sound_index_passes_and_is_as_before(world: World) -> None:
    tables, before = world.tables(), folders(world)
    assert is_sealed(world)
    for _ in range(2):
        assert passes(look_into(world))
    assert is_sealed(world)
    assert folders(world) == before
    assert world.tables() == tables
    with world.open() as service:
        assert not service.is_in_doubt
        world.assert_right(service)  # no other collection is there either


def test_a_folder_that_was_not_sealed_is_not_sealed_by_looking(world: World) -> None:
    (world.folder.run / "index.seal").unlink()
    assert passes(look_into(world))
    assert not is_sealed(world)


def test_what_chroma_was_not_told_yet_is_no_fault(world: World) -> None:
    new = world.add(20)
    world.delete([*new[:2], *sorted(world.truth()["other"])[:3]])
    assert passes(look_into(world))
    assert is_sealed(world)


def _lose_rows(world: World, service: ChromaDBService) -> None:
    service.delete(other(world), sorted(world.truth()["other"])[:2])


def _keep_rows(world: World, service: ChromaDBService) -> None:
    service.add(other(world), {99_999: random_vectors(1)[0].tobytes()})


def _swap_rows(world: World, service: ChromaDBService) -> None:
    _lose_rows(world, service)
    service.add(other(world), {99_999 + number: row.tobytes() for number, row in enumerate(random_vectors(2))})


def _change(world: World, service: ChromaDBService, share: float) -> None:
    chunks = sorted(world.truth()["other"])
    chosen = chunks[: round(len(chunks) * share)]
    service.delete(other(world), chosen)
    service.add(other(world), {chunk: row.tobytes() for chunk, row in zip(chosen, random_vectors(300), strict=False)})


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (_lose_rows, {"index.ids"}),
        (_keep_rows, {"index.ids"}),
        (_swap_rows, {"index.ids"}),
        (lambda world, service: _change(world, service, 0.2), {"index.vectors"}),
        (lambda world, service: _change(world, service, 1.0), {"index.vectors", "index.canaries"}),
    ],
)
def test_rows_that_differ_are_found_and_mended(
    world: World, fault: Callable[[World, ChromaDBService], None], failed: set[str]
) -> None:
    before = look_into(world)
    with world.open() as service:
        fault(world, service)
        is_before = rows(world, service)
    assert is_sealed(world), "the seal must not be what gives it away"
    found = look_into(world)
    assert changed(before, found) == dict.fromkeys(failed, "fail")
    assert not is_sealed(world)
    with world.open() as service:
        assert rows(world, service) == is_before
    assert mend(world, found)
    assert passes(look_into(world))
    assert is_sealed(world)


_SOME = [_lose_index, _garble_data, _garble_header, _lose_sqlite]


@pytest.mark.parametrize("damage", _DAMAGE if SOAK else _SOME, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damaged_folder_is_told_left_alone_and_mended(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    with World(tmp_path / "data") as world:
        world.add(2600)
        world.add(40, group="ja")
        world.drain()
        assert passes(look_into(world))
        tables = world.tables()
        damage(world.folder.chroma)
        found = look_into(world)
        print([(check.name, check.value) for check in found.checks if check.status == "fail"])
        assert not found.ok
        assert not world.folder.chroma.with_name("chroma.bad").exists()
        assert world.needs_drain()
        assert mend(world, found)
        assert passes(look_into(world))
        assert world.tables() == tables


def test_rows_that_no_query_reaches_are_found(tmp_path: Path) -> None:
    """The graph is lost and Chroma counts on: only asking for all rows tells."""
    with World(tmp_path / "data") as world:
        world.add(2600)
        world.add(40, group="ja")
        world.drain()
        before = look_into(world)
        shutil.rmtree(max((file.parent for file in world.folder.chroma.glob("*/data_level0.bin")), key=_size))
        after = changed(before, look_into(world))
        assert after["index.query_all"] == "fail"
        assert "index.ids" not in after


def _size(folder: Path) -> int:
    return (folder / "data_level0.bin").stat().st_size


def test_an_index_that_is_not_built_yet_is_a_warning(tmp_path: Path) -> None:
    with World(tmp_path / "data") as world:
        world.add(5)
        found = look_into(world)
        assert statuses(found) == {"index.store": "warn"}
        assert mend(world, found)
        assert passes(look_into(world))


def test_an_index_that_is_not_used_passes(tmp_path: Path) -> None:
    with World(tmp_path / "data", vector="exact") as world:
        world.add(5)
        assert statuses(look_into(world)) == {"index.store": "pass"}
    with World(tmp_path / "empty") as world:
        assert statuses(look_into(world)) == {"index.store": "pass"}


def test_a_busy_index_is_a_warning(world: World) -> None:
    holder = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("index_world.py"), "die", str(world.folder.path)],
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        found = look_into(world)
        holder.kill()
    assert statuses(found) == {"index.store": "warn"}
    assert f"pid {holder.pid}" in found.checks[0].value


def test_a_missing_collection_is_found(world: World) -> None:
    with world.open() as service:
        service.drop(other(world))
    found = look_into(world)
    assert statuses(found) == {"index.store": "fail"}
    assert mend(world, found)
    assert passes(look_into(world))


# The sentinel


def test_a_sentinel_that_comes_to_harm_is_told_and_removed(world: World) -> None:
    rng = np.random.default_rng(3)

    def loses(service: ChromaDBService, name: str) -> None:
        service.delete(name, [2])

    def changes(service: ChromaDBService, name: str) -> None:
        service.delete(name, [2])
        service.add(name, {2: rng.standard_normal(8).astype("<f4").tobytes()})

    def drops(service: ChromaDBService, name: str) -> None:
        service.drop(name)

    with world.open() as service:
        before = set(service.collections())
        name = leave_sentinel(service, "epoch", PREFIX)
        assert find_sentinel(service, name).status == "pass"
        for harm in (loses, changes, drops):
            name = leave_sentinel(service, "epoch", PREFIX)
            assert set(service.collections()) == before | {name}
            harm(service, name)
            assert find_sentinel(service, name).status == "fail", harm
            assert set(service.collections()) == before


def test_a_sentinel_left_by_a_kill_is_removed_by_the_next_drain(world: World) -> None:
    with subprocess.Popen(
        [sys.executable, _WORKER, "sentinel", str(world.folder.path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        child.kill()
    with world.open() as service:
        assert name in service.collections()
    assert world.needs_drain()
    world.drain()
    with world.open() as service:
        world.assert_right(service)
    assert passes(look_into(world))


def test_verification_killed_at_any_moment_leaves_a_right_index(world: World) -> None:
    tables = world.tables()
    rng = random.Random(7)
    dirty = world.folder.run / "index.dirty"
    cut = 0
    for _ in range(30 if SOAK else 3):
        child = subprocess.Popen([sys.executable, _WORKER, "look", str(world.folder.path)], stdout=subprocess.DEVNULL)
        while not dirty.exists():
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.6))
        cut += child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        time.sleep(0.5)  # its child sees the end of its input
        if world.needs_drain():
            world.drain()
        with world.open() as service:
            world.assert_right(service)
    assert cut, "no verification was cut off"
    assert world.tables() == tables
    assert passes(look_into(world))


# A server


@pytest.mark.slow
def test_a_server_is_verified_over_http(tmp_path: Path) -> None:
    with ChromaServer(tmp_path / "server") as server, World(tmp_path / "data", url=server.url) as world:
        world.add(300)
        world.add(40, group="ja")
        world.drain()
        before = look_into(world)
        assert passes(before)
        with world.open() as service:
            world.assert_right(service)
            _lose_rows(world, service)
        found = look_into(world)
        assert changed(before, found) == {"index.ids": "fail"}
        assert mend(world, found)
        assert passes(look_into(world))
        with world.open() as service:
            _change(world, service, 0.2)
        found = look_into(world)
        assert changed(before, found) == {"index.vectors": "fail"}
        mend(world, found)
        server.kill()
        found = look_into(world)
        assert statuses(found) == {"index.store": "fail"}
        assert server.url in found.checks[0].value
        assert "could not be mended" in mend(world, found)[0]
        server.start()
        assert passes(look_into(world))


# Through the facade


def test_a_knowledge_base_with_chroma_is_verified_and_repaired(tmp_path: Path) -> None:
    with verified_base(tmp_path, vector="auto") as km:
        before = km.verify()
        assert {name for name, status in statuses(before).items() if name.startswith("index.")} == set(_ALL)
        assert before.ok
        shutil.rmtree(km.folder.chroma)
        found = km.verify()
        assert statuses(found)["index.store"] == "fail"
        assert not km.folder.chroma.exists()
        assert km.repair(found)
        assert changed(before, km.verify()) == {}
        km.capture("a word that Chroma was not told")
        km.embed_note(km.search("word that Chroma", mode="keyword")[0].note_id)
        found = km.verify()
        assert changed(before, found) == {"database.behind": "warn"}
        assert km.repair(found)
        assert changed(before, km.verify()) == {}


def test_a_dropped_vector_is_embedded_again_and_chroma_follows(tmp_path: Path) -> None:
    with verified_base(tmp_path, vector="auto") as km:
        before = km.verify()
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute("UPDATE embedding SET vector = x'00' WHERE id = 1")
        found = km.verify()
        assert statuses(found)["database.embeddings"] == "fail"
        km.repair(found)
        assert changed(before, km.verify()) == {"database.pending": "warn"}
        km.catch_up()
        assert changed(before, km.verify()) == {}


def test_the_method_of_the_service_reports(world: World) -> None:
    with world.open() as service, world.catalog.read() as connection:
        model = sql.model_id(connection, MODEL)
        assert model is not None
        report = service.verify_persistence(connection, model)
        assert report
        assert [check.name for check in report.checks] == _ALL[:-1]
        service.delete(other(world), sorted(service.ids(other(world)))[:1])
        assert not service.verify_persistence(connection, model)
