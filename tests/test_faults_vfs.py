"""The simulators of failing disks and power cuts, tried on a plain database shaped like the catalog.

A simulator that cannot see a loss proves nothing, so that the settings which do lose commits (synchronous OFF and
NORMAL, a rollback journal whose deletion is not synced) are tried beside the ones which must not.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from tests.faults.powercut import Image, Recorder
from tests.faults.vfs import MODES, FailingVFS, Mode, throw_away

SOAK = os.environ.get("NESCORD_SOAK") == "1"
COMMITS = 24
SCHEMA = """
CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE last (only INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE VIRTUAL TABLE word USING fts5(body, content='', contentless_delete=1);
INSERT INTO last VALUES (1, 0);
"""


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = os.environ.get("NESCORD_SEED") or str(random.randrange(1 << 32))
    print(f"NESCORD_SEED={seed}")
    return random.Random(f"{seed}/{request.node.name}")


@dataclass(frozen=True, slots=True)
class Durability:
    journal: str = "wal"
    synchronous: str = "full"


@contextlib.contextmanager
def opened(path: Path, vfs: str | None = None, how: Durability = Durability()) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path), vfs=vfs)
    try:
        connection.execute("PRAGMA page_size = 8192")
        # pragma() runs it to its end. The row comes before the switch is written: with execute() alone an I/O error
        # passes unseen, and the connection says "wal" while it goes on writing a rollback journal.
        connection.pragma("journal_mode", how.journal)
        connection.execute(f"PRAGMA synchronous = {how.synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 40")
        yield connection
    except BaseException:
        throw_away(connection)
        raise
    connection.close()


def commit(connection: apsw.Connection, n: int) -> None:
    """Commit n: a new note, an older one replaced (which a crash must not leave half done)."""
    body = f"canary{n} " + " ".join(f"word{(n * 37 + i) % 401}" for i in range(n % 5 * 150))
    with connection:
        connection.execute("INSERT INTO note VALUES (?, ?)", (n, body))
        connection.execute("INSERT INTO word(rowid, body) VALUES (?, ?)", (n, body))
        if n > 1:
            body = f"canary{n - 1} replaced{n - 1}"
            connection.execute("UPDATE note SET body = ? WHERE id = ?", (body, n - 1))
            connection.execute("INSERT OR REPLACE INTO word(rowid, body) VALUES (?, ?)", (n - 1, body))
        connection.execute("UPDATE last SET n = ?", (n,))


def commits_in(connection: apsw.Connection) -> int:
    """How many commits the database holds; -1 if not even its schema."""
    if not connection.pragma("user_version"):
        return -1
    return int(connection.execute("SELECT n FROM last").get)


def run(
    path: Path,
    vfs: str | None,
    acknowledged: list[int],
    recorder: Recorder | None = None,
    how: Durability = Durability(),
) -> None:
    """The workload, which goes on from wherever it was interrupted. It closes and opens again half-way."""
    for until in (COMMITS // 2, COMMITS):
        with opened(path, vfs, how) as connection:
            done = commits_in(connection)
            if done < 0:
                with connection:
                    connection.execute(SCHEMA)
                    connection.pragma("user_version", 1)
                done = 0
            for n in range(done + 1, until + 1):
                commit(connection, n)
                acknowledged.append(n)
                if recorder:
                    recorder.mark(n)
                if n == COMMITS // 4 and how.journal == "wal":
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check(path: Path, acknowledged: int) -> None:
    """The database is whole and holds every acknowledged commit, each of them wholly."""
    with opened(path) as connection:
        assert connection.pragma("integrity_check") == "ok"
        held = commits_in(connection)
        assert held >= acknowledged
        if held < 0:
            return
        connection.execute("INSERT INTO word(word) VALUES ('integrity-check')")
        assert list(connection.execute("SELECT id FROM note ORDER BY id")) == [(n,) for n in range(1, held + 1)]
        for n in range(1, held + 1):
            replaced = connection.execute("SELECT rowid FROM word WHERE word MATCH ?", (f"replaced{n}",)).get
            assert connection.execute("SELECT rowid FROM word WHERE word MATCH ?", (f"canary{n}",)).get == n
            assert replaced == (n if n < held else None)


def complete(path: Path) -> None:
    run(path, None, [])
    check(path, COMMITS)


def instants(total: int, share: int, rng: random.Random) -> range:
    return range(1, total + 1) if SOAK else range(1 + rng.randrange(share), total + 1, share)


def recorded(folder: Path, how: Durability) -> Recorder:
    recorder = Recorder()
    vfs = recorder.vfs("recording")
    run(folder / "catalog.db", "recording", [], recorder, how)
    vfs.unregister()
    assert recorder.operations > 100
    return recorder


def acknowledged_by(image: Image) -> int:
    return max((n for n in image.marks if isinstance(n, int)), default=-1)


def losses(recorder: Recorder, folder: Path, rng: random.Random, every: int) -> tuple[int, int, int]:
    """How many images there were, how many had lost an acknowledged commit, how many were not whole."""
    images = lost = broken = 0
    for image in recorder.images(rng, every=1 if SOAK else every, subsets=10 if SOAK else 3):
        images += 1
        image.write_to(folder)
        try:
            check(folder / "catalog.db", -1)
            with opened(folder / "catalog.db") as connection:
                lost += commits_in(connection) < acknowledged_by(image)
            if images % 10 == 0:
                complete(folder / "catalog.db")
        except (apsw.Error, AssertionError) as error:
            print(f"after operation {image.at}, {image.kept}: {error!r}")
            broken += 1
        shutil.rmtree(folder)
    print(f"{recorder.operations} operations, {images} images: {lost} lost a commit, {broken} not whole")
    return images, lost, broken


@pytest.mark.parametrize("mode", MODES)
def test_whatever_write_fails_the_database_opens_whole_and_the_next_run_completes(
    mode: Mode, tmp_path: Path, rng: random.Random
) -> None:
    counting = FailingVFS("counting")
    run(tmp_path / "counted.db", "counting", [])
    assert not counting.happened
    struck: Counter[str] = Counter()
    for k in instants(counting.writes, 9, rng):
        path = tmp_path / str(k) / "catalog.db"
        path.parent.mkdir()
        vfs = FailingVFS("failing", fail_at=k, mode=mode, seed=rng.randrange(1000))
        acknowledged: list[int] = []
        with contextlib.suppress(apsw.IOError, apsw.FullError, apsw.CantOpenError):
            run(path, "failing", acknowledged)
        assert vfs.happened, f"write {k} of {counting.writes} never came"
        struck[vfs.what.split()[0]] += 1
        vfs.unregister()
        check(path, max(acknowledged, default=-1))
        complete(path)
        shutil.rmtree(path.parent)
    print(f"{counting.writes} writes, struck: {dict(struck)}")
    assert struck.keys() >= ({"write", "sync", "truncate", "delete"} if SOAK else {"write", "sync"})


@pytest.mark.parametrize("mode", ["fail", "full"])
def test_the_same_connection_goes_on_after_one_failed_write(mode: Mode, tmp_path: Path) -> None:
    vfs = FailingVFS("failing", mode=mode)
    with opened(tmp_path / "catalog.db", "failing") as connection, connection:
        connection.execute(SCHEMA)
        connection.pragma("user_version", 1)
    with opened(tmp_path / "catalog.db", "failing") as connection:
        commit(connection, 1)
        vfs.fail_at = vfs.writes + 3
        with pytest.raises((apsw.IOError, apsw.FullError)):
            commit(connection, 2)
        assert vfs.happened
        assert commits_in(connection) == 1
        commit(connection, 2)
    check(tmp_path / "catalog.db", 2)


def test_a_torn_write_leaves_a_part_of_itself(tmp_path: Path) -> None:
    lengths = set()
    for seed in range(8):
        path = tmp_path / f"{seed}.db"
        vfs = FailingVFS("failing", mode="tear", seed=seed)
        connection = apsw.Connection(str(path), vfs="failing")
        connection.pragma("journal_mode", "wal")
        connection.execute("CREATE TABLE t (x)")
        before = path.with_name(f"{seed}.db-wal").stat().st_size
        vfs.fail_at = vfs.writes + 2  # a frame is its header, then its page
        with pytest.raises(apsw.IOError):
            connection.execute("INSERT INTO t VALUES (1)")
        assert vfs.dead
        lengths.add(path.with_name(f"{seed}.db-wal").stat().st_size - before - 24)
        throw_away(connection)
        vfs.unregister()
    assert all(0 <= length < 4096 for length in lengths)
    assert len(lengths) > 4


def test_after_a_cut_no_byte_of_any_file_changes(tmp_path: Path) -> None:
    vfs = FailingVFS("failing", mode="cut")
    path = tmp_path / "catalog.db"
    connection = apsw.Connection(str(path), vfs="failing")
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t (x)")
    files = (path, path.with_name("catalog.db-wal"))
    before = [file.read_bytes() for file in files]
    vfs.fail_at = vfs.writes + 1
    for statement in ("INSERT INTO t VALUES (1)", "CREATE TABLE u (x)", "PRAGMA wal_checkpoint(TRUNCATE)"):
        with pytest.raises(apsw.IOError):
            connection.execute(statement)
    throw_away(connection)
    assert vfs.happened
    assert [file.read_bytes() for file in files] == before


def test_a_power_cut_loses_no_acknowledged_commit_of_a_synced_wal(tmp_path: Path, rng: random.Random) -> None:
    recorder = recorded(tmp_path, Durability("wal", "full"))
    images, lost, broken = losses(recorder, tmp_path / "image", rng, every=3)
    assert images > 50
    assert (lost, broken) == (0, 0)


def test_a_power_cut_loses_no_acknowledged_commit_of_a_synced_rollback_journal(
    tmp_path: Path, rng: random.Random
) -> None:
    recorder = recorded(tmp_path, Durability("delete", "extra"))
    images, lost, broken = losses(recorder, tmp_path / "image", rng, every=8)
    assert images > 50
    assert (lost, broken) == (0, 0)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_simulator_sees_what_synchronous_off_loses(journal: str, tmp_path: Path, rng: random.Random) -> None:
    recorder = recorded(tmp_path, Durability(journal, "off"))
    _, lost, broken = losses(recorder, tmp_path / "image", rng, every=8)
    assert lost > 0
    assert broken > 0


def test_the_simulator_sees_that_a_wal_synced_only_at_checkpoints_loses_commits_but_stays_whole(
    tmp_path: Path, rng: random.Random
) -> None:
    recorder = recorded(tmp_path, Durability("wal", "normal"))
    _, lost, broken = losses(recorder, tmp_path / "image", rng, every=8)
    assert lost > 0
    assert broken == 0


def test_the_simulator_sees_that_a_deletion_that_is_not_synced_brings_the_rollback_journal_back(
    tmp_path: Path, rng: random.Random
) -> None:
    recorder = recorded(tmp_path, Durability("delete", "full"))
    _, lost, broken = losses(recorder, tmp_path / "image", rng, every=8)
    assert lost > 0
    assert broken == 0


def test_a_record_may_begin_with_a_database_that_is_already_there(tmp_path: Path, rng: random.Random) -> None:
    run(tmp_path / "catalog.db", None, [])
    recorder = Recorder()
    vfs = recorder.vfs("recording")
    with opened(tmp_path / "catalog.db", "recording") as connection:
        recorder.mark(COMMITS)
        commit(connection, COMMITS + 1)
        recorder.mark(COMMITS + 1)
    vfs.unregister()
    for number, image in enumerate(recorder.images(rng)):
        assert image.files
        image.write_to(tmp_path / str(number))
        check(tmp_path / str(number) / "catalog.db", acknowledged_by(image))


def test_the_same_seed_gives_the_same_images(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, Durability())
    once, again = ([image.files for image in recorder.images(random.Random(7), every=20)] for _ in range(2))
    assert once == again
