"""Volumes that are not as they should be: each is told plainly, and nothing on it is lost or begun anew by mistake."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from backup_world import small_disk
from deploy_world import IS_ROOT, Volume, checks, container, missing
from flow_world import wait_for
from services_world import PATIENCE
from verified import mounted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root can mount")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    folder = tmp_path / "volume"
    folder.mkdir()
    return Volume(folder)


def refused(volume: Volume, **more: object) -> str:
    """What a deployment says that does not start."""
    with container(volume, **more) as started:  # type: ignore[arg-type]
        code = started.process.wait(60)
    assert code not in (0, None), started.said
    assert "chroma: ready" not in started.said
    return started.said


@only_root
def test_without_a_volume_on_railway_it_refuses_and_says_how_to_add_one(volume: Volume) -> None:
    said = refused(volume, is_mounted=False)
    assert "nothing is mounted" in said
    said = refused(volume, RAILWAY_VOLUME_MOUNT_PATH="", NESCORD_DATA_DIR=str(volume.data))
    assert "railway volume add" in said
    assert "NESCORD_EPHEMERAL=1" in said
    assert not volume.data.exists()


@only_root
def test_a_data_folder_beside_the_volume_or_the_whole_of_it_is_refused(volume: Volume, tmp_path: Path) -> None:
    assert "not on the volume" in refused(volume, NESCORD_DATA_DIR=str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()
    assert "the whole volume" in refused(volume, NESCORD_DATA_DIR=str(volume.path))
    assert list(volume.path.iterdir()) == []


def test_a_database_elsewhere_is_refused_with_the_right_url(volume: Volume, tmp_path: Path) -> None:
    said = refused(volume, DATABASE_URL=f"sqlite:///{tmp_path}/other.db")
    assert f"sqlite:///{volume.data}/other.db" in said
    said = refused(volume, DATABASE_URL="postgresql://someone:hunter2@host/db")
    assert "must be a URL of SQLite" in said
    assert "hunter2" not in said


def test_the_volume_of_something_else_is_left_as_it_is(volume: Volume) -> None:
    volume.data.mkdir()
    (volume.data / "PG_VERSION").write_text("16\n")
    assert "PG_VERSION" in refused(volume)
    assert [file.name for file in volume.data.iterdir() if file.name != "run"] == ["PG_VERSION"]


def test_a_volume_that_lost_its_database_is_not_begun_anew(volume: Volume) -> None:
    assert volume.nescord("capture", "a note").code == 0
    for file in volume.data.glob("nescordbot.db*"):
        file.rename(volume.path / file.name)
    assert "restore it" in refused(volume)
    for file in volume.path.glob("nescordbot.db*"):
        file.rename(volume.data / file.name)
    with container(volume) as mended:
        mended.until_healthy()


@only_root
def test_a_read_only_volume_is_told_and_nothing_is_begun(volume: Volume) -> None:
    note = json.loads(volume.nescord("capture", "a note", "--json").out)["note_id"]
    with mounted("--bind", str(volume.path), str(volume.path)):
        subprocess.run(["mount", "-o", "remount,ro,bind", volume.path], check=True)
        assert "read-only" in refused(volume, on_railway=False, NESCORD_DATA_DIR=str(volume.data))
    assert missing(volume, [note]) == []


@only_root
def test_on_a_full_volume_search_goes_on_and_captures_are_refused_until_there_is_room(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "small")
    with small_disk(volume.path, 96), container(volume, on_railway=False) as running:
        running.until_healthy()
        wait_for("a first note", lambda: volume.nescord("capture", "the first note").code == 0)
        filler = volume.path / "filler"
        _fill(filler)
        refusal = volume.nescord("capture", "word " * 20_000)
        assert refusal.code != 0
        assert "full" in refusal.err or "room" in refusal.err, refusal.err
        assert len(volume.nescord("search", "--mode", "keyword", "--json", "first").document) == 1  # type: ignore[arg-type]
        # The next deployment finds the disk as full as this one has left it.
        assert running.stop()[0] == 0
        with container(volume, on_railway=False) as successor:
            successor.until_healthy()
            assert "volume.space" in successor.said
            found = volume.nescord("search", "--mode", "keyword", "--json", "first")
            assert len(found.document) == 1, found.err  # type: ignore[arg-type]
            filler.unlink()
            wait_for("captures again", lambda: volume.nescord("capture", "a second note").code == 0)
            # The index, which needs more room, follows within five minutes.
            wait_for("no failed check but of the index", lambda: not _failed(volume), PATIENCE)
            assert successor.stop()[0] == 0


def _failed(volume: Volume) -> list[str]:
    return [name for name, status in checks(volume).items() if status == "fail" and not name.startswith("index.")]


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 4096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    assert os.statvfs(filler).f_bavail == 0
