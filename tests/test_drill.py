"""A drill finds out what a restore would: that the bytes are there, are a database, and answer as they did."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from nescord.backup.create import create
from nescord.backup.drill import Drilled, drill
from nescord.backup.manifest import Manifest
from nescord.catalog.migrations import SCHEMA_VERSION
from nescord.errors import BackupError, UsageError
from nescord.home import read_identity, write_identity
from nescord.locks import LockName
from tests.backup_world import Days, back_up, flip, opened, small_disk, store_of
from tests.hashing_embedder import HashingEmbedder
from tests.survival import new_rng
from tests.vaults import REPOSITORY, contents, open_base, write_notes


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days.made(tmp_path_factory.mktemp("days"))


@pytest.fixture
def data(days: Days, tmp_path: Path) -> Path:
    return days.copy(tmp_path / "data")


def drilled(data: Path, wanted: str | None = None) -> Drilled:
    with opened(data) as km:
        found = drill(km._base, wanted, with_index=False)
    assert not list((data / "backups").glob("scratch*")), "the scratch folder is still there"
    return found


def changed(data: Path, change: Callable[[apsw.Connection], object], **fields: object) -> Manifest:
    """Change the live database by SQL, back it up, and give the new manifest these fields."""
    with opened(data) as km, km._base.verb() as catalog:
        with catalog.write() as connection:
            change(connection)
        made = store_of(data).manifest(create(km._base).id)
    manifest = replace(made, **fields)  # type: ignore[arg-type]  # the fields of a manifest
    store_of(data).add(manifest)
    return manifest


def test_a_good_snapshot_passes_and_its_status_says_so(days: Days, data: Path) -> None:
    found = drilled(data)
    manifest = days.manifests[days.ids[2]]
    assert found.ok
    assert (found.id, found.probes, found.chunks) == (days.ids[2], 20, manifest.counts["chunks"])
    assert all(probe.keyword and probe.exact for probe in manifest.probes)
    assert found.index_overlap is None
    assert "not asked for" in found.note
    status = store_of(data).status(days.ids[2])
    assert (status.state, status.drill_ok, status.drill_note) == ("good", True, found.note)
    assert status.drilled_at
    older = drilled(data, days.ids[0])
    assert (older.id, older.ok) == (days.ids[0], True)


def test_the_live_database_is_not_needed_and_nothing_of_it_changes(data: Path) -> None:
    with opened(data) as km:
        (data / "nescordbot.db").rename(data / "aside.db")
        before = contents(data)
        assert drill(km._base, with_index=False).ok
        after = contents(data)
        ours = {path for path in before.keys() | after.keys() if "/backups/snapshots/" in path or "/run/" in path}
        assert {each: after[each] for each in after if each not in ours} == {
            each: before[each] for each in before if each not in ours
        }
        (data / "aside.db").rename(data / "nescordbot.db")


def test_no_model_is_asked(data: Path) -> None:
    class Refusing(HashingEmbedder):
        def embed_documents(self, texts: object) -> object:  # type: ignore[override]  # never returns
            raise AssertionError(f"asked for {texts}")

    with open_base(data, embedder=Refusing(), vector="auto") as km:
        assert drill(km._base).ok


def test_an_index_built_from_a_snapshot_finds_what_the_scan_found(data: Path) -> None:
    with open_base(data, embedder=HashingEmbedder(), vector="auto") as km:
        before = contents(data / "chroma") if (data / "chroma").exists() else {}
        found = drill(km._base)
        assert (contents(data / "chroma") if (data / "chroma").exists() else {}) == before
    assert found.ok
    assert found.note == ""
    assert found.index_overlap is not None
    assert found.index_overlap >= 0.95
    assert not list((data / "backups").glob("scratch*"))


def test_an_index_is_not_built_where_none_is_used(data: Path, tmp_path: Path) -> None:
    with opened(data) as km:
        assert "NESCORD_VECTOR is exact" in drill(km._base).note
    write_notes(tmp_path / "vault", {"a.md": "# 鍵\n\n引き出しの中\n"})
    with open_base(tmp_path / "other") as km:
        km.ingest(tmp_path / "vault")
        create(km._base)
        found = drill(km._base)
    assert found.ok
    assert "nothing is embedded" in found.note
    assert found.probes == 1


def test_a_base_without_notes_needs_no_probes(tmp_path: Path) -> None:
    back_up(tmp_path / "data")
    found = drilled(tmp_path / "data")
    assert (found.ok, found.probes, found.chunks) == (True, 0, 0)


def test_a_pack_that_rotted_fails_the_drill_and_makes_the_snapshot_bad(days: Days, data: Path) -> None:
    flip(store_of(data).packs / f"{days.ids[1]}.pack", new_rng("drill"))
    found = drilled(data, days.ids[1])
    assert f"{days.ids[1]}.pack" in found.problems[0] or "its hash is another" in found.problems[0]
    status = store_of(data).status(days.ids[1])
    assert (status.state, status.drill_ok, status.drill_note) == ("bad", False, found.problems[0])
    assert drilled(data, days.ids[0]).ok


def test_what_is_drilled_is_the_newest_good_one(days: Days, data: Path) -> None:
    store = store_of(data)
    store.set_status(days.ids[2], state="bad")
    assert drilled(data).id == days.ids[1]
    for each in days.ids:
        store.set_status(each, state="unchecked")
    with pytest.raises(BackupError, match="no good snapshot"):
        drilled(data)
    with pytest.raises(UsageError):
        drilled(data, "../x")
    with pytest.raises(BackupError, match="there is no snapshot"):
        drilled(data, "000009-20260101T000000Z")


def test_words_that_got_lost_are_noticed_by_the_queries(days: Days, data: Path) -> None:
    def forget(connection: apsw.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO chunk_fts (rowid, title, headings, text) SELECT id, 'x', 'x', 'x' FROM chunk"
        )

    manifest = changed(data, forget, probes=days.manifests[days.ids[2]].probes)
    found = drilled(data, manifest.id)
    assert len(found.problems) == 20
    assert all("by words" in problem for problem in found.problems)
    assert store_of(data).status(manifest.id).state == "good"
    assert store_of(data).status(manifest.id).drill_ok is False


def test_vectors_that_are_no_longer_theirs_are_noticed_by_the_queries(days: Days, data: Path) -> None:
    def shift(connection: apsw.Connection) -> None:
        vectors = [vector for (vector,) in connection.execute("SELECT vector FROM embedding ORDER BY rowid")]
        keys = [key for (key,) in connection.execute("SELECT rowid FROM embedding ORDER BY rowid")]
        rows = list(zip(vectors[1:] + vectors[:1], keys, strict=True))
        connection.executemany("UPDATE embedding SET vector = ? WHERE rowid = ?", rows)

    found = drilled(data, changed(data, shift, probes=days.manifests[days.ids[2]].probes).id)
    assert found.problems
    assert all("by vectors" in problem for problem in found.problems)


def test_rows_that_the_full_text_index_lacks_are_noticed(data: Path) -> None:
    changed(data, lambda connection: connection.execute("DELETE FROM chunk_fts WHERE rowid IN (50, 60, 70)"))
    assert "the full-text index of the restored database differs in 3 chunks" in drilled(data).problems


def test_an_index_that_is_damaged_inside_is_noticed_though_the_backup_was_taken(data: Path) -> None:
    """What a backup does not ask FTS5 for, a drill does: the titles are found, the last words of the index are gone."""
    largest = "(SELECT id >> 37 FROM chunk_fts_data GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)"
    last = f"(SELECT max(id) FROM chunk_fts_data WHERE id >> 37 = {largest})"
    changed(
        data,
        lambda connection: connection.execute(
            f"UPDATE chunk_fts_data SET block = zeroblob(length(block)) WHERE id = {last}"
        ),
    )
    assert "integrity_check" in drilled(data).problems[0]


def test_rows_that_belong_to_nothing_are_noticed(data: Path) -> None:
    with closing(apsw.Connection(str(data / "nescordbot.db"))) as connection:  # which does not mind foreign keys
        connection.execute("INSERT INTO tag (note, name) VALUES (999999, 'orphan')")
    back_up(data)
    assert "1 rows of the restored database belong to nothing" in drilled(data).problems


def test_other_counts_and_missing_queries_are_noticed(days: Days, data: Path) -> None:
    store, manifest = store_of(data), days.manifests[days.ids[2]]
    store.add(replace(manifest, counts={**manifest.counts, "notes": 5}))
    assert "instead of" in drilled(data).problems[0]
    store.add(replace(manifest, probes=()))
    assert "holds no query" in drilled(data).problems[0]


def test_a_snapshot_of_a_newer_program_is_told_from_a_bad_one(days: Days, data: Path) -> None:
    store_of(data).add(replace(days.manifests[days.ids[2]], schema=99, app_version="9.9"))
    found = drilled(data)
    assert found.problems == (
        f"the snapshot {found.id} has schema 99, this nescord knows {SCHEMA_VERSION}: install nescord 9.9 or newer",
    )
    assert store_of(data).status(found.id).state == "good"


def test_an_older_snapshot_is_brought_up_to_date_aside(days: Days, data: Path) -> None:
    def older(connection: apsw.Connection) -> None:
        connection.execute("UPDATE meta SET value = 'of an older version' WHERE name = 'tokenizer'")

    changed(data, older)
    assert drilled(data).ok


def test_a_drill_waits_for_a_prune_and_refuses_a_foreign_store(data: Path) -> None:
    with opened(data) as km:
        with km._base.locks.exclusive(LockName.BACKUPS):
            done: list[Drilled] = []
            thread = threading.Thread(target=lambda: done.append(drill(km._base, with_index=False)))
            thread.start()
            time.sleep(0.3)
            assert not done
        thread.join()
        assert done[0].ok
        write_identity(km.folder, replace(read_identity(km.folder), uuid="00000000-0000-4000-8000-000000000000"))
        with pytest.raises(BackupError, match="another knowledge base"):
            drill(km._base, with_index=False)


def test_what_a_killed_drill_leaves_is_swept_by_the_next_backup(data: Path) -> None:
    command = [sys.executable, "-m", "tests.backup_worker", "drill", str(data)]
    left: list[Path] = []
    for _ in range(20):
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not (left := list((data / "backups").glob("scratch-*/*"))):
                time.sleep(0.001)
            process.kill()
        if process.returncode == -signal.SIGKILL and (left := list((data / "backups").glob("scratch-*"))):
            break
    assert left, "no drill was killed in its midst"
    back_up(data)
    assert not list((data / "backups").glob("scratch-*"))


def test_a_disk_that_is_too_full_is_refused(days: Days, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 66) as disk:
        data = days.copy(disk / "data")
        with opened(data) as km:
            (disk / "ballast").write_bytes(bytes(2 * 2**20))
            before = store_of(data).status(days.ids[2])
            with pytest.raises(BackupError, match="a drill needs up to"):
                drill(km._base, with_index=False)
            assert store_of(data).status(days.ids[2]) == before
