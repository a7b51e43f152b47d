"""Maintenance: what is past its days goes, what is used or the only copy stays, and nothing that happens stops it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import apsw
import pytest
from backup_world import back_up, opened, store_of, text_of, vault_of
from cli_runs import nescord
from index_world import MODEL, PREFIX, World
from survival import DATABASE, SOAK, new_rng, settings, stored

from nescord import KnowledgeManager
from nescord.backup.erasures import erased
from nescord.backup.manifest import Manifest, snapshot_id
from nescord.backup.store import BackupStore
from nescord.catalog import vectors as vectors_sql
from nescord.embedding.service import EmbeddingService
from nescord.errors import LockTimeoutError
from nescord.index import drain
from nescord.index.drain import KEPT_ROWS
from nescord.index.seal import Folder
from nescord.ingest import IngestOptions
from nescord.locks import LockName
from nescord.maintain import MaintainReport, Step, files, index, maintain
from nescord.maintain.volume import forecast
from nescord.opened import OpenBase
from tests.hashing_embedder import HashingEmbedder
from tests.vaults import contents, open_base, write_notes

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
WORKER = Path(__file__).with_name("maintain_worker.py")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve notes with vectors, four of which are in the trash since just now."""
    vault = vault_of(tmp_path / "vault", 12)
    with opened(tmp_path / "data") as km:
        km.ingest(vault)
        for number in range(4):
            (vault / f"note {number}.md").unlink()
        assert km.ingest(vault).deleted == 4
    return tmp_path / "data"


def done(km: KnowledgeManager, now: datetime = NOW, *, dry_run: bool = False) -> dict[str, Step]:
    """The steps by name, none of which failed."""
    report = maintain(km._base, dry_run=dry_run, now=now)
    assert report.ok, report.failed
    return {step.name: step for step in report.steps}


def raw(data: Path, *statements: str) -> list[tuple[apsw.SQLiteValue, ...]]:
    connection = apsw.Connection(str(data / DATABASE))
    try:
        return [row for statement in statements for row in connection.execute(statement).fetchall()]
    finally:
        connection.close()


# --- trash ---


def test_what_is_in_the_trash_past_its_days_goes_for_good_and_the_rest_stays(data: Path) -> None:
    before = stored(data / DATABASE)
    with opened(data) as km:
        step = done(km, NOW + 29 * DAY)["trash"]
        assert (step.before, step.after, len(km.trash())) == (4, 4, 4)
        step = done(km, NOW + 31 * DAY)["trash"]
        assert (step.before, step.after, len(km.trash())) == (4, 0, 0)
    after = stored(data / DATABASE)
    assert after.notes == before.notes
    assert (len(before.trashed), len(after.trashed)) == (4, 0)


def test_a_note_that_went_by_its_age_is_not_remembered_as_erased_and_comes_back_from_a_backup(data: Path) -> None:
    back_up(data)
    with opened(data) as km:
        gone = km.trash()[0]
        done(km, NOW + 31 * DAY)
        assert erased(km.folder.backups) == set()
        assert km.restore_note(gone.note_id).title == gone.title


def test_zero_days_keep_the_trash_for_ever(data: Path) -> None:
    with open_base(data, vector="exact", trash_days=0) as km:
        step = done(km, NOW + 9999 * DAY)["trash"]
        assert (step.before, step.after) == (4, 4)
        assert "NESCORD_TRASH_DAYS=0" in step.remark


# --- vectors ---


def test_a_vector_that_no_chunk_uses_goes_after_90_days(data: Path) -> None:
    with opened(data) as km:
        first = done(km)["unused vectors"]
        assert first.before == first.after
        assert "are unused" in first.remark
        step = done(km, NOW + 89 * DAY)["unused vectors"]
        assert step.before == step.after
        step = done(km, NOW + 91 * DAY)["unused vectors"]
        assert step.before is not None
        assert step.after is not None
        assert step.after < step.before
        assert km.meaning().pending == 0
    used = "SELECT count(DISTINCT text_hash) FROM chunk"
    assert raw(data, "SELECT count(*) FROM embedding", used) == [(step.after,), (step.after,)]
    assert raw(data, "SELECT count(*) FROM unused_embedding") == [(0,)]


def test_a_vector_that_was_used_again_meanwhile_stays_and_begins_to_count_anew(data: Path, tmp_path: Path) -> None:
    with opened(data) as km:
        done(km)
        write_notes(tmp_path / "vault", {"note 0.md": text_of(0)})
        report = km.ingest(tmp_path / "vault")
        assert (report.revived, report.embedded) == (1, 0)
        done(km, NOW + 91 * DAY)  # takes those of the three others
        (tmp_path / "vault" / "note 0.md").unlink()
        km.ingest(tmp_path / "vault")
        step = done(km, NOW + 92 * DAY)["unused vectors"]
        assert step.before == step.after
        step = done(km, NOW + 183 * DAY)["unused vectors"]
        assert step.before != step.after


def test_after_a_restore_nobody_knows_what_was_used_and_the_count_begins_anew(data: Path) -> None:
    with opened(data) as km:
        done(km)
        kept = km.meaning().embeddings
    made = back_up(data)
    with opened(data) as km:
        km.backups.restored(made.id)
    with opened(data) as km:
        done(km, NOW + 91 * DAY)
        assert km.meaning().embeddings == kept
        done(km, NOW + 182 * DAY)
        assert km.meaning().embeddings < kept


# --- the database's own order ---


def test_the_words_of_what_was_purged_are_gone_from_the_file(tmp_path: Path) -> None:
    word = "qzxwvjkhgf"
    with open_base(tmp_path / "data") as km:
        for number in range(30):
            km.capture(f"note {number} about gardens and rivers")
        note = km.capture(f"the secret is {word}")
        km.erase_note(note.id)
        km._base._catalog.checkpoint()
        assert word.encode() in (tmp_path / "data" / DATABASE).read_bytes()
        step = done(km)["full-text index"]
        assert step.before is not None
        assert step.after is not None
        assert step.after < step.before
        assert len(km.search("gardens", limit=100)) == 30
        again = done(km)["full-text index"]
        assert again.before == again.after == step.after
    assert word.encode() not in (tmp_path / "data" / DATABASE).read_bytes()
    stored(tmp_path / "data" / DATABASE)


def test_the_write_ahead_log_is_cut_unless_somebody_reads(data: Path) -> None:
    wal = data / f"{DATABASE}-wal"
    with opened(data) as km, opened(data) as other:
        km.capture("something to write")
        with other._base.verb() as catalog, catalog.read() as connection:
            connection.execute("SELECT count(*) FROM note").fetchall()
            km.capture("more to write")
            step = done(km)["write-ahead log"]
            assert "somebody reads" in step.remark
            assert step.after
        step = done(km)["write-ahead log"]
        assert (step.after, step.remark, wal.stat().st_size) == (0, "", 0)
        assert len(km.search("write", limit=99, mode="keyword")) == 2


def test_the_log_is_kept_as_far_as_a_collection_follows_it_and_no_further(tmp_path: Path) -> None:
    rows = 3 * KEPT_ROWS
    with World(tmp_path / "data", vector="exact") as world, based(world) as base:
        with world.catalog.write() as connection:
            connection.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO index_log (op, chunk, language_group) SELECT 'delete', i, 'other' FROM n",
                (rows,),
            )
            live = vectors_sql.Collection("live", world.model, "other", "e", "live", rows - KEPT_ROWS - 5000)
            vectors_sql.put_collection(connection, live)
            other = vectors_sql.add_model(connection, "another model")
            vectors_sql.put_collection(connection, replace(live, name="left", model=other, applied_seq=7))
        world.settings = settings(world.folder.path)  # Chroma is used
        base.settings = world.settings
        steps = {step.name: step for step in maintain(base, dry_run=True).steps}
        assert (steps["old collections"].before, steps["old collections"].after) == (2, 1)
        with world.catalog.write() as connection:
            vectors_sql.drop_collection(connection, "left")
        step = {step.name: step for step in maintain(base).steps}["index log"]
        assert (step.before, step.after) == (rows, KEPT_ROWS + 5000)
        with world.catalog.write() as connection:
            vectors_sql.drop_collection(connection, "live")
        step = {step.name: step for step in maintain(base).steps}["index log"]
        assert (step.before, step.after) == (KEPT_ROWS + 5000, KEPT_ROWS)


# --- Chroma ---


@contextmanager
def based(world: World, model: str = MODEL) -> Iterator[OpenBase]:
    """The world as what maintenance works on."""
    (world.folder.path / "identity.json").write_text(
        f'{{"uuid": "{uuid4()}", "first_seen": "2026-01-01T00:00:00+00:00", "boots": 0, "deployments": [], '
        '"last_counts": {}}'
    )
    base = OpenBase(world.folder, world.settings, is_new=False)
    embedder = HashingEmbedder()
    embedder.model_key = model
    base.meaning.service = EmbeddingService(embedder)
    try:
        yield base
    finally:
        base.close()


def step_of(base: OpenBase, name: str) -> Step:
    report = maintain(base)
    assert report.ok, report.failed
    return next(step for step in report.steps if step.name == name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        world.add(120)
        world.add(20, group="ja")
        world.drain()
        yield world


def sealed(world: World) -> Folder:
    return Folder(world.folder.chroma, world.folder.run)


def test_folders_of_no_collection_go_and_the_index_stays_right_and_sealed(world: World) -> None:
    mine = {path.name for path in world.folder.chroma.iterdir()}
    stray, no_segment = world.folder.chroma / str(uuid4()), world.folder.chroma / "somebody's"
    for folder in (stray, no_segment):
        folder.mkdir()
        (folder / "header.bin").write_bytes(b"x" * 5000)
    sealed(world).put_seal()
    with based(world) as base:
        step = step_of(base, "index folder")
    assert step.before is not None
    assert step.after == step.before - 5000
    assert {path.name for path in world.folder.chroma.iterdir()} == mine | {"somebody's"}
    assert sealed(world).is_sealed()
    with world.open() as service:
        assert not service.is_in_doubt
        world.assert_right(service)


def test_what_a_rebuild_leaves_of_replaced_collections_goes(world: World) -> None:
    before = index.bytes_in(world.folder.chroma)
    for _ in range(2):
        with world.open() as service:
            drain.rebuild(world.catalog, service, MODEL, prefix=PREFIX)
    with based(world) as base:
        step = step_of(base, "index folder")
    assert step.before is not None
    assert step.after is not None
    assert step.after < step.before
    assert len([path for path in world.folder.chroma.iterdir() if path.is_dir()]) == 2
    assert step.after < 2 * before
    with world.open() as service:
        world.assert_right(service)


@pytest.mark.parametrize("way", ["unsealed", "open elsewhere", "locked", "not closed in order"])
def test_a_folder_that_may_be_at_work_or_in_doubt_is_left_alone(world: World, way: str) -> None:
    stray = world.folder.chroma / str(uuid4())
    stray.mkdir()
    (stray / "header.bin").write_bytes(b"x")
    if way == "not closed in order":
        (world.folder.chroma / "chroma.sqlite3-journal").write_bytes(b"journal")
    if way != "unsealed":
        sealed(world).put_seal()
    with based(world) as base:
        if way == "open elsewhere":
            with subprocess.Popen(
                [sys.executable, "-c", "import sys; f = open(sys.argv[1]); print(1, flush=True); sys.stdin.read()",
                 str(world.folder.chroma / "chroma.sqlite3")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            ) as reader:  # fmt: skip
                assert reader.stdout is not None
                reader.stdout.readline()
                remark = step_of(base, "index folder").remark
                reader.communicate()
        elif way == "locked":
            held = "import sys; from tests.index_world import World; from pathlib import Path\n"
            held += "from nescord.locks import LockName\nwith World(Path(sys.argv[1])) as w, "
            held += "w.locks.exclusive(LockName.INDEX):\n    print(1, flush=True); sys.stdin.read()"
            with subprocess.Popen(
                [sys.executable, "-c", held, str(world.folder.path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=WORKER.parent.parent,
            ) as holder:  # fmt: skip
                assert holder.stdout is not None
                holder.stdout.readline()
                remark = step_of(base, "index folder").remark
                holder.communicate()
        else:
            remark = step_of(base, "index folder").remark
    assert remark
    assert stray.is_dir()


def test_collections_of_a_model_that_is_no_longer_used_go_once_they_are_far_behind(world: World) -> None:
    another = "test|another|16|similarity|1"
    with world.catalog.write() as connection:
        other = vectors_sql.add_model(connection, another)
        connection.execute("INSERT INTO embedding SELECT NULL, ?, text_hash, vector FROM embedding", (other,))

    def of_the_first() -> list[str]:
        with world.catalog.read() as connection:
            return [row.name for row in vectors_sql.collections(connection) if row.model == world.model]

    with based(world, another) as base:
        step_of(base, "old collections")
        assert len(of_the_first()) == 2  # it may be come back to
        with world.catalog.write() as connection:
            connection.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO index_log (op, chunk, language_group) SELECT 'add', 999999, 'other' FROM n",
                (KEPT_ROWS + 10,),
            )
        step_of(base, "old collections")
        assert not of_the_first()
        assert step_of(base, "index log").after == KEPT_ROWS
    world.drain()  # the first model is used again
    with world.open() as service:
        for group, ids in world.truth().items():
            (name,) = [name for name in of_the_first() if f"-{group}-" in name]
            assert service.ids(name) == ids


def test_what_was_moved_aside_as_damaged_goes_after_a_week(data: Path) -> None:
    bad = data / "chroma.bad"
    bad.mkdir()
    (bad / "chroma.sqlite3").write_bytes(b"x" * 3000)
    with opened(data) as km:
        young, old = NOW + 6 * DAY, datetime.now(UTC) + 7.1 * DAY
        usage = shutil.disk_usage(data)
        step = done(km, young)["damaged index"]
        is_full = usage.free < 0.2 * usage.total
        assert (step.before, step.after) == (3000, 0 if is_full else 3000)
        step = done(km, old)["damaged index"]
    assert step.after == 0
    assert not bad.exists()


# --- files ---


def old_database(data: Path, when: datetime) -> Path:
    folder = data / ".restore" / f"old-{when.strftime('%Y%m%dT%H%M%S%f')}"
    folder.mkdir(parents=True)
    (folder / DATABASE).write_bytes(b"x" * 1000)
    return folder


def test_replaced_databases_go_after_a_week_but_the_newest_stays_until_there_is_a_newer_good_backup(data: Path) -> None:
    oldest, older, newest = (old_database(data, NOW - days * DAY) for days in (30, 20, 10))
    refused = data / ".restore" / "refused"
    refused.mkdir()
    staged = data / ".restore" / "staged.db-journal"
    staged.touch()
    with opened(data) as km:
        step = done(km)["replaced databases"]
        assert [path.exists() for path in (oldest, older, newest, refused, staged)] == [False, False, True, True, False]
        assert (step.before, step.after) == (3000, 1000)
        assert newest.name in step.remark
    back_up(data)
    with opened(data) as km:
        step = done(km, datetime.now(UTC) + 7.1 * DAY)["replaced databases"]
    assert (step.after, step.remark) == (0, "")
    assert not newest.exists()
    assert not refused.exists()


def test_a_backup_from_before_the_restore_does_not_let_the_newest_replaced_database_go(data: Path) -> None:
    back_up(data)
    later = datetime.now(UTC) + 5 * DAY
    newest = old_database(data, later)
    with opened(data) as km:
        done(km, later + 30 * DAY)
    assert newest.exists()


def test_a_database_replaced_by_a_real_restore_is_kept_for_a_week(data: Path) -> None:
    made = back_up(data)
    with opened(data) as km:
        km.capture("written after the backup")
        km.backups.restored(made.id)
    (old,) = (data / ".restore").glob("old-*")
    with opened(data) as km:
        done(km, datetime.now(UTC) + 6.9 * DAY)
        assert old.exists()
        time.sleep(1.1)  # snapshots are dated to the second
        back_up(data)
        done(km, datetime.now(UTC) + 7.1 * DAY)
        assert not old.exists()


def test_copies_before_migrations_go_after_a_month_when_there_is_a_newer_good_backup(data: Path) -> None:
    (data / "backups").mkdir(exist_ok=True)
    copy, rest = data / "backups" / "before-schema-0003.db", data / "backups" / "before-schema-0004.tmp"
    copy.write_bytes(b"x" * 2000)
    rest.write_bytes(b"x" * 500)
    with opened(data) as km:
        step = done(km, NOW + 40 * DAY)["copies before migrations"]
        assert (step.before, step.after) == (2500, 2000)
        assert "newer good backup" in step.remark
        assert copy.exists()
    time.sleep(1.1)  # snapshots are dated to the second
    made = back_up(data)
    store_of(data).set_status(made.id, state="bad")
    with opened(data) as km:
        done(km, NOW + 40 * DAY)
        assert copy.exists()
        store_of(data).set_status(made.id, state="good")
        done(km, NOW + 20 * DAY)
        assert copy.exists()
        step = done(km, NOW + 40 * DAY)["copies before migrations"]
    assert (step.before, step.after, copy.exists(), rest.exists()) == (2000, 0, False, False)


def test_rests_of_killed_backups_go_unless_a_backup_is_being_made(data: Path) -> None:
    made = back_up(data)
    staging, scratch = data / "backups" / "staging", data / "backups" / "scratch-0123"
    for folder in (staging, scratch):
        folder.mkdir()
        (folder / DATABASE).write_bytes(b"x" * 4000)
    with opened(data) as km:
        with ThreadHolding(km._base, LockName.CREATE):
            assert "being made" in done(km)["rests of backups"].remark
        assert staging.exists()
        step = done(km)["rests of backups"]
    assert step.before is not None
    assert step.after == step.before - 8000
    assert not staging.exists()
    assert not scratch.exists()
    with opened(data) as km:
        (checked,) = km.backups.checked([made.id])
    assert checked.ok


class ThreadHolding:
    """Another thread holds a lock, as another process would."""

    def __init__(self, base: OpenBase, name: LockName) -> None:
        from threading import Event, Thread

        self._release, self._ready = Event(), Event()

        def hold() -> None:
            with base.locks.exclusive(name):
                self._ready.set()
                self._release.wait()

        self._thread = Thread(target=hold)

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait()

    def __exit__(self, *exc: object) -> None:
        self._release.set()
        self._thread.join()


# --- the whole ---


def test_a_step_that_fails_is_reported_and_the_others_are_made(world: World) -> None:
    sqlite = world.folder.chroma / "chroma.sqlite3"
    sqlite.write_bytes(b"no database at all " * 300)
    sealed(world).put_seal()
    bad = world.folder.chroma.with_name("chroma.bad")
    bad.mkdir()
    with based(world) as base:
        report = maintain(base, now=datetime.now(UTC) + 8 * DAY)
    assert not report
    (failed,) = report.failed
    assert failed.name == "index folder"
    assert "NotADBError" in failed.error
    assert not bad.exists()
    assert report.steps[-1].name == "free disk"


def test_while_an_ingest_runs_nothing_is_done(data: Path) -> None:
    with open_base(data, vector="exact", lock_timeout=0.1) as km, ThreadHolding(km._base, LockName.INGEST):
        with pytest.raises(LockTimeoutError, match='"ingest"'):
            maintain(km._base, now=NOW + 100 * DAY)
        assert len(km.trash()) == 4


def test_a_dry_run_says_what_would_go_and_changes_nothing(data: Path) -> None:
    old_database(data, NOW - 30 * DAY)
    old_database(data, NOW - 20 * DAY)
    back_up(data)
    (data / "backups" / "staging").mkdir()
    with opened(data) as km:
        before = {path: fact for path, fact in contents(data).items() if "/run/" not in path and "-shm" not in path}
        steps = done(km, NOW + 31 * DAY, dry_run=True)
        after = {path: fact for path, fact in contents(data).items() if "/run/" not in path and "-shm" not in path}
        assert after == before
        real = done(km, NOW + 31 * DAY)
    for name in ("trash", "unused vectors", "old collections", "replaced databases", "copies before migrations"):
        assert (steps[name].before, steps[name].after) == (real[name].before, real[name].after), name
    assert (steps["trash"].after, steps["replaced databases"].after) == (0, 0)
    assert (data / ".restore").is_dir()


def test_the_command_prints_one_document_or_a_table_and_leaves_with_1_when_a_step_failed(data: Path) -> None:
    document = nescord("maintain", "--dry-run", "--json", "--data-dir", data).document
    assert isinstance(document, dict)
    assert list(document) == ["ok", "steps", "full_in_months", "seconds", "dry_run"]
    assert document["ok"]
    assert document["dry_run"]
    assert list(document["steps"][0]) == ["name", "unit", "before", "after", "remark", "error"]
    done_ = nescord("maintain", "--data-dir", data)
    assert (done_.code, len(done_.out.splitlines())) == (0, len(document["steps"]))
    assert "trash\t4 notes\t4 notes" in done_.out
    (data / "backups" / "snapshots").mkdir(parents=True, exist_ok=True)
    (data / "backups" / "store.json").write_text('{"format": 1, "knowledge_base": "somebody else"}')
    done_ = nescord("maintain", "--data-dir", data)
    assert done_.code == 1
    assert "failed: rests of backups: BackupError" in done_.out


def test_killed_at_any_instant_it_loses_nothing_and_the_next_run_does_the_rest(data: Path, tmp_path: Path) -> None:
    rng = new_rng("maintain, killed")
    living = stored(data / DATABASE).notes
    with opened(data) as km:
        done(km)
        for number in range(80):
            km.erase_note(km.capture(text_of(100 + number)).id)
        write_notes(tmp_path / "vault", {f"gone {number}.md": text_of(200 + number) for number in range(80)})
        km.ingest(tmp_path / "vault")
        for number in range(80):
            (tmp_path / "vault" / f"gone {number}.md").unlink()
        assert km.ingest(tmp_path / "vault", options=IngestOptions(allow_mass_delete=True)).deleted == 80
        old_database(data, NOW - 30 * DAY)
    then = (datetime.now(UTC) + 100 * DAY).isoformat()
    killed, trashed = 0, []
    kills = 200 if SOAK else 10
    for number in range(kills):
        # Later and later, so that the first ones come before most of the work and the last ones after it.
        seconds = rng.uniform(0.0002, 0.3 * (number + 1) / kills)
        worker = [sys.executable, str(WORKER), str(data), then, str(seconds)]
        path = f"{WORKER.parent.parent}:{os.environ['PYTHONPATH']}"
        code = subprocess.run(worker, cwd=WORKER.parent.parent, env=os.environ | {"PYTHONPATH": path}).returncode
        assert code in (0, -signal.SIGALRM)
        killed += code != 0
        after = stored(data / DATABASE)
        assert after.notes == living
        trashed.append(len(after.trashed))
    print(f"killed {killed} times, left in the trash: {trashed}")
    assert killed
    with opened(data) as km:
        report = maintain(km._base, now=datetime.fromisoformat(then))
        assert report.ok, report.failed
        assert not km.trash()
        assert km.meaning().pending == 0
    after = stored(data / DATABASE)
    assert (after.notes, after.trashed) == (living, set())


# --- forecast ---


def forged(store: BackupStore, manifest: Manifest, days_ago: float, size: int, added: int) -> None:
    when = NOW - days_ago * DAY
    seq = store.next_seq()
    made = replace(manifest, id=snapshot_id(seq, when), seq=seq, size=size, bytes_added=added)
    store.add(made)


def test_the_forecast_follows_the_backups_of_the_last_months(data: Path) -> None:
    made = back_up(data)
    store = store_of(data)
    manifest = store.manifest(made.id)
    store.drop(made.id)
    say: Callable[[], tuple[float | None, str]] = lambda: forecast(store, 1_000_000_000, NOW)  # noqa: E731
    assert say() == (None, "no forecast yet: it needs backups over 2 days")
    forged(store, manifest, 500, 1, 10**12)  # too long ago to count
    forged(store, manifest, 60.88, 50_000_000, 40_000_000)
    assert say()[0] is None
    forged(store, manifest, 30, 60_000_000, 5_000_000)
    forged(store, manifest, 0, 70_000_000, 5_000_000)
    months, words = say()
    assert months == pytest.approx(1000 / 15, abs=0.1)
    assert words == "grows by 15.0 MB a month: full in 67 months"
    forged(store, manifest, 0, 40_000_000, 0)
    assert say() == (None, "it does not grow")


def test_the_report_says_how_long_the_disk_will_last(data: Path) -> None:
    made = back_up(data)
    store = store_of(data)
    manifest = store.manifest(made.id)
    forged(store, manifest, 10, 100_000, 50_000)
    store.drop(made.id)
    forged(store, manifest, 0, 10_000_000, 50_000)
    (data / "prefect").mkdir()
    (data / "prefect" / "prefect.db").write_bytes(b"x" * 777)
    with opened(data) as km:
        report: MaintainReport = km.maintain()
    steps = {step.name: step for step in report.steps}
    assert report.full_in_months
    assert "full in" in steps["free disk"].remark
    assert (steps["Prefect's database"].before, steps["Prefect's database"].after) == (777, 777)
    assert files.bytes_in(data / "nowhere") == 0
