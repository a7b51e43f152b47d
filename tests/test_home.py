"""The data folder: where it is, when it may begin, what it refuses, and whose it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from nescord.errors import BackupError, LockTimeoutError, NescordError, NoKnowledgeBaseError, SettingsError, UsageError
from nescord.home import (
    DataFolder,
    Identity,
    locate,
    read_identity,
    warnings_for,
    write_identity,
)
from nescord.locks import LockName, Locks
from nescord.settings import Settings


@pytest.fixture(autouse=True)
def _an_empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for info in Settings.model_fields.values():
        monkeypatch.delenv(str(info.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)


def nothing(_: DataFolder) -> None:
    """Begin without a database."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path.resolve()


# Where it is


def test_a_folder_that_was_told_wins_over_the_volume(here: Path) -> None:
    assert locate(Settings(data_dir=here / "kb", railway_volume_mount_path=here / "volume")) == here / "kb"


def test_on_railway_it_is_a_subfolder_of_the_volume(here: Path) -> None:
    DataFolder.create(Settings(data_dir=here / "data" / "state"), begin=nothing)
    assert locate(Settings(railway_volume_mount_path=here / "volume")) == here / "volume" / "nescord"


def test_else_it_is_the_nearest_one_above_that_has_an_identity(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DataFolder.create(Settings(data_dir=here / "data" / "state"), begin=nothing)
    (here / "a" / "data" / "state").mkdir(parents=True)  # nearer, but no knowledge base
    (here / "a" / "b").mkdir()
    monkeypatch.chdir(here / "a" / "b")
    assert locate(Settings()) == here / "data" / "state"
    DataFolder.create(Settings(data_dir=here / "a" / "data" / "state"), begin=nothing)
    assert locate(Settings()) == here / "a" / "data" / "state"


def test_else_it_is_data_state_here(here: Path) -> None:
    assert locate(Settings()) == here / "data" / "state"


def test_relative_paths_and_links_become_absolute(here: Path) -> None:
    (here / "real").mkdir()
    (here / "link").symlink_to("real")
    folder = DataFolder.at(Settings(data_dir="link/../link/kb", chroma_dir="link/vectors"))
    assert folder.path == here / "real" / "kb"
    assert folder.chroma == here / "real" / "vectors"
    assert folder.database == here / "real" / "kb" / "nescordbot.db"


def test_looking_for_it_makes_nothing(here: Path) -> None:
    DataFolder.at(Settings())
    with pytest.raises(NoKnowledgeBaseError):
        DataFolder.find(Settings())
    assert list(here.iterdir()) == []


def test_where_there_is_none_the_hint_says_how_to_begin(here: Path) -> None:
    with pytest.raises(NoKnowledgeBaseError) as caught:
        DataFolder.find(Settings(data_dir="kb"))
    assert str(caught.value) == (
        f'no knowledge base at {here}/kb: create one with "nescord init" or "nescord ingest VAULT"'
    )


# DATABASE_URL


def test_a_database_inside_the_folder_is_accepted_in_both_forms(here: Path) -> None:
    absolute = DataFolder.at(Settings(data_dir="kb", database_url=f"sqlite:///{here}/kb/mine.db"))
    relative = DataFolder.at(Settings(data_dir="kb", database_url="sqlite:///kb/mine.db"))
    assert absolute.database == relative.database == here / "kb" / "mine.db"


def test_three_slashes_where_four_were_meant_are_told_apart(here: Path) -> None:
    """The trap of this project's history: workdir /app, volume /app/data, sqlite:///app/data/nescordbot.db."""
    (here / "app" / "data").mkdir(parents=True)
    three = f"sqlite://{here}/app/data/nescordbot.db"
    with pytest.raises(SettingsError) as caught:
        DataFolder.at(Settings(data_dir=here / "app" / "data", database_url=three))
    assert f"{here}{here}/app/data/nescordbot.db, which is outside" in str(caught.value)
    assert str(caught.value).endswith(f"use sqlite:///{here}/app/data/nescordbot.db")
    mended = str(caught.value).rpartition("use ")[2]
    assert DataFolder.at(Settings(data_dir=here / "app" / "data", database_url=mended))


def test_the_mend_for_three_slashes_is_a_whole_mend_on_railway_too(here: Path) -> None:
    volume = here / "app" / "data"
    volume.mkdir(parents=True)
    three = f"sqlite://{here}/app/data/nescordbot.db"
    mended = f"sqlite:///{volume}/nescord/nescordbot.db"
    for url in (three, f"sqlite:///{volume}/nescordbot.db"):
        with pytest.raises(SettingsError, match=f"use {mended}$"):
            DataFolder.at(Settings(railway_volume_mount_path=volume, database_url=url))
    assert DataFolder.at(Settings(railway_volume_mount_path=volume, database_url=mended))


@pytest.mark.parametrize("url", ["sqlite:///elsewhere.db", "sqlite:////var/elsewhere.db", "sqlite:///kb/../x.db"])
def test_a_database_outside_the_folder_is_refused_with_two_mends(here: Path, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        DataFolder.at(Settings(data_dir="kb", database_url=url))
    assert f"use sqlite:///{here}/kb/" in str(caught.value)
    assert "or set NESCORD_DATA_DIR=" in str(caught.value)


def test_the_default_folder_binds_the_database_as_well(here: Path) -> None:
    with pytest.raises(SettingsError, match=f"outside the data folder {here}/data/state"):
        DataFolder.at(Settings(database_url="sqlite:///nescordbot.db"))


def test_a_link_that_leads_the_database_out_of_the_folder_is_refused(here: Path) -> None:
    (here / "kb").mkdir()
    (here / "kb" / "nescordbot.db").symlink_to(here / "far.db")
    with pytest.raises(SettingsError, match="is a link to"):
        DataFolder.at(Settings(data_dir="kb"))
    with pytest.raises(SettingsError, match="outside the data folder"):
        DataFolder.at(Settings(data_dir="kb", database_url="sqlite:///kb/nescordbot.db"))


@pytest.mark.parametrize("name", ["identity.json", "backups/x.db", ".restore/x.db", "run/x.db", "sub"])
def test_a_database_in_a_place_that_is_taken_is_refused(here: Path, name: str) -> None:
    (here / "kb" / "sub").mkdir(parents=True)
    with pytest.raises(SettingsError, match="is taken"):
        DataFolder.at(Settings(data_dir="kb", database_url=f"sqlite:///kb/{name}"))


# How it begins


def test_a_new_knowledge_base_has_an_identity_and_the_run_folder_only(here: Path) -> None:
    folder = DataFolder.create(Settings(data_dir="deep/kb", railway_deployment_id="deploy-1"), begin=nothing)
    assert {entry.name for entry in folder.path.iterdir()} == {"identity.json", "run"}
    assert folder.identity_file.stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    stored = json.loads(folder.identity_file.read_text(encoding="utf-8"))
    assert UUID(stored["uuid"]).version == 4
    assert stored["first_seen"].endswith("+00:00")
    assert (stored["boots"], stored["deployments"], stored["last_counts"]) == (0, ["deploy-1"], {})
    assert DataFolder.find(Settings(data_dir=here / "deep" / "kb")) == folder


def test_a_knowledge_base_is_not_begun_twice() -> None:
    folder = DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    before = folder.identity_file.read_bytes()
    with pytest.raises(UsageError, match="already a knowledge base"):
        DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    assert folder.identity_file.read_bytes() == before


def test_a_restore_whose_journal_cannot_be_read_stands_in_the_way_of_any_beginning() -> None:
    Path("kb/.restore").mkdir(parents=True)
    Path("kb/.restore/journal.json").write_text("{")
    for create in (DataFolder.create, DataFolder.create_anew):
        with pytest.raises(BackupError, match="look which of"):
            create(Settings(data_dir="kb"), begin=nothing)
    assert not Path("kb/identity.json").exists()


def test_backups_without_a_database_are_restored_and_not_forgotten() -> None:
    Path("kb/backups/snapshots").mkdir(parents=True)
    DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    Path("kb/identity.json").unlink()
    Path("kb/backups/snapshots/20260102").touch()
    with pytest.raises(UsageError, match="nescord backup restore"):
        DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    assert not Path("kb/identity.json").exists()
    assert DataFolder.create_anew(Settings(data_dir="kb"), begin=nothing).identity_file.exists()
    assert Path("kb/backups/snapshots/20260102").exists()


def test_a_database_whose_identity_got_lost_is_taken_up_again() -> None:
    Path("kb/backups/snapshots/20260102").mkdir(parents=True)
    Path("kb/nescordbot.db").write_bytes(b"notes")
    folder = DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    assert read_identity(folder).boots == 0
    assert folder.database.read_bytes() == b"notes"


def test_starting_anew_gives_a_fresh_identity_only_where_the_database_is_gone() -> None:
    folder = DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    first = read_identity(folder)
    folder.database.write_bytes(b"notes")
    with pytest.raises(UsageError, match="exists: nothing to start anew"):
        DataFolder.create_anew(Settings(data_dir="kb"), begin=nothing)
    assert read_identity(folder) == first
    folder.database.unlink()
    DataFolder.create_anew(Settings(data_dir="kb"), begin=nothing)
    assert read_identity(folder).uuid != first.uuid


def test_of_many_processes_that_begin_the_same_one_all_see_one_identity() -> None:
    code = """
from nescord.home import DataFolder, read_identity
from nescord.settings import Settings
import sys
settings = Settings(data_dir="kb")
print("ready", flush=True)
sys.stdin.readline()
try:
    folder = DataFolder.create(settings, begin=lambda folder: None)
except Exception as error:
    assert "already a knowledge base" in str(error)
    folder = DataFolder.find(settings)
print(read_identity(folder).uuid)
"""
    root = str(Path(__file__).parent.parent)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": root},
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    answers = {child.communicate("\n")[0] for child in children}
    assert len(answers) == 1
    assert answers != {""}


def test_who_waited_for_a_beginning_takes_what_the_other_made(here: Path) -> None:
    settings = Settings(data_dir="kb")
    folder = DataFolder.at(settings)
    folder.run.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with Locks(folder.run, timeout=0).exclusive(LockName.CATALOG):
            later = pool.submit(DataFolder.create, settings, begin=nothing)
            with pytest.raises(TimeoutError):
                later.result(timeout=0.2)
            theirs = Identity("5f3e5d9c-3c0b-4b0e-9d0a-1f2e3d4c5b6a", "2026-01-02", is_begun=True)
            write_identity(folder, theirs)
            written = folder.identity_file.read_bytes()
        assert later.result(timeout=10) == folder
    assert folder.identity_file.read_bytes() == written


def test_a_beginning_waits_for_whoever_works_on_the_database() -> None:
    Path("kb/run").mkdir(parents=True)
    code = """
from pathlib import Path
from nescord.locks import LockName, Locks
with Locks(Path("kb/run"), timeout=0).shared(LockName.CATALOG):
    print("held", flush=True)
    input()
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=env
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LockTimeoutError, match="catalog"):
            DataFolder.create(Settings(data_dir="kb", lock_timeout=0), begin=nothing)
        child.communicate("\n")
    DataFolder.create(Settings(data_dir="kb", lock_timeout=0), begin=nothing)


def test_a_folder_that_cannot_be_made_is_said_with_its_path(here: Path) -> None:
    Path("file").touch()
    with pytest.raises(UsageError, match=f"the data folder {here}/file/kb cannot be"):
        DataFolder.create(Settings(data_dir="file/kb"), begin=nothing)


# Identity


def test_an_identity_comes_back_as_it_was_written() -> None:
    folder = DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    identity = Identity(
        uuid=read_identity(folder).uuid,
        first_seen="2026-01-02T03:04:05+00:00",
        boots=3,
        deployments=("a", "知"),
        last_counts={"notes": 8000},
    )
    write_identity(folder, identity)
    assert read_identity(folder) == identity


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"uuid": "no"}', b"\0" * 300, b'"' + b"x" * 300],
)
def test_a_garbled_identity_is_said_with_the_mend(content: bytes) -> None:
    folder = DataFolder.create(Settings(data_dir="kb"), begin=nothing)
    folder.identity_file.write_bytes(content)
    with pytest.raises(NescordError, match=r"identity\.json is damaged: move it away, then nescord init"):
        read_identity(folder)


# Warnings


def test_vectors_outside_the_folder_are_a_warning_only(here: Path) -> None:
    settings = Settings(data_dir="kb", chroma_dir="vectors")
    (warning,) = warnings_for(settings, DataFolder.at(settings))
    assert warning.startswith(f"CHROMADB_PERSIST_DIRECTORY is {here}/vectors, outside the data folder {here}/kb")


def test_a_folder_beside_railways_volume_is_warned_of(here: Path) -> None:
    settings = Settings(data_dir="kb", railway_volume_mount_path=here / "volume")
    (warning,) = warnings_for(settings, DataFolder.at(settings))
    assert "is not on the volume" in warning


def test_what_is_as_it_should_be_warns_of_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(railway_volume_mount_path=here / "volume", chroma_dir="volume/nescord/vectors")
    assert warnings_for(settings, DataFolder.at(settings)) == []
    assert capsys.readouterr() == ("", "")
