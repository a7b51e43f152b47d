# ruff: noqa: F811 - fixtures are named as what they give
"""Copies elsewhere: whole, never overwritten, only of what is good, and never in somebody else's place."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nescord import Settings
from nescord.backup import off_site as off_site_module
from nescord.backup.fetch import check_off_site, fetch
from nescord.backup.off_site import ObjectExistsError
from nescord.backup.off_site_copies import Listing, delete_off_site, summary
from nescord.backup.prune import prune
from nescord.backup.retention import Policy
from nescord.errors import (
    BackupError,
    DamagedBackupError,
    LockTimeoutError,
)
from nescord.home import DataFolder, read_identity
from tests.backup_world import Days, flip, sha256
from tests.cli_runs import nescord
from tests.faults.proxy import FaultyProxy
from tests.off_site_world import (  # noqa: F401 - fixtures
    PATIENCE,
    World,
    bucket_options,
    days,
    made,
    moto,
    on_disk,
    put,
    rclone,
    world,
    world_at,
)
from tests.s3_world import S3Server
from tests.survival import new_rng


def test_every_good_snapshot_is_copied_once_and_comes_back_as_it_was(world: World, tmp_path: Path) -> None:
    assert summary(world.off_site()).count == 0
    done = world.replicate()
    assert done.sent == world.days.ids
    world.assert_all_copied()
    known = summary(world.off_site())
    assert (known.newest_id, known.count, known.seq) == (world.days.ids[-1], 3, 3)
    assert known.notes == world.days.manifests[known.newest_id].counts["notes"]
    assert known.knowledge_base == world.days.manifests[known.newest_id].knowledge_base
    again = world.replicate()
    assert (again.sent, again.bytes) == ((), 0)


def test_what_the_local_store_has_is_not_fetched_and_what_has_rotted_in_it_is(world: World) -> None:
    world.replicate()
    store = world.brought_back(world.days.ids[0])
    pack = next(store.packs.glob("*.pack"))
    before = pack.stat().st_ino
    fetch(world.off_site(), store, None, world.identity)
    assert pack.stat().st_ino == before
    flip(pack, new_rng("rot"))
    store.manifest_path(world.days.ids[0]).write_bytes(b"rotten")
    fetch(world.off_site(), store, world.days.ids[0], world.identity)
    assert store.manifest(world.days.ids[0]) == world.days.manifests[world.days.ids[0]]
    assert sha256(pack) in {each.sha256 for each in store.manifest(world.days.ids[0]).packs}


def test_an_object_that_is_not_ours_is_an_alarm_and_stays(world: World) -> None:
    first = world.days.manifests[world.days.ids[0]]
    name = f"packs/{first.packs[0].id}.pack{world.age}"
    put(world, name, b"somebody else's")
    with pytest.raises(BackupError, match="not what this knowledge base has sent") as caught:
        world.replicate()
    assert name in str(caught.value)
    assert "move it away" in str(caught.value)
    assert b"".join(world.off_site().stream(name, 100)) == b"somebody else's"
    world.off_site().delete(name)
    world.replicate()
    world.assert_all_copied()


def test_create_only_is_kept_by_the_server_and_by_us(world: World) -> None:
    off_site = world.off_site()
    off_site.put("packs/x", b"first")
    if world.files is None or world.options["off_site"] == str(world.files):
        with pytest.raises(ObjectExistsError):
            off_site.put("packs/x", b"second")
        assert off_site.read("packs/x", 5) == b"first"


def test_a_snapshot_under_an_alarm_does_not_keep_later_ones_from_being_copied(on_disk: World) -> None:
    first = on_disk.days.ids[0]
    for each in on_disk.days.ids:
        on_disk.store.set_status(each, state="unchecked")
    assert on_disk.replicate().sent == ()  # the place is ours from here on
    for each in on_disk.days.ids:
        on_disk.store.set_status(each, state="good")
    put(on_disk, f"snapshots/{first}.objects.json", b"{}")
    with pytest.raises(BackupError, match="2 snapshots were copied"):
        on_disk.replicate()
    assert Listing(on_disk.off_site()).ids == list(on_disk.days.ids[1:])
    assert not on_disk.store.status(first).off_site
    on_disk.off_site().delete(f"snapshots/{first}.objects.json")
    assert on_disk.replicate().sent == (first,)
    on_disk.assert_all_copied()


@pytest.mark.parametrize("place", ["folder", "folder encrypted", "rclone"])
def test_a_pack_that_has_rotted_here_is_never_sent(
    place: str, moto: S3Server, rclone: S3Server, days: Days, tmp_path: Path
) -> None:
    world = made(place, moto, rclone, days, tmp_path)
    last = world.days.manifests[world.days.ids[-1]].packs[-1]
    assert last.id == world.days.ids[-1]
    flip(world.store.packs / f"{last.id}.pack", new_rng("rot"))
    with pytest.raises(BackupError, match="is damaged"):
        world.replicate()
    assert Listing(world.off_site()).ids == list(world.days.ids[:2])
    assert f"packs/{last.id}.pack{world.age}" not in world.off_site().sizes()
    assert world.store.status(world.days.ids[-1]).state == "bad"
    assert [each.ok for each in check_off_site(world.off_site())] == [True, True]
    assert world.replicate().sent == ()  # what is bad is not tried again


def test_a_rotten_base_makes_all_that_need_it_bad_and_none_is_sent(on_disk: World) -> None:
    base = on_disk.days.manifests[on_disk.days.ids[0]].packs[0]
    (on_disk.store.packs / f"{base.id}.pack").unlink()
    with pytest.raises(BackupError, match="0 snapshots were copied") as caught:
        on_disk.replicate()
    assert "missing" in str(caught.value)
    assert {each.status.state for each in on_disk.store.snapshots()} == {"bad"}
    assert Listing(on_disk.off_site()).ids == []


def test_a_lost_list_of_pages_is_mended_and_sent(on_disk: World) -> None:
    next(on_disk.store.packs.glob("*.idx")).write_bytes(b"lost")
    assert on_disk.replicate().sent == on_disk.days.ids
    on_disk.assert_all_copied()


def test_only_what_is_good_is_copied(on_disk: World) -> None:
    on_disk.store.set_status(on_disk.days.ids[0], state="bad")
    on_disk.store.set_status(on_disk.days.ids[1], state="unchecked")
    assert on_disk.replicate().sent == on_disk.days.ids[2:]


def test_a_stranger_restores_a_copy_that_is_not_encrypted(on_disk: World, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("the command zstd is not installed")
    on_disk.replicate()
    assert on_disk.files is not None
    subprocess.run([sys.executable, "restore.py", tmp_path / "out.db"], cwd=on_disk.files, check=True, timeout=60)
    assert sha256(tmp_path / "out.db") == on_disk.days.manifests[on_disk.days.ids[-1]].sha256


def test_what_is_too_large_for_one_request_goes_in_parts_and_is_still_not_overwritten(
    rclone: S3Server, days: Days, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(off_site_module, "LARGEST_PUT", 1000)
    world = world_at("bucket", rclone, days, tmp_path)
    world.replicate()
    world.assert_all_copied()
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    with pytest.raises(DamagedBackupError):
        world.off_site().put_file("packs/big", big, "0" * 64)
    assert "packs/big" not in world.off_site().sizes()
    world.off_site().put_file("packs/big", big, sha256(big))
    with pytest.raises(ObjectExistsError):
        world.off_site().put_file("packs/big", big, sha256(big))


def test_copies_go_by_the_rules(world: World) -> None:
    world.replicate()
    uuid = read_identity(DataFolder.at(Settings(data_dir=world.data))).uuid
    first, second, third = world.days.ids
    assert "2 of 3" in delete_off_site(world.off_site(), [first, second], knowledge_base=uuid).problem
    assert delete_off_site(world.off_site(), [third], knowledge_base=uuid).ids == ()
    assert Listing(world.off_site()).ids == [first, second, third]
    done = delete_off_site(world.off_site(), [first, "000099-20260101T000000Z"], knowledge_base=uuid)
    assert done.ids == (first,)
    assert done.objects[0].startswith(f"snapshots/{first}.json.zst")
    assert set(world.off_site().sizes()) == world.names() - set(done.objects)
    # What the others need has stayed.
    assert [(each.id, each.ok) for each in check_off_site(world.off_site())] == [(second, True), (third, True)]
    for each in (second, third):
        world.brought_back(each)
    assert summary(world.off_site()).seq == 3


def test_while_a_description_cannot_be_read_nothing_is_deleted(on_disk: World) -> None:
    on_disk.replicate()
    uuid = on_disk.days.manifests[on_disk.days.ids[0]].knowledge_base
    put(on_disk, f"snapshots/{on_disk.days.ids[1]}.objects.json", b"rotten")
    before = on_disk.off_site().sizes()
    assert (
        "nothing was deleted" in delete_off_site(on_disk.off_site(), on_disk.days.ids[:1], knowledge_base=uuid).problem
    )
    assert on_disk.off_site().sizes() == before


def test_a_pack_that_was_lost_there_is_sent_again(on_disk: World) -> None:
    on_disk.replicate()
    assert on_disk.files is not None
    lost = next((on_disk.files / "packs").glob("*.pack"))
    lost.unlink()
    assert not all(each.ok for each in check_off_site(on_disk.off_site()))
    on_disk.replicate()
    on_disk.assert_all_copied()


def test_the_number_of_a_copy_that_was_cut_off_is_not_used_again(on_disk: World) -> None:
    put(on_disk, "packs/000041-20260101T000000Z.pack", b"of a machine that is gone")
    assert summary(on_disk.off_site()).seq == 41


def test_prune_does_not_come_between_a_slow_copy_and_its_packs(moto: S3Server, days: Days, tmp_path: Path) -> None:
    with FaultyProxy(moto.url) as proxy:
        world = world_at("bucket", moto, days, tmp_path, proxy.url)
        proxy.cause("slow", delay=0.1)
        failed: list[BaseException] = []

        def copy() -> None:
            try:
                world.replicate()
            except BaseException as error:
                failed.append(error)

        copying = threading.Thread(target=copy)
        copying.start()
        while not proxy.struck["slow"]:
            time.sleep(0.01)
        with pytest.raises(LockTimeoutError, match="no backup is pruned while it is read"):
            prune(Settings(data_dir=world.data, lock_timeout=0.1, embedder="none"), Policy.last(1))
        copying.join()
        assert not failed
    world = World(world.data, days, {**world.options, "off_site_endpoint": moto.url}, tmp_path / "fetched")
    world.assert_all_copied()
    dropped = prune(Settings(data_dir=world.data, embedder="none"), Policy.last(1)).dropped
    assert set(dropped) == set(days.ids[:2])


def test_two_copies_to_one_place_do_not_run_at_once(moto: S3Server, days: Days, tmp_path: Path) -> None:
    with FaultyProxy(moto.url) as proxy:
        world = world_at("bucket encrypted", moto, days, tmp_path, proxy.url)
        proxy.cause("slow", delay=0.1)
        copying = threading.Thread(target=world.replicate)
        copying.start()
        while not proxy.struck["slow"]:
            time.sleep(0.01)
        with pytest.raises(LockTimeoutError, match="under way"):
            world.replicate()
        copying.join()
        proxy.heal()
        world.assert_all_copied()


def test_the_command_copies_and_says_what_it_did(on_disk: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_OFF_SITE", str(on_disk.files))
    done = nescord("--data-dir", on_disk.data, "backup", "replicate", "--json")
    assert (done.code, done.document["sent"]) == (0, list(on_disk.days.ids))
    on_disk.assert_all_copied()
    again = nescord("--data-dir", on_disk.data, "backup", "replicate")
    assert (again.code, "already" in again.out) == (0, True)
    monkeypatch.setenv("NESCORD_OFF_SITE", str(on_disk.files) + "-unplugged")
    lost = nescord("--data-dir", on_disk.data, "backup", "replicate")
    assert (lost.code, "mount its disk" in lost.err) == (1, True)


def test_a_server_that_is_down_is_a_service_that_is_missing(on_disk: World, monkeypatch: pytest.MonkeyPatch) -> None:
    options = bucket_options("http://127.0.0.1:1", "x")
    monkeypatch.setattr(off_site_module, "Patience", lambda: PATIENCE)
    for field, value in options.items():
        monkeypatch.setenv(str(Settings.model_fields[field].validation_alias), str(value))
    done = nescord("--data-dir", on_disk.data, "backup", "replicate")
    assert (done.code, "try again later" in done.err) == (69, True)
