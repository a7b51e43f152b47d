"""Putting a backup back: what was backed up is what is there, and what was paid for or erased since then stays so."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw
import pytest

from flows.server import prefect_server
from nescord.backup.create import create
from nescord.backup.journal import old_name
from nescord.backup.restore import choose, restore_copy
from nescord.catalog.migrations import SCHEMA_VERSION
from nescord.errors import BackupError, NotFoundError, UsageError
from nescord.home import DataFolder, read_identity
from nescord.index.service import open_service
from nescord.ingest import IngestOptions
from nescord.locks import Locks
from tests.backup_world import opened, store_of
from tests.flow_world import artifacts_of, ingest_once, runs_of
from tests.hashing_embedder import CountingEmbedder
from tests.restore_world import (
    KEPT,
    LATER,
    World,
    asked,
    base_settings,
    epoch,
    files,
    forged,
    found,
    old_folders,
    put_back,
)
from tests.survival import DATABASE
from tests.vaults import open_base, write_notes

TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"))


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


@pytest.mark.parametrize("by", ["id", "newest"])
def test_what_was_backed_up_is_there_again_and_answers_as_it_did(by: str, world: World, data: Path) -> None:
    before = epoch(data)
    done = put_back(data, world.snapshot if by == "id" else None)
    assert (done.restored, done.paused, done.notes) == (world.snapshot, True, len(world.then.notes) + 1)
    assert found(data) == world.then
    with opened(data) as km:
        assert asked(km) == world.answers
    assert epoch(data) != before
    now, was = (read_identity(DataFolder.at(base_settings(folder))) for folder in (data, world.data))
    assert now == dataclasses.replace(was, last_counts=now.last_counts)
    assert now.last_counts["notes"] == done.notes, "a verification would take what was put back for a loss"


def test_the_state_before_is_a_snapshot_that_can_be_put_back_and_is_kept_as_files(world: World, data: Path) -> None:
    now = (data / DATABASE).read_bytes()
    done = put_back(data, world.snapshot)
    (old,) = old_folders(data)
    assert (old / DATABASE).read_bytes() == now
    snapshot = store_of(data).snapshot(done.before)
    assert snapshot.is_good
    assert snapshot.manifest is not None
    assert snapshot.manifest.trigger == "pre-restore"
    put_back(data, done.before)
    assert found(data) == world.now
    assert len(old_folders(data)) == 2


def test_nothing_of_a_restore_lies_about_afterwards(world: World, data: Path) -> None:
    (data / ".restore").mkdir()
    for rest in (".staged.db.0a1b2c3d.tmp", ".journal.json.00000000.tmp", "staged.db", "staged.db-journal"):
        (data / ".restore" / rest).write_bytes(b"of a restore that was killed")
    put_back(data, world.snapshot)
    assert [path.name for path in (data / ".restore").iterdir()] == [old_folders(data)[0].name]


def test_the_journal_of_a_restore_that_was_killed_is_not_rolled_back_into_the_next(
    world: World, data: Path, tmp_path: Path
) -> None:
    (data / ".restore").mkdir()
    (data / ".restore" / "staged.db-journal").write_bytes(hot_journal(data / DATABASE, tmp_path / "killed.db"))
    put_back(data, world.snapshot)
    assert found(data) == world.then


def hot_journal(database: Path, scratch: Path) -> bytes:
    """A journal as it lies beside a database whose writer was killed in the middle of a transaction."""
    shutil.copy(database, scratch)
    connection = apsw.Connection(str(scratch))
    connection.pragma("journal_mode", "delete")
    connection.pragma("cache_size", 1)  # so that pages, and before them the journal, are written early
    connection.execute("BEGIN; UPDATE note_text SET body = body || 'x'; UPDATE embedding SET vector = zeroblob(256)")
    journal = scratch.with_name(f"{scratch.name}-journal").read_bytes()
    connection.close()
    assert int.from_bytes(journal[8:12], "big") > 0, "it holds no page, so it is not hot"
    return journal


def dated(data: Path, wanted: str, moments: list[str]) -> list[str]:
    """One good snapshot of each moment in UTC, in that order."""
    ids = []
    for number, moment in enumerate(moments, 10):
        stamp = datetime.fromisoformat(moment).strftime("%Y%m%dT%H%M%SZ")
        ids.append(forged(data, wanted, id=f"{number:06d}-{stamp}", created_at=moment).id)
    return ids


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ("2023", TOKYO, 0),
        ("2024", TOKYO, 2),
        ("2024-02", TOKYO, 1),
        ("2024-03-10", TOKYO, 1),  # 16:00 in UTC is the 11th in Tokyo
        ("2024-03-10", ZoneInfo("UTC"), 2),
        ("2024-03-11", TOKYO, 2),
        ("2024-03-11T00:59:59", TOKYO, 1),
        ("2024-03-11T01:00:00", TOKYO, 2),
        ("2024-03-10T16:00:00+00:00", TOKYO, 2),
        ("2025-01-01", TOKYO, 3),
        (None, TOKYO, 3),
    ],
)
def test_a_date_means_the_newest_snapshot_before_its_end_where_one_lives(
    at: str | None, zone: ZoneInfo, expected: int, world: World, data: Path
) -> None:
    moments = ["2023-06-01T00:00:00Z", "2024-02-03T00:00:00Z", "2024-03-10T16:00:00Z", "2024-12-31T20:00:00Z"]
    ids = dated(data, world.snapshot, moments)
    store = store_of(data)
    assert choose(store, None, at, zone).id == ids[expected]
    store.set_status(ids[expected], state="bad")
    if expected:
        assert choose(store, None, at, zone).id == ids[expected - 1]
    else:
        with pytest.raises(BackupError, match="there is no good snapshot from 2023 or before"):
            choose(store, None, at, zone)


def test_a_restore_by_date_takes_that_one(world: World, data: Path) -> None:
    (old,) = dated(data, world.snapshot, ["2024-02-03T00:00:00Z"])
    with opened(data) as km:
        create(km._base)
    assert put_back(data, at="2024-02-03").restored == old
    assert found(data) == world.then


def test_an_id_and_a_date_together_are_refused(world: World, data: Path) -> None:
    with pytest.raises(UsageError, match="not both"):
        put_back(data, world.snapshot, at="2024")


def test_vectors_that_were_made_since_are_carried_over_and_nothing_is_embedded_twice(world: World, data: Path) -> None:
    done = put_back(data, world.snapshot)
    assert done.carried > 0
    embedder = CountingEmbedder()
    with open_base(data, embedder=embedder, vector="exact") as km:
        km.resume()
        report = km.ingest(world.vault)
        assert (report.added, report.changed, report.deleted) == (1, 1, 1)
        assert (report.pending, report.embedded) == (0, 0)
        assert embedder.asked == []
    assert found(data).notes == world.now.notes


def test_what_is_new_after_a_restore_is_embedded_as_ever(world: World, data: Path) -> None:
    put_back(data, world.snapshot)
    embedder = CountingEmbedder()
    with open_base(data, embedder=embedder, vector="exact") as km:
        note = km.capture("a text of which there is no vector")
        assert km.catch_up().embedded == len(embedder.asked) == 1
        assert km.search("a text of which there is no vector")[0].note_id == note.id


def test_the_chroma_of_the_epoch_before_is_never_asked_and_built_anew_without_embedding(tmp_path: Path) -> None:
    world = World.made(tmp_path / "world")
    embedder = CountingEmbedder()
    with open_base(world.data, embedder=embedder, vector="chroma") as km:
        km.drain()
        assert km.search(LATER).index_kind == "chroma"
        before = km.meaning()
        assert before.index_kind == "chroma"
    collections = chroma_names(world.data)
    put_back(world.data, world.snapshot)
    with open_base(world.data, embedder=embedder, vector="chroma") as km:
        hits = km.search(LATER)
        assert hits.index_kind != "chroma"
        assert LATER not in {word for hit in hits for word in hit.snippet.split()}
        drained = km.drain()
        assert drained.indexed == km.status().chunks
        hits = km.search(KEPT)
        assert hits.index_kind == "chroma"
        assert [hit.path for hit in hits][:2] == [hit.path for hit in world.answers[KEPT]][:2]
    assert set(embedder.asked) == {LATER, KEPT}  # the queries
    assert chroma_names(world.data).isdisjoint(collections)


def chroma_names(data: Path) -> set[str]:
    folder = DataFolder.at(base_settings(data))
    with open_service(base_settings(data, vector="chroma"), folder, Locks(folder.run, timeout=5)) as chroma:
        return set(chroma.collections())


def test_a_note_that_was_erased_stays_erased_whatever_is_put_back(world: World, data: Path) -> None:
    with opened(data) as km:
        km.erase_note(world.note)
        km.erase_note(world.afterwards)
        later = create(km._base).id
    for wanted in (world.snapshot, later):
        done = put_back(data, wanted)
        assert done.erased == (wanted == world.snapshot)
        assert found(data).captures == {}
        assert b"captured before" not in (data / DATABASE).read_bytes()
        with opened(data) as km, pytest.raises(NotFoundError):
            km.note(world.note)


def test_no_vault_is_taken_in_until_somebody_has_looked(world: World, data: Path) -> None:
    with opened(data) as km:
        write_notes(world.vault, {"pending.md": "# Pending\n"})
        plan = km.plan(world.vault)
    (world.vault / "pending.md").unlink()
    put_back(data, world.snapshot)
    with opened(data) as km:
        assert km.paused() == world.snapshot
        for verb in (lambda: km.plan(world.vault), lambda: km.ingest(world.vault), lambda: km.commit(plan)):
            with pytest.raises(UsageError, match=f"since the restore of {world.snapshot}.*nescord ingest --resume"):
                verb()
        shown = km.ingest(world.vault, options=IngestOptions(dry_run=True))
        assert (shown.added, shown.changed, shown.deleted) == (1, 1, 1)
        note = km.capture("captures go on")
        assert [hit.note_id for hit in km.search('"captures go on"', mode="keyword")] == [note.id]
        km.catch_up()
        assert found(data).notes == world.then.notes
        km.resume()
        assert km.paused() == ""
        assert km.ingest(world.vault).changed == 1


@pytest.mark.slow
def test_the_flow_does_not_undo_a_restore_either(world: World, data: Path, tmp_path: Path) -> None:
    put_back(data, world.snapshot)
    with prefect_server(tmp_path / "prefect") as server:
        outcome = ingest_once(server, {"vault": str(world.vault), "data_dir": str(data)})
        (run,) = runs_of(server, data)
        said = json.dumps(artifacts_of(server, run))
    assert outcome.code == 0, outcome.errors
    assert run["state"]["type"] == "COMPLETED"
    assert "nescord ingest --resume" in said
    assert found(data) == world.then


def test_without_a_vault_nothing_is_paused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data) as km:
        km.capture(KEPT)
        create(km._base)
    assert not put_back(data).paused
    with opened(data) as km:
        assert km.paused() == ""


def test_a_snapshot_of_a_newer_schema_is_refused(world: World, data: Path, tmp_path: Path) -> None:
    newer = forged(data, world.snapshot, id="000009-20990101T000000Z", schema=SCHEMA_VERSION + 1).id
    before = files(data)
    with pytest.raises(BackupError, match=f"schema {SCHEMA_VERSION + 1}.*install nescord"):
        put_back(data, newer)
    assert files(data) == before
    with pytest.raises(BackupError, match=f"schema {SCHEMA_VERSION + 1}.*install nescord"):
        restore_copy(base_settings(data), tmp_path / "copy", newer)
    assert not (tmp_path / "copy").exists()


def test_the_snapshot_of_another_knowledge_base_is_refused(world: World, data: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "other") as km:
        km.capture("somebody else's")
        create(km._base)
    shutil.rmtree(data / "backups")
    shutil.copytree(tmp_path / "other" / "backups", data / "backups")
    before = files(data)
    with pytest.raises(BackupError, match="another knowledge base"):
        put_back(data)
    assert files(data) == before


@pytest.mark.parametrize("what", ["packs/*.pack", "snapshots/*.json.zst"])
@pytest.mark.parametrize("how", ["garbled", "cut off", "gone"])
def test_a_damaged_snapshot_is_refused_and_nothing_has_changed(what: str, how: str, world: World, data: Path) -> None:
    (file,) = (data / "backups").glob(what)
    if how == "garbled":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    elif how == "cut off":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        file.unlink()
    before = files(data)
    with pytest.raises(BackupError):
        put_back(data, world.snapshot)
    assert files(data) == before
    assert found(data) == world.now


def test_what_was_replaced_is_forgotten_after_a_week_but_for_the_last(world: World, data: Path) -> None:
    for _ in range(2):
        put_back(data, world.snapshot)
    long_ago = datetime.now(UTC) - timedelta(days=8)
    first, second = (
        old.rename(old.with_name(old_name(long_ago + timedelta(seconds=number))))
        for number, old in enumerate(old_folders(data))
    )
    put_back(data, world.snapshot)
    assert not {first, second} & set(old_folders(data))
    (last,) = old_folders(data)
    last = last.rename(last.with_name(old_name(long_ago)))
    with opened(data):
        assert old_folders(data) == [last]
