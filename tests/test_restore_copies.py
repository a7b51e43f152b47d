"""A snapshot put into a folder of its own: to look into, or because the machine is another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from nescord.backup.create import create
from nescord.backup.restore import restore_copy
from nescord.errors import DamagedBackupError, UsageError
from nescord.home import DataFolder, read_identity
from tests.backup_world import flip, opened
from tests.restore_world import (
    EARLIER,
    World,
    base_settings,
    epoch,
    files,
    found,
    put_back,
)
from tests.survival import DATABASE, new_rng, untouched


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"))


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


def test_a_copy_is_a_knowledge_base_of_its_own_and_leaves_the_present_one_alone(
    world: World, data: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    with opened(data) as km:
        km.erase_note(world.note)
    before = files(data)
    assert restore_copy(base_settings(data), target, world.snapshot).id == world.snapshot
    assert files(data) == before
    ours, theirs = (read_identity(DataFolder.at(base_settings(folder))) for folder in (data, target))
    assert ours.uuid != theirs.uuid
    assert epoch(target) not in (epoch(data), epoch(world.data))
    assert found(target).notes == world.then.notes
    with opened(target) as km:
        assert [hit.path for hit in km.search(EARLIER, mode="keyword")] == ["changing.md"]
        assert km.search('"captured before"', mode="keyword") == []  # erased meanwhile
        with pytest.raises(UsageError, match="--resume"):
            km.ingest(world.vault)


def test_a_copy_ignores_where_the_settings_put_database_and_index_of_the_present_one(
    world: World, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{data / DATABASE}")
    monkeypatch.setenv("CHROMADB_PERSIST_DIRECTORY", str(data / "chroma"))
    restore_copy(base_settings(data), tmp_path / "copy", world.snapshot)
    assert found(tmp_path / "copy") == world.then


@pytest.mark.parametrize("what", ["a file in it", "a file"])
def test_a_copy_does_not_go_where_something_is(what: str, world: World, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    file = target if what == "a file" else target / "mine.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine", encoding="utf-8")
    with untouched(tmp_path), pytest.raises(UsageError, match="not an empty folder"):
        restore_copy(base_settings(world.data), target, world.snapshot)


def test_a_copy_that_cannot_be_made_can_be_tried_again_in_the_same_place(
    world: World, data: Path, tmp_path: Path
) -> None:
    (pack,) = (data / "backups" / "packs").glob("*.pack")
    content = pack.read_bytes()
    flip(pack, new_rng("rotten pack"))
    with pytest.raises(DamagedBackupError):
        restore_copy(base_settings(data), tmp_path / "copy", world.snapshot)
    pack.write_bytes(content)
    restore_copy(base_settings(data), tmp_path / "copy", world.snapshot)
    assert found(tmp_path / "copy") == world.then


def test_an_empty_folder_with_the_backups_becomes_the_knowledge_base_again(
    world: World, data: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(data / "backups", empty / "backups")
    done = put_back(empty)
    assert (done.before, done.carried) == ("", 0)
    ours, theirs = (read_identity(DataFolder.at(base_settings(folder))) for folder in (empty, data))
    assert (ours.uuid, ours.is_begun) == (theirs.uuid, True)
    assert found(empty) == world.then
    with KnowledgeManager.open(base_settings(empty)) as km:
        assert not km.is_new
        assert [hit.path for hit in km.search(EARLIER)] == ["changing.md"]
        made = create(km._base).id
    assert made.startswith("000002-")
