"""The recording layer under our own files: it sees what a careless write loses, and durable.py loses nothing.

A simulator that cannot see a loss proves nothing, so each promise of `nescord.durable` stands beside the version of it
that leaves out a sync. Those versions use `os` of this module, which is recorded as that of durable.py is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import apsw
import pytest

from nescord import durable
from tests.faults.disk import Image
from tests.faults.files import recorded_files
from tests.faults.powercut import Recorder
from tests.survival import SOAK, new_rng

OLD, NEW = b"old " * 700, b"new, " * 900
RETURNED = "returned"
SUBSETS = 400 if SOAK else 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file and an empty folder, both durable before any record begins."""
    folder = tmp_path / "data"
    (folder / "rooms").mkdir(parents=True)
    (folder / "note").write_bytes(OLD)
    return folder


@contextmanager
def recorded(root: Path) -> Iterator[Recorder]:
    recorder = Recorder(root)
    with recorded_files(recorder, sys.modules[__name__], durable):
        yield recorder
    recorder.mark(RETURNED)
    assert recorder.without_a_cut().files == on_disk(root)


def on_disk(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def images(recorder: Recorder) -> list[Image]:
    return list(recorder.images(new_rng("images"), subsets=SUBSETS))


def after_return(found: list[Image]) -> list[Image]:
    after = [image for image in found if RETURNED in image.marks]
    assert after
    return after


def contents(found: list[Image], path: str = "note") -> set[bytes | None]:
    return {image.files.get(path) for image in found}


# --- careless versions -------------------------------------------------------------------------------------------


def put(path: Path, content: bytes, *, sync: bool) -> None:
    """Temporary file and rename, without the sync of the folder, and of the content if so asked."""
    temporary = path.with_name("temporary")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left[:2000]) :]
    if sync:
        os.fsync(fd)
    os.close(fd)
    os.replace(temporary, path)


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


# --- one file ----------------------------------------------------------------------------------------------------


def test_a_rename_without_a_sync_of_the_content_shows_empty_and_torn_files(root: Path) -> None:
    with recorded(root) as recorder:
        put(root / "note", NEW, sync=False)
        sync_folder(root)
    found = contents(after_return(images(recorder)))
    assert {b"", NEW} < found
    assert OLD not in found, "the name was synced"
    torn = found - {b"", NEW}
    assert torn
    assert any(len(content or b"") == len(NEW) for content in torn), "holes"


def test_a_rename_without_a_sync_of_the_folder_shows_old_and_new_but_nothing_torn(root: Path) -> None:
    with recorded(root) as recorder:
        put(root / "note", NEW, sync=True)
    found = images(recorder)
    assert contents(found) == {OLD, NEW}
    assert contents(after_return(found)) == {OLD, NEW}


def test_a_file_written_in_place_is_torn(root: Path) -> None:
    with recorded(root) as recorder:
        fd = os.open(root / "note", os.O_WRONLY | os.O_TRUNC)
        os.write(fd, NEW)
        os.fsync(fd)
        os.close(fd)
    found = images(recorder)
    assert {OLD, b"", NEW} < contents(found)
    assert contents(after_return(found)) == {NEW}


@pytest.mark.parametrize("shorten", ["truncate", "ftruncate"])
def test_a_file_that_is_shortened_is_long_or_short_until_it_is_synced(shorten: str, root: Path) -> None:
    with recorded(root) as recorder:
        fd = os.open(root / "note", os.O_RDWR)
        if shorten == "truncate":
            os.truncate(root / "note", 100)
        else:
            os.ftruncate(fd, 100)
        recorder.mark("shortened")
        os.fsync(fd)
        os.close(fd)
    found = images(recorder)
    assert contents(found) == {OLD, OLD[:100]}
    assert contents(after_return(found)) == {OLD[:100]}


def test_write_file_shows_the_old_or_the_new_content_and_the_new_for_good(root: Path) -> None:
    with recorded(root) as recorder:
        durable.write_file(root / "note", NEW)
        recorder.mark("again")
        durable.write_file(root / "note", OLD[:1000])
    found = images(recorder)
    assert contents(found) == {OLD, NEW, OLD[:1000]}
    assert contents([image for image in found if "again" in image.marks]) == {NEW, OLD[:1000]}
    assert contents(after_return(found)) == {OLD[:1000]}
    assert any(path.endswith(".tmp") for image in found for path in image.files), "cut before the rename"


def test_write_file_of_a_new_name_shows_nothing_or_all(root: Path) -> None:
    with recorded(root) as recorder:
        durable.write_file(root / "rooms" / "new", NEW)
    found = images(recorder)
    assert contents(found, "rooms/new") == {None, NEW}
    assert contents(after_return(found), "rooms/new") == {NEW}
    assert contents(found) == {OLD}


def test_write_stream_shows_nothing_or_all_however_many_writes_it_took(root: Path) -> None:
    with recorded(root) as recorder, durable.write_stream(root / "new") as stream:
        for start in range(0, len(NEW), 700):
            stream.write(NEW[start : start + 700])
    found = images(recorder)
    assert contents(found, "new") == {None, NEW}
    assert contents(after_return(found), "new") == {NEW}


def test_a_stream_that_is_given_up_leaves_what_was_there(root: Path) -> None:
    def give_up() -> None:
        with durable.write_stream(root / "note") as stream:
            stream.write(NEW)
            raise InterruptedError

    with recorded(root) as recorder, pytest.raises(InterruptedError):
        give_up()
    assert contents(images(recorder)) == {OLD}


def test_a_file_removed_without_a_sync_may_come_back_whole(root: Path) -> None:
    with recorded(root) as recorder:
        os.unlink(root / "note")
    assert contents(after_return(images(recorder))) == {None, OLD}


def test_remove_removes_for_good(root: Path) -> None:
    with recorded(root) as recorder:
        durable.remove(root / "note")
        durable.remove(root / "note")
    found = images(recorder)
    assert contents(found) == {None, OLD}
    assert contents(after_return(found)) == {None}


# --- folders and moves -------------------------------------------------------------------------------------------


def move_without_sync(source: Path, target: Path) -> None:
    os.replace(source, target)


def move_with_the_target_synced(source: Path, target: Path) -> None:
    os.replace(source, target)
    sync_folder(target.parent)


@pytest.mark.parametrize("move", [move_without_sync, move_with_the_target_synced, durable.rename])
def test_a_move_between_two_folders_never_loses_nor_doubles_the_file(
    move: Callable[[Path, Path], None], root: Path
) -> None:
    (root / "rooms" / "note").write_bytes(NEW)
    with recorded(root) as recorder:
        move(root / "note", root / "rooms" / "note")
    found = images(recorder)
    states = {(image.files.get("note"), image.files.get("rooms/note")) for image in found}
    assert states == {(OLD, NEW), (None, OLD)}
    after = {(image.files.get("note"), image.files.get("rooms/note")) for image in after_return(found)}
    assert after == ({(None, OLD)} if move is durable.rename else states)


def test_what_a_durable_change_builds_upon_is_durable(root: Path) -> None:
    with recorded(root) as recorder:
        os.replace(root / "note", root / "rooms" / "first")
        os.replace(root / "rooms" / "first", root / "rooms" / "second")
        sync_folder(root / "rooms")
    for image in after_return(images(recorder)):
        assert image.files == {"rooms/second": OLD}


def test_changes_of_other_names_survive_in_any_order(root: Path) -> None:
    with recorded(root) as recorder:
        for name in ("a", "b"):
            os.close(os.open(root / name, os.O_WRONLY | os.O_CREAT))
    after = {tuple(name for name in "ab" if name in image.files) for image in after_return(images(recorder))}
    assert after == {(), ("a",), ("b",), ("a", "b")}


def test_a_synced_file_is_gone_with_the_folder_whose_name_was_not_synced(root: Path) -> None:
    with recorded(root) as recorder:
        os.mkdir(root / "fresh")
        durable.write_file(root / "fresh" / "note", NEW)
    found = after_return(images(recorder))
    assert contents(found, "fresh/note") == {None, NEW}
    assert any("fresh" not in image.folders for image in found)


def test_make_folder_makes_all_of_its_names_survive(root: Path) -> None:
    with recorded(root) as recorder:
        durable.make_folder(root / "fresh" / "deep")
        durable.write_file(root / "fresh" / "deep" / "note", NEW)
    found = images(recorder)
    assert contents(found, "fresh/deep/note") == {None, NEW}
    assert contents(after_return(found), "fresh/deep/note") == {NEW}


def test_a_folder_moves_with_all_that_is_in_it(root: Path, tmp_path: Path) -> None:
    with recorded(root) as recorder:
        durable.write_file(root / "rooms" / "note", NEW)
        recorder.mark("written")
        durable.rename(root / "rooms", root / "halls")
        os.unlink(root / "halls" / "note")
        os.rmdir(root / "halls")
    found = [image for image in images(recorder) if "written" in image.marks]
    states = {(image.folders, "rooms/note" in image.files, "halls/note" in image.files) for image in found}
    assert states == {
        (frozenset({"rooms"}), True, False),
        (frozenset({"halls"}), False, True),
        (frozenset({"halls"}), False, False),
        (frozenset(), False, False),
    }
    found[0].write_to(tmp_path / "image")
    assert on_disk(tmp_path / "image") == found[0].files


# --- what others do beside it ------------------------------------------------------------------------------------


def test_what_somebody_made_without_syncing_is_not_taken_for_safe(root: Path) -> None:
    with recorded(root) as recorder:
        (root / "theirs").mkdir()
        (root / "theirs" / "file").write_bytes(NEW)
        durable.rename(root / "theirs" / "file", root / "ours")
    found = contents(after_return(images(recorder)), "ours")
    assert {b"", NEW} < found


def test_what_somebody_made_is_safe_once_we_sync_it(root: Path) -> None:
    with recorded(root) as recorder:
        (root / "theirs").mkdir()
        durable.sync_folder(root)
        (root / "theirs" / "file").write_bytes(NEW)
        durable.sync_file(root / "theirs" / "file")
        durable.rename(root / "theirs" / "file", root / "ours")
    found = images(recorder)
    assert contents(after_return(found), "ours") == {NEW}
    assert contents(found, "ours") == {None, NEW}


def fill(database: Path, vfs: str | None, words: int, told: Callable[[], None] = lambda: None) -> None:
    connection = apsw.Connection(str(database), vfs=vfs)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("CREATE TABLE IF NOT EXISTS word (n INTEGER PRIMARY KEY, text TEXT)")
    for n in range(words):
        connection.execute("INSERT INTO word VALUES (?, ?)", (n, f"{database.parent.name}{n} " * 100))
        told()
    connection.close()


def words_in(database: Path) -> list[str]:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
    assert connection.pragma("integrity_check") == "ok"
    found = [text.split()[0] for (text,) in connection.execute("SELECT text FROM word ORDER BY n")]
    connection.close()
    return found


def test_one_record_holds_databases_of_several_folders_and_our_own_files(root: Path, tmp_path: Path) -> None:
    """A database is made in one folder and changes places with another one, as a restore does it."""
    fill(root / "rooms" / "words.db", None, 3)
    acknowledged = 0

    def told() -> None:
        nonlocal acknowledged
        acknowledged += 1
        recorder.mark(acknowledged)

    with recorded(root) as recorder:
        vfs = recorder.vfs("recording")
        durable.make_folder(root / "staging")
        fill(root / "staging" / "words.db", "recording", 12, told)
        durable.sync_folder(root / "staging")  # so that the WAL is gone for good: it would stay behind
        recorder.mark("staged")
        durable.rename(root / "staging" / "words.db", root / "rooms" / "words.db")
        vfs.unregister()
    before, made = [f"rooms{n}" for n in range(3)], [f"staging{n}" for n in range(12)]
    seen = set()
    for number, image in enumerate(images(recorder)):
        if not (SOAK or number % 20 == 0 or "staged" in image.marks):
            continue
        image.write_to(tmp_path / "image")
        live = words_in(tmp_path / "image" / "rooms" / "words.db")
        assert live == made or (live == before and RETURNED not in image.marks)
        assert live == before or "staged" in image.marks
        if "staged" in image.marks and live == before:
            assert words_in(tmp_path / "image" / "staging" / "words.db") == made
        seen.add((RETURNED in image.marks, "staged" in image.marks, live == made))
        rmtree(tmp_path / "image")
    assert {(False, False, False), (False, True, False), (False, True, True)} <= seen


def test_a_change_outside_the_record_and_a_call_that_it_cannot_hold_are_refused(root: Path, tmp_path: Path) -> None:
    with recorded(root):
        with pytest.raises(ValueError, match="outside of what is recorded"):
            durable.write_file(tmp_path / "elsewhere", NEW)
        with pytest.raises(AssertionError, match=r"os\.link is not recorded"):
            os.link(root / "note", root / "twin")
        durable.sync_folder(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    assert not (root / "twin").exists()
    assert durable.os is os
