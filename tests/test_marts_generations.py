"""Generations of marts: one is whole or not there, whatever is killed, removed or written meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from marts_world import begun, children_of, embed, rows, settings_of, written

from nescord import KnowledgeManager, marts
from nescord.catalog.snapshot import open_snapshot, snapshot
from nescord.errors import LockTimeoutError, MartsError, NoMartsError, UsageError
from nescord.locks import held_at_once
from nescord.marts import generations
from nescord.settings import Settings

HERE = Path(__file__).parent
PER_TEXT = "SELECT text FROM notes ORDER BY text"


def _generations(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "marts").iterdir() if path.is_dir())


def test_the_two_newest_generations_stay(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    built = [marts.build(settings).generation for _ in range(4)]
    assert _generations(tmp_path / "data") == sorted(built[-2:])
    current = marts.current(settings)
    assert current is not None
    assert current.generation == built[-1]
    assert rows(settings, "SELECT generation FROM mart", generation=built[-2]) == [(built[-2],)]
    with pytest.raises(UsageError, match=rf"no marts of the generation \"{built[0]}\".*there are: {built[-2]}"):
        marts.connect(settings, generation=built[0])
    with pytest.raises(UsageError, match="there are:"):
        marts.connect(settings, generation="../../other")


def test_generations_follow_one_another_whatever_the_clock_says(tmp_path: Path) -> None:
    names = []
    for moment in (
        datetime(2026, 11, 24, tzinfo=UTC),
        datetime(2026, 11, 24, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=UTC),
    ):
        folder = generations.begin(tmp_path, moment)
        names.append(folder.name)
        mart = generations.Mart(
            folder.name, folder, "2026-11-24T00:00:00Z", {}, schema=1, epoch="", texts=True, spaces=None
        )
        generations.publish(mart)
        assert generations.current(tmp_path) == mart
    assert names == ["20261124T000000Z", "20261124T000000Z-2", "20261124T000000Z-3"]


def test_who_reads_goes_on_reading_the_same_generation(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    marts.build(settings)
    with marts.connect(settings) as connection:
        begun(tmp_path / "data", "two")
        marts.build(settings)
        assert connection.sql(PER_TEXT).fetchall() == [("one",)]
    assert rows(settings, PER_TEXT) == [("one",), ("two",)]


def test_nothing_but_the_tables_is_left_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    built = marts.build(settings)
    assert {path.suffix for path in built.folder.iterdir()} == {".parquet", ".json"}
    assert {path.name for path in built.folder.glob("*.json")} == {"mart.json"}
    for path in (tmp_path / "data" / "marts").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert built.bytes == sum(path.stat().st_size for path in built.folder.glob("*.parquet"))


def test_vectors_are_not_written_again_while_none_has_changed(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one", "two")
    embed(settings)

    def file() -> os.stat_result:
        (found,) = marts.build(settings).folder.glob("embeddings-*.parquet")
        return found.stat()

    first = file()
    begun(tmp_path / "data", "a note more, without a vector")
    second = file()
    assert second.st_ino == first.st_ino
    embed(settings)
    third = file()
    assert third.st_ino != first.st_ino
    with written(settings) as connection:  # one goes and another gets its number
        last = connection.execute("SELECT max(id) FROM embedding").get
        connection.execute("UPDATE embedding SET text_hash = x'00' WHERE id = ?", (last,))
    assert file().st_ino != third.st_ino
    with written(settings) as connection:  # the same text is embedded anew, under the same id
        connection.execute("UPDATE embedding SET vector = zeroblob(16) WHERE id = ?", (last,))
    marts.build(settings)
    assert rows(settings, "SELECT vector FROM embeddings WHERE text_hash = '\\x00'::BLOB") == [((0.0,) * 4,)]
    # A link has as many names as generations have it; none of them is changed by removing another.
    assert rows(settings, "SELECT count(*) FROM embeddings") == [(3,)]


def test_before_the_first_build_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    assert marts.current(settings) is None
    with pytest.raises(NoMartsError, match=r"no marts at .*: make them with nescord marts build"):
        marts.connect(settings)
    marts.build(settings)
    current = tmp_path / "data" / "marts" / "current.json"
    for damaged in (b"", b"[]", b'{"generation": "../elsewhere"}', b'{"generation": "20200101T000000Z"}'):
        current.write_bytes(damaged)
        assert marts.current(settings) is None
    marts.build(settings)
    assert marts.current(tmp_path / "data") is not None


def test_marts_of_another_version_are_refused(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    built = marts.build(settings)
    mart = built.folder / "mart.json"
    stored = json.loads(mart.read_bytes())
    mart.write_text(json.dumps({"format": 99, "generation": stored["generation"], "built_at": stored["built_at"]}))
    with pytest.raises(NoMartsError, match="made by another version: make them anew"):
        marts.connect(settings)


def test_what_is_half_built_is_never_read_and_goes_with_the_next_build(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    whole = marts.build(settings)
    half = tmp_path / "data" / "marts" / "20990101T000000Z"
    shutil.copytree(whole.folder, half)
    (half / "mart.json").unlink()
    (half / "snapshot.db").write_bytes(b"a copy of everything")
    assert marts.current(settings).generation == whole.generation  # type: ignore[union-attr]
    after = marts.build(settings)
    assert _generations(tmp_path / "data") == sorted((whole.generation, after.generation))


def test_one_builds_at_a_time(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    quick = Settings(data_dir=tmp_path / "data", embedder="none", lock_timeout=0.3)
    with (
        held_at_once(tmp_path / "data" / "run" / "marts.lock"),
        pytest.raises(LockTimeoutError, match=r"being built by another process; waited 0.3 s"),
    ):
        marts.build(quick)
    marts.build(settings)


def test_what_an_erasure_removes_while_it_is_built_is_built_anew(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", *(f"note {number}" for number in range(50)))
    marts.build(settings)
    room = tmp_path / "data" / "marts"
    swept: list[str] = []

    def sweep() -> None:
        while not swept:
            for path in room.glob("*/snapshot.db"):
                shutil.rmtree(path.parent, ignore_errors=True)
                swept.append(path.parent.name)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    built = marts.build(settings)
    sweeper.join()
    assert built.counts["notes"] == 50
    assert swept
    assert rows(settings, "SELECT count(*) FROM notes") == [(50,)]


def test_an_erased_person_is_in_no_marts(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "the owner's")
    begun(tmp_path / "data", "of somebody", space="user:42")
    marts.build(settings)
    with KnowledgeManager.open(settings) as km:
        km.privacy("user:42").erase()
    assert marts.current(settings) is None
    assert _generations(tmp_path / "data") == []
    marts.build(settings)
    assert rows(settings, PER_TEXT) == [("the owner's",)]


def test_an_erased_note_is_in_no_marts_nor_reports(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "stays", "to be erased")
    marts.build(settings)
    report = tmp_path / "data" / "reports" / "20261124T000000Z"
    report.mkdir(parents=True)
    (report / "01_overview.html").write_text("to be erased")
    (gone,) = (note_id for (note_id,) in rows(settings, "SELECT note_id FROM notes WHERE text = 'to be erased'"))
    with KnowledgeManager.open(settings) as km:
        km.erase_note(gone)
    assert [path for room in ("marts", "reports") for path in (tmp_path / "data" / room).iterdir()] == []
    marts.build(settings)
    assert rows(settings, PER_TEXT) == [("stays",)]


def test_a_disk_that_cannot_be_written_leaves_what_there_was(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    first = marts.build(settings)
    room = tmp_path / "data" / "marts"
    kept = tmp_path / "kept"
    room.rename(kept)
    room.write_bytes(b"no folder")
    with pytest.raises(MartsError, match=r"could not be written to .*make room or mend the disk"):
        marts.build(settings)
    room.unlink()
    kept.rename(room)
    assert rows(settings, "SELECT generation FROM mart") == [(first.generation,)]


@contextmanager
def _building(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that builds again and again; gone afterwards, with its child."""
    process = subprocess.Popen([sys.executable, HERE / "marts_worker.py", "build", data], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("turn", range(6))
def test_a_killed_build_leaves_the_last_generation_and_the_next_one_clears_up(tmp_path: Path, turn: int) -> None:
    data = tmp_path / "data"
    settings = begun(data, *(f"note {number}" for number in range(20)))
    embed(settings)
    marts.build(settings)
    with _building(data) as process:
        time.sleep(random.uniform(0, 1.5))
        children = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert rows(settings, "SELECT count(*) FROM notes JOIN chunks USING (note_id)") == [(20,)]
        _wait_for(lambda: not any(_lives(child) for child in children))  # it ends with its parent
    built = marts.build(settings)
    assert len(_generations(data)) == 2
    assert built.generation in _generations(data)
    assert list((data / "marts").rglob("snapshot.db")) == []
    assert list((data / "marts").rglob(".*")) == []


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_a_killed_child_is_a_failed_build_and_no_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = begun(data, *(f"note {number}" for number in range(20)))
    first = marts.build(settings)
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 20
        while not killed and time.monotonic() < until:
            for child in children_of(os.getpid()):
                try:
                    command = Path(f"/proc/{child}/cmdline").read_bytes()
                    if b"nescord.marts.child" in command:
                        os.kill(child, signal.SIGKILL)
                        killed.append(child)
                except OSError:
                    continue

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(MartsError, match=r"was killed by SIGKILL.*can still be read; try again"):
        marts.build(settings)
    killer.join()
    assert _generations(data) == [first.generation]
    assert rows(settings, "SELECT count(*) FROM notes") == [(20,)]


def test_nothing_but_apsw_opens_the_live_database(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    embed(settings)
    done = subprocess.run(
        [sys.executable, HERE / "marts_worker.py", "watched", tmp_path / "data"], capture_output=True, check=True
    )
    watched, made = map(json.loads, done.stdout.splitlines())
    assert watched["touched"] == []
    assert watched["control"] == 1
    assert watched["opened"] > 0
    assert made["libraries"] == []
    assert made["counts"]["notes"] == 1


def test_builds_while_others_write_lose_nothing_and_are_each_of_one_moment(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "the first")
    captured: list[str] = []
    is_over = threading.Event()

    def write() -> None:
        with KnowledgeManager.open(settings_of(tmp_path / "data")) as km:
            while not is_over.is_set():
                captured.append(km.capture(f"note {len(captured)} #tag").id)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            before = len(captured)
            built = marts.build(settings)
            assert built.counts["notes"] >= before
            torn = "n.chunks <> (SELECT count(*) FROM chunks c WHERE c.note_id = n.note_id)"
            assert rows(settings, f"SELECT count(*) FROM notes n WHERE {torn}") == [(0,)]
            assert rows(settings, "SELECT count(*) FROM tags") == [(built.counts["notes"] - 1,)]
    finally:
        is_over.set()
        writer.join()
    with KnowledgeManager.open(settings) as km:
        assert all(km.note(note_id) for note_id in captured)
        assert km.verify().ok
    marts.build(settings)
    assert rows(settings, "SELECT count(*) FROM notes") == [(len(captured) + 1,)]


def test_the_child_ends_with_its_parent_whatever_it_waits_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.json")  # whose other end nobody opens
    command = [sys.executable, "-P", "-m", "nescord.marts.child", tmp_path]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0)
    assert child.stdin is not None
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(1)
    child.stdin.close()  # as the kernel does it for a parent that is killed
    assert child.wait(20) == -signal.SIGTERM


def test_the_copy_of_the_database_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one", "two")
    copy = tmp_path / "copy.db"
    with KnowledgeManager.open(settings) as km:
        with km._base.verb() as catalog, catalog.read() as connection:
            snapshot(connection, copy)
        km.capture("three")
    assert copy.stat().st_mode & 0o777 == 0o600
    before = copy.read_bytes()
    with open_snapshot(copy) as connection:
        assert connection.execute("SELECT count(*) FROM note").get == 2
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute("DELETE FROM note")
    assert copy.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"]
