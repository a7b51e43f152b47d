"""One note: brought back from the trash or a backup, or erased so that nothing brings it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from nescord.backup.create import create
from nescord.backup.erasures import erased, remember
from nescord.errors import NotFoundError, UsageError
from tests.backup_world import flip, opened, store_of
from tests.restore_world import EARLIER, KEPT, LATER, World, files, forged, found, put_back
from tests.survival import DATABASE, new_rng
from tests.vaults import write_notes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"), notes=3)


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


def test_a_note_in_the_trash_comes_back_with_its_id_and_is_ours(world: World, data: Path) -> None:
    with opened(data) as km:
        (trashed,) = km.trash()
        note = km.restore_note(trashed.note_id)
        assert (note.id, note.path, note.owner, note.trashed_at) == (trashed.note_id, "note 1.md", "us", "")
        assert note.body == world.then.notes["note 1.md"].body
        assert km.trash() == []
        km.ingest(world.vault)
        assert not km.note(note.id).trashed_at, "the vault, which has no such file, has taken it again"
        assert note.id in {hit.note_id for hit in km.search('"Note 1"', mode="keyword")}
    assert found(data).captures["note 1.md"].chunks == world.then.notes["note 1.md"].chunks


def test_a_note_that_is_gone_comes_back_from_the_newest_backup_that_has_it(world: World, data: Path) -> None:
    with opened(data) as km:
        note_id = km.note(world.note).id
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute("DELETE FROM chunk_fts WHERE rowid IN (SELECT id FROM chunk)")
            connection.execute("DELETE FROM note")
        create(km._base)
        with pytest.raises(NotFoundError):
            km.note(note_id)
        note = km.restore_note(note_id)
        assert (note.id, note.owner) == (note_id, "us")
        assert [hit.note_id for hit in km.search(KEPT, mode="keyword")] == [note_id]


@pytest.mark.parametrize("name", ["changing.md", "changing", "Changing", "id"])
def test_with_a_date_what_it_said_then_is_stored_beside_what_it_says_now(name: str, world: World, data: Path) -> None:
    with opened(data) as km:
        alive = km.note("changing.md")
        then = km.restore_note(alive.id if name == "id" else name, at="2999")
        assert (then.path, then.owner) == (f"{world.snapshot}/changing.md", "us")
        assert then.id != alive.id
        assert EARLIER in then.body
        assert km.note(alive.id) == alive
        assert [hit.note_id for hit in km.search(EARLIER, mode="keyword")] == [then.id]
        twice = km.restore_note(alive.id, at="2999")
        assert twice.id not in (then.id, alive.id)
        assert twice.path == f"{twice.id}/{then.path}"


def test_a_date_counts_only_backups_from_then_or_before(world: World, data: Path) -> None:
    old = forged(data, world.snapshot, id="000007-20240203T000000Z", created_at="2024-02-03T00:00:00Z").id
    with opened(data) as km:
        with pytest.raises(NotFoundError, match=r"could be looked for: there is no good snapshot from 2023"):
            km.restore_note("changing.md", at="2023")
        assert km.restore_note("changing.md", at="2024").path == f"{old}/changing.md"


def test_a_note_that_is_alive_is_not_restored_without_a_date(world: World, data: Path) -> None:
    with opened(data) as km, pytest.raises(UsageError, match=r"not in the trash: name a date \(--at\)"):
        km.restore_note(world.note)


@pytest.mark.parametrize("at", [None, "2999"])
def test_a_note_that_no_backup_has_is_said_to_be_in_none(at: str | None, world: World, data: Path) -> None:
    before = files(data)
    with opened(data) as km, pytest.raises(NotFoundError, match=r'no note "\.\./x" in any good backup'):
        km.restore_note("../x", at=at)
    assert files(data) == before


def test_a_date_that_is_none_is_refused(world: World, data: Path) -> None:
    with opened(data) as km, pytest.raises(UsageError):
        km.restore_note(world.note, at="../x")


def test_a_rotten_backup_is_passed_over_for_an_older_one(world: World, data: Path) -> None:
    with opened(data) as km:
        km.capture(LATER * 3)
        newest = create(km._base).id
        flip(store_of(data).packs / f"{newest}.pack", new_rng("rotten"))
        assert km.restore_note("changing.md", at="2999").path == f"{world.snapshot}/changing.md"
    assert [path.name for path in store_of(data).folder.iterdir() if path.name.startswith("scratch")] == []


def test_several_notes_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    data, vault = tmp_path / "data", tmp_path / "vault"
    write_notes(vault, {"a/same.md": "# One\n", "b/same.md": "# Two\n"})
    with opened(data) as km:
        km.ingest(vault)
        create(km._base)
        with pytest.raises(UsageError, match=r"fits 2 notes .*a/same.md .*b/same.md .*by its id"):
            km.restore_note("same", at="2999")


def test_an_erased_note_is_gone_from_the_file_and_from_every_way_back(world: World, data: Path) -> None:
    with opened(data) as km:
        km.erase_note(world.note)
        with pytest.raises(NotFoundError):
            km.restore_note(world.note)
        with pytest.raises(NotFoundError):
            km.restore_note(world.note, at="2999")
    assert b"captured before" not in (data / DATABASE).read_bytes()
    log = (data / "backups" / "erasures.jsonl").read_bytes()
    assert world.note.encode() in log
    assert KEPT.encode() not in log
    put_back(data, world.snapshot)
    assert found(data).captures == {}


def test_a_note_that_would_come_back_from_its_file_is_not_erased(world: World, data: Path) -> None:
    with opened(data) as km:
        with pytest.raises(UsageError, match="delete its file and ingest"):
            km.erase_note("changing.md")
        assert not (data / "backups" / "erasures.jsonl").exists()
        (trashed,) = km.trash()
        km.erase_note(trashed.note_id)
        assert km.trash() == []


def test_half_a_line_that_a_power_cut_left_costs_no_other_erasure(tmp_path: Path) -> None:
    remember(tmp_path, "one", "2024-01-01T00:00:00Z")
    with (tmp_path / "erasures.jsonl").open("ab") as file:
        file.write(b'\n{"note": "ha')
    remember(tmp_path, "two", "2024-01-01T00:00:00Z")
    assert erased(tmp_path) == {"one", "two"}
    (tmp_path / "erasures.jsonl").write_bytes(b"\xff\xfe\n[]\n{}\n7\n" + (tmp_path / "erasures.jsonl").read_bytes())
    assert erased(tmp_path) == {"one", "two"}


def test_pausing_lasts_over_processes_and_restores_until_somebody_resumes(world: World, data: Path) -> None:
    put_back(data, world.snapshot)
    again = put_back(data, world.snapshot)
    assert again.paused
    with opened(data) as km:
        assert km.paused() == world.snapshot
        made = create(km._base).id
        km.resume()
        assert km.paused() == ""
    put_back(data, made)
    with opened(data) as km:
        assert km.paused() == made
