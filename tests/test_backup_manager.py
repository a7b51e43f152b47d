"""The manager of backups as a bot uses it: the seed's coroutines over the verbs."""

from __future__ import annotations

import asyncio
import inspect
import threading
from pathlib import Path

import pytest

from nescord.backup.manager import BackupManager
from nescord.backup.prune import prune
from nescord.backup.retention import Policy
from nescord.errors import BackupError, UsageError
from tests.backup_world import opened, store_of
from tests.restore_world import KEPT, World, base_settings, files, forged, found, put_back

BAD_IDS = ("../x", "..", "", "000001", "000001-20240101T000000Z/../x", "/etc/passwd", "000001-20240101T000000Z\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"), notes=3)


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


@pytest.fixture
def manager(data: Path) -> BackupManager:
    return BackupManager(base_settings(data))


def test_the_seeds_signatures_are_kept() -> None:
    for verb, expected in (
        (BackupManager.create_full_backup, "(self) -> 'str'"),
        (BackupManager.restore_backup, "(self, backup_id: 'str') -> 'bool'"),
        (BackupManager.cleanup_old_backups, "(self, keep_count: 'int' = 5) -> 'int'"),
    ):
        assert inspect.iscoroutinefunction(verb)
        signature = inspect.signature(verb)
        positional = [each for each in signature.parameters.values() if each.kind is not each.KEYWORD_ONLY]
        assert str(signature.replace(parameters=positional)) == expected


def test_a_backup_is_made_listed_checked_drilled_and_put_back(manager: BackupManager, world: World, data: Path) -> None:
    async def life() -> None:
        made = await manager.create_full_backup()
        listed = await manager.list_backups()
        assert [each.id for each in listed] == [world.snapshot, made]
        assert all(each.is_good for each in listed)
        assert [each.ok for each in await manager.check()] == [True, True]
        assert [each.id for each in await manager.check(made)] == [made]
        assert (await manager.drill(made)).ok
        assert await manager.restore_backup(world.snapshot) is True
        assert found(data) == world.then
        await manager.recover()
        assert await manager.restore_backup(made) is True
        assert found(data) == world.now

    asyncio.run(life())


def test_other_coroutines_go_on_while_a_backup_is_made(manager: BackupManager) -> None:
    async def life() -> None:
        loop, went_on = asyncio.get_running_loop(), threading.Event()

        def waits_for_the_loop(*_: object) -> None:
            loop.call_soon_threadsafe(went_on.set)
            assert went_on.wait(10), "the loop stands still"

        await manager.create_full_backup(progress=waits_for_the_loop)
        assert went_on.is_set()

    asyncio.run(life())


def test_cleaning_up_keeps_as_many_as_were_asked_for_and_what_must_stay(
    manager: BackupManager, world: World, data: Path
) -> None:
    async def life() -> None:
        for number in range(3):
            with opened(data) as km:
                km.capture(f"{KEPT} {number}")
            await manager.create_full_backup()
        manager.pin(world.snapshot, pinned=True)
        ids = [each.id for each in await manager.list_backups()]
        planned = await manager.plan_cleanup(Policy.last(2))
        assert [each.id for each in planned] == ids[::-1]
        assert [each.keep for each in planned] == [True, True, False, True]
        assert await manager.cleanup_old_backups(2) == 1
        assert [each.id for each in await manager.list_backups()] == [ids[0], *ids[2:]]
        assert [each.ok for each in await manager.check()] == [True] * 3
        assert await manager.cleanup_old_backups() == 0
        manager.pin(world.snapshot, pinned=False)
        assert await manager.cleanup_old_backups(1) == 2
        assert [each.id for each in await manager.list_backups()] == ids[3:]

    asyncio.run(life())


@pytest.mark.parametrize("keep_count", [0, -1])
def test_to_keep_none_is_refused(keep_count: int, manager: BackupManager, data: Path) -> None:
    before = files(data)
    with pytest.raises(UsageError, match="at least 1 backup must stay"):
        asyncio.run(manager.cleanup_old_backups(keep_count))
    assert files(data) == before


def test_what_a_restore_has_saved_is_not_cleaned_up(manager: BackupManager, world: World, data: Path) -> None:
    saved = put_back(data, world.snapshot).before
    asyncio.run(manager.create_full_backup())
    asyncio.run(manager.create_full_backup())
    asyncio.run(manager.cleanup_old_backups(1))
    assert saved in [each.id for each in asyncio.run(manager.list_backups())]


def test_while_one_manifest_cannot_be_read_nothing_is_dropped(manager: BackupManager, world: World, data: Path) -> None:
    asyncio.run(manager.create_full_backup())
    store_of(data).manifest_path(world.snapshot).write_bytes(b"garbled")
    before = files(data)
    with pytest.raises(BackupError, match=f"nothing was dropped.*{world.snapshot}"):
        asyncio.run(manager.cleanup_old_backups(1))
    assert files(data) == before


def test_a_dry_run_drops_nothing_and_tells_the_same(world: World, data: Path) -> None:
    for number in range(10, 13):
        forged(data, world.snapshot, id=f"{number:06d}-20240203T000000Z")
    before = files(data)
    tried = prune(base_settings(data), Policy.last(1), dry_run=True)
    assert files(data) == before
    done = prune(base_settings(data), Policy.last(1))
    assert done.decisions == tried.decisions
    assert (len(done.kept), len(done.dropped)) == (1, 3)


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_is_none_is_refused_by_every_verb_and_touches_nothing(
    bad: str, manager: BackupManager, data: Path, tmp_path: Path
) -> None:
    before = files(tmp_path)
    for verb in (
        lambda: asyncio.run(manager.restore_backup(bad)),
        lambda: asyncio.run(manager.check(bad)),
        lambda: asyncio.run(manager.drill(bad)),
        lambda: manager.pin(bad, pinned=True),
        lambda: manager.restored_copy(tmp_path / "copy", bad),
        lambda: store_of(data).drop(bad),
    ):
        with pytest.raises(UsageError):
            verb()
    assert files(tmp_path) == before
    assert not (tmp_path / "copy").exists()


def test_an_id_that_is_not_there_is_said_to_be_missing(manager: BackupManager) -> None:
    for verb in (
        lambda: asyncio.run(manager.restore_backup("000099-20240101T000000Z")),
        lambda: asyncio.run(manager.check("000099-20240101T000000Z")),
        lambda: asyncio.run(manager.drill("000099-20240101T000000Z")),
        lambda: manager.pin("000099-20240101T000000Z", pinned=True),
    ):
        with pytest.raises(BackupError, match=r"there is no snapshot .* nescord backup list"):
            verb()
