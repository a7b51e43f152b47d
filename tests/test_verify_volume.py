"""Verification of the disk under a knowledge base: faults of permissions, mounts and space, caused for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from nescord.persistence.mounts import Mounts, parse
from nescord.persistence.report import PersistenceReport
from tests.vaults import UNPRIVILEGED, open_base
from tests.verified import changed, mounted, statuses, verified_base


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with verified_base(tmp_path) as km:
        yield km


def _probes(root: Path) -> list[Path]:
    return list(root.rglob(".probe-*"))


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _value(report: PersistenceReport, name: str) -> str:
    return next(f"{check.value} -> {check.mend}" for check in report.checks if check.name == name)


@pytest.mark.skipif(UNPRIVILEGED is None, reason="root without setpriv: file permissions cannot be made to count")
@pytest.mark.parametrize("place", ["backups", "kb"])
def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path, place: str) -> None:
    verified_base(tmp_path).close()
    data = tmp_path / "kb"
    (data / "backups").mkdir(exist_ok=True)
    (data / "prefect").mkdir()

    def verdicts() -> dict[str, str]:
        command = [*(UNPRIVILEGED or []), sys.executable, "-m", "nescord.cli", "--data-dir", data, "verify", "--json"]
        environment = os.environ | {"NESCORD_VECTOR": "exact"}
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
        document = json.loads(done.stdout)
        assert (done.returncode == 0) == document["ok"]
        return {check["name"]: check["status"] for check in document["checks"]}

    before = verdicts()
    folder = tmp_path / "kb" if place == "kb" else data / place
    folder.chmod(0o500)
    try:
        after = verdicts()
    finally:
        folder.chmod(0o700)
    assert after["volume.writable"] == "fail"
    if place == "backups":  # without its folder, SQLite does not open either
        assert {name for name in before if before[name] != after[name]} == {"volume.writable"}
    assert not _probes(tmp_path)


def test_a_read_only_mount_is_found(km: KnowledgeManager) -> None:
    backups = km.folder.backups
    backups.mkdir(exist_ok=True)
    before = km.verify()
    with mounted("--bind", str(backups), str(backups)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(backups)], check=True)
        after = km.verify()
    assert changed(before, after) == {"volume.writable": "fail", "volume.file_system": "fail"}
    assert "read-only" in _value(after, "volume.file_system").lower()


def test_little_space_is_found(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=60m", "none", str(tmp_path)):
        with verified_base(tmp_path) as km:
            found = statuses(km.verify())
            assert (found["volume.space"], found["volume.mount"]) == ("fail", "warn")
            assert found["volume.writable"] == "pass"
            assert {name for name, status in found.items() if status == "fail"} == {"volume.space"}
            subprocess.run(["mount", "-o", "remount,size=256m", tmp_path], check=True)
            (tmp_path / "large").write_bytes(bytes(200 * 2**20))
            assert statuses(km.verify())["volume.space"] == "fail"
            os.truncate(tmp_path / "large", 180 * 2**20)
            subprocess.run(["mount", "-o", "remount,size=1000m", tmp_path], check=True)
            assert statuses(km.verify())["volume.space"] == "pass"
            (tmp_path / "large").write_bytes(bytes(880 * 2**20))
            assert statuses(km.verify())["volume.space"] == "warn"
        os.chdir("/")


def test_a_full_disk_leaves_no_probe_behind(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=20m", "none", str(tmp_path)):
        with verified_base(tmp_path) as km:
            with pytest.raises(OSError, match="No space"):
                _fill_up(tmp_path / "filler")
            report = km.verify()
            assert statuses(report)["volume.writable"] == "fail"
            assert "No space" in _value(report, "volume.writable")
            assert not _probes(tmp_path)
            (tmp_path / "filler").unlink()
        os.chdir("/")


def test_a_disk_without_names_is_found(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=900m,nr_inodes=90", "none", str(tmp_path)):
        with verified_base(tmp_path) as km:
            found = statuses(km.verify())
            assert {name for name, status in found.items() if status == "fail"} == {"volume.inodes"}
            subprocess.run(["mount", "-o", "remount,nr_inodes=4000", tmp_path], check=True)
            assert statuses(km.verify())["volume.inodes"] == "pass"
            (tmp_path / "many").mkdir()
            for number in range(3500):
                (tmp_path / "many" / str(number)).touch()
            assert statuses(km.verify())["volume.inodes"] == "warn"
        os.chdir("/")


def test_a_volume_that_is_not_mounted_is_found(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    with verified_base(volume / "nescord") as km:
        before = km.verify()
    with open_base(volume / "nescord" / "kb", vector="exact", railway_volume_mount_path=volume) as km:
        after = km.verify()
        assert changed(before, after) == {"volume.mount": "fail"}
        assert "nothing is mounted" in _value(after, "volume.mount")
        with mounted("--bind", str(volume), str(volume)):
            assert statuses(km.verify())["volume.mount"] == "pass"


def test_a_database_off_the_volume_is_found(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    volume = tmp_path / "a vol\\ume"
    volume.mkdir()
    with mounted("--bind", str(tmp_path / "disk"), str(volume)):
        with verified_base(tmp_path / "elsewhere", railway_volume_mount_path=volume) as km:
            report = km.verify()
            assert statuses(report)["volume.mount"] == "fail"
            assert f"NESCORD_DATA_DIR={volume}/nescord" in _value(report, "volume.mount")
        with verified_base(volume, railway_volume_mount_path=volume) as km:
            report = km.verify()
            assert statuses(report)["volume.mount"] == "pass", _value(report, "volume.mount")
            assert str(volume) in _value(report, "volume.mount")


def test_chroma_alone_off_the_volume_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    volume = tmp_path / "volume"
    volume.mkdir()
    with mounted("--bind", str(tmp_path / "disk"), str(volume)):
        settings = {"railway_volume_mount_path": volume, "chroma_dir": tmp_path / "chroma", "vector": "auto"}
        with open_base(volume / "kb", **settings) as km:
            assert statuses(km.verify())["volume.mount"] == "warn"


def test_a_volume_in_memory_fails(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=200m", "none", str(volume)):
        with open_base(volume / "kb", railway_volume_mount_path=volume) as km:
            assert statuses(km.verify())["volume.mount"] == "fail"
        # Where no volume is promised it is somebody's wish, but on Railway none means that all is lost.
        with open_base(volume / "kb") as km:
            assert statuses(km.verify())["volume.mount"] == "warn"
        with open_base(volume / "kb", railway_deployment_id="one") as km:
            report = km.verify()
            assert statuses(report)["volume.mount"] == "fail"
            assert "attach a volume" in _value(report, "volume.mount")


_LINES = rb"""
27 1 254:0 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
30 27 8:1 /vol /data rw,relatime shared:7 master:1 - ext4 /dev/sda1 rw,errors=remount-ro
31 27 8:2 / /with\040blank\134and\011tab ro - xfs /dev/sdb rw
32 27 0:9 / /data rw - nfs4 server:/x rw,vers=4.2
33 27 8:3 / /\351\215\265 rw - ext4 /dev/sdc ro
""".strip()


def test_mountinfo_is_read_as_the_kernel_writes_it() -> None:
    mounts = {mount.number: mount for mount in parse(_LINES)}
    assert [str(mount.point) for mount in mounts.values()] == ["/", "/data", "/with blank\\and\ttab", "/data", "/鍵"]
    assert [mount.kind for mount in mounts.values()] == ["overlay", "ext4", "xfs", "nfs4", "ext4"]
    assert [number for number, mount in mounts.items() if mount.is_read_only] == [31, 33]
    assert [number for number, mount in mounts.items() if mount.is_network] == [32]
    assert [number for number, mount in mounts.items() if mount.is_fleeting] == [27]


def test_of_two_mounts_at_one_place_the_later_counts() -> None:
    mounts = Mounts(parse(_LINES), is_container=True)
    assert mounts.of(Path("/data/not/there")).number == 32
    assert mounts.of(Path("/elsewhere/not/there")).number == 27
    assert mounts.is_lost_with_the_container(mounts.of(Path("/elsewhere/not/there")))
    assert not mounts.is_lost_with_the_container(mounts.mounts[1])


def test_a_mount_that_another_one_covers_is_not_taken_for_it(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    with mounted("-t", "tmpfs", "-o", "size=1m", "none", str(inner)):
        with mounted("--bind", str(tmp_path), str(outer)):
            inner.mkdir(exist_ok=True)
            mounts = Mounts.read()
            assert mounts is not None
            assert inner in [mount.point for mount in mounts.mounts]
            assert mounts.of(inner).point == outer
        assert mounts.of(inner).point == inner


def test_the_root_of_a_container_is_lost_whatever_its_type() -> None:
    (root,) = parse(b"27 1 254:0 / / rw - btrfs /dev/sda rw")
    assert Mounts([root], is_container=True).is_lost_with_the_container(root)
    assert not Mounts([root], is_container=False).is_lost_with_the_container(root)
