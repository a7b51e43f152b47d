"""Notes of a source that is no folder: taken in once, brought up to date, and never written over what was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from nescord.errors import NotFoundError, UsageError
from nescord.identifiers import made_at, uuid7
from nescord.ingest import IngestOptions
from nescord.notes import Attachment
from nescord.sources.entries import Entry, FormerText, SourceNote
from tests.import_world import Shelf
from tests.vaults import open_base, paths_found, write_notes

TEA = SourceNote(
    "緑茶は八十度で淹れる。 #drinks",
    title="お茶",
    tags=("tea",),
    author="user:42",
    origin="https://discord.com/channels/1/2/3",
    created_at="2023-05-06T07:08:09+09:00",
    updated_at="2023-06-01T00:00:00Z",
)
BREAD = SourceNote("# Bread\n\nFlour, water, salt. See [[a/お茶|tea]].", created_at="2022-01-01T00:00:00Z")


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def shelf() -> Shelf:
    return Shelf({"a/お茶.md": TEA, "bread.md": BREAD})


def test_notes_come_in_with_all_that_their_source_says_of_them(km: KnowledgeManager, shelf: Shelf) -> None:
    report = km.take_in(shelf, space="guild:7")
    assert (report.added, report.failed, report.source, report.space) == (2, 0, "shelf", "guild:7")
    tea, bread = km.note("a/お茶.md"), km.note("bread.md")
    assert (tea.title, tea.tags, tea.author, tea.space) == ("お茶", ("drinks", "tea"), "user:42", "guild:7")
    assert (tea.created_at, tea.updated_at) == ("2023-05-05T22:08:09Z", "2023-06-01T00:00:00Z")
    assert (tea.lang, tea.owner, tea.kind) == ("ja", "source", "permanent")
    assert (bread.title, bread.created_at, bread.updated_at) == ("Bread", "2022-01-01T00:00:00Z", bread.created_at)
    assert bread.links[0].note_id == tea.id
    [hit] = km.search("八十度")
    assert (hit.note_id, hit.link) == (tea.id, TEA.origin)
    assert [hit.link for hit in km.search("flour")] == [""]
    [source] = [one for one in km.sources() if one.name == "shelf"]
    assert (source.kind, source.root, source.space) == ("folder", "test:shelf", "guild:7")


def test_the_second_time_nothing_is_read_or_changed(km: KnowledgeManager, shelf: Shelf) -> None:
    km.take_in(shelf, space="personal")
    before = [km.note(path) for path in shelf.notes]
    shelf.was_read.clear()
    again = km.take_in(shelf, space="personal")
    assert (again.unchanged, again.changes, shelf.was_read) == (2, [], [])
    assert [km.note(path) for path in shelf.notes] == before


def test_only_what_has_changed_is_read_again_and_what_is_missing_stays(km: KnowledgeManager, shelf: Shelf) -> None:
    km.take_in(shelf, space="personal")
    tea = km.note("a/お茶.md")
    shelf.was_read.clear()
    shelf.notes = {"a/お茶.md": replace(TEA, text="紅茶は熱湯で。", updated_at=""), "new.md": SourceNote("fresh")}
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.changed, report.deleted, shelf.was_read) == (1, 1, 0, ["a/お茶.md", "new.md"])
    now = km.note("a/お茶.md")
    assert (now.id, now.body, now.created_at) == (tea.id, "紅茶は熱湯で。", tea.created_at)
    assert (paths_found(km, "八十度"), paths_found(km, "熱湯"), paths_found(km, "flour")) == (
        [],
        [now.path],
        ["bread.md"],
    )


def test_a_broken_note_is_told_of_and_keeps_no_other_from_coming(km: KnowledgeManager, shelf: Shelf) -> None:
    shelf.notes = {
        "cut.md": None,
        "empty.md": SourceNote("  "),
        "../up.md": SourceNote("up"),
        "cafe\u0301.md": SourceNote("decomposed"),
        "id.md": SourceNote("text", note_id="17"),
        "space.md": SourceNote("text", space="everybody"),
        "long.md": SourceNote("x" * (km._base.settings.max_note_bytes + 1)),
        **shelf.notes,
        "half.md": SourceNote("half \ud800 pair", title="\udfff"),
    }
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.failed) == (3, 7)
    assert {failure.path: failure.reason for failure in km.failures()}["cut.md"] == "its text is cut off"
    assert km.note("half.md").body == "half ? pair"
    shelf.notes = {"cut.md": SourceNote("whole"), "a/お茶.md": None}
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.failed) == (1, 1)
    assert km.note("a/お茶.md").title == "お茶"
    assert [failure.path for failure in km.failures()] == ["a/お茶.md"]


def test_a_path_that_comes_twice_is_taken_in_once(km: KnowledgeManager, shelf: Shelf) -> None:
    class Twice(Shelf):
        def scan(self) -> Iterator[Entry]:
            yield from super().scan()
            yield Entry("bread.md", b"other")

    report = km.take_in(Twice(shelf.notes), space="personal")
    assert (report.added, report.failed) == (2, 1)


def test_a_note_of_ours_that_was_edited_is_never_written_over(km: KnowledgeManager, shelf: Shelf) -> None:
    km.take_in(shelf, space="personal", owner="us")
    tea = km.edit_note("a/お茶.md", text="水出しにする。")
    shelf.notes["a/お茶.md"] = replace(TEA, text="ほうじ茶。")
    report = km.take_in(shelf, space="personal", owner="us")
    assert (report.kept, report.changed, report.unchanged) == (1, 0, 1)
    assert [(each.what, each.path) for each in report.changes] == [("withheld", "a/お茶.md")]
    assert km.note("a/お茶.md") == tea
    km.edit_note(tea.id, text=TEA.text, title="お茶")
    assert km.take_in(shelf, space="personal", owner="us").kept == 1


def test_a_note_of_ours_that_nobody_has_edited_follows_and_keeps_what_it_said(
    km: KnowledgeManager, shelf: Shelf
) -> None:
    km.take_in(shelf, space="personal", owner="us")
    shelf.notes["a/お茶.md"] = replace(TEA, text="ほうじ茶。")
    assert km.take_in(shelf, space="personal", owner="us").changed == 1
    assert km.note("a/お茶.md").body == "ほうじ茶。"
    assert [version.body for version in km.note_history("a/お茶.md")] == [TEA.text]


def test_what_was_deleted_merged_or_erased_here_does_not_come_back(km: KnowledgeManager, shelf: Shelf) -> None:
    shelf.notes |= {"c.md": SourceNote("third"), "d.md": SourceNote("fourth", created_at="2021-01-01T00:00:00Z")}
    km.take_in(shelf, space="personal", owner="us")
    km.delete_note("bread.md")
    km.merge(["a/お茶.md", "c.md"])
    km.erase_note("d.md")
    for _ in range(2):
        report = km.take_in(shelf, space="personal", owner="us")
        assert (report.kept, report.added, report.revived, report.changed) == (4, 0, 0, 0)
    with pytest.raises(NotFoundError):
        km.note("d.md")
    assert len(km.trash()) == 2
    assert "third" in km.note("a/お茶.md").body


def test_what_a_person_wrote_does_not_come_back_after_they_were_erased(km: KnowledgeManager, shelf: Shelf) -> None:
    km.take_in(shelf, space="user:42", owner="us")
    km.privacy("user:42").erase()
    assert not paths_found(km, "八十度")
    report = km.take_in(shelf, space="user:42", owner="us")
    assert (report.added, report.kept) == (0, 2)


def test_a_note_that_belongs_to_an_import_can_be_erased_and_stays_away(km: KnowledgeManager, shelf: Shelf) -> None:
    km.take_in(shelf, space="personal")
    km.erase_note("a/お茶.md")
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.kept, report.unchanged) == (0, 1, 1)
    assert not paths_found(km, "八十度")


def test_ids_are_the_same_in_every_life_and_in_the_order_of_time(tmp_path: Path, shelf: Shelf) -> None:
    ids = []
    for name in ("one", "two"):
        with open_base(tmp_path / name) as km:
            km.take_in(shelf, space="personal")
            ids.append([km.note("bread.md").id, km.note("a/お茶.md").id])
    assert ids[0] == ids[1] == sorted(ids[0])
    made = made_at(ids[0][0])
    assert made is not None
    assert made.isoformat() == "2022-01-01T00:00:00+00:00"


def test_a_note_keeps_the_id_that_its_source_gives_it_under_another_path(km: KnowledgeManager, shelf: Shelf) -> None:
    note_id = str(uuid7())
    shelf.notes = {"old.md": SourceNote("same", note_id=note_id), "x.md": SourceNote("x")}
    km.take_in(shelf, space="personal")
    shelf.notes = {
        "new.md": SourceNote("same", note_id=note_id),
        "old.md": SourceNote("other"),
        "x.md": SourceNote("x"),
    }
    report = km.take_in(shelf, space="personal")
    assert (report.renamed, report.added, report.unchanged) == (1, 1, 1)
    assert (km.note(note_id).path, km.note("old.md").body) == ("new.md", "other")


def test_a_note_that_is_there_from_elsewhere_is_no_twin(km: KnowledgeManager, shelf: Shelf) -> None:
    note = km.capture("mine")
    shelf.notes = {"m.md": SourceNote("theirs", note_id=note.id), "n.md": SourceNote("twin", note_id=note.id)}
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.kept, report.failed) == (0, 1, 1)
    assert km.note(note.id).body == "mine"


def test_another_note_under_a_known_path_takes_nothing_from_the_one_that_is_there(
    km: KnowledgeManager, shelf: Shelf
) -> None:
    first, second, third = (str(uuid7()) for _ in range(3))
    shelf.notes = {"home.md": SourceNote("first", note_id=first), "x.md": SourceNote("second", note_id=second)}
    km.take_in(shelf, space="personal", owner="us")
    shelf.notes = {
        "home.md": SourceNote("third", note_id=third),
        "x.md": SourceNote("first, edited", note_id=first),
        "twin.md": SourceNote("twin", note_id=first),
    }
    for expected in ((1, 1, 0), (0, 0, 2)):
        report = km.take_in(shelf, space="personal", owner="us")
        assert ((report.added, report.changed, report.unchanged), report.failed) == (expected, 1)
    texts = {note.path: note.body for note in map(km.note, (first, second, third))}
    assert texts == {"home.md": "first, edited", "x.md": "second", "home (2).md": "third"}


def test_former_texts_become_versions_and_files_are_kept(km: KnowledgeManager, shelf: Shelf) -> None:
    history = tuple(FormerText(f"t{n}", f"text {n}", ("a", "b"), f"2020-01-0{n}T00:00:00Z") for n in range(1, 8))
    note = replace(TEA, history=history, attachments=(Attachment("湯呑.png", "image/png", b"png", 3),))
    shelf.notes = {"tea.md": note}
    km.take_in(shelf, space="personal", owner="us")
    versions = km.note_history("tea.md")
    assert [(version.title, version.body, version.tags) for version in versions] == [
        (f"t{n}", f"text {n}", ("a", "b")) for n in (7, 6, 5, 4, 3)
    ]
    assert versions[0].replaced_at == "2020-01-07T00:00:00Z"
    assert km.attachment("tea.md", 0) == b"png"
    shelf.notes = {"tea.md": replace(note, text="now", attachments=(Attachment("b.txt", "text/plain", b"b", 1),))}
    km.take_in(shelf, space="personal", owner="us")
    assert [version.title for version in km.note_history("tea.md")] == ["t7", "t6", "t5", "t4", "t3"]
    assert [file.name for file in km.attachments("tea.md")] == ["b.txt"]


def test_a_known_source_shows_its_notes_to_nobody_else_unless_told_to(km: KnowledgeManager, shelf: Shelf) -> None:
    shelf.notes["own.md"] = SourceNote("of its own", space="user:9")
    km.take_in(shelf, space="personal")
    shelf.notes["new.md"] = SourceNote("new")
    report = km.take_in(shelf, space="guild:7")
    assert {km.note(path).space for path in ("bread.md", "new.md")} == {"personal"} == {report.space}
    km.take_in(shelf, space="guild:7", moves_space=True)
    assert [km.note(path).space for path in ("bread.md", "new.md", "own.md")] == ["guild:7", "guild:7", "user:9"]
    with pytest.raises(UsageError, match="everybody"):
        km.take_in(shelf, space="everybody")


def test_a_source_that_was_removed_comes_back_with_the_ids_of_its_notes(km: KnowledgeManager, shelf: Shelf) -> None:
    km.take_in(shelf, space="personal")
    bread = km.note("bread.md")
    km.remove_source("shelf")
    report = km.take_in(shelf, space="personal")
    assert (report.revived, report.added) == (2, 0)
    assert km.note("bread.md") == bread
    assert [one.name for one in km.sources()] == ["shelf"]


def test_a_vault_that_takes_an_import_over_keeps_its_ids_and_is_not_written_over(
    km: KnowledgeManager, shelf: Shelf, tmp_path: Path
) -> None:
    km.take_in(shelf, space="personal")
    bread = km.note("bread.md")
    write_notes(tmp_path / "vault", {"bread.md": "# Bread\n\nRye.", "a/お茶.md": TEA.text})
    km.move_source("shelf", tmp_path / "vault")
    km.ingest(tmp_path / "vault")
    assert (km.note("bread.md").id, "Rye" in km.note("bread.md").body) == (bread.id, True)
    assert km.status().notes == 2
    again = km.take_in(shelf, space="personal")
    assert again.source == "shelf-2"


def test_a_run_that_is_stopped_goes_on_where_it_was(km: KnowledgeManager) -> None:
    shelf = Shelf({f"{number}.md": SourceNote(f"note {number}") for number in range(500)})
    asked = iter(range(1000))
    report = km.take_in(shelf, space="personal", options=IngestOptions(stop=lambda: next(asked) >= 250))
    assert (report.interrupted, report.added, km.status().notes) == (True, 250, 250)
    shelf.was_read.clear()
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.unchanged, len(shelf.was_read)) == (250, 250, 250)


def test_what_came_before_a_source_broke_is_stored(km: KnowledgeManager, shelf: Shelf) -> None:
    class Torn(Shelf):
        def scan(self) -> Iterator[Entry]:
            yield from super().scan()
            raise UsageError("export.json ends in the middle of a message")

    with pytest.raises(UsageError, match="ends in the middle"):
        km.take_in(Torn(shelf.notes), space="personal")
    assert km.status().notes == 2


@dataclass
class SlowShelf(Shelf):
    """A shelf during whose reading something happens: before `at` is read."""

    at: str = ""
    happens: Callable[[], object] = lambda: None

    def read(self, entry: Entry) -> SourceNote:
        if entry.path == self.at:
            self.happens()
        return super().read(entry)


def test_what_is_edited_or_erased_during_an_import_is_not_written_over(km: KnowledgeManager) -> None:
    former = (FormerText("t", "before"),)
    shelf = SlowShelf({f"{name}.md": SourceNote(name, history=former) for name in ("a", "b", "c")})
    km.take_in(shelf, space="personal", owner="us")
    erased, edited = km.note("a.md").id, km.note("b.md").id

    def happens() -> None:
        km.erase_note(erased)
        km.edit_note(edited, text="by hand")

    shelf.at, shelf.happens = "c.md", happens
    shelf.notes = {path: SourceNote(f"{path} anew", history=former) for path in shelf.notes}
    report = km.take_in(shelf, space="personal", owner="us")
    assert (report.changed, report.kept, report.failed) == (1, 2, 0)
    assert sorted(change.path for change in report.changes if change.what == "withheld") == ["a.md", "b.md"]
    assert (km.note("b.md").body, km.note("c.md").body) == ("by hand", "c.md anew")
    with pytest.raises(NotFoundError):
        km.note("a.md")
    shelf.happens = lambda: None
    assert km.take_in(shelf, space="personal", owner="us").kept == 2


def test_who_is_erased_during_an_import_does_not_come_in(km: KnowledgeManager) -> None:
    shelf = SlowShelf({"a.md": replace(BREAD, author="user:42"), "b.md": replace(TEA, author="user:43")})
    shelf.at, shelf.happens = "b.md", lambda: km.privacy("user:42").erase()
    report = km.take_in(shelf, space="personal")
    assert (report.added, report.kept) == (1, 1)
    assert [note.path for note in km.recent_notes()] == ["b.md"]


def test_what_the_database_has_no_place_for_costs_no_other_note(km: KnowledgeManager) -> None:
    odd = replace(
        BREAD,
        history=(
            FormerText("\ud800", "\ud800", ("\ud800",), "\ud800"),
            FormerText("t", "then", (), "2022-02-02T09:00+09:00"),
        ),
        attachments=(Attachment("\ud800", "\ud800", None, 2**80, "\ud800\ngone"),),
    )
    report = km.take_in(Shelf({"odd.md": odd, "tea.md": TEA}), space="personal", owner="us")
    assert (report.added, report.failed) == (2, 0)
    [file] = km.attachments("odd.md")
    assert (file.name, file.reason) == ("?", "? gone")
    assert "2022-02-02T00:00:00Z" in [version.replaced_at for version in km.note_history("odd.md")]
