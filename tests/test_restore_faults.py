"""A restore works whatever became of the database, beside whoever uses it, and changes nothing where it cannot."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from nescord.errors import LockTimeoutError
from nescord.locks import LockName
from tests.backup_world import database_of, opened
from tests.restore_world import (
    EARLIER,
    LATER,
    World,
    files,
    found,
    old_folders,
    put_back,
)
from tests.survival import DATABASE, new_rng
from tests.vaults import UNPRIVILEGED

ROOT = Path(__file__).parents[1]
SUFFIXES = ("", "-wal", "-shm")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"))


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


@contextmanager
def worker(*arguments: str | Path, before: list[str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process of tests/restore_worker.py; at the end its stdin is closed, which ends it."""
    command = [*(before or []), sys.executable, "-m", "tests.restore_worker", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
            process.wait(60)


def missing(database: Path, _: random.Random) -> None:
    database.unlink()


def empty(database: Path, _: random.Random) -> None:
    database.write_bytes(b"")


def garbled_header(database: Path, rng: random.Random) -> None:
    database.write_bytes(rng.randbytes(100) + database.read_bytes()[100:])


def unknown_format(database: Path, _: random.Random) -> None:
    content = bytearray(database.read_bytes())
    content[44:48] = b"\0\0\0\x63"  # "schema format number": an error of SQLite that is none of damage
    database.write_bytes(content)


def garbled_pages(database: Path, rng: random.Random) -> None:
    content = bytearray(database.read_bytes())
    for page in range(2, len(content) // 8192, 3):
        content[page * 8192 : page * 8192 + 4096] = rng.randbytes(4096)
    database.write_bytes(content)


def text_that_is_none(database: Path, _: random.Random) -> None:
    """Titles that are not UTF-8: every check of SQLite passes, and reading them raises what is no error of SQLite."""
    connection = apsw.Connection(str(database))
    connection.execute("UPDATE note SET title = CAST(x'fffe80' AS TEXT)")
    connection.close()


def cut_off(database: Path, _: random.Random) -> None:
    os.truncate(database, database.stat().st_size // 2)


def of_another_program(database: Path, _: random.Random) -> None:
    database.unlink()
    connection = apsw.Connection(str(database))
    connection.execute("CREATE TABLE embedding (theirs); INSERT INTO embedding VALUES (1)")
    connection.close()


def a_folder(database: Path, _: random.Random) -> None:
    database.unlink()
    database.mkdir()
    (database / "mine.txt").write_text("mine", encoding="utf-8")


DAMAGES = (
    *(missing, empty, garbled_header, unknown_format, garbled_pages, text_that_is_none, cut_off),
    *(of_another_program, a_folder),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_whatever_became_of_the_database_a_snapshot_can_be_put_in_its_place(
    damage: Callable[[Path, random.Random], None], world: World, data: Path
) -> None:
    damage(data / DATABASE, new_rng(damage.__name__))
    before = {name: content for name, content in files(data).items() if name.startswith(DATABASE)}
    done = put_back(data, world.snapshot)
    assert found(data) == world.then
    # What is only strange to read is whole, and is backed up as it is.
    assert bool(done.before) == (damage is text_that_is_none)
    assert bool(done.remarks) == (damage is not text_that_is_none)
    if damage is missing:
        assert old_folders(data) == [] or not any(old_folders(data)[0].iterdir())
        return
    (old,) = old_folders(data)
    kept = {name: content for name, content in files(old).items() if name in before}
    # Looking at an empty database or another program's makes a WAL of it; nothing else may be changed by it.
    # Looking closely at what is whole checkpoints it.
    assert kept == before or damage in (empty, of_another_program, text_that_is_none)
    with opened(data) as km:
        km.capture("life goes on")


def test_what_was_committed_last_and_is_only_in_the_wal_is_in_the_snapshot_of_before(
    world: World, data: Path, tmp_path: Path
) -> None:
    with worker("die", data) as process:
        note = said(process)["id"]
    assert (data / f"{DATABASE}-wal").stat().st_size > 0
    done = put_back(data, world.snapshot)
    assert found(data) == world.then
    assert note in captured(database_of(data, done.before, tmp_path / "before.db"))


@pytest.mark.parametrize("has_database", [True, False])
def test_nothing_of_a_strangers_wal_gets_into_the_new_database(
    has_database: bool, world: World, data: Path, tmp_path: Path
) -> None:
    other = World.made(tmp_path / "other", notes=3).data
    with worker("die", other) as process:
        said(process)
    foreign = (other / f"{DATABASE}-wal").read_bytes()
    assert foreign
    (data / f"{DATABASE}-wal").write_bytes(foreign)
    if not has_database:
        (data / DATABASE).unlink()
    put_back(data, world.snapshot)
    wal = data / f"{DATABASE}-wal"
    assert not wal.exists()
    assert found(data) == world.then
    if not has_database:
        assert (old_folders(data)[0] / wal.name).read_bytes() == foreign


@pytest.mark.skipif(UNPRIVILEGED is None, reason="file permissions do not count here")
def test_a_database_that_may_not_be_read_can_be_replaced(world: World, data: Path) -> None:
    (data / DATABASE).chmod(0)
    done = subprocess.run(
        [
            *UNPRIVILEGED,
            sys.executable,
            "-m",
            "nescord.cli",
            "--data-dir",
            data,
            "backup",
            "restore",
            "--yes",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["restored"], document["before"]) == (world.snapshot, "")
    assert "cannot be written" in " ".join(document["remarks"])
    assert found(data) == world.then
    (old,) = old_folders(data)
    assert (old / DATABASE).read_bytes() == (world.data / DATABASE).read_bytes()


def captured(database: Path) -> set[str]:
    connection = apsw.Connection(str(database))
    try:
        return {note for (note,) in connection.execute("SELECT id FROM note WHERE owner = 'us'")}
    finally:
        connection.close()


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def tell(process: subprocess.Popen[str], line: str) -> None:
    print(line, file=process.stdin, flush=True)


@contextmanager
def heard(process: subprocess.Popen[str]) -> Iterator[list[dict[str, Any]]]:
    """What a process says from now on, as it comes; complete once the process has ended."""
    lines: list[dict[str, Any]] = []

    def listen() -> None:
        assert process.stdout is not None
        lines.extend(map(json.loads, process.stdout))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield lines
    finally:
        assert process.stdin is not None
        process.stdin.close()
        thread.join(60)


def facts(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Of the database and its WAL: size, time of change and content. -shm holds locks of whoever has it open."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.iterdir())
        if not path.name.endswith("-shm")
    }


@pytest.mark.slow
def test_a_restore_comes_between_readers_captures_and_an_ingest_and_none_of_them_touches_the_old_file(
    tmp_path: Path,
) -> None:
    world = World.made(tmp_path)
    data = world.data
    with ExitStack() as stack:
        roles = [("read", data), ("read", data), ("read", data), ("capture", data), ("ingest", data, world.vault)]
        processes = [stack.enter_context(worker(*role)) for role in roles]
        idle = stack.enter_context(worker("idle", data))
        for process in (*processes, idle):
            assert said(process)["ready"] == process.pid
        lines = [stack.enter_context(heard(process)) for process in processes]
        time.sleep(1)
        begun = time.time()
        done = put_back(data, world.snapshot)
        returned = time.time()
        (old,) = old_folders(data)
        before = facts(old)
        assert any("/.restore/old-" in name for name in open_files(idle)), "nobody has the old file open"
        tell(idle, LATER)
        last = said(idle)
        time.sleep(1)
        for process in processes[:3]:
            tell(process, EARLIER)
        time.sleep(1)
    assert [process.returncode for process in (*processes, idle)] == [0] * 6
    assert returned - begun < 10
    assert facts(old) == before

    captures, ingests = lines[3], lines[4]
    there = captured(data / DATABASE)
    saved = captured(database_of(data, done.before, tmp_path / "before.db"))
    early = {line["id"] for line in captures if line["at"] < begun}
    late = {line["id"] for line in captures if line["begun"] > returned}
    assert len(early) > 5
    assert len(late) > 5
    assert early <= saved
    assert late <= there
    assert {line["id"] for line in captures} <= saved | there
    assert last["captured"] in there
    assert last["found"] == []
    for answers in lines[:3]:
        assert [line["found"] for line in answers if "found" in line] == [["changing.md"]]
        assert answers[-1]["searches"] > 10
    assert [line for line in ingests if "ingested" in line and line["at"] < begun]
    assert [line for line in ingests if "paused" in line]
    assert not [line for line in ingests if "ingested" in line and line["at"] > returned + 0.5]
    assert found(data).notes == world.then.notes
    print(f"restored in {returned - begun:.2f} s; {len(early)} captures before, {len(late)} afterwards")


def open_files(process: subprocess.Popen[str]) -> list[str]:
    return [os.readlink(entry) for entry in Path(f"/proc/{process.pid}/fd").iterdir()]


def test_somebody_in_the_middle_of_a_verb_is_waited_for_and_named(world: World, data: Path) -> None:
    with worker("hold", data) as process:
        assert process.stdout is not None
        assert "held" in process.stdout.readline()
        before = files(data)
        with pytest.raises(LockTimeoutError, match=f"pid {process.pid} .*restore_worker") as refused:
            put_back(data, world.snapshot, lock_timeout=0.3)
        assert "NESCORD_LOCK_TIMEOUT" in str(refused.value)
        assert files(data) == before
        assert not (data / ".restore").exists()
        threading.Timer(0.5, process.stdin.close).start()  # type: ignore[union-attr]
        put_back(data, world.snapshot, lock_timeout=20)
    assert found(data) == world.then


def test_another_backup_in_the_making_is_waited_for(world: World, data: Path) -> None:
    before = files(data)
    with opened(data) as km, km._base.locks.exclusive(LockName.CREATE):
        done = subprocess.run(
            [sys.executable, "-m", "nescord.cli", "--data-dir", data, "backup", "restore", "--yes"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "NESCORD_LOCK_TIMEOUT": "0.2"},
        )
    assert done.returncode == 69
    assert '"create"' in done.stderr
    assert files(data) == before
