# ruff: noqa: F811 - fixtures are named as what they give
"""Whatever happens to the mirror of a vault in git, the next sync mends it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dulwich.index import Index, IndexEntry, index_entry_from_stat
from git_world import (  # noqa: F401 - fixtures
    SYNC,
    Host,
    Repository,
    _spoken_by,
    began_in,
    files_in,
    git,
    host,
    marks_in,
    needs_git,
    refusal,
    remote_of,
    repository,
)

from nescord.errors import DiskError
from nescord.sources.git import notes_in, sync
from tests.backup_world import small_disk
from tests.vaults import REPOSITORY

pytestmark = needs_git


@pytest.mark.parametrize(
    "damage",
    [
        "a file is gone",
        "a file is changed",
        "a file is too many",
        "all files are gone",
        "no .git",
        "an empty .git",
        "no HEAD",
        "a garbled index",
        "garbled packs",
        "locks",
        "no mirror",
        "a file in its place",
    ],
)
def test_a_damaged_mirror_is_mended(repository: Repository, tmp_path: Path, damage: str) -> None:
    # In a repository of somebody else, which must not be taken for the mirror's.
    outer = Repository(tmp_path, "outer")
    outer.push({"mine.md": "not to be touched"})
    mirrors = outer.work / "mirrors"
    remote = remote_of(repository.path)
    sync(remote, mirrors)
    mirror = notes_in(remote, mirrors)
    dot_git = mirror / ".git"
    if damage == "a file is gone":
        (mirror / "a.md").unlink()
    elif damage == "a file is changed":
        (mirror / "a.md").write_text("by somebody")
    elif damage == "a file is too many":
        (mirror / "deep" / "er").mkdir(parents=True)
        (mirror / "deep" / "er" / "x.md").write_text("by somebody")
    elif damage == "all files are gone":
        for each in ("a.md", "b"):
            shutil.rmtree(mirror / each) if (mirror / each).is_dir() else (mirror / each).unlink()
    elif damage == "no .git":
        shutil.rmtree(dot_git)
    elif damage == "an empty .git":
        shutil.rmtree(dot_git)
        dot_git.mkdir()
    elif damage == "no HEAD":
        (dot_git / "HEAD").unlink()
    elif damage == "a garbled index":
        (dot_git / "index").write_bytes(b"DIRC" + os.urandom(300))
    elif damage == "garbled packs":
        for path in (dot_git / "objects").rglob("*"):
            if path.is_file():
                path.chmod(0o600)
                path.write_bytes(b"x" * 40)
    elif damage == "locks":
        for name in ("index.lock", "shallow.lock", "HEAD.lock", "refs/heads/vault.lock", "config.lock"):
            (dot_git / name).write_bytes(b"")
    elif damage in ("no mirror", "a file in its place"):
        shutil.rmtree(mirror)
        if damage == "a file in its place":
            mirror.write_text("")
    expected = {"a.md": "one", "b/c.md": "two", "b/日本 語.md": "三"}
    if damage in ("no HEAD", "garbled packs", "locks"):
        # Seen when something is to be fetched.
        repository.push({"a.md": "more"})
        expected["a.md"] = "more"
    sync(remote, mirrors)
    assert files_in(mirror) == expected
    repository.push({"a.md": "and more"})
    assert sync(remote, mirrors) is True
    assert files_in(mirror) == expected | {"a.md": "and more"}
    assert sorted(path.name for path in mirrors.iterdir()) == [mirror.name]
    assert git(outer.work, "status", "--porcelain").splitlines() == ["?? mirrors/"]


def test_after_a_restart_of_the_machine_every_file_is_compared(repository: Repository, tmp_path: Path) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    sync(remote, mirrors)
    root = notes_in(remote, mirrors)
    before = marks_in(root)
    # As a power cut leaves it: name, size and times are as they should be, what was written is not.
    file = root / "b" / "c.md"
    file.write_bytes(b"\0\0\0")
    past = time.time() - 60  # git reads what was written in the very second of the index
    os.utime(file, (past, past))
    index = Index(str(root / ".git" / "index"))
    known = index[b"b/c.md"]
    assert isinstance(known, IndexEntry)
    index[b"b/c.md"] = index_entry_from_stat(file.lstat(), known.sha)
    index.write()
    sync(remote, mirrors)
    assert file.read_text() == "\0\0\0", "nothing tells it from a file that was not touched"
    state = root / ".git" / "nescord.json"
    state.write_text(state.read_text().replace('"boot": "', '"boot": "another '))
    assert sync(remote, mirrors) is False
    assert file.read_text() == "two"
    assert marks_in(root)["a.md"] == before["a.md"]


def test_what_a_killed_sync_leaves_is_mended_by_the_next(repository: Repository, host: Host, tmp_path: Path) -> None:
    url, mirrors = f"{host.url}/notes.git", tmp_path / "mirrors"
    expected = {"a.md": "one", "b/c.md": "two", "b/日本 語.md": "三"}
    for content in (None, os.urandom(30_000).hex()):  # the first copy, then what was pushed
        if content:
            repository.push({"a.md": content})
            expected["a.md"] = content
        host.cut_after = 100
        host.stalls.clear()
        host.released.clear()
        with subprocess.Popen([sys.executable, "-c", SYNC, url, str(mirrors)], cwd=REPOSITORY) as process:
            assert host.stalls.wait(30), "it was killed within the pack"
            process.send_signal(signal.SIGKILL)
        host.cut_after = None
        host.released.set()
        remote = remote_of(url)
        sync(remote, mirrors)
        assert files_in(notes_in(remote, mirrors)) == expected
    # What git itself, which may outlive us by a moment, has left in a copy that is none.
    sync(remote, mirrors)
    assert [path.name for path in mirrors.iterdir()] == [remote.mirror_name]
    assert began_in(mirrors) == []


def test_what_was_begun_and_left_among_the_objects_goes(repository: Repository, tmp_path: Path) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    sync(remote, mirrors)
    objects = notes_in(remote, mirrors) / ".git" / "objects"
    whole = {path for path in objects.rglob("*") if path.is_file()}
    (objects / "1f").mkdir(exist_ok=True)
    for name in (
        "1f/tmp_obj_AbCdEf",
        "tmp_pack_0d3k_x",
        "pack/tmp_pack_AbCdEf",
        "pack/tmp_idx_AbCdEf",
        "pack/tmpx0d3k_x.pack",
        "pack/.tmp-77-pack-aa.pack",
        f"pack/pack-{'0' * 40}.pack",
        f"pack/pack-{'0' * 40}.keep",
        f"pack/pack-{'0' * 40}.idx.lock",
    ):
        (objects / name).write_bytes(b"half")
    assert sync(remote, mirrors) is False
    assert {path for path in objects.rglob("*") if path.is_file()} == whole
    repository.push({"a.md": "more"})
    sync(remote, mirrors)
    assert files_in(notes_in(remote, mirrors))["a.md"] == "more"


def test_a_disk_that_was_full_has_its_room_back(repository: Repository, tmp_path: Path) -> None:
    remote = remote_of(repository.path)
    (tmp_path / "bin").mkdir()
    for program in ("mount", "umount"):
        if path := shutil.which(program, path=os.defpath):
            (tmp_path / "bin" / program).symlink_to(path)
    with small_disk(tmp_path / "disk", 2) as disk:
        mirrors = disk / "mirrors"

        def used() -> int:
            return shutil.disk_usage(disk).used

        # No room for what is sent, then none for the files made of it; without a mirror before, and with one.
        for sizes in ((3, 1.2), (3, 1.2)):
            before, expected = used(), files_in(mirrors)
            for megabytes in sizes:
                repository.push({"big.bin": os.urandom(int(megabytes * 2**20))}, amend=megabytes == 3)
                assert "no room for the copy of the vault" in refusal(remote, mirrors, DiskError)
                assert files_in(mirrors) == expected
                assert used() - before < 200_000
            repository.push({"big.bin": None, "a.md": f"after {before}"}, amend=True)
            assert sync(remote, mirrors) is True
            assert files_in(notes_in(remote, mirrors))["a.md"] == f"after {before}"
            assert began_in(mirrors) == []
        # Full of something else: nothing is lost of what is there.
        (disk / "other").write_bytes(b"x" * (shutil.disk_usage(disk).free - 8192))
        expected = files_in(mirrors)
        repository.push({"a.md": os.urandom(50_000).hex()})
        assert "no room for the copy of the vault" in refusal(remote, mirrors, DiskError)
        assert files_in(mirrors) == expected
        (disk / "other").unlink()
        assert sync(remote, mirrors) is True


@pytest.mark.parametrize(("name", "is_folder"), [(".GIT", True), ("x" * 300, False)], ids=["no name", "too long"])
def test_a_name_that_cannot_be_is_said_and_costs_no_copy(
    repository: Repository, tmp_path: Path, name: str, is_folder: bool
) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    big = {"big.md": os.urandom(100_000).hex()}
    for begins_well in (False, True):
        if begins_well:
            repository.push(big)
            sync(remote, mirrors)
        repository.push_name(name, is_folder=is_folder)
        told = []
        for _ in range(2):
            said = refusal(remote, mirrors)
            assert f'{remote.url} holds a name that no file here can have, "{name[:100]}' in said
            assert said.endswith(": rename it in the repository; the notes stay as they are")
            assert len(said) < 300
            told.append((mirrors / remote.mirror_name / ".git").stat().st_ino)
        assert len(set(told)) == 1, "the mirror is the same"
    repository.push({"a.md": "well again"})
    assert sync(remote, mirrors) is True
    assert files_in(notes_in(remote, mirrors)) == {"a.md": "well again", "b/c.md": "two", "b/日本 語.md": "三"} | big
    assert [path.name for path in mirrors.iterdir()] == [remote.mirror_name]


def test_after_a_kill_at_any_moment_the_files_are_those_of_the_branch(tmp_path: Path) -> None:
    repository, mirrors = Repository(tmp_path), tmp_path / "mirrors"
    remote = remote_of(repository.path)
    chance = random.Random(20261127)
    killed = 0
    for number in range(40 if os.environ.get("NESCORD_SOAK") else 4):
        names = chance.sample(range(600), 300)
        repository.push({f"{name % 7}/{name}.md": f"{number} {name}" for name in names}, amend=bool(number % 2))
        command = [sys.executable, "-c", SYNC, str(repository.path), str(mirrors)]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
        killed += process.returncode == -signal.SIGKILL
        sync(remote, mirrors)
        assert files_in(notes_in(remote, mirrors)) == files_in(repository.work)
        assert [path.name for path in mirrors.iterdir()] == [remote.mirror_name]
    assert killed


def test_a_place_that_cannot_be_written_is_said(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "mirrors").write_text("a file")
    assert "cannot be written" in refusal(remote_of(repository.path), tmp_path / "mirrors", DiskError)
