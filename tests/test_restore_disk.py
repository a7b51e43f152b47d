"""A restore on a disk that is full, or fills up, or lets no file grow: nothing has changed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nescord.backup.restore import restore
from nescord.errors import BackupError
from tests.backup_world import opened, store_of, text_of
from tests.restore_world import (
    World,
    base_settings,
    files,
    found,
    put_back,
)
from tests.vaults import REPOSITORY


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"))


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, "vectors"])
def test_no_file_may_grow_further_in_a_restore_and_nothing_has_changed(
    share: float | str, world: World, data: Path
) -> None:
    """What RLIMIT_FSIZE refuses looks to SQLite and to us like a disk that fails in the middle of a write."""
    size = store_of(data).manifest(world.snapshot).size
    if isinstance(share, float):
        size = int(size * share)
    else:
        with opened(data) as km:  # the snapshot itself fits, the vectors that are carried over do not
            for number in range(100):
                km.capture(text_of(number, version=9))
            km.catch_up()
    now = found(data)
    before = without_backups(data)
    done = subprocess.run(
        [sys.executable, "-m", "nescord.cli", "--data-dir", data, "backup", "restore", world.snapshot, "--yes"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "nothing has changed" in done.stderr
    assert without_backups(data) == before
    assert found(data) == now
    assert put_back(data, world.snapshot).restored == world.snapshot


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MB of its own; the test is skipped where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_too_full_is_refused_beforehand(world: World, small_disk: Path) -> None:
    data = world.copy(small_disk / "data")
    (small_disk / "ballast").write_bytes(bytes(35 * 2**20))
    before = files(data)
    with pytest.raises(BackupError, match=r"a restore needs up to .* make room"):
        put_back(data, world.snapshot)
    assert files(data) == before
    (small_disk / "ballast").unlink()
    put_back(data, world.snapshot)
    assert found(data) == world.then


@pytest.mark.parametrize("stage", ["putting together", "copying", "packing", "reading back"])
def test_a_disk_that_fills_up_in_the_middle_changes_nothing_or_is_no_hindrance(
    stage: str, world: World, small_disk: Path
) -> None:
    """Somebody else writes what was free when the restore began. The copy that a backup needs gives some room back."""
    data = world.copy(small_disk / "data")
    before = without_backups(data)
    ballast = small_disk / "ballast"

    def fill(now: str, *_: int) -> None:
        if now == stage and not ballast.exists():
            with suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(2**16))
                    file.flush()

    refused = ""
    try:
        done = restore(base_settings(data), world.snapshot, progress=fill)
    except BackupError as error:
        refused = str(error)
    assert ballast.exists()
    if refused:
        assert "nothing has changed" in refused
        assert without_backups(data) == before
        ballast.unlink()
        put_back(data, world.snapshot)
    else:
        assert stage != "putting together"
        assert done.before or "could not be backed up" in done.remarks[0]
    assert found(data) == world.then


def without_backups(data: Path) -> dict[str, str]:
    return {name: content for name, content in files(data).items() if not name.startswith("backups/")}
