"""Captured notes as files of the vault in git: written, changed, removed and renamed on either side, without twins."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_world import Repository, _spoken_by, git, needs_git  # noqa: F401
from writeback_world import exchanged, files_of, new_repository, opened, pulled

pytestmark = needs_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_a_captured_note_becomes_a_file_and_stays_the_note_that_it_was(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.add_note(
            "梅干しを三日干した #保存食", title="梅干し", author="user:7", source="https://discord.com/channels/1/2/3"
        )
        taken, written = exchanged(km)
        assert (written.written, written.removed, written.commits) == (1, 0, 1)
        ((name, text),) = files_of(repository).items()
        day = km.note(note.id).created_at[:4]
        assert name.startswith(day)
        assert name.endswith("-梅干し.md")
        assert text == (
            f"---\nid: {note.id}\ntitle: 梅干し\ncreated: '{note.created_at}'\nupdated: '{note.updated_at}'\n"
            "origin: https://discord.com/channels/1/2/3\nauthor: user:7\n---\n梅干しを三日干した #保存食\n"
        )
        assert git(repository.path, "log", "-1", "--format=%an <%ae>|%s", "main") == (
            "NescordBot <nescordbot@localhost>|notes: 1 written\n"
        )
        now = km.note(note.id)
        assert (now.path, now.space, now.owner, now.author, now.body) == (
            f"inbox/{name}",
            "personal",
            "us",
            "user:7",
            "梅干しを三日干した #保存食",
        )
        assert [hit.note_id for hit in km.search("三日干した")] == [note.id]
        assert taken.added == 2
        again, nothing = exchanged(km)
        assert (again.changes, nothing.commits) == ([], 0)


def test_an_edit_on_either_side_is_the_same_note_on_the_other(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.add_note("one cup of green tea", title="Tea time", tags=["drink"])
        exchanged(km)
        km.edit_note(note.id, text="two cups of green tea")
        exchanged(km)
        ((name, text),) = files_of(repository).items()
        assert text.endswith("---\ntwo cups of green tea\n")
        pulled(repository)
        edited = text.replace("two cups of", "three cups of").replace("title: Tea time", "title: Tea hour\nmood: calm")
        repository.push({f"inbox/{name}": edited.replace("- drink", "- drink\n- 茶")})
        taken, written = exchanged(km)
        assert (taken.changed, taken.added, written.commits) == (1, 0, 0)
        now = km.note(note.id)
        assert (now.title, now.body, now.tags) == ("Tea hour", "three cups of green tea\n", ("drink", "茶"))
        assert now.front_matter == {"mood": "calm"}
        assert [version.body for version in km.note_history(note.id)] == [
            "two cups of green tea",
            "one cup of green tea",
        ]
        km.edit_note(note.id, title="Tea o'clock")
        exchanged(km)
        assert "title: Tea o'clock" in files_of(repository)[name]
        assert "mood: calm" in files_of(repository)[name]


def test_a_file_that_is_removed_or_renamed_in_git_takes_its_note_with_it(
    repository: Repository, tmp_path: Path
) -> None:
    with opened(tmp_path, repository.path) as km:
        first, second = km.capture("the first of two notes"), km.capture("the second of two notes")
        exchanged(km)
        pulled(repository)
        names = {km.note(note.id).path: note for note in (first, second)}
        path = km.note(first.id).path
        repository.push({path: None, "moved/elsewhere.md": files_of(repository)[path.removeprefix("inbox/")]})
        taken, written = exchanged(km)
        assert (taken.renamed, taken.deleted, written.commits) == (1, 0, 0)
        assert km.note(first.id).path == "moved/elsewhere.md"
        pulled(repository)
        repository.push({"moved/elsewhere.md": None})
        taken, written = exchanged(km)
        assert (taken.deleted, written.commits) == (1, 0)
        assert km.note(first.id).trashed_at
        assert not km.note(second.id).trashed_at
        km.undelete_note(first.id)
        exchanged(km)
        assert "the first of two notes" in files_of(repository, "moved")["elsewhere.md"]
        assert len(names) == 2


def test_what_is_deleted_through_us_is_removed_and_comes_back(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("soon to be gone")
        exchanged(km)
        (name,) = files_of(repository)
        km.delete_note(note.id)
        _, written = exchanged(km)
        assert (written.removed, files_of(repository)) == (1, {})
        assert km.ingest().changes == []
        km.undelete_note(note.id)
        exchanged(km)
        assert list(files_of(repository)) == [name]
        km.erase_note(note.id)
        assert "in the vault in git: 1; the next write-back removes them" in km.remark_on_erased()
        exchanged(km)
        assert km.remark_on_erased() == ""
        assert files_of(repository) == {}
        assert km.search("gone") == []
        with km._base.verb() as catalog, catalog.read() as connection:
            assert connection.execute("SELECT count(*) FROM writeback").get == 0
        (mirror,) = (tmp_path / "kb" / "sources" / "git").glob("*/.git")
        listed = git(mirror, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
        blobs = [git(mirror, "cat-file", "blob", line.split()[0]) for line in listed if " blob " in line]
        assert any("Green tea" in blob for blob in blobs)
        assert not any(note.id in blob for blob in blobs), "what was erased is among the objects of the copy"


@pytest.mark.parametrize("text", ["a note of mine", "自分のノート、です"])
def test_a_change_on_both_sides_loses_neither(repository: Repository, tmp_path: Path, text: str) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture(text)
        exchanged(km)
        ((name, content),) = files_of(repository).items()
        pulled(repository)
        repository.push({f"inbox/{name}": content.replace(text, f"{text} in git")})
        km.edit_note(note.id, text=f"{text} in Discord")
        taken, written = exchanged(km)
        assert (taken.changed, written.written) == (1, 2)
        assert "conflict: " in taken.messages[0]
        files = files_of(repository)
        other = next(each for each in files if "-conflict-" in each)
        stem = name.removesuffix(".md")
        assert files[name].splitlines()[-1] == f"{text} in Discord"
        assert files[other].splitlines()[-1] == f"{text} in git"
        word = "競合" if "ノート" in text else "Conflict"
        assert word in km.note(note.id).body.splitlines()[0]
        theirs = km.note(f"inbox/{other}")
        assert (word in theirs.body.splitlines()[0], theirs.tags, theirs.space) == (True, ("conflict",), "personal")
        assert [link.note_id for link in km.note(note.id).links] == [theirs.id]
        assert [link.note_id for link in theirs.links] == [note.id]
        assert f"[[{stem}]]" in theirs.body
        again, nothing = exchanged(km)
        assert (again.changes, nothing.commits) == ([], 0)


def test_an_edit_wins_over_a_deletion_whichever_side_it_is_on(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        here, there = km.capture("edited here"), km.capture("edited there")
        exchanged(km)
        pulled(repository)
        paths = {note.id: km.note(note.id).path for note in (here, there)}
        text = files_of(repository)[paths[there.id].removeprefix("inbox/")]
        repository.push({paths[here.id]: None, paths[there.id]: text.replace("edited there", "edited there again")})
        km.edit_note(here.id, text="edited here again")
        km.delete_note(there.id)
        taken, written = exchanged(km)
        assert (taken.revived, taken.deleted, written.written) == (1, 0, 1)
        assert km.note(there.id).body == "edited there again\n"
        assert not km.note(there.id).trashed_at
        assert {text.splitlines()[-1] for text in files_of(repository).values()} == {
            "edited here again",
            "edited there again",
        }
