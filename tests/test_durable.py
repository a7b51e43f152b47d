"""Our own files: whole or as before, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from backup_world import small_disk
from flow_world import wait_for

from nescord import durable
from nescord.durable import write_file


def test_a_file_is_old_or_new_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    code = """
import sys
from pathlib import Path
from nescord.durable import write_file
print("go", flush=True)
while True:
    for letter in (b"a", b"b"):
        write_file(Path(sys.argv[1]), letter * 100_000)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    write_file(path, b"a" * 100_000)
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=env) as child:
            assert child.stdout is not None
            child.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=0.05)
            child.kill()
        content = path.read_bytes()
        assert content in (b"a" * 100_000, b"b" * 100_000)


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(OSError, match="taken"):
        write_file(tmp_path / "taken", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_what_is_told_on_a_full_disk_replaces_what_the_file_held(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        durable.tell(disk / "state.json", b"before, and longer")
        with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as filler:  # noqa: PT012
            while True:
                filler.write(b"0" * 4096)
        with pytest.raises(OSError, match="No space left"):
            write_file(disk / "state.json", b"after")
        durable.tell(disk / "state.json", b"after")
        assert (disk / "state.json").read_bytes().rstrip() == b"after"
        longer = b"there is room for what is longer: " + b"x" * 8000
        durable.tell(disk / "state.json", longer)
        assert (disk / "state.json").read_bytes().rstrip() == longer
        with pytest.raises(OSError, match="No space left"):
            durable.tell(disk / "state.json", b"y" * 8193)
        assert (disk / "state.json").read_bytes().rstrip() == longer
        with pytest.raises(FileNotFoundError):
            durable.tell(disk / "new.json", b"after")


def test_on_a_full_disk_who_reads_while_it_is_told_reads_it_whole(tmp_path: Path) -> None:
    code = """
import json, sys
from pathlib import Path
from nescord.durable import tell
print("go", flush=True)
while True:
    for words in (1, 1000):
        tell(Path(sys.argv[1]), json.dumps(["word"] * words).encode())
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with small_disk(tmp_path / "disk", 1) as disk:
        path = disk / "state.json"
        durable.tell(path, json.dumps(["word"]).encode())
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"0" * 4096)
        inode = path.stat().st_ino
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=env) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            lengths = set()
            until = time.monotonic() + 1.5
            try:
                while time.monotonic() < until:
                    words = durable.told(path, json.loads)
                    assert words is not None
                    lengths.add(len(words))
            finally:
                writer.kill()
        assert lengths == {1, 1000}
        assert path.stat().st_ino == inode  # it was told in place


def test_who_has_news_does_not_wait_for_the_disk_and_the_latest_is_written_in_the_end() -> None:
    written: list[int] = []
    is_stuck, is_free = threading.Event(), threading.Event()

    def write(news: int) -> None:
        is_stuck.set()
        is_free.wait(20)
        written.append(news)

    teller = durable.Teller(write, again=60)
    teller(1)
    assert is_stuck.wait(20)
    for news in range(2, 50):
        teller(news)
    begun = time.monotonic()
    teller.close(0.1)
    assert time.monotonic() - begun < 5
    assert written == []
    is_free.set()
    teller.close(20)
    assert written == [1, 49]


def test_what_could_not_be_written_is_written_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    teller = durable.Teller(lambda news: durable.tell(folder / "file", news), again=0.05)
    teller(b"news")
    time.sleep(0.2)
    folder.mkdir()
    wait_for("the file", (folder / "file").exists, 10)
    written = (folder / "file").stat().st_ino
    teller.close(20)
    assert (folder / "file").stat().st_ino == written, "it was written once more, and nothing was new"


def test_a_stream_that_fails_leaves_nothing_and_one_that_ends_is_there(tmp_path: Path) -> None:
    target = tmp_path / "pack"
    with pytest.raises(ValueError, match="no"), durable.write_stream(target) as stream:  # noqa: PT012
        stream.write(b"half")
        assert [durable.is_temporary(path) for path in tmp_path.iterdir()] == [True]
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
    with durable.write_stream(target) as stream:
        stream.write(b"a" * 3_000_000)
        stream.write(memoryview(b"b"))
        assert stream.size == 3_000_001
    assert target.read_bytes() == b"a" * 3_000_000 + b"b"
    assert target.stat().st_mode & 0o777 == 0o600


def test_folders_are_private_and_removing_again_does_nothing(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    durable.write_file(tmp_path / "a" / "x", b"x")
    durable.rename(tmp_path / "a" / "x", tmp_path / "a" / "b" / "y")
    assert (tmp_path / "a" / "b" / "y").read_bytes() == b"x"
    durable.remove(tmp_path / "a" / "b" / "y")
    durable.remove(tmp_path / "a" / "b" / "y")
    assert list((tmp_path / "a" / "b").iterdir()) == []
