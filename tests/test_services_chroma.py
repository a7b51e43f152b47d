"""The Chroma server of `nescord services`: used by everybody beside it, and mended whatever happens to its folder."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from flow_world import processes_naming, wait_for
from index_world import World
from services_world import Running, prefect_elsewhere, running

from nescord import KnowledgeManager, services_file
from nescord.catalog import vectors as sql
from nescord.embedding import Vectors
from nescord.embedding.service import EmbeddingService
from nescord.index.door import open_index
from nescord.index.http import HttpStore
from nescord.index.seal import Folder
from nescord.locks import LockName
from nescord.settings import Settings

WORKER = str(Path(__file__).with_name("services_worker.py"))
ROWS = 2500


@pytest.fixture(autouse=True)
def _with_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base whose index is big enough to have files that can be garbled."""
    data = tmp_path_factory.mktemp("made") / "data"
    settings = Settings(data_dir=data, embedder="local")
    with KnowledgeManager.open(settings), _world(data) as world:
        world.add(ROWS, vectors=_vectors(ROWS))
    with KnowledgeManager.open_existing(settings) as knowledge:
        assert knowledge.drain().indexed == ROWS
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(made, copy)
    place = Folder(copy / "chroma", copy / "run")
    place.put_seal()  # a copy is as sound as what it was made from
    assert place.is_sealed()
    return copy


@pytest.fixture(scope="module")
def prefect() -> Iterator[str]:
    with prefect_elsewhere() as url:
        yield url


@contextmanager
def services(data: Path, prefect: str) -> Iterator[Running]:
    with running(data, [WORKER, str(data)], PREFECT_API_URL=prefect) as supervisor:
        yield supervisor


def test_everybody_works_over_http_beside_it_and_embedded_after_it(data: Path, prefect: str) -> None:
    with services(data, prefect) as supervisor, _world(data) as world:
        supervisor.hears("all services are ready")
        assert world.locks.is_held(LockName.INDEX)
        assert _answer(world) == ("chroma-server", "")
        world.add(20, vectors=_vectors(20, seed=5))
        with _knowledge(data) as knowledge:
            assert knowledge.drain().indexed == 20
            report = knowledge.verify()
        assert {check.name: check.status for check in report.checks if check.name.startswith("index.")} == {
            f"index.{name}": "pass" for name in ("store", "ids", "query_all", "vectors", "canaries", "sentinel")
        }
        assert _rows(supervisor) == ROWS + 20
        assert supervisor.stop() == 0
        assert supervisor.said.rstrip().endswith("stopped")
        assert Folder(world.folder.chroma, world.folder.run).is_sealed()
        assert not processes_naming(str(data))
        assert _answer(world) == ("exact", "")
    with _world(data, vector="chroma") as world:
        assert _answer(world) == ("chroma", "")


def test_a_store_that_was_garbled_before_the_start_is_moved_aside_and_built_anew(data: Path, prefect: str) -> None:
    _garble(data)
    with services(data, prefect) as supervisor, _world(data) as world:
        supervisor.hears("all services are ready")
        supervisor.hears("chroma: compared with the database")
        assert "was damaged" in (data / "run" / "logs" / "chroma.log").read_text()
        assert (data / "chroma.bad").is_dir()
        assert _rows(supervisor) == ROWS
        assert _answer(world) == ("chroma-server", "")


def test_a_store_that_is_garbled_meanwhile_is_built_anew_and_search_stays_right(data: Path, prefect: str) -> None:
    with services(data, prefect) as supervisor, _world(data) as world:
        supervisor.hears("all services are ready")
        killed = supervisor.pid("nescord.index.server")
        _garble(data)
        os.kill(killed, signal.SIGKILL)
        seen = set()
        while "chroma: compared with the database" not in supervisor.said:
            seen.add(_answer(world)[0])  # right, whoever answers
        assert "exact" in seen
        supervisor.hears("chroma: was killed by SIGKILL, probably because the machine ran out of memory")
        assert supervisor.pid("nescord.index.server") != killed
        assert (data / "chroma.bad").is_dir()
        assert (_rows(supervisor), _answer(world)) == (ROWS, ("chroma-server", ""))


def test_a_server_that_has_lost_rows_is_begun_anew_when_a_drain_finds_it(data: Path, prefect: str) -> None:
    with services(data, prefect) as supervisor, _world(data) as world:
        supervisor.hears("all services are ready")
        store = HttpStore(supervisor.addresses["chroma_url"] or "")
        name = max(store.collections(), key=store.count)
        store.delete(name, store.ids(name, limit=100))
        assert store.count(name) == ROWS - 100
        store.close()
        world.add(1, vectors=_vectors(1, seed=9))
        with _knowledge(data) as knowledge:
            (degraded,) = knowledge.drain().degraded
        assert "nescord services, which runs the server, moves its folder aside and builds it anew" in degraded
        supervisor.hears("chroma: its folder is damaged and is begun anew")
        supervisor.hears("chroma: compared with the database")
        assert (_rows(supervisor), _answer(world)) == (ROWS + 1, ("chroma-server", ""))


def test_a_second_supervisor_says_who_holds_it(data: Path, prefect: str) -> None:
    with services(data, prefect) as first:
        first.hears("all services are ready")
        with running(data, [WORKER, str(data)], PREFECT_API_URL=prefect) as second:
            assert second.process.wait(60) == 69
            assert f"(one running service for a data folder) is held by pid {first.process.pid}" in second.said
            # Its end must not end the first one's children.
            assert first.stop() == 0


def test_a_killed_supervisor_leaves_nothing_and_the_folder_is_free(data: Path, prefect: str) -> None:
    with services(data, prefect) as supervisor, _world(data) as world:
        supervisor.hears("all services are ready")
        assert len(processes_naming(str(data))) >= 3
        supervisor.stop(signal.SIGKILL)
        wait_for("the end of everything", lambda: not processes_naming(str(data)))
        assert supervisor.addresses["chroma_url"]  # the file is still there, and nobody believes it
        assert services_file.running(world.folder, world.locks) is None
        assert not world.locks.is_held(LockName.INDEX)
        assert _answer(world) == ("exact", "")
        with _knowledge(data) as knowledge:
            assert not knowledge.drain().degraded


def _knowledge(data: Path) -> KnowledgeManager:
    return KnowledgeManager.open_existing(Settings(data_dir=data, lock_timeout=60))


def _world(data: Path, *, vector: str = "auto") -> World:
    """The database under the model that KnowledgeManager uses, so that both speak of the same vectors."""
    world = World(data, vector=vector)
    with world.catalog.write() as connection:
        world.model = sql.add_model(connection, EmbeddingService.of(Settings(embedder="local")).model_key)
    return world


def _vectors(count: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, 512))
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
    return unit


def _answer(world: World) -> tuple[str, str]:
    """Who answers a query and what it says is missing. The answer itself must be the exact one."""
    asked = _vectors(1, seed=7)[0]
    with world.catalog.read() as connection:
        with open_index(world.settings, world.folder, world.locks, world.model) as index:
            found = [hit.chunk for hit in index.query(connection, asked, 5)]
            answered = (index.kind, index.degraded)
        exact = world.settings.model_copy(update={"vector": "exact"})
        with open_index(exact, world.folder, world.locks, world.model) as index:
            assert set(found) & {hit.chunk for hit in index.query(connection, asked, 5)} == set(found)
    return answered


def _rows(supervisor: Running) -> int:
    """How many rows the server has in all its collections."""
    store = HttpStore(supervisor.addresses["chroma_url"] or "")
    try:
        return sum(store.count(name) for name in store.collections())
    finally:
        store.close()


def _garble(data: Path) -> None:
    file = max(data.glob("chroma/*/data_level0.bin"), key=lambda each: each.stat().st_size)
    size = file.stat().st_size
    assert size > 10**6
    file.write_bytes(os.urandom(size))
