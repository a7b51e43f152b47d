# ruff: noqa: F811 - fixtures are named as what they give
"""Whose a place is, which key it has, and what is refused before anything goes there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nescord import Settings
from nescord.backup.create import create
from nescord.backup.encryption import keygen
from nescord.backup.fetch import check_off_site, fetch
from nescord.backup.off_site import OffSite
from nescord.backup.off_site_copies import Copy, delete_off_site
from nescord.backup.replicate import replicate
from nescord.backup.store import BackupStore
from nescord.errors import (
    BackupError,
    DamagedBackupError,
    SettingsError,
    UsageError,
)
from nescord.home import read_identity
from tests.backup_world import WORDS, Days
from tests.off_site_world import (  # noqa: F401 - fixtures
    World,
    days,
    moto,
    on_disk,
    put,
    rclone,
    sealed,
    world,
    world_at,
)
from tests.s3_world import S3Server
from tests.vaults import open_base


def test_a_foreign_place_is_never_written_to_nor_deleted_from(world: World, tmp_path: Path) -> None:
    world.replicate()
    before = world.off_site().sizes()
    with open_base(tmp_path / "other", vector="exact", **world.options) as km:
        km.capture("mine")
        create(km._base)
        with pytest.raises(BackupError, match="not the volume you had"):
            replicate(km._base)
        other = read_identity(km.folder).uuid
    with pytest.raises(BackupError, match="another knowledge base"):
        delete_off_site(world.off_site(), world.days.ids[:1], knowledge_base=other)
    with pytest.raises(BackupError, match="another knowledge base"):
        fetch(world.off_site(), BackupStore(tmp_path / "other" / "backups"), None, world.identity)
    # Also when the mark is lost: each copy says whose it is.
    world.off_site().delete("store.json")
    with pytest.raises(BackupError, match="another knowledge base"):
        delete_off_site(world.off_site(), world.days.ids[:1], knowledge_base=other)
    assert world.off_site().sizes() == {name: size for name, size in before.items() if name != "store.json"}
    assert world.replicate().sent == ()


def test_copies_of_which_nobody_knows_whose_they_are_are_left_alone(on_disk: World) -> None:
    on_disk.replicate()
    put(on_disk, "store.json", b"{")
    for each in on_disk.days.ids:
        put(on_disk, f"snapshots/{each}.objects.json", b"{")
    before = on_disk.off_site().sizes()
    with pytest.raises(BackupError, match="nobody knows whose"):
        on_disk.replicate()
    assert on_disk.off_site().sizes() == before


def test_a_place_has_one_key(world: World, tmp_path: Path) -> None:
    world.replicate()
    with pytest.raises(BackupError, match="NESCORD_BACKUP_RECIPIENT"):
        world.replicate(backup_recipient=keygen(tmp_path / "new.txt"))
    if world.identity is not None:
        with pytest.raises(BackupError, match="is not set"):
            world.replicate(backup_recipient=None)


def test_what_is_encrypted_shows_nothing_and_needs_its_key(sealed: World, tmp_path: Path) -> None:
    sealed.replicate()
    assert sealed.files is not None
    everything = b"".join(path.read_bytes() for path in sealed.files.rglob("*.*") if path.parent != sealed.files)
    assert b"page_size" not in everything
    assert b"# Note" not in everything
    assert not [word for word in WORDS if len(word) > 4 and word.encode() in everything]
    assert not [path for path in sealed.files.rglob("*") if path.name.endswith((".pack", ".idx", ".json.zst"))]
    store = BackupStore(tmp_path / "fetched")
    with pytest.raises(BackupError, match="--identity FILE"):
        fetch(sealed.off_site(), store)
    keygen(tmp_path / "other.txt")
    with pytest.raises(BackupError, match="does not open"):
        fetch(sealed.off_site(), store, None, tmp_path / "other.txt")
    assert store.ids() == []
    assert not list(store.packs.iterdir())


@pytest.mark.parametrize("text", ["../x", "..", "/etc/passwd", "000001-20260101T000000Z/../x", ""])
def test_what_is_no_id_is_refused_before_anything_is_asked(on_disk: World, text: str) -> None:
    on_disk.replicate()
    before = on_disk.off_site().sizes()
    for act in (
        lambda: fetch(on_disk.off_site(), BackupStore(on_disk.scratch), text),
        lambda: check_off_site(on_disk.off_site(), text),
        lambda: delete_off_site(on_disk.off_site(), [text], knowledge_base="x"),
    ):
        with pytest.raises(UsageError, match="is no id"):
            act()
    assert on_disk.off_site().sizes() == before


def test_a_description_that_names_a_path_outside_is_refused(on_disk: World) -> None:
    on_disk.replicate()
    name = f"snapshots/{on_disk.days.ids[-1]}.objects.json"
    copy = Copy.decode(on_disk.off_site().read(name, 10_000), name)
    put(on_disk, name, replace(copy, objects={"../../evil": next(iter(copy.objects.values()))}).encode())
    with pytest.raises(DamagedBackupError, match="none of ours"):
        fetch(on_disk.off_site(), BackupStore(on_disk.scratch))


def test_a_missing_folder_is_not_made_and_the_data_folder_is_no_other_disk(on_disk: World, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="mount its disk"):
        on_disk.replicate(off_site=str(tmp_path / "unmounted"))
    assert not (tmp_path / "unmounted").exists()
    with pytest.raises(BackupError, match="another disk or machine"):
        on_disk.replicate(off_site=str(on_disk.data / "backups"))
    with pytest.raises(SettingsError, match="NESCORD_OFF_SITE is not set"):
        on_disk.replicate(off_site=None)


def test_the_environment_of_other_programs_for_s3_does_not_count(
    rclone: S3Server, days: Days, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a stranger's")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    world = world_at("bucket", rclone, days, tmp_path)
    world.replicate()
    world.assert_all_copied()


def test_plain_http_is_for_this_machine_only() -> None:
    for good in ("http://localhost:9000", "http://127.0.0.1:1", "http://[::1]:2", "https://storage.example.com"):
        assert Settings(off_site_endpoint=good).off_site_endpoint == good
    for bad in ("http://example.com", "http://localhost.example.com", "ftp://x", "https://key:secret@x", "https://x/y"):
        with pytest.raises(SettingsError, match="NESCORD_OFF_SITE_ENDPOINT") as caught:
            Settings(off_site_endpoint=bad)
        assert "secret" not in str(caught.value)
    for bad in ("s3://", "s3://b", "s3://bucket/../x", "s3://key:secret@bucket", "relative/path", "/a/../b"):
        with pytest.raises(SettingsError, match="NESCORD_OFF_SITE is") as caught:
            Settings(off_site=bad)
        assert "secret" not in str(caught.value)
    assert Settings(off_site="file:///mnt/a%20disk/").off_site == "/mnt/a disk"


def test_a_bucket_without_its_key_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(SettingsError, match="AWS_ACCESS_KEY_ID is not set"):
        OffSite(Settings(off_site="s3://bucket/x"))
