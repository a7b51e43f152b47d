"""Where a service may run, and as whom: Railway's variables against mounts, and what root gives to another user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nescord.deployment import check_platform
from nescord.errors import UsageError
from nescord.home import DataFolder
from nescord.persistence.mounts import Mount, Mounts
from nescord.settings import Settings
from tests.verified import mounted

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
UID = 54321
BECOME = """
import json, os, sys
from pathlib import Path
from nescord.deployment import become
from nescord.errors import NescordError
from nescord.settings import Settings
said = []
try:
    become(Settings(data_dir=sys.argv[1]), Path(sys.argv[1]), said.append)
    (Path(sys.argv[1]) / "written").write_text("by whom?")
except NescordError as error:
    said.append(f"{error.exit_code} {error}")
print(json.dumps({"ids": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(), "said": said,
                  "home": os.environ["HOME"]}))
"""


def _mounts(*points: Path, kind: str = "ext4") -> Mounts:
    """Those, on a container's own layer. They have no numbers that a path here could have: the names decide."""
    layer = Mount(-1, Path("/"), "overlay", frozenset({"rw"}))
    return Mounts([layer, *(Mount(-2 - n, point, kind, frozenset({"rw"})) for n, point in enumerate(points))], True)


def _settings(**values: object) -> Settings:
    return Settings(railway_environment_id="e", **values)


def _refusal(settings: Settings, mounts: Mounts) -> str:
    with pytest.raises(UsageError) as caught:
        check_platform(settings, DataFolder.at(settings), mounts)
    return str(caught.value)


def test_a_folder_of_its_own_on_the_volume_is_right(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    for settings in (
        _settings(railway_volume_mount_path=volume),
        _settings(railway_volume_mount_path=volume, data_dir=volume / "deep" / "inside"),
        _settings(data_dir=tmp_path, ephemeral=True),
        Settings(data_dir=tmp_path),  # not on Railway
    ):
        check_platform(settings, DataFolder.at(settings), _mounts(volume))
    assert not list(volume.iterdir())


def test_without_a_volume_it_is_said_how_to_add_one(tmp_path: Path) -> None:
    said = _refusal(_settings(data_dir=tmp_path / "volume" / "nescord"), _mounts(tmp_path / "volume"))
    assert said.startswith(
        "this service on Railway has no volume: add a volume with mount path /data (in the dashboard: "
    )


def test_what_lies_beside_the_volume_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    settings = _settings(railway_volume_mount_path=volume, data_dir=tmp_path / "beside")
    said = _refusal(settings, _mounts(volume))
    assert f"data folder: {tmp_path / 'beside'} is not on the volume {volume}: the next deployment loses it" in said
    assert f"set NESCORD_DATA_DIR={volume / 'nescord'}" in said


def test_the_whole_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    (tmp_path / "volume").mkdir()
    settings = _settings(railway_volume_mount_path=tmp_path / "link", data_dir=tmp_path / "volume")
    assert "is the whole volume" in _refusal(settings, _mounts(tmp_path / "volume"))


def test_a_volume_that_is_not_mounted_or_keeps_nothing_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    settings = _settings(railway_volume_mount_path=volume)
    assert "where nothing is mounted: attach the volume" in _refusal(settings, _mounts())
    assert "is of type tmpfs, which keeps nothing" in _refusal(settings, _mounts(volume, kind="tmpfs"))


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """tmp_path, reachable for other users as well: pytest makes it for its own user."""
    base = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder != base and folder.is_relative_to(base):
            folder.chmod(0o755)
    return tmp_path


def _become(folder: Path, umask: int = 0o022, **environment: str) -> dict[str, object]:
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/root", "NESCORD_UID": str(UID), **environment}
    done = subprocess.run(
        [sys.executable, "-c", BECOME, str(folder)],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env=env,
        umask=umask,
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def _owners(root: Path) -> dict[str, int]:
    found = [root, *root.rglob("*")]
    return {str(path.relative_to(root.parent)): path.lstat().st_uid for path in found}


@only_root
def test_root_makes_the_folder_for_the_user_and_becomes_him(open_path: Path) -> None:
    volume = open_path / "volume"
    volume.mkdir(mode=0o755)
    folder = volume / "nescord"
    answer = _become(folder)
    assert answer == {
        "ids": [UID] * 6,
        "groups": [UID],
        "said": [f"{folder}: given to uid {UID} (1 files and folders were not its own)"],
        "home": str(folder),
    }
    assert (volume.stat().st_uid, folder.stat().st_mode & 0o777) == (0, 0o700)
    assert _become(folder)["said"] == []


@only_root
def test_what_root_makes_above_the_folder_lets_the_user_through_whatever_the_umask(open_path: Path) -> None:
    folder = open_path / "deep" / "inside" / "kb"
    (open_path / "his").mkdir(mode=0o711)
    assert [each for each in _become(folder, umask=0o077)["said"] if each.startswith("2 ")] == []  # type: ignore[attr-defined]
    assert (folder / "written").exists()
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent, folder.parent.parent)] == [
        *(0o700, 0o755, 0o755)
    ]
    _become(open_path / "his" / "kb")
    assert (open_path / "his").stat().st_mode & 0o777 == 0o711  # what was there stays as it was


@only_root
def test_root_gives_away_what_is_in_the_folder_and_nothing_else(open_path: Path) -> None:
    folder, outside = open_path / "kb", open_path / "outside"
    (folder / "run" / "deep").mkdir(parents=True)
    (folder / "run" / "deep" / "file").write_text("")
    (folder / "his").write_text("")
    os.chown(folder / "his", UID, 7)
    outside.mkdir()
    (outside / "secret").write_text("")
    (folder / "link").symlink_to(outside)
    (folder / "run" / "file").symlink_to(outside / "secret")
    disk = folder / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(disk)):
        (disk / "theirs").write_text("")
        answer = _become(folder)
        assert answer["said"] == [f"{folder}: given to uid {UID} (6 files and folders were not its own)"]
        assert {path for path, owner in _owners(open_path).items() if owner == 0} == {
            *(open_path.name, f"{open_path.name}/outside", f"{open_path.name}/outside/secret"),
            *(f"{open_path.name}/kb/disk", f"{open_path.name}/kb/disk/theirs"),
        }
    assert (folder / "his").stat().st_gid == 7


@only_root
def test_without_the_setting_root_becomes_the_owner_as_ever(open_path: Path) -> None:
    folder = open_path / "kb"
    folder.mkdir()
    os.chown(folder, 54399, 54399)
    (folder / "mine").write_text("")
    assert _become(folder, NESCORD_UID="")["ids"] == [54399] * 6
    assert (folder / "mine").stat().st_uid == 0


@only_root
def test_a_disk_that_root_may_not_write_is_told(open_path: Path) -> None:
    disk = open_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        (said,) = _become(disk / "kb")["said"]  # type: ignore[misc]
    assert said.startswith(f"2 the data folder {disk / 'kb'} cannot be given to uid {UID}: Read-only file system")


@only_root
def test_a_user_below_a_closed_folder_is_told(open_path: Path) -> None:
    closed = open_path / "closed"
    closed.mkdir(mode=0o700)
    (said,) = [each for each in _become(closed / "kb")["said"] if each.startswith("2 ")]  # type: ignore[attr-defined]
    assert "cannot be written by uid 54321" in said
