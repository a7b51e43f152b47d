"""Which notes are written back and which files are believed: spaces, claims, names, ignored and missing files."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_world import Repository, needs_git
from writeback_world import exchanged, files_of, last_line, new_repository, opened, pulled

from nescord import KnowledgeManager
from nescord.errors import UsageError
from nescord.ingest import IngestOptions

pytestmark = needs_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def name_of(km: KnowledgeManager, note_id: str) -> str:
    return km.note(note_id).path.removeprefix("inbox/")


def test_only_captured_notes_of_the_spaces_that_are_named_are_written(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path, writeback_spaces="personal, guild:7") as km:
        km.capture("mine")
        km.capture("of the guild", space="guild:7")
        secret = km.capture("of another guild", space="guild:8")
        exchanged(km)
        assert sorted(last_line(text) for text in files_of(repository).values()) == ["mine", "of the guild"]
        assert {note.space for note in map(km.note, (path for path in files_of(repository, "")))} == {
            "personal",
            "guild:7",
        }
        assert km.note(secret.id).path.endswith(f"{secret.id}.md")
        view = km.scoped(["guild:7"])
        assert [hit.title for hit in view.search("guild")] == ["of the guild"]
    # Edits in git go on to count when it is off.
    ((name, text),) = [each for each in files_of(repository).items() if "mine" in each[1]]
    pulled(repository).push({f"inbox/{name}": text.replace("mine", "still mine")})
    with opened(tmp_path, repository.path, writeback=False) as km:
        assert km.ingest().changed == 1
        assert km.note(f"inbox/{name}").title == "still mine"


def test_a_file_that_only_claims_to_be_a_note_is_a_note_of_its_own(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note, hidden = km.capture("the real one"), km.capture("of a guild", space="guild:9")
        exchanged(km)
        claim = f"---\nid: {note.id}\n---\nstolen\n"
        other = f"---\nid: {hidden.id}\n---\nof a guild\n"
        pulled(repository).push({"inbox/claim.md": claim, "inbox/other.md": other, "claim.md": claim})
        taken, written = exchanged(km)
        assert (taken.added, taken.changed, written.commits) == (3, 0, 0)
        assert km.note(note.id).body == "the real one"
        assert km.note(hidden.id).space == "guild:9"
        assert km.note("inbox/claim.md").id not in (note.id, hidden.id)
        assert km.note("inbox/claim.md").owner == "source"
        late = km.capture("captured and not written yet")
        pulled(repository).push({"inbox/late.md": f"---\nid: {late.id}\n---\nstolen, too\n"})
        exchanged(km)
        assert km.note(late.id).body == "captured and not written yet"
        assert last_line(files_of(repository)[name_of(km, late.id)]) == "captured and not written yet"
        assert km.note("inbox/late.md").body == "stolen, too\n"


def test_a_name_that_is_taken_in_whatever_case_is_not_given_away(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        km.ingest()
        first, second = km.add_note("one", title="TEA"), km.add_note("two", title="tea")
        exchanged(km)
        names = [name_of(km, first.id), name_of(km, second.id)]
        assert names[0].endswith("-TEA.md")
        assert names[1].endswith("-tea-2.md")
        # Somebody puts a file there by hand between the choice of the name and the push.
        third = km.add_note("three", title="Tea")
        pulled(repository).push({f"inbox/{names[0].replace('TEA', 'Tea-3')}": "by hand"})
        exchanged(km)
        files = files_of(repository)
        assert len(files) == 4
        assert last_line(files[name_of(km, third.id)]) == "three"
        assert km.note(third.id).body == "three"


def test_front_matter_that_is_broken_in_git_leaves_the_note_as_it_was(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("a sound note")
        exchanged(km)
        ((name, text),) = files_of(repository).items()
        pulled(repository).push({f"inbox/{name}": text.replace("title: a", "title: [a")})
        taken, _ = exchanged(km)
        assert taken.failed == 1
        ((path, reason),) = [(each.path, each.reason) for each in km.failures()]
        assert (path, "keeps what it said before" in reason) == (f"inbox/{name}", True)
        km.edit_note(note.id, text="edited meanwhile")
        _, written = exchanged(km)
        assert (written.written, written.behind) == (0, 1), "what somebody is mending is not overwritten"
        pulled(repository).push({f"inbox/{name}": text})
        exchanged(km)
        assert km.failures() == []
        assert last_line(files_of(repository)[name]) == "edited meanwhile"


def test_many_that_are_gone_at_once_stay_until_it_is_meant(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        notes = [km.capture(f"note {number}") for number in range(3)]
        exchanged(km)
        pulled(repository).push({f"inbox/{name}": None for name in files_of(repository)})
        taken, written = exchanged(km)
        assert (taken.deleted, taken.withheld, written.commits) == (0, 3, 0)
        assert not any(km.note(note.id).trashed_at for note in notes)
        assert km.ingest(options=IngestOptions(allow_mass_delete=True)).deleted == 3
        assert all(km.note(note.id).trashed_at for note in notes)
        assert exchanged(km)[1].commits == 0


def test_a_folder_that_is_ignored_takes_no_note_away(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note = km.capture("first")
        exchanged(km)
        pulled(repository).push({".nescordignore": "inbox/\n"})
        later = km.capture("second")
        exchanged_, written = exchanged(km)
        assert (exchanged_.deleted, written.commits) == (0, 1)
        assert len(files_of(repository)) == 2
        assert not km.note(note.id).trashed_at
        assert not km.note(later.id).trashed_at
        assert exchanged(km)[1].commits == 0


def test_merged_notes_are_one_file_and_come_apart_again(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        first, second = km.capture("green tea"), km.capture("black tea")
        exchanged(km)
        names = [name_of(km, first.id), name_of(km, second.id)]
        km.merge([first.id, second.id])
        exchanged(km)
        assert [*files_of(repository)] == [names[0]]
        assert "black tea" in files_of(repository)[names[0]]
        km.undo_merge(first.id)
        exchanged(km)
        assert {name: last_line(text) for name, text in files_of(repository).items()} == dict(
            zip(names, ["green tea", "black tea"], strict=True)
        )


def test_a_dry_run_changes_nothing_on_either_side(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        note, other = km.capture("first"), km.capture("second")
        exchanged(km)
        text = files_of(repository)[name_of(km, note.id)]
        pulled(repository).push({km.note(note.id).path: text.replace("first", "1st"), km.note(other.id).path: None})
        km.capture("third")
        before = files_of(repository)
        assert km.ingest(options=IngestOptions(dry_run=True)).changed == 1
        assert km.write_back(dry_run=True).written == 1
        assert (km.note(note.id).body, km.note(other.id).trashed_at, files_of(repository)) == ("first", "", before)
        taken, _ = exchanged(km)
        assert (taken.changed, taken.deleted) == (1, 1)


def test_what_git_has_counts_after_a_restore(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        old = km.capture("old note")
        exchanged(km)
        fresh = km.capture("captured just before the backup")
        backup = km.backups.create().id
        exchanged(km)
        km.edit_note(old.id, text="edited after the backup")
        exchanged(km)
        files = files_of(repository)
        km.backups.restored(backup)
    with opened(tmp_path, repository.path) as km:
        with pytest.raises(UsageError, match="no vault is taken in since the restore"):
            km.write_back()
        km.resume()
        exchanged(km)
        assert last_line(km.note(old.id).body) == "edited after the backup"
        assert km.note(fresh.id).path.startswith("inbox/"), "the file is known again by what it says"
        assert files_of(repository) == files
        assert sorted(last_line(text) for text in files.values()) == [
            "captured just before the backup",
            "edited after the backup",
        ]
        assert km.count_notes() == 4
        assert exchanged(km)[1].commits == 0


def test_an_interrupted_run_takes_no_file_of_a_note_for_another_note(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        notes = [km.capture(f"note {number}") for number in range(5)]
        km.ingest()
        km.write_back()
        for most in range(5):
            asked = iter(range(100))
            report = km.ingest(options=IngestOptions(stop=lambda most=most, asked=asked: next(asked) == most))
            assert report.interrupted or report.unchanged
        exchanged(km)
        assert km.count_notes() == len(notes) + 2
        assert len(files_of(repository)) == len(notes)
