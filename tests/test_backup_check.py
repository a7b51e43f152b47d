"""A check reads everything once, says what is bad, mends what can be mended; a stranger can restore without us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nescord.backup.check import check
from nescord.backup.manifest import Manifest, SnapshotStatus, parse_id
from nescord.backup.store import BackupStore
from nescord.backup.stranger import SCRIPT
from nescord.errors import BackupError, DamagedBackupError, UsageError
from nescord.locks import LockName
from tests.backup_world import Days, assert_sound, back_up, checked, database_of, flip, opened, sha256, store_of
from tests.survival import new_rng, stored
from tests.vaults import REPOSITORY

COUNTING = """
import sys
from pathlib import Path
from nescord.backup.check import check
from nescord.backup.store import BackupStore
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
assert all(each.ok for each in check(BackupStore(Path(sys.argv[1]))))
print("\\n".join(path for path in opened if path.endswith(".pack")))
"""


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days.made(tmp_path_factory.mktemp("days"))


@pytest.fixture
def data(days: Days, tmp_path: Path) -> Path:
    return days.copy(tmp_path / "data")


def test_a_check_of_everything_reads_each_pack_once(data: Path) -> None:
    back_up(data)
    command = [sys.executable, "-c", COUNTING, str(data / "backups")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout
    packs = sorted(str(path) for path in store_of(data).packs.glob("*.pack"))
    assert len(packs) == 3
    assert sorted(printed.splitlines()) == packs


def test_a_bad_pack_makes_bad_what_needs_it_and_nothing_else(days: Days, data: Path, tmp_path: Path) -> None:
    flip(store_of(data).packs / f"{days.ids[1]}.pack", new_rng("bad pack"))
    found = checked(data)
    assert found[days.ids[0]] == ()
    assert f"{days.ids[1]}.pack" in found[days.ids[1]][0]
    status = store_of(data).status(days.ids[1])
    assert (status.state, status.reason) == ("bad", found[days.ids[1]][0])
    assert store_of(data).status(days.ids[0]).state == "good"
    with pytest.raises(DamagedBackupError):
        database_of(data, days.ids[1], tmp_path / "restored.db")
    assert not (tmp_path / "restored.db").exists()


def test_pages_that_are_whole_but_not_those_of_the_database_are_refused(days: Days, data: Path, tmp_path: Path) -> None:
    """Every frame fits its checksum, every pack its hash: only what is put together does not."""
    store, manifest = store_of(data), days.manifests[days.ids[2]]
    assert len(manifest.runs) > 1
    store.add(replace(manifest, runs=manifest.runs[::-1]))
    with pytest.raises(DamagedBackupError, match="not what was backed up"):
        database_of(data, manifest.id, tmp_path / "restored.db")
    assert not (tmp_path / "restored.db").exists()
    assert "are not those of the database" in checked(data)[manifest.id][0]


def test_a_pack_that_comes_back_makes_its_snapshots_good_again(days: Days, data: Path) -> None:
    pack = store_of(data).packs / f"{days.ids[0]}.pack"
    pack.rename(data / "aside")
    assert all("missing" in problems[0] for problems in checked(data).values())
    (data / "aside").rename(pack)
    assert set(checked(data).values()) == {()}
    assert {each.status.state for each in store_of(data).snapshots()} == {"good"}


@pytest.mark.parametrize("harm", ["remove", "flip", "truncate"])
def test_a_list_of_pages_is_mended_from_its_pack(days: Days, data: Path, harm: str) -> None:
    idx = store_of(data).packs / f"{days.ids[0]}.idx"
    right = idx.read_bytes()
    if harm == "remove":
        idx.unlink()
    elif harm == "flip":
        flip(idx, new_rng("idx"))
    else:
        idx.write_bytes(right[:-32])
    with opened(data) as km, km._base.locks.shared(LockName.BACKUPS):
        found = check(store_of(data))
    assert all(each.ok and len(each.mended) == 1 and days.ids[0] in each.mended[0] for each in found)
    assert idx.read_bytes() == right


def test_only_what_is_asked_for_is_checked(days: Days, data: Path) -> None:
    (store_of(data).packs / f"{days.ids[2]}.pack").unlink()
    store = store_of(data)
    assert [each.ok for each in check(store, [days.ids[1]])] == [True]
    assert [each.ok for each in check(store, [days.ids[2]])] == [False]
    with pytest.raises(BackupError, match="no snapshot"):
        check(store, ["000009-20260101T000000Z"])


@pytest.mark.parametrize("wanted", ["../x", "000001", "", "000001-20260101T000000Z/../x", "000001-20261301T000000Z"])
def test_an_id_never_comes_from_a_path(data: Path, wanted: str) -> None:
    store = store_of(data)
    for verb in (store.manifest, store.snapshot, store.drop, parse_id, lambda each: check(store, [each])):
        with pytest.raises(UsageError, match="no id of a snapshot"):
            verb(wanted)


def test_a_newer_format_is_refused_and_left_alone(days: Days, data: Path) -> None:
    store = store_of(data)
    newer = replace(days.manifests[days.ids[2]], format=2)
    store.add(newer)
    with pytest.raises(DamagedBackupError, match="install a newer nescord"):
        store.manifest(newer.id)
    store.drop(days.ids[0])
    assert "nothing was swept" in store.sweep().problem
    assert "newer nescord" in checked(data)[newer.id][0]


def test_a_manifest_under_another_name_is_refused(days: Days, data: Path) -> None:
    store = store_of(data)
    shutil.copy(store.manifest_path(days.ids[0]), store.manifest_path("000009-20260101T000000Z"))
    with pytest.raises(DamagedBackupError, match="somebody has renamed it"):
        store.manifest("000009-20260101T000000Z")


def test_a_manifest_reads_back_as_it_was_written(days: Days) -> None:
    for each, manifest in days.manifests.items():
        assert Manifest.decode(manifest.encode(), each) == manifest


@pytest.mark.parametrize("content", [b"", b"3", b"[]", b"{}", b"null", b"\xff\xfe", b'{"self_sha256": ""}'])
def test_a_status_that_is_none_counts_as_not_checked(content: bytes) -> None:
    assert SnapshotStatus.decode(content) == SnapshotStatus()


def test_notes_about_a_snapshot_do_not_overwrite_each_other(days: Days, data: Path) -> None:
    """Two processes, each noting something else of the same snapshot again and again: the last of both is kept."""
    code = """
import sys
from pathlib import Path
from nescord.backup.store import BackupStore
store = BackupStore(Path(sys.argv[1]))
for number in range(200):
    store.set_status(sys.argv[2], **{sys.argv[3]: str(number)})
    assert getattr(store.status(sys.argv[2]), sys.argv[3]) == str(number)
"""
    command = [sys.executable, "-c", code, str(data / "backups"), days.ids[0]]
    processes = [subprocess.Popen([*command, name], cwd=REPOSITORY) for name in ("reason", "drill_note")]
    assert [process.wait() for process in processes] == [0, 0]


def test_somebody_without_this_program_can_restore(days: Days, data: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        assert "CI" not in os.environ, "apt-get install zstd"
        pytest.skip("the command zstd is not installed")
    for each, arguments in ((days.ids[2], []), (days.ids[1], [days.ids[1]])):
        target = tmp_path / f"{each}.db"
        command = [sys.executable, "-I", str(data / "backups" / "restore.py"), *arguments, str(target)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
        assert each in printed
        assert sha256(target) == days.manifests[each].sha256
        assert stored(target) == days.contents[each]
    pack = store_of(data).packs / f"{days.ids[0]}.pack"
    other = subprocess.run(["zstd", "-q", "-c"], input=bytes(10**6), capture_output=True, check=True).stdout
    pack.write_bytes(other)
    command = [sys.executable, "-I", str(data / "backups" / "restore.py"), str(tmp_path / "wrong.db")]
    failed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "NOT the database" in failed.stderr


def test_the_format_is_written_down_with_the_script_that_reads_it() -> None:
    page = (REPOSITORY / "docs" / "backup-format.md").read_text("utf-8")
    assert SCRIPT.decode() in page


def test_a_store_that_nobody_has_begun_is_empty(tmp_path: Path) -> None:
    store = BackupStore(tmp_path / "nowhere")
    assert (store.snapshots(), store.owner(), store.next_seq(), store.bytes_used()) == ([], "", 1, 0)
    assert store.sweep().removed == ()
    assert check(store) == []
    assert not store.folder.exists()


def test_checking_makes_an_unchecked_snapshot_good(days: Days, data: Path, tmp_path: Path) -> None:
    status = data / "backups" / "snapshots" / f"{days.ids[0]}.status.json"
    for content in (None, b"\0", json.dumps({"state": "good"}).encode()):
        status.unlink() if content is None else status.write_bytes(content)
        assert store_of(data).status(days.ids[0]).state == "unchecked"
        checked(data)
        assert store_of(data).status(days.ids[0]).state == "good"
    assert_sound(data, tmp_path / "restored.db")


def test_a_pack_that_the_disk_does_not_give_is_no_proof_of_damage(days: Days, data: Path) -> None:
    """A snapshot called bad goes once there is a newer one: a hiccup of the disk must not have that power."""
    pack = store_of(data).packs / f"{days.ids[0]}.pack"
    content = pack.read_bytes()
    pack.unlink()
    pack.mkdir()
    found = checked(data)
    assert all("cannot be read" in found[each][0] for each in days.ids)
    assert {store_of(data).status(each).state for each in days.ids} == {"unchecked"}
    pack.rmdir()
    pack.write_bytes(content)
    assert set(checked(data).values()) == {()}
    assert {store_of(data).status(each).state for each in days.ids} == {"good"}
