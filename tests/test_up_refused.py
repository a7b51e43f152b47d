"""What `nescord up` refuses before anything is started: how it says so, what it leaves, and the mend that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import Done, in_process
from flow_world import processes_naming
from services_world import prefect_elsewhere, running

from nescord.home import DataFolder, read_identity, write_identity
from nescord.settings import Settings
from tests.vaults import UNPRIVILEGED, contents, open_base
from tests.verified import mounted, verified_base

WORKER = str(Path(__file__).with_name("up_worker.py"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_VECTOR", "exact")
    monkeypatch.setenv("PORT", "0")


def refused(data: Path, **environment: str) -> Done:
    """The command, which must end by itself and leave no process."""
    done = in_process("--data-dir", data, "up", "--port", "0", env=environment)
    assert "http: " not in done.out
    assert not processes_naming(str(data))
    return done


@pytest.fixture
def data(tmp_path: Path) -> Path:
    verified_base(tmp_path).close()
    return tmp_path / "kb"


def starts(data: Path, output: Path, **environment: str) -> None:
    with (
        prefect_elsewhere() as prefect,
        running(output, [WORKER, str(data)], PREFECT_API_URL=prefect, **environment) as it,
    ):
        it.hears("all services are ready")
        assert it.stop() == 0


def test_a_database_that_is_gone_is_not_replaced_by_an_empty_one(data: Path) -> None:
    (data / "nescordbot.db").unlink()
    done = refused(data)
    assert done.code == 1
    assert "nescord: nothing is started: " in done.err
    assert "database.open: the database of this knowledge base is missing" in done.err
    assert "restore it (nescord backup restore …)" in done.err
    assert not (data / "nescordbot.db").exists()


def test_an_identity_that_is_gone_is_not_made_up(data: Path) -> None:
    (data / "identity.json").unlink()
    done = refused(data)
    assert (done.code, "nescord init makes a new identity" in done.err) == (1, True)
    assert not (data / "identity.json").exists()


def test_the_wrong_volume_is_told(data: Path) -> None:
    folder = DataFolder.at(Settings(data_dir=data))
    write_identity(folder, replace(read_identity(folder), last_counts={"notes": 5000}))
    done = refused(data)
    assert done.code == 1
    assert "continuity.counts: this is not the volume you had: " in done.err
    assert "-> attach the right volume, or restore a backup" in done.err


def test_a_damaged_database_is_told(data: Path) -> None:
    with (data / "nescordbot.db").open("r+b") as file:
        file.seek(3 * 8192)
        file.write(os.urandom(40 * 8192))
    done = refused(data)
    assert (done.code, "nothing is started: database." in done.err) == (1, True), done.err


@pytest.mark.parametrize("name", ["photo.jpg", ".ssh"])
def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    data = tmp_path / "somewhere"
    data.mkdir()
    (data / name).write_text("not ours")
    before = contents(data)
    done = refused(data)
    assert done.code == 2
    assert f"holds no knowledge base, but {name}: attach the right volume, or name an empty folder" in done.err
    assert contents(data) == before


def test_an_empty_volume_with_lost_and_found_is_a_beginning(tmp_path: Path) -> None:
    data = tmp_path / "volume"
    (data / "lost+found").mkdir(parents=True)
    starts(data, tmp_path / "said")
    assert read_identity(DataFolder.at(Settings(data_dir=data))).is_begun


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = refused(tmp_path / "file")
    assert (done.code, "cannot be read: Not a directory" in done.err) == (2, True), done.err


@pytest.mark.parametrize("begun", [True, False])
def test_a_disk_that_is_mounted_read_only_is_told(tmp_path: Path, begun: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)):
        if begun:
            verified_base(disk).close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = refused(disk / "kb")
    assert (done.code, "is on a disk that is mounted read-only: mount it for writing" in done.err) == (2, True)


@pytest.mark.skipif(UNPRIVILEGED is None, reason="root without setpriv: file permissions cannot be made to count")
def test_a_folder_of_another_user_is_told_with_the_mend(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o500)
    command = [*(UNPRIVILEGED or []), sys.executable, "-m", "nescord.cli", "--data-dir", str(data / "kb"), "up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    uid = os.geteuid()
    assert done.returncode == 2
    assert (
        f"cannot be written by uid {uid}: {data} belongs to uid {uid}. On Railway set RAILWAY_RUN_UID=0" in done.stderr
    )


def test_a_database_outside_the_data_folder_is_told(tmp_path: Path) -> None:
    done = refused(tmp_path / "data", DATABASE_URL=f"sqlite:///{tmp_path}/elsewhere.db")
    assert (done.code, "which is outside the data folder" in done.err) == (2, True)
    assert not (tmp_path / "data").exists()


def test_railway_without_a_volume_is_told_and_overruled_by_a_setting(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = refused(data, RAILWAY_ENVIRONMENT_ID="e", RAILWAY_DEPLOYMENT_ID="d")
    assert done.code == 2
    assert "railway volume add --mount-path /data" in done.err
    assert not data.exists()
    starts(data, tmp_path / "said", RAILWAY_ENVIRONMENT_ID="e", NESCORD_EPHEMERAL="1")


def test_railway_with_a_volume_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    settings = {"RAILWAY_ENVIRONMENT_ID": "e", "RAILWAY_VOLUME_MOUNT_PATH": str(volume)}
    done = refused(volume / "nescord", **settings)
    assert done.code == 2
    assert f"RAILWAY_VOLUME_MOUNT_PATH is {volume}, where nothing is mounted: attach the volume" in done.err
    assert not (volume / "nescord").exists()
    starts(volume / "nescord", tmp_path / "said", **settings, NESCORD_EPHEMERAL="1")


@pytest.fixture
def copies(data: Path, tmp_path: Path) -> Path:
    """A place elsewhere that holds a copy of the knowledge base."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert in_process("--data-dir", data, "backup", "create").code == 0
    done = in_process("--data-dir", data, "backup", "replicate", "--json", env={"NESCORD_OFF_SITE": str(elsewhere)})
    assert done.code == 0, done.err
    return elsewhere


def test_an_empty_volume_beside_copies_is_no_new_beginning_and_can_be_brought_back(
    data: Path, copies: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    done = refused(empty, NESCORD_OFF_SITE=str(copies))
    assert done.code == 1
    assert f"{copies} keeps 1 copies of one" in done.err
    assert "with 12 notes" in done.err
    command = f"nescord backup restore --from {copies} --yes"
    assert command in done.err
    assert "To begin a new one on purpose, let NESCORD_OFF_SITE name another place" in done.err
    assert not (empty / "identity.json").exists()
    back = in_process("--data-dir", empty, *command.split()[1:], env={"NESCORD_OFF_SITE": str(copies)})
    assert back.code == 0, back.err
    starts(empty, tmp_path / "said", NESCORD_OFF_SITE=str(copies))
    found = in_process("--data-dir", empty, "status", "--json").document
    assert found["notes"] == 12  # type: ignore[call-overload]


def test_a_new_beginning_beside_other_copies_is_refused_later_as_well(copies: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    open_base(other).close()
    done = refused(other, NESCORD_OFF_SITE=str(copies))
    assert (done.code, "continuity.off_site: this is not the volume you had: " in done.err) == (1, True), done.err


def test_where_copies_cannot_be_asked_for_nothing_is_begun_but_what_is_there_goes_on(
    data: Path, tmp_path: Path
) -> None:
    away = str(tmp_path / "not mounted")
    done = refused(tmp_path / "empty", NESCORD_OFF_SITE=away)
    assert done.code == 1
    assert "NESCORD_OFF_SITE cannot be asked whether it keeps copies of one: " in done.err
    assert f"{away} for copies is not there" in done.err
    assert not (tmp_path / "empty" / "identity.json").exists()
    starts(data, tmp_path / "said", NESCORD_OFF_SITE=away)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_reason_of_a_start_that_fails_holds_no_secret(tmp_path: Path, form: str) -> None:
    secret = "a-token-of-the-page"
    data = tmp_path / secret
    data.mkdir()
    (data / "photo.jpg").write_text("not ours")
    done = in_process("--data-dir", data, "up", "--log-format", form, env={"NESCORD_STATUS_TOKEN": secret})
    assert (done.code, "/*** holds no knowledge base" in done.out + done.err) == (2, True)
    assert secret not in done.out + done.err


def test_as_json_the_reason_is_a_line_of_the_log(tmp_path: Path) -> None:
    done = in_process(
        "--data-dir", tmp_path / "data", "up", "--log-format", "json", env={"RAILWAY_ENVIRONMENT_ID": "e"}
    )
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, done.err) == (2, "")
    assert lines[-1]["service"] == "nescord"
    assert lines[-1]["message"].startswith("ERROR this service on Railway has no volume: ")
