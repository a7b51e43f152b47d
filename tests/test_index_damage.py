"""Whatever happens to Chroma's folder ends in a right index, with nothing of SQLite's truth touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from index_world import World

from nescord.errors import ServiceUnavailableError
from nescord.index import probe, seal


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        world.add(2600)
        world.add(40, group="ja")
        world.drain()
        yield world


def _segment(chroma: Path) -> Path:
    """The folder of the index with the most rows."""
    return max((file.parent for file in chroma.glob("*/data_level0.bin")), key=lambda one: _size(one))


def _size(folder: Path) -> int:
    return (folder / "data_level0.bin").stat().st_size


def _garble(file: Path, start: int = 0) -> None:
    size = file.stat().st_size
    with file.open("r+b") as content:
        content.seek(start)
        content.write(os.urandom(size - start))


def _lose_folder(chroma: Path) -> None:
    shutil.rmtree(chroma)


def _lose_index(chroma: Path) -> None:
    shutil.rmtree(_segment(chroma))


def _lose_pickle(chroma: Path) -> None:
    (_segment(chroma) / "index_metadata.pickle").unlink()


def _cut_data(chroma: Path) -> None:
    os.truncate(_segment(chroma) / "data_level0.bin", _size(_segment(chroma)) // 2)


def _garble_data(chroma: Path) -> None:
    _garble(_segment(chroma) / "data_level0.bin")


def _garble_header(chroma: Path) -> None:
    _garble(_segment(chroma) / "header.bin")


def _cut_sqlite(chroma: Path) -> None:
    os.truncate(chroma / "chroma.sqlite3", (chroma / "chroma.sqlite3").stat().st_size // 2)


def _garble_sqlite(chroma: Path) -> None:
    _garble(chroma / "chroma.sqlite3", 1024)


def _garble_log(chroma: Path) -> None:
    """The pages of the log that Chroma pulls, and nothing else of its database: it then calls our question invalid."""
    file = chroma / "chroma.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'embeddings_queue'").fetchone()
    with file.open("r+b") as content:
        content.seek((page - 1) * size)
        content.write(os.urandom(size))


def _lose_sqlite(chroma: Path) -> None:
    (chroma / "chroma.sqlite3").unlink()


_DAMAGE = [
    _lose_folder,
    _lose_index,
    _lose_pickle,
    _cut_data,
    _garble_data,
    _garble_header,
    _cut_sqlite,
    _garble_sqlite,
    _garble_log,
    _lose_sqlite,
]


@pytest.mark.parametrize("damage", _DAMAGE, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damaged_folder_is_found_and_built_anew(world: World, damage: Callable[[Path], None]) -> None:
    before = world.tables()
    damage(world.folder.chroma)
    assert world.needs_drain()
    report = world.drain()
    print(report.found)
    assert report.found
    assert len(report.rebuilt) == 2
    with world.open() as service:
        assert not service.is_in_doubt
        world.assert_right(service)
    assert world.tables() == before
    assert not world.needs_drain()


def test_an_older_copy_put_back_is_found(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder.chroma, tmp_path / "copy")
    new = world.add(5)
    world.delete(list(world.truth()["other"] - set(new))[:5])  # the counts agree
    world.drain()
    shutil.rmtree(world.folder.chroma)
    shutil.copytree(tmp_path / "copy", world.folder.chroma)
    assert world.needs_drain()
    assert world.drain().found
    with world.open() as service:
        world.assert_right(service)


def test_a_foreign_epoch_in_the_collection_itself_is_found(world: World) -> None:
    name = world.collections()["other"].name
    with sqlite3.connect(world.folder.chroma / "chroma.sqlite3") as chroma:
        chroma.execute("UPDATE collection_metadata SET str_value = 'foreign' WHERE key = 'epoch'")
    chroma.close()
    report = world.drain()
    assert any(f"collection {name} is built anew" in found for found in report.found)
    with world.open() as service:
        world.assert_right(service)


def test_garbled_data_ends_only_the_child(world: World) -> None:
    _garble_data(world.folder.chroma)
    assert "SIG" in probe.find_damage(world.folder.chroma)


def test_the_damaged_folder_is_kept_once(world: World) -> None:
    bad = world.folder.chroma.with_name("chroma.bad")
    for _ in range(2):
        _garble_header(world.folder.chroma)
        world.drain()
    if shutil.disk_usage(bad.parent).free > 0.2 * shutil.disk_usage(bad.parent).total:
        assert (bad / "chroma.sqlite3").exists()
    assert [path.name for path in bad.parent.iterdir() if path.name.startswith("chroma")].count("chroma.bad") <= 1


def test_an_unclean_end_is_looked_into_and_found_harmless(world: World) -> None:
    world.add(3)
    data = str(world.folder.path)
    child = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("index_world.py"), "die", data], stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        child.kill()
    with world.open() as service:
        assert service.is_in_doubt
    report = world.drain()
    assert (report.found, report.rebuilt, report.added) == ((), (), 3)
    with world.open() as service:
        assert not service.is_in_doubt


def test_a_sound_folder_passes_the_probe(world: World) -> None:
    assert probe.find_damage(world.folder.chroma) == ""


def test_a_full_disk_is_not_taken_for_damage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "_LEAST_FREE", 2**60)
    with pytest.raises(ServiceUnavailableError, match="make room"):
        world.drain()
    assert world.collections()
