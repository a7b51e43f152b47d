"""Notes of ours become one and come apart again: nothing of what they said is lost, and links go on leading to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hashing_embedder import CountingEmbedder
from vaults import open_base, paths_found, write_notes

from nescord import KnowledgeManager
from nescord.errors import NotFoundError, UsageError
from nescord.knowing import merge as merging
from nescord.notes import Note
from tests.survival import DATABASE, stored

TEXTS = (
    "# Tea\n\nWater of seventy degrees. #drink",
    "二つ目の煎れ方。湯を冷ます。 #飲み物",
    "Third: pour everything out.",
)


@pytest.fixture
def km(tmp_path: Path) -> KnowledgeManager:
    return open_base(tmp_path / "state")


def three(km: KnowledgeManager, **more: str) -> list[Note]:
    return [km.capture(text, author="mio", source=f"https://discord.com/{n}", **more) for n, text in enumerate(TEXTS)]


def stem(note: Note) -> str:
    return note.path.rpartition("/")[2].removesuffix(".md")


def as_said(km: KnowledgeManager, notes: list[Note]) -> list[Note]:
    """The notes as they are now, without what only says when they were read."""
    return [replace(km.note(note.id), links=()) for note in notes]


def test_the_first_note_has_all_texts_and_the_others_are_in_the_trash(km: KnowledgeManager) -> None:
    with km:
        first, second, third = three(km)
        report = km.merge([first.id, second.id, third.id])
        whole = km.note(first.id)
        assert (report.note_id, report.merged, report.repeated) == (first.id, (second.id, third.id), 0)
        assert all(note.body.strip() in whole.body for note in (first, second, third))
        assert whole.body.index("seventy") < whole.body.index("二つ目") < whole.body.index("Third")
        assert (whole.id, whole.title, whole.path, whole.created_at) == (first.id, "Tea", first.path, first.created_at)
        assert set(whole.tags) == {"drink", "飲み物"}
        assert {note.note_id for note in km.trash()} == {second.id, third.id}
        for word in ("seventy", "湯を冷ます", "pour"):
            assert paths_found(km, word) == [first.path]
        assert [hit.link for hit in km.search("seventy")] == ["https://discord.com/0"]


def test_a_text_that_is_there_already_is_not_added_again(km: KnowledgeManager) -> None:
    with km:
        first, second = km.capture("同じ文。The same."), km.capture("同じ文。　the  SAME.")
        report = km.merge([first.id, second.id])
        assert (report.repeated, km.note(first.id).body) == (1, "同じ文。The same.\n")


def test_links_to_the_others_lead_to_the_first_and_no_text_is_touched(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        first, second, third = three(km)
        text = f"[[{stem(second)}]] and [[{stem(third)}|shown]] and [[{stem(first)}]]"
        write_notes(tmp_path / "vault", {"From.md": text})
        km.ingest(tmp_path / "vault")
        report = km.merge([first.id, second.id, third.id])
        links = km.note("From").links
        assert [link.note_id for link in links] == [first.id] * 3
        assert report.links == 2
        assert km.note("From").body == text
        assert (km.graph().links, km.graph().dangling) == (1, 0)
        # A vault that is taken in again changes nothing about it.
        write_notes(tmp_path / "vault", {"From.md": text + "\n\nmore"})
        km.ingest(tmp_path / "vault")
        assert [link.note_id for link in km.note("From").links] == [first.id] * 3
        km.undo_merge(first.id)
        assert [link.note_id for link in km.note("From").links] == [second.id, third.id, first.id]


def test_a_view_is_told_of_no_link_of_another_space(km: KnowledgeManager) -> None:
    with km:
        first, second, _ = three(km, space="guild:7")
        for space in ("guild:7", "user:42", "user:42"):
            km.capture(f"梅 [[{stem(second)}]]", space=space)
        view = km.scoped({"guild:7"})
        assert view.merge([first.id, second.id]).links == 1
        view.undo_merge(first.id)
        assert km.merge([first.id, second.id]).links == 3


def test_undo_puts_everything_back_as_it_was(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        notes = three(km)
        before, whole = as_said(km, notes), stored(tmp_path / "state" / DATABASE)
        km.merge([note.id for note in notes])
        undone = km.undo_merge(notes[0].id)
        assert undone.restored == (notes[1].id, notes[2].id)
        assert as_said(km, notes) == before
        assert stored(tmp_path / "state" / DATABASE) == whole
        assert [hit.link for hit in km.search("pour")] == ["https://discord.com/2"]
        with pytest.raises(NotFoundError, match="nothing was merged"):
            km.undo_merge(notes[0].id)


def test_undo_brings_back_what_the_trash_has_lost(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        notes = three(km)
        before = as_said(km, notes)
        km.merge([note.id for note in notes])
        age_trash(tmp_path)
        km.maintain()
        assert km.trash() == []
        km.undo_merge(notes[0].id)
        assert as_said(km, notes) == before


def test_merges_are_taken_back_one_after_the_other(km: KnowledgeManager) -> None:
    with km:
        first, second, third = notes = three(km)
        before = as_said(km, notes)
        km.merge([first.id, second.id])
        between = as_said(km, [first])
        km.merge([third.id, first.id])
        assert km.undo_merge(third.id).restored == (first.id,)
        assert as_said(km, [first]) == between
        assert km.undo_merge(first.id).restored == (second.id,)
        assert as_said(km, notes) == before


def test_what_the_note_said_before_an_undo_is_kept(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        first, second, _ = three(km)
        km.merge([first.id, second.id])
        merged = km.note(first.id).body
        km.undo_merge(first.id)
    assert rows(tmp_path, "SELECT note_id, body FROM note_revision") == [(first.id, merged)]


def test_a_note_restored_from_the_trash_gets_its_links_back(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        first, second, _ = three(km)
        write_notes(tmp_path / "vault", {"From.md": f"[[{stem(second)}]] [[{stem(first)}]]"})
        km.ingest(tmp_path / "vault")
        km.merge([first.id, second.id])
        km.restore_note(second.id)
        assert [link.note_id for link in km.note("From").links] == [second.id, first.id]


def test_a_merged_note_that_is_restored_gets_the_links_to_what_went_into_it(
    km: KnowledgeManager, tmp_path: Path
) -> None:
    with km:
        first, second, third = three(km)
        write_notes(tmp_path / "vault", {"From.md": f"[[{stem(second)}]]"})
        km.ingest(tmp_path / "vault")
        km.merge([first.id, second.id])
        km.merge([third.id, first.id])
        assert [link.note_id for link in km.note("From").links] == [third.id]
        km.restore_note(first.id)
        assert [link.note_id for link in km.note("From").links] == [first.id]
        km.restore_note(second.id)
        assert [link.note_id for link in km.note("From").links] == [second.id]


def test_equal_passages_are_not_embedded_again(tmp_path: Path) -> None:
    model = CountingEmbedder()
    with open_base(tmp_path / "state", embedder=model, vector="exact") as km:
        first, second = (km.capture(f"# {name}\n\n" + f"{name} words. " * 60) for name in ("One", "二"))
        for note in (first, second):
            km.embed_note(note.id)
        km.merge([first.id, second.id])
        km.embed_note(first.id)
        km.undo_merge(first.id)
        asked = len(model.asked)
        for note in (first, second):
            km.embed_note(note.id)
        assert len(model.asked) == asked
        assert km.related(first.id)[0].note_id == second.id


# --- what is refused ---


def test_a_note_of_a_vault_is_refused_with_the_mend(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        write_notes(tmp_path / "vault", {"Vault note.md": "x"})
        km.ingest(tmp_path / "vault")
        ours = km.capture("ours")
        for order in ([ours.id, "Vault note"], ["Vault note", ours.id]):
            with pytest.raises(UsageError, match=r'Vault note\.md comes from the vault "vault": change its file'):
                km.merge(order)
        assert km.trash() == []


def test_notes_of_two_spaces_are_refused(km: KnowledgeManager) -> None:
    with km:
        mine, theirs = km.capture("mine"), km.capture("theirs", space="guild:7")
        with pytest.raises(UsageError, match="only notes of one space"):
            km.merge([theirs.id, mine.id])


def test_one_note_twice_a_trashed_one_and_too_many_are_refused(km: KnowledgeManager) -> None:
    with km:
        first, second, third = three(km)
        with pytest.raises(UsageError, match="1 notes cannot be merged"):
            km.merge([first.id, first.path])
        km.merge([first.id, second.id])
        for order in ([second.id, third.id], [third.id, second.id]):
            with pytest.raises(UsageError, match="is in the trash"):
                km.merge(order)
        many = [km.capture(f"note {number}").id for number in range(merging.MOST + 1)]
        with pytest.raises(UsageError, match=f"2 to {merging.MOST}"):
            km.merge(many)


def test_notes_that_are_too_long_together_are_refused(tmp_path: Path) -> None:
    with open_base(tmp_path / "state", max_note_bytes=1024) as km:
        notes = [km.capture(letter * 700) for letter in "ab"]
        with pytest.raises(UsageError, match="longer than a note may be"):
            km.merge([note.id for note in notes])
        assert as_said(km, notes) == notes


def test_a_body_that_begins_like_front_matter_loses_no_word(km: KnowledgeManager) -> None:
    with km:
        first = km.capture("---\ntags: [a]\n---\n---\ntitle: not this\n---\nthe text")
        second = km.capture("more")
        km.merge([first.id, second.id])
        assert "title: not this" in km.note(first.id).body
        assert "title: not this" in km.undo_merge(first.id).note_id + km.note(first.id).body


# --- one transaction, and erasing ---


def test_a_merge_that_breaks_off_has_done_nothing(
    km: KnowledgeManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it breaks off: after each statement that the merge makes."""
    with km:
        notes = three(km)
        before = stored(tmp_path / "state" / DATABASE)
        broken = 0
        for steps in range(1, 200):
            with km._base.verb() as catalog:
                fault = broken_after(catalog._writer, steps)
                try:
                    km.merge([note.id for note in notes])
                except apsw.Error:
                    broken += 1
                else:
                    break
                finally:
                    catalog._writer.set_authorizer(None)
            assert fault() == 0
            assert stored(tmp_path / "state" / DATABASE) == before
            assert rows(tmp_path, "SELECT count(*) FROM note_revision") == [(0,)]
        assert broken > 10
        assert as_said(km, notes[:1])[0].body != notes[0].body


def broken_after(connection: apsw.Connection, writes: int) -> Callable[[], int]:
    """The next write after so many is refused; says how many were left to it."""
    left = writes

    def authorize(action: int, *_: str | None) -> int:
        nonlocal left
        if action in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE):
            if not left:
                return int(apsw.SQLITE_DENY)
            left -= 1
        return int(apsw.SQLITE_OK)

    connection.set_authorizer(authorize)
    return lambda: left


def test_two_who_merge_the_same_notes_do_it_once(km: KnowledgeManager) -> None:
    with km:
        notes = [note.id for note in three(km)]
        told: list[object] = []

        def merged(order: list[str]) -> None:
            try:
                told.append(km.merge(order))
            except UsageError as error:
                told.append(error)

        threads = [threading.Thread(target=merged, args=(order,)) for order in (notes, notes[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(type(one).__name__ for one in told) == ["MergeReport", "UsageError"]
        assert len(km.trash()) == 2


def test_an_erased_note_is_in_no_revision(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        first, second, third = three(km)
        km.merge([first.id, second.id])
        km.merge([third.id, first.id])
        km.erase_note(second.id)
        assert "湯を冷ます" not in str(rows(tmp_path, f"SELECT body FROM note_revision WHERE note_id = '{second.id}'"))
        km.erase_note(third.id)
        # The first is in the trash, and can be brought back with what it said before.
        assert rows(tmp_path, "SELECT note_id, merged_into FROM note_revision") == [(first.id, first.id)]
        km.erase_note(first.id)
        assert rows(tmp_path, "SELECT count(*) FROM note_revision") == [(0,)]


def test_a_backup_from_before_merges_were_known_can_be_restored(tmp_path: Path) -> None:
    from nescord.catalog import revisions

    with closing(apsw.Connection(":memory:")) as connection:
        revisions.forget(connection, ["an id"])


def rows(folder: Path, query: str) -> list[tuple[apsw.SQLiteValue, ...]]:
    with closing(apsw.Connection(str(folder / "state" / DATABASE))) as connection:
        return connection.execute(query).fetchall()


def age_trash(folder: Path) -> None:
    with closing(apsw.Connection(str(folder / "state" / DATABASE))) as connection:
        connection.execute("UPDATE note SET trashed_at = '2020-01-01T00:00:00Z' WHERE trashed_at IS NOT NULL")
