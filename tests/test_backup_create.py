"""Backups are made while others write, hold what was there to the last byte, and add only what is new."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path

import apsw
import pytest

from nescord.backup.create import create
from nescord.errors import BackupError, LockTimeoutError
from nescord.home import read_identity, write_identity
from nescord.locks import LockName
from tests.backup_world import (
    Days,
    assert_sound,
    assert_tidy,
    back_up,
    checked,
    copy_of,
    database_of,
    flip,
    opened,
    sha256,
    store_of,
)
from tests.survival import SOAK, new_rng, stored
from tests.vaults import REPOSITORY, open_base, write_notes


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days.made(tmp_path_factory.mktemp("days"))


@contextmanager
def worker(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of backup_worker.py; killed at the end, if it still runs."""
    command = [sys.executable, "-m", "tests.backup_worker", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> object:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_a_snapshot_is_what_was_there_to_the_last_byte(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with opened(data) as km:
        km.capture("鍵は引き出しの中")
        made = create(km._base, trigger="nightly")
        expected = copy_of(km, tmp_path / "expected.db")
    database = database_of(data, made.id, tmp_path / "restored.db")
    assert database.read_bytes() == expected.read_bytes()
    assert next(iter(stored(database).captures.values())).body.startswith("鍵は引き出しの中")
    manifest = store_of(data).manifest(made.id)
    assert (manifest.sha256, manifest.trigger, manifest.counts["notes"]) == (sha256(database), "nightly", made.notes)
    assert store_of(data).status(made.id).state == "good"


def test_each_day_restores_as_it_was(days: Days, tmp_path: Path) -> None:
    for each in days.ids:
        assert stored(database_of(days.data, each, tmp_path / "restored.db")) == days.contents[each]


def test_a_second_backup_adds_what_has_changed_and_a_third_nothing(days: Days, tmp_path: Path) -> None:
    first, second, _ = (days.manifests[each] for each in days.ids)
    assert (len(first.packs), len(second.packs)) == (1, 2)
    assert second.bytes_added < first.bytes_added / 5
    data = days.copy(tmp_path / "data")
    assert back_up(data).bytes_added == 0
    assert sorted(path.name for path in store_of(data).packs.glob("*.pack")) == [f"{each}.pack" for each in days.ids]


def test_a_base_without_notes_is_backed_up(tmp_path: Path) -> None:
    made = back_up(tmp_path / "data")
    assert made.notes == 0
    assert store_of(tmp_path / "data").manifest(made.id).probes == ()
    assert checked(tmp_path / "data") == {made.id: ()}
    assert stored(database_of(tmp_path / "data", made.id, tmp_path / "restored.db")).notes == {}


def test_a_title_that_looks_like_a_filter_does_not_stop_a_backup(tmp_path: Path) -> None:
    titles = ["after: the rain", "before:noon", "after:yesterday", "-path:x", '"half a phrase', "-", "tag:"]
    write_notes(tmp_path / "vault", {f"{n}.md": f"# {title}\n\ntext\n" for n, title in enumerate(titles)})
    with opened(tmp_path / "data") as km:
        km.ingest(tmp_path / "vault")
        manifest = store_of(tmp_path / "data").manifest(create(km._base).id)
    rain = next(probe for probe in manifest.probes if "rain" in probe.text)
    assert len(manifest.probes) == len(titles)
    assert rain.keyword
    assert rain.exact


def test_vectors_that_are_none_do_not_stop_a_backup(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with opened(data) as km, km._base.verb() as catalog:
        with catalog.write() as connection:
            for remainder, vector in enumerate((b"\0\0", bytes(256), b"\0\0\xc0\x7f" * 64, b"\0\0\x80\x7f" * 64)):
                connection.execute("UPDATE embedding SET vector = ? WHERE rowid % 5 = ?", (vector, remainder))
        made = create(km._base)
    assert set(checked(data).values()) == {()}
    asked = [probe for probe in store_of(data).manifest(made.id).probes if probe.vector]
    assert asked
    assert all(isfinite(score) for probe in asked for _, score in probe.exact)


def test_a_damaged_database_is_not_backed_up_as_good(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    # A child of its own: a page that SQLite has read already would not be read again.
    code = """
import sys
from pathlib import Path
path = Path(sys.argv[1]) / "nescordbot.db"
content = bytearray(path.read_bytes())
for page in range(80, len(content) // 8192):
    content[page * 8192 : page * 8192 + 12] = b"\\xff" * 12
path.write_bytes(content)
"""
    subprocess.run([sys.executable, "-c", code, str(data)], check=True)
    with pytest.raises(BackupError, match=r"quick_check|malformed"):
        back_up(data)
    assert store_of(data).ids() == list(days.ids)
    assert_tidy(data)


def test_a_snapshot_is_consistent_however_much_others_write(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with worker("write", data) as writer, opened(data) as km:
        assert line_of(writer) == 1
        begun = time.monotonic()
        made = [create(km._base).id for _ in range(30 if SOAK else 4)]
        assert time.monotonic() - begun < 10 * len(made), "a copy that begins anew at each commit never ends"
        assert writer.poll() is None
        writer.kill()
        assert writer.stdout is not None
        written = len(writer.stdout.readlines())
    numbers = []
    for each in made:
        with apsw.Connection(str(database_of(data, each, tmp_path / "restored.db"))) as connection:
            pair = connection.execute(
                "SELECT value, (SELECT name FROM source WHERE id = 1) FROM meta WHERE name = 'pair'"
            )
            one, other = pair.get
        assert one == other
        numbers.append(int(one))
    assert numbers == sorted(numbers)
    assert written > 10 * len(made), "nobody wrote meanwhile"
    assert numbers[-1] > numbers[0]


def test_of_two_backups_at_once_one_waits_and_both_are_good(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with worker("create", data) as one, worker("create", data) as other:
        made = [line_of(one), line_of(other)]
    assert sorted(str(each)[:6] for each in made) == ["000004", "000005"]
    assert set(checked(data).values()) == {()}
    with opened(data) as km, km._base.locks.exclusive(LockName.CREATE):
        refused = []

        def try_it() -> None:
            with open_base(data, lock_timeout=0.1) as impatient:
                try:
                    create(impatient._base)
                except LockTimeoutError as error:
                    refused.append(str(error))

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        assert "one backup is made at a time" in refused[0]


def test_a_slow_reader_of_backups_does_not_hold_up_a_new_one(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    orphan = store_of(data).packs / "000001-20200101T000000Z.pack"
    orphan.write_bytes(b"left by a killed backup")
    with worker("hold", data) as reader:
        assert line_of(reader) == "held"
        begun = time.monotonic()
        assert back_up(data).id.startswith("000004")
        assert time.monotonic() - begun < 5
        assert orphan.exists(), "swept under the eyes of a reader"
    back_up(data)
    assert not orphan.exists()


def test_the_backups_of_another_base_are_not_written_to(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with opened(data) as km:
        identity = read_identity(km.folder)
        write_identity(km.folder, replace(identity, uuid="00000000-0000-4000-8000-000000000000"))
        before = {path: path.read_bytes() for path in (data / "backups").rglob("*") if path.is_file()}
        with pytest.raises(BackupError, match="another knowledge base"):
            create(km._base)
    assert {path: path.read_bytes() for path in (data / "backups").rglob("*") if path.is_file()} == before


def test_store_json_that_has_rotted_is_written_anew(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    mark = data / "backups" / "store.json"
    right = mark.read_bytes()
    mark.write_bytes(right[:-5] + b"0" + right[-4:])
    assert store_of(data).owner() == json.loads(right)["knowledge_base"]
    back_up(data)
    assert mark.read_bytes() == right


def test_while_a_manifest_cannot_be_read_nothing_is_swept(days: Days, tmp_path: Path) -> None:
    data, rng = days.copy(tmp_path / "data"), new_rng("unreadable manifest")
    store = store_of(data)
    path = store.manifest_path(days.ids[1])
    content = path.read_bytes()
    flip(path, rng)
    path.write_bytes(path.read_bytes()[:-9])
    store.drop(days.ids[0])
    packs = sorted(each.name for each in store.packs.iterdir())
    assert "nothing was swept" in store.sweep().problem
    made = back_up(data)
    assert sorted(each.name for each in store.packs.iterdir() if each.stem != made.id) == packs
    assert store.snapshot(days.ids[1]).problem
    path.write_bytes(content)
    assert checked(data)[days.ids[1]] == ()


def test_a_sweep_removes_only_what_nobody_needs(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    store = store_of(data)
    store.drop(days.ids[1])
    strangers = [store.packs / "notes.txt", store.folder / "mine.db", store.packs / ".hidden"]
    rests = [store.packs / ".000009-20260101T000000Z.pack.ab12.tmp", store.folder / ".store.json.ab12.tmp"]
    for path in strangers + rests:
        path.write_bytes(b"x")
    (store.folder / "scratch-ab12").mkdir()
    (store.folder / "scratch-ab12" / "nescordbot.db").write_bytes(b"x")
    needed = {pack.id for each in (days.ids[0], days.ids[2]) for pack in days.manifests[each].packs}
    swept = store.sweep()
    assert not swept.problem
    assert {path.stem for path in store.packs.glob("0*")} == needed
    assert all(path.exists() for path in strangers)
    assert not any(path.exists() for path in rests)
    assert not (store.folder / "scratch-ab12").exists()
    for path in strangers:
        path.unlink()
    assert assert_sound(data, tmp_path / "restored.db") == [days.ids[0], days.ids[2]]
    assert store.sweep().removed == ()


def test_a_number_is_never_used_twice(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    store = store_of(data)
    for _ in range(2):
        store.drop(store.ids()[-1])
        store.sweep()
    assert store.ids() == [days.ids[0]]
    assert back_up(data).id.startswith("000004")
    with opened(data) as km:
        assert create(km._base, off_site=41).id.startswith("000042")


def test_order_is_by_number_though_the_clock_goes_back_a_year(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    store = store_of(data)
    # The newest was made when the clock was a year ahead, as was its pack.
    newest = store.manifest(days.ids[-1])
    ahead = f"000003-{int(newest.id[7:11]) + 1}{newest.id[11:]}"
    packs = tuple(replace(pack, id=ahead) if pack.id == newest.id else pack for pack in newest.packs)
    store.drop(newest.id)
    for suffix in ("pack", "idx"):
        (store.packs / f"{newest.id}.{suffix}").rename(store.packs / f"{ahead}.{suffix}")
    store.add(
        replace(newest, id=ahead, packs=packs, created_at=f"{int(newest.created_at[:4]) + 1}{newest.created_at[4:]}")
    )
    made = back_up(data)
    assert made.id.startswith("000004")
    assert made.id[7:] < ahead[7:]
    assert store.ids() == [*days.ids[:2], ahead, made.id]
    assert store.snapshots()[-1].id == made.id
    assert made.bytes_added == 0, "the newest was not the one to refer to"
    assert set(checked(data).values()) == {()}


def test_a_backup_that_cannot_be_read_back_is_not_listed(days: Days, tmp_path: Path) -> None:
    """A disk that gives back other bytes than it was given: the pack is changed as soon as it has its name."""
    data = days.copy(tmp_path / "data")
    shutil.rmtree(data / "backups")
    harmed = []

    def harm(stage: str, _done: int, _total: int) -> None:
        if stage == "reading back":
            for pack in store_of(data).packs.glob("*.pack"):
                flip(pack, new_rng("read back"))
                harmed.append(pack.stem)

    with opened(data) as km:
        with pytest.raises(BackupError, match="damaged"):
            create(km._base, progress=harm)
        assert len(set(harmed)) == 2, "a second try was not made"
        assert store_of(data).ids() == []
        made = create(km._base)
    assert checked(data) == {made.id: ()}
    assert_tidy(data)


def test_notes_are_backed_up_though_the_full_text_index_is_damaged(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with opened(data) as km:
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute("DELETE FROM chunk_fts_data")
        made = create(km._base)
    assert "search does not work" in made.remark
    manifest = store_of(data).manifest(made.id)
    assert (manifest.probes, store_of(data).status(made.id).state) == ((), "good")
    copy = database_of(data, made.id, tmp_path / "restored.db")
    connection = apsw.Connection(str(copy))
    assert connection.execute("SELECT count(*) FROM note_text").get == manifest.counts["notes"] > 0
    connection.close()
