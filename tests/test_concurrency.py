"""Several processes at once on one knowledge base: nobody is turned away, what is captured is found at once by others.

Two ingests take turns, and processes that meet at a new data folder end up with one knowledge base.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import vault as vaults
from nescord import KnowledgeManager
from nescord.home import DataFolder, read_identity
from nescord.locks import LockName, Locks
from tests.survival import DATABASE, SOAK, digests, settings, stored, untouched
from tests.vaults import open_base

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE.parent), os.environ.get("PYTHONPATH", "")))}


@dataclass(slots=True)
class Talker:
    """A process that says and is told lines of JSON."""

    process: subprocess.Popen[str]

    def hears(self, **line: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def says(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ends(self) -> list[dict[str, Any]]:
        """What it still says when its stdin is closed; it must end well."""
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return [json.loads(line) for line in out.splitlines()]


@contextmanager
def talker(script: str, *arguments: object) -> Iterator[Talker]:
    with subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        try:
            yield Talker(process)
        finally:
            process.kill()


@pytest.mark.slow
def test_readers_and_a_writer_never_meet_a_locked_database_and_a_capture_is_found_at_once(tmp_path: Path) -> None:
    vault, data = tmp_path / "vault", tmp_path / "data"
    vaults.generate(vault, 100, seed=5)
    with KnowledgeManager.open(settings(data)) as km:
        km.ingest(vault)
    seconds = 30 if SOAK else 5
    with (
        talker("concurrency_worker.py", "read", data) as one,
        talker("concurrency_worker.py", "read", data) as two,
        talker("concurrency_worker.py", "read", data) as three,
        talker("concurrency_worker.py", "write", data, vault, seconds) as writer,
    ):
        readers = (one, two, three)
        for process in (*readers, writer):
            assert "ready" in (process.says() or {}), "it did not open the knowledge base"
        captures = 0
        while (said := writer.says()) is not None and "captured" in said:
            captures += 1
            reader = readers[captures % 3]
            reader.hears(find=said["captured"], path=said["path"])
            answer = reader.says()
            assert answer is not None, "the reader has failed"
            assert answer["found"], f"capture {captures} was not there when it had returned"
        assert said is not None, "the writer has failed"
        assert said["captures"] == captures
        assert writer.ends() == []
        searches = [reader.ends()[-1]["searches"] for reader in readers]
    print(f"{seconds} s: {said['ingests']} ingests, {captures} captures found at once, {searches} searches beside them")
    assert min(searches) > 3 * seconds
    assert said["ingests"] > 2
    found = stored(data / DATABASE)
    assert len(found.captures) == captures
    assert {path: note.digest for path, note in found.notes.items()} == digests(vault)


def test_a_second_ingest_waits_for_the_first_and_then_finds_nothing_to_do(tmp_path: Path) -> None:
    vault, data = tmp_path / "vault", tmp_path / "data"
    vaults.generate(vault, 40, seed=6)
    with untouched(vault), talker("ingest_worker.py", data, vault, "--batch", 10, "--hold") as first:
        said = [first.says() for _ in range(3)]
        assert said[-1] == {"done": 10}
        with talker("ingest_worker.py", data, vault) as second:
            assert second.says() == {"opening": second.process.pid}
            time.sleep(0.5)
            assert second.process.poll() is None
            first.hears()
            assert first.ends()[-1]["finished"]["added"] == 40
            report = second.ends()[-1]["finished"]
    assert (report["added"], report["changed"], report["unchanged"]) == (0, 0, 40)
    assert report["changes"] == []


def test_a_second_ingest_that_may_not_wait_is_told_who_is_at_work(tmp_path: Path) -> None:
    vault, data = tmp_path / "vault", tmp_path / "data"
    vaults.generate(vault, 40, seed=6)
    with untouched(vault), talker("ingest_worker.py", data, vault, "--batch", 10, "--hold") as first:
        assert [first.says() for _ in range(3)][-1] == {"done": 10}
        with talker("ingest_worker.py", data, vault, "--lock-timeout", 0) as second:
            (refused,) = [said["refused"] for said in second.ends() if "refused" in said]
        with KnowledgeManager.open_existing(settings(data)) as km:
            # Who ingests is in nobody's way but another ingest's.
            assert km.status().notes == 10
            note = km.capture("written meanwhile")
            assert [hit.path for hit in km.search("written meanwhile")] == [note.path]
        first.hears()
        assert first.ends()[-1]["finished"]["added"] == 40
    assert '"ingest"' in refused
    assert f"pid {first.process.pid} " in refused


@pytest.mark.slow
def test_processes_that_begin_the_same_knowledge_base_at_once_share_it(tmp_path: Path) -> None:
    for trial in range(20 if SOAK else 2):
        data = tmp_path / str(trial)
        with (
            talker("concurrency_worker.py", "begin", data) as one,
            talker("concurrency_worker.py", "begin", data) as two,
            talker("concurrency_worker.py", "begin", data) as three,
            talker("concurrency_worker.py", "begin", data) as four,
        ):
            processes = (one, two, three, four)
            assert all(process.says() for process in processes)
            for process in processes:
                process.hears()
            said = [process.ends() for process in processes]
        assert {last["identity"] for _, last in said} == {read_identity(DataFolder.find(settings(data))).uuid}
        assert any(last["is_new"] for _, last in said)
        assert stored(data / DATABASE).captures.keys() == {first["path"] for first, _ in said}


@pytest.mark.slow
def test_nothing_but_apsw_opens_the_live_database(tmp_path: Path) -> None:
    vaults.generate(tmp_path / "vault", 20, seed=8)
    with talker("watched_worker.py", tmp_path / "data", tmp_path / "vault") as watched:
        watching, control = watched.ends()
    assert watching == {"touched": [], "libraries": []}
    events = {touch.split()[0] for touch in control["control"]}
    assert events == {"open", "sqlite3.connect", "os.rename", "os.remove"}


def test_closing_while_a_restore_may_be_at_work_leaves_the_wal_where_it_is(tmp_path: Path) -> None:
    """SQLite removes a WAL by its name when it ends, and by then that may be the WAL of the database restored."""
    km = open_base(tmp_path / "kb")
    note = km.capture("written to the WAL")
    wal = km.folder.database.with_name("nescordbot.db-wal")
    locks = Locks(km.folder.run, timeout=5)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.exclusive(LockName.CATALOG):
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    size = wal.stat().st_size
    assert size
    km.close()
    assert wal.stat().st_size == size
    done.set()
    holder.join()
    with open_base(tmp_path / "kb") as km:
        assert km.note(note.id).body == "written to the WAL"
    assert not wal.exists()
