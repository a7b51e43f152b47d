# ruff: noqa: F811 - fixtures are named as what they give
"""What was erased stays erased also when this machine is lost and an older copy from elsewhere is all that is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nescord import KnowledgeManager, Settings
from nescord.backup import erasures
from nescord.backup.create import create
from nescord.backup.encryption import keygen
from nescord.backup.fetch import check_off_site, fetch
from nescord.backup.manager import BackupManager
from nescord.backup.off_site_erasures import versions
from nescord.backup.replicate import replicate
from nescord.backup.restore import restore
from nescord.backup.store import BackupStore
from nescord.errors import BackupError, NotFoundError, UsageError
from tests.off_site_world import (  # noqa: F401 - fixtures
    World,
    days,
    moto,
    on_disk,
    put,
    rclone,
    sealed,
    world,
)
from tests.vaults import open_base

ADA, BOB, GUILD = "user:42", "user:43", "guild:7"
EARLY, LATE = "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"
NOTE = "01890000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_after_a_total_loss_an_older_copy_brings_nothing_back_that_was_erased(
    tmp_path: Path, is_encrypted: bool
) -> None:
    data, elsewhere, identity = tmp_path / "data", tmp_path / "another disk", tmp_path / "identity.txt"
    elsewhere.mkdir()
    place = {"off_site": str(elsewhere), "backup_recipient": keygen(identity) if is_encrypted else None}
    with open_base(data, embedder="none", vector="exact", **place) as km:
        hers = km.scoped({GUILD}).add_note("kraken zebraquux", space=GUILD, author=ADA)
        one = km.scoped({GUILD}).add_note("a single wobblefrotz", space=GUILD, author=BOB)
        his = km.scoped({GUILD}).add_note("his orchardlantern", space=GUILD, author=BOB)
        before = create(km._base).id
        replicate(km._base)
        km.privacy(ADA).erase()
        km.erase_note(one.id)
        replicate(km._base)
    content = b"".join(path.read_bytes() for path in (elsewhere / "erasures").iterdir())
    assert (one.id.encode() in content) is not is_encrypted
    shutil.rmtree(data)
    settings = Settings(data_dir=data, embedder="none", vector="exact", **place)
    manager = BackupManager(settings)
    assert manager.fetched(str(elsewhere), before, identity=identity if is_encrypted else None) == before
    assert restore(settings, before).erased == 2
    with KnowledgeManager.open(settings) as km:
        assert km.note(his.id)
        assert not km.search("zebraquux")
        for gone in (hers.id, one.id):
            with pytest.raises(NotFoundError):
                km.note(gone)
            with pytest.raises((NotFoundError, UsageError, BackupError)):
                km.restore_note(gone)


def test_each_version_of_the_list_is_sent_once_and_all_of_them_are_fetched(world: World) -> None:
    here = world.data / "backups"
    world.replicate()
    assert versions(world.off_site().sizes()) == []  # nothing was erased
    erasures.remember(here, NOTE, EARLY)
    for _ in range(2):
        world.replicate()
        assert len(versions(world.off_site().sizes())) == 1
    erasures.remember_person(here, ADA, LATE)
    world.replicate()
    (here / "erasures.jsonl").unlink()  # and another life begins
    erasures.remember_person(here, BOB, EARLY)
    world.replicate()
    assert len(versions(world.off_site().sizes())) == 3
    store = world.brought_back()
    assert erasures.erased(store.folder) == {NOTE}
    assert erasures.erased_people(store.folder) == {ADA: LATE, BOB: EARLY}
    lines = (store.folder / "erasures.jsonl").read_bytes().split()
    fetch(world.off_site(), store, None, world.identity)
    assert (store.folder / "erasures.jsonl").read_bytes().split() == lines  # none is there twice
    assert [each.problems for each in check_off_site(world.off_site())] == [(), (), ()]


def test_what_is_known_here_and_was_cut_off_stays_and_what_is_fetched_comes_besides(on_disk: World) -> None:
    erasures.remember(on_disk.data / "backups", NOTE, EARLY)
    on_disk.replicate()
    store = BackupStore(on_disk.scratch / "store")
    erasures.remember_person(store.folder, ADA, EARLY)
    with (store.folder / "erasures.jsonl").open("ab") as file:
        file.write(b'{"note": "cut o')
    fetch(on_disk.off_site(), store)
    assert (erasures.erased(store.folder), list(erasures.erased_people(store.folder))) == ({NOTE}, [ADA])


@pytest.mark.parametrize("place", ["on_disk", "sealed"])
def test_a_list_that_is_damaged_there_is_found_out_and_nothing_can_be_restored_without_it(
    place: str, request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue(place)
    erasures.remember(world.data / "backups", NOTE, EARLY)
    world.replicate()
    (name,) = versions(world.off_site().sizes())
    put(world, name, world.off_site().read(name, 1000)[:-5])
    *good, wrong = check_off_site(world.off_site())
    assert all(each.ok for each in good)
    assert (wrong.id, name in wrong.problems[0]) == ("erasures", True)
    store = BackupStore(world.scratch / "store")
    with pytest.raises(BackupError, match="Move it away there to do without it"):
        fetch(world.off_site(), store, None, world.identity)
    assert store.ids() == []
    world.off_site().delete(name)
    assert fetch(world.off_site(), store, None, world.identity)


def test_a_list_that_somebody_has_changed_there_is_an_alarm_and_keeps_no_snapshot_from_being_copied(
    on_disk: World,
) -> None:
    erasures.remember(on_disk.data / "backups", NOTE, EARLY)
    on_disk.replicate()
    (name,) = versions(on_disk.off_site().sizes())
    put(on_disk, name, b"{}\n")
    on_disk.off_site().delete(f"snapshots/{on_disk.days.ids[0]}.json.zst")
    with pytest.raises(BackupError, match=r"erasures/.* is not what it should be"):
        on_disk.replicate()
    assert f"snapshots/{on_disk.days.ids[0]}.json.zst" in on_disk.off_site().sizes()
    assert on_disk.off_site().read(name, 100) == b"{}\n"


def test_whoever_is_erased_is_told_of_copies_that_no_rule_deletes(tmp_path: Path) -> None:
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    with open_base(tmp_path / "data", embedder="none", vector="exact") as km:
        create(km._base)
        assert not km.privacy(ADA).summary().off_site
    with open_base(tmp_path / "data", embedder="none", vector="exact", off_site=str(elsewhere)) as km:
        assert km.privacy(ADA).summary().off_site  # what is there will be copied
        replicate(km._base)
    with open_base(tmp_path / "data", embedder="none", vector="exact") as km:  # named no more, and still there
        assert km.privacy(ADA).summary().off_site
        assert km.privacy(ADA).erase().off_site
