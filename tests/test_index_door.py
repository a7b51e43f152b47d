"""Which index answers, that both give the same hits, and that nobody is stale."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from chroma_server import ChromaServer
from index_world import World, random_vectors

from nescord.index import VectorHit
from nescord.index.door import OpenIndex, open_index
from nescord.locks import LockName


def _index(world: World) -> OpenIndex:
    return open_index(world.settings, world.folder, world.locks, world.model)


def _ask(world: World, index: OpenIndex, seed: int = 1, k: int = 10) -> list[VectorHit]:
    with world.catalog.read() as connection:
        return list(index.query(connection, random_vectors(1, seed=seed)[0], k))


def _same(ours: list[VectorHit], theirs: list[VectorHit]) -> bool:
    def by_chunk(hits: list[VectorHit]) -> dict[int, tuple[str, float]]:
        return {hit.chunk: (hit.language_group, pytest.approx(hit.score, abs=1e-5)) for hit in hits}

    return by_chunk(ours) == by_chunk(theirs)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with World(tmp_path / "data") as world:
        world.add(300)
        world.add(50, group="ja")
        world.drain()
    return tmp_path / "data"


def test_without_a_server_the_exact_scan_answers_and_nothing_is_locked(data: Path) -> None:
    with World(data) as world, _index(world) as index:
        assert (index.kind, index.degraded) == ("exact", "")
        with world.locks.exclusive(LockName.INDEX, timeout=0):
            assert len(_ask(world, index)) == 20


def test_chroma_and_the_exact_scan_agree(data: Path) -> None:
    with World(data, vector="chroma") as world, World(data, vector="exact") as other:
        with _index(world) as chroma, _index(other) as exact:
            assert (chroma.kind, exact.kind) == ("chroma", "exact")
            for seed in range(20):
                assert _same(_ask(world, chroma, seed), _ask(other, exact, seed))
            # What Chroma was not told yet counts, too.
            added = world.add(1, vectors=random_vectors(1, seed=77))
            assert _ask(world, chroma, 77)[0].chunk in added or _ask(world, chroma, 77)[10].chunk in added
            world.delete([_ask(world, chroma, 5)[0].chunk])
            for seed in (5, 77):
                assert _same(_ask(world, chroma, seed), _ask(other, exact, seed))
        with world.open():
            pass  # index.lock was given back


def test_a_busy_folder_degrades_to_the_exact_scan_and_says_so(data: Path) -> None:
    holder = [sys.executable, str(Path(__file__).with_name("index_world.py")), "die", str(data)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with World(data, vector="chroma") as world:
            world.locks._timeout = 0.1
            with _index(world) as index:
                assert index.kind == "exact"
                assert "index" in index.degraded
                assert len(_ask(world, index)) == 20
        child.kill()


def test_a_damaged_folder_degrades_until_the_next_drain(data: Path) -> None:
    with World(data, vector="chroma") as world:
        for file in world.folder.chroma.glob("*/header.bin"):
            file.write_bytes(b"x" * file.stat().st_size)
        (world.folder.chroma / "chroma.sqlite3").write_bytes(b"nothing")
        with _index(world) as index:
            assert index.kind == "exact"
            assert "the next ingest builds it anew" in index.degraded
            assert len(_ask(world, index)) == 20
        assert world.needs_drain()
        world.drain()
        with _index(world) as index:
            assert (index.kind, index.degraded) == ("chroma", "")
            assert len(_ask(world, index)) == 20


@pytest.mark.slow
def test_a_server_answers_and_its_end_is_said(tmp_path: Path) -> None:
    with ExitStack() as resources:
        server = resources.enter_context(ChromaServer(tmp_path / "server"))
        world = resources.enter_context(World(tmp_path / "data", url=server.url))
        world.add(100)
        world.drain()
        index = resources.enter_context(_index(world))
        assert (index.kind, len(_ask(world, index))) == ("chroma-server", 10)
        server.kill()
        assert len(_ask(world, index)) == 10
        assert index.kind == "exact"
        assert "does not answer" in index.degraded
        with _index(world) as second:
            assert second.kind == "exact"
            assert "does not answer" in second.degraded


@pytest.mark.slow
def test_holder_reader_and_second_writer_see_each_other_at_once(data: Path) -> None:
    """The holder has Chroma's folder open all the time; the reader scans; the second writer only knows SQLite."""

    def start(verb: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("index_world.py")), verb, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(process: subprocess.Popen[str], line: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    with start("hold") as holder, start("write") as writer, World(data) as world, _index(world) as reader:
        assert len(say(holder, "other").split()) == 300
        chunk = int(say(writer, "add 42").strip("[]"))
        assert chunk in [hit.chunk for hit in _ask(world, reader, 42)]
        assert str(chunk) in say(holder, "other")
        # An edit is a new chunk in place of the old one.
        say(writer, f"delete {chunk}")
        edited = int(say(writer, "add 43").strip("[]"))
        assert chunk not in [hit.chunk for hit in _ask(world, reader, 42)]
        assert edited in [hit.chunk for hit in _ask(world, reader, 43)]
        told = say(holder, "other").strip("[]").split(", ")
        assert str(edited) in told
        assert str(chunk) not in told
        mine = world.add(1, vectors=random_vectors(1, seed=44))[0]
        assert mine in [hit.chunk for hit in _ask(world, reader, 44)]
        assert str(mine) in say(holder, "other")
        for process in (holder, writer):
            assert process.stdin is not None
            process.stdin.close()
