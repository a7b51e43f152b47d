"""What happens between a push and the ingest that sees it, or beside the files of notes: nobody's word is lost."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from git_world import Repository, git, needs_git
from writeback_world import exchanged, files_of, last_line, new_repository, opened, pulled

from nescord.writeback_verbs import exchange

pytestmark = needs_git
WORKER = Path(__file__).with_name("writeback_worker.py")
DECOMPOSED = unicodedata.normalize("NFD", "ガラス")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


@pytest.mark.parametrize("new_text", ["", "and brought back with more"])
def test_what_is_brought_back_right_after_its_removal_was_pushed_stays(
    repository: Repository, tmp_path: Path, new_text: str
) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("taken out and put back")
        exchanged(km)
        (name,) = files_of(repository)
        km.delete_note(note.id)
        km.ingest()
        assert km.write_back().removed == 1
        # A run that was killed here leaves an hour for this.
        km.undelete_note(note.id)
        if new_text:
            km.edit_note(note.id, text=new_text)
        taken, _ = exchanged(km)
        assert (taken.deleted, km.note(note.id).trashed_at) == (0, "")
        assert [last_line(text) for text in files_of(repository).values()] == [new_text or "taken out and put back"]
        # That somebody else removes it counts, as ever.
        pulled(repository).push({f"inbox/{name}": None})
        assert exchanged(km)[0].deleted == 1
        assert km.note(note.id).trashed_at


def test_a_removal_that_never_arrived_is_forgotten(repository: Repository, tmp_path: Path) -> None:
    hook = repository.path / "hooks" / "pre-receive"
    with opened(tmp_path, repository.path) as km:
        note = km.capture("deleted by mistake")
        exchanged(km)
        (name,) = files_of(repository)
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        km.delete_note(note.id)
        with pytest.raises(Exception, match="takes no commits"):
            km.write_back()
        km.undelete_note(note.id)
        hook.unlink()
        exchanged(km)
        assert list(files_of(repository)) == [name]
        pulled(repository).push({f"inbox/{name}": None})
        assert exchanged(km)[0].deleted == 1, "it was taken for our own"


def test_nothing_of_an_erased_note_is_left_here_after_a_kill(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("to be nowhere")
        exchanged(km)
        km.erase_note(note.id)
    command = [sys.executable, str(WORKER), str(tmp_path / "kb"), str(repository.path)]
    killed = subprocess.run([*command, "--kill-at", "push", "--at", "return"], check=False, capture_output=True)
    assert killed.returncode < 0
    assert files_of(repository) == {}
    with opened(tmp_path, repository.path) as km:
        exchanged(km)
        (mirror,) = (tmp_path / "kb" / "sources" / "git").glob("*/.git")
        objects = git(mirror, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
        blobs = [git(mirror, "cat-file", "blob", line.split()[0]) for line in objects if " blob " in line]
        assert any("Green tea" in blob for blob in blobs)
        assert not any(note.id in blob for blob in blobs)


def test_a_file_whose_name_only_looks_the_same_is_another_note(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("# ガラス\n\n拭く")
        exchanged(km)
        (name,) = files_of(repository)
        twin = unicodedata.normalize("NFD", name)
        assert twin != name
        pulled(repository).push({f"inbox/{twin}": "# theirs\n\nof somebody else\n"})
        for _ in range(3):
            taken, _ = exchanged(km)
            assert taken.changed == 0
        assert last_line(km.note(note.id).body) == "拭く"
        assert [last_line(km.note(hit.note_id).body) for hit in km.search("somebody")] == ["of somebody else"]


def test_both_versions_are_kept_in_a_folder_whose_name_is_decomposed(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("拭く")
        exchanged(km)
        ((name, text),) = files_of(repository).items()
        folder = f"inbox/{DECOMPOSED}"
        pulled(repository).push({f"inbox/{name}": None, f"{folder}/{name}": text})
        exchanged(km)
        assert km.note(note.id).path == f"inbox/ガラス/{name}"
        pulled(repository).push({f"{folder}/{name}": text.replace("拭く", "磨く")})
        km.edit_note(note.id, text="洗う")
        taken, _ = exchanged(km)
        assert [each.partition(":")[0] for each in taken.messages] == ["conflict"]
        there = files_of(repository, folder)
        assert len(files_of(repository)) == len(there) == 2
        assert sorted(last_line(each) for each in there.values()) == ["洗う", "磨く"]
        assert exchanged(km)[0].changes == []


def test_another_repository_of_the_same_name_takes_no_note_away(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    other = new_repository(tmp_path / "two")
    with opened(tmp_path, repository.path) as km:
        note = km.capture("mine, wherever")
        exchanged(km)
    with opened(tmp_path, other.path) as km:
        km.remove_source("notes")
        taken, _ = exchanged(km)
        assert (taken.deleted, km.note(note.id).trashed_at) == (0, "")
        assert [last_line(text) for text in files_of(other).values()] == ["mine, wherever"]
        assert exchanged(km)[0].changes == []
    assert [last_line(text) for text in files_of(repository).values()] == ["mine, wherever"]


def test_a_vault_that_comes_back_knows_its_files(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("mine, still")
        exchanged(km)
        km.remove_source("notes")
        taken, written = exchanged(km)
        assert (taken.added, taken.deleted, written.commits) == (0, 0, 0)
        assert [hit.note_id for hit in km.search("still")] == [note.id]


def test_what_is_private_is_not_pushed_to_where_a_guild_reads(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path, vault_space="guild:7", writeback_spaces="user:5, guild:7") as km:
        km.capture("between us", space="user:5")
        taken, _ = exchange(km.ingest, km.write_back)
        assert "so that no notes of user:5 may be: set NESCORD_WRITEBACK_SPACES=guild:7" in str(taken.degraded)
        assert files_of(repository) == {}
    with opened(tmp_path, repository.path, vault_space="guild:7", writeback_spaces="guild:7") as km:
        km.capture("for all", space="guild:7")
        exchanged(km)
        assert [last_line(text) for text in files_of(repository).values()] == ["for all"]
