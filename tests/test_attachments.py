"""Files that come with a note lie in the database: once each, within limits, and for as long as the note is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.attachments import MOST_EACH, MOST_OF_A_NOTE
from nescord.errors import NotFoundError
from nescord.identifiers import uuid7
from nescord.maintain import maintain
from nescord.notes import Attachment, StoredAttachment
from tests.survival import DATABASE
from tests.vaults import open_base, paths_found

PICTURE = Attachment("写真 1.png", "image/png", b"\x89PNG" * 1000, 4000)
LETTER = Attachment("letter.txt", "text/plain", b"dear", 4)


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "state") as opened:
        yield opened


def blobs(km: KnowledgeManager) -> int:
    connection = apsw.Connection(str(km.folder.path / DATABASE))
    count: int = connection.execute("SELECT count(*) FROM blob").get
    connection.close()
    return count


def names(km: KnowledgeManager, note_id: str) -> list[str]:
    return [file.name for file in km.attachments(note_id)]


def test_a_file_comes_back_as_it_was(km: KnowledgeManager) -> None:
    note = km.add_note("two files", attachments=[PICTURE, LETTER])
    assert km.attachments(note.id) == [
        StoredAttachment(0, "写真 1.png", "image/png", 4000, True, ""),
        StoredAttachment(1, "letter.txt", "text/plain", 4, True, ""),
    ]
    assert [km.attachment(note.id, number) for number in (0, 1)] == [PICTURE.content, LETTER.content]
    with pytest.raises(NotFoundError, match="no file number 2"):
        km.attachment(note.id, 2)


def test_what_is_too_large_or_could_not_be_fetched_is_named_and_not_stored(km: KnowledgeManager) -> None:
    eight, more = bytes(MOST_EACH), bytes(MOST_EACH + 1)
    fit = [Attachment(f"{number}.bin", "", bytes([number]) + eight[1:], MOST_EACH) for number in range(3)]
    rest = MOST_OF_A_NOTE - 3 * MOST_EACH
    files = [
        Attachment("large.bin", "", more, len(more)),
        *fit,
        Attachment("last.bin", "", b"x" * (rest + 1), rest + 1),
        Attachment("twin.bin", "", fit[0].content, MOST_EACH),
        Attachment("small.bin", "", b"x" * rest, rest),
        Attachment("gone.bin", "", None, 12, "Discord has deleted it"),
    ]
    note = km.add_note("many", attachments=files)
    stored = {file.name: (file.is_stored, file.reason) for file in km.attachments(note.id)}
    assert stored == {
        "large.bin": (False, "it is larger than 8 MiB (8.0 MiB)"),
        **{file.name: (True, "") for file in fit},
        "last.bin": (False, "with it the files of this note would be larger than 25 MiB"),
        "twin.bin": (True, ""),
        "small.bin": (True, ""),
        "gone.bin": (False, "Discord has deleted it"),
    }
    assert blobs(km) == 4
    with pytest.raises(NotFoundError, match=r'"gone.bin" was not stored: Discord has deleted it'):
        km.attachment(note.id, 7)


def test_files_without_a_text_are_found_by_their_names(km: KnowledgeManager) -> None:
    note = km.add_note(" ", attachments=[PICTURE, LETTER])
    assert (note.title, paths_found(km, "写真"), paths_found(km, "letter")) == ("写真 1.png", [note.path], [note.path])


def test_a_view_sees_no_file_of_another_space(km: KnowledgeManager) -> None:
    note = km.add_note("secret", space="user:1", attachments=[LETTER])
    view = km.scoped({"user:2", "guild:7"})
    for look in (lambda: view.attachments(note.id), lambda: view.attachment(note.id, 0)):
        with pytest.raises(NotFoundError):
            look()


def test_equal_bytes_are_stored_once_and_go_with_the_last_note(km: KnowledgeManager, tmp_path: Path) -> None:
    one = km.add_note("one", attachments=[LETTER, LETTER])
    other = km.add_note("other", attachments=[LETTER, PICTURE])
    assert blobs(km) == 2
    km.erase_note(other.id)
    assert (blobs(km), km.attachment(one.id, 1)) == (1, b"dear")
    km.erase_note(one.id)
    assert blobs(km) == 0


def test_the_bytes_of_an_erased_file_are_in_no_file_any_more(km: KnowledgeManager, tmp_path: Path) -> None:
    mark = b"only-in-this-file" * 3000
    note = km.add_note("x", attachments=[Attachment("a", "", mark, len(mark))])
    km.erase_note(note.id)
    km.close()
    left = [file.name for file in (tmp_path / "state").rglob("*") if file.is_file() and mark[:17] in file.read_bytes()]
    assert left == []


def test_files_stay_in_the_trash_and_go_when_its_days_are_over(km: KnowledgeManager) -> None:
    note = km.add_note("x", attachments=[LETTER])
    km.delete_note(note.id)
    assert km.attachment(note.id, 0) == b"dear"
    maintain(km._base, now=datetime.now(UTC) + timedelta(days=29))
    km.undelete_note(note.id)
    assert names(km, note.id) == ["letter.txt"]
    km.delete_note(note.id)
    maintain(km._base, now=datetime.now(UTC) + timedelta(days=31))
    assert blobs(km) == 0


def test_an_edit_keeps_the_files(km: KnowledgeManager) -> None:
    note = km.add_note("x", attachments=[LETTER])
    km.edit_note(note.id, text="y")
    assert km.attachment(note.id, 0) == b"dear"


def test_a_merged_note_has_the_files_of_all_and_undo_gives_them_back(km: KnowledgeManager) -> None:
    first = km.add_note("first", attachments=[LETTER])
    second = km.add_note("second", attachments=[PICTURE])
    km.merge([first.id, second.id])
    assert names(km, first.id) == ["letter.txt", "写真 1.png"]
    km.undo_merge(first.id)
    assert (names(km, first.id), names(km, second.id)) == (["letter.txt"], ["写真 1.png"])


def test_files_of_merges_of_merges_find_their_way_back_after_the_trash_was_emptied(km: KnowledgeManager) -> None:
    a, b, c = (
        km.add_note(name, attachments=[Attachment(name, "", name.encode(), 1), LETTER]) for name in ("a", "b", "c")
    )
    km.merge([b.id, c.id])
    km.merge([a.id, b.id])
    assert names(km, a.id) == ["a", "letter.txt", "b", "letter.txt", "c", "letter.txt"]
    maintain(km._base, now=datetime.now(UTC) + timedelta(days=31))
    km.undo_merge(a.id)
    assert names(km, a.id) == ["a", "letter.txt"]
    assert names(km, b.id) == ["b", "letter.txt", "c", "letter.txt"]
    km.undo_merge(b.id)
    assert (names(km, b.id), names(km, c.id)) == (["b", "letter.txt"], ["c", "letter.txt"])
    assert km.attachment(c.id, 0) == b"c"


def test_a_note_that_is_added_again_gets_no_file_twice(km: KnowledgeManager) -> None:
    note_id = str(uuid7())
    for _ in range(2):
        km.add_note("x", note_id=note_id, attachments=[LETTER])
    assert names(km, note_id) == ["letter.txt"]


async def _backed_up(km: KnowledgeManager) -> str:
    return await km.backups.create_full_backup()


def test_a_note_that_only_a_backup_has_comes_back_with_its_files(km: KnowledgeManager) -> None:
    import asyncio

    note = km.add_note("x", attachments=[LETTER, Attachment("gone", "", None, 5, "too far")], source="https://d/1")
    asyncio.run(_backed_up(km))
    km.delete_note(note.id)
    maintain(km._base, now=datetime.now(UTC) + timedelta(days=31))
    assert blobs(km) == 0
    back = km.restore_note(note.id)
    assert (back.id, km.attachment(back.id, 0)) == (note.id, b"dear")
    assert [(file.name, file.is_stored, file.reason) for file in km.attachments(back.id)][1] == (
        "gone",
        False,
        "too far",
    )
    assert km.note_from("https://d/1", space="personal") == back


def test_a_restored_knowledge_base_has_its_files(km: KnowledgeManager) -> None:
    import asyncio

    note = km.add_note("x", attachments=[LETTER])
    snapshot = asyncio.run(_backed_up(km))
    km.erase_note(km.add_note("later", attachments=[PICTURE]).id)
    assert asyncio.run(km.backups.restore_backup(snapshot))
    assert km.attachment(note.id, 0) == b"dear"


def test_the_file_of_a_merged_note_that_was_erased_goes_when_the_merge_is_taken_back(
    km: KnowledgeManager, tmp_path: Path
) -> None:
    first = km.add_note("first", attachments=[Attachment("mine.txt", "text/plain", b"mine", 4)])
    second = km.add_note("second", attachments=[Attachment("theirs.txt", "text/plain", b"burnafterreading", 16)])
    km.merge([first.id, second.id])
    km.erase_note(second.id)
    km.undo_merge(first.id)
    assert [file.name for file in km.attachments(first.id)] == ["mine.txt"]
