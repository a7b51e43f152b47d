"""Single notes are added once, edited, trashed and brought back without losing anything, and listed for a choice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from hashing_embedder import CountingEmbedder
from hypothesis import given
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.errors import ConflictError, NotFoundError, UsageError
from nescord.identifiers import uuid7
from nescord.ingest import IngestOptions
from nescord.maintain import maintain
from nescord.notes import Note
from nescord.scoped import ScopedKnowledge
from tests.keeping_world import at_once
from tests.survival import DATABASE
from tests.vaults import open_base, paths_found, write_notes

LONG = "\n\n".join(f"Paragraph {number} of a longer text. " + "word " * 150 for number in range(6))


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "state") as opened:
        yield opened


def chunk_ids(km: KnowledgeManager) -> set[int]:
    connection = apsw.Connection(str(km.folder.path / DATABASE))
    ids = {int(str(key)) for (key,) in connection.execute("SELECT id FROM chunk").fetchall()}
    connection.close()
    return ids


# Adding


def test_a_given_title_wins_and_given_tags_come_on_top(km: KnowledgeManager) -> None:
    text = "---\ntitle: Theirs\ntags: [front]\nauthor: ada\n---\n# Heading\n\nText #inline"
    note = km.add_note(text, title="  My\n title ", tags=["＃Ｔｅａ", "machine learning, x", "front", "", "t" * 101])
    assert note.title == "My title"
    assert note.tags == ("front", "inline", "machine-learning", "tea", "x")
    assert (note.body, note.front_matter["title"], note.author) == ("# Heading\n\nText #inline", "Theirs", "")
    assert km.add_note(text).title == "Theirs"
    assert km.add_note("---\ntags: [a]\n---\n\nFirst line\nsecond").title == "First line"


def test_a_note_with_an_id_is_added_once(km: KnowledgeManager) -> None:
    note_id = str(uuid7())
    note = km.add_note("first", note_id=note_id, space="user:42", author="user:42")
    assert note.id == note_id
    assert km.add_note("second", note_id=note_id, space="user:42") == note
    trashed = km.delete_note(note_id)
    assert km.add_note("third", note_id=note_id, space="user:42") == trashed
    assert trashed.trashed_at
    assert paths_found(km, "third") == []


def test_a_note_accepted_before_its_author_was_erased_is_not_added_after_that(km: KnowledgeManager) -> None:
    accepted = str(uuid7())
    km.privacy("user:42").erase()
    with pytest.raises(NotFoundError, match="erased for good"):
        km.add_note("late", space="guild:7", author="user:42", note_id=accepted)
    assert km.add_note("of somebody else", space="guild:7", author="user:43", note_id=accepted).id == accepted


def test_a_note_of_a_vault_that_is_brought_back_is_of_nobody_whom_it_claims_to_be_of(
    km: KnowledgeManager, tmp_path: Path
) -> None:
    write_notes(tmp_path / "v", {"a.md": "---\nauthor: user:42\n---\nclaimed", "b.md": "---\nauthor: Ada\n---\nsigned"})
    km.ingest(tmp_path / "v")
    notes = [km.note("a.md"), km.note("b.md")]
    for note in notes:
        (tmp_path / "v" / note.path).unlink()
    km.ingest(tmp_path / "v", options=IngestOptions(allow_mass_delete=True))
    assert [km.restore_note(note.id).author for note in notes] == ["", "Ada"]


def test_a_note_that_was_erased_is_not_added_again(km: KnowledgeManager) -> None:
    note = km.add_note("burnafterreading", note_id=str(uuid7()))
    km.erase_note(note.id)
    with pytest.raises(NotFoundError, match="erased for good"):
        km.add_note("burnafterreading", note_id=note.id)
    assert paths_found(km, "burnafterreading") == []


def test_the_id_of_a_note_of_another_space_is_refused(km: KnowledgeManager) -> None:
    note = km.add_note("theirs", note_id=str(uuid7()), space="user:1")
    for view, space in ((km, "personal"), (km.scoped({"user:2"}), "user:2")):
        with pytest.raises(UsageError, match="another note") as error:
            view.add_note("mine", note_id=note.id, space=space)
        assert "theirs" not in str(error.value)
    with pytest.raises(UsageError, match="no id of a note"):
        km.add_note("x", note_id="../../etc")


def test_of_processes_that_add_the_same_note_at_once_one_does(tmp_path: Path) -> None:
    open_base(tmp_path / "state").close()
    for _ in range(3):
        note_id = str(uuid7())
        said = at_once(tmp_path / "state", ("add", note_id, "from one"), ("add", note_id, "from the other"))
        with open_base(tmp_path / "state") as km:
            assert said == [km.note(note_id).body] * 2


def test_a_text_with_half_a_character_is_kept(km: KnowledgeManager) -> None:
    note = km.add_note("half \ud83d", title="t\udc00", tags=["x\ud83d"], author="a\ud800", source="s\ud800")
    assert (note.body, note.title, note.tags, note.author) == ("half ?", "t?", ("x?",), "a?")
    assert km.edit_note(note.id, text="\udc00 other").body == "? other"
    assert [one.note_id for one in km.recent_notes(author="a\ud800")] == [note.id]
    assert [one.note_id for one in km.title_choices("T\udc00")] == [note.id]
    assert km.tag_choices("\ud83d") == [("x?", 1)]


def test_a_note_is_known_by_the_place_it_was_kept_from(km: KnowledgeManager) -> None:
    url = "https://discord.com/channels/7/8/9"
    note = km.add_note("said", source=url, space="guild:7")
    assert km.note_from(url, space="guild:7") == note
    assert km.note_from(url, space="user:42") is km.note_from("", space="guild:7") is None
    assert km.scoped({"user:42"}).note_from(url, space="guild:7") is None
    km.delete_note(note.id)
    assert km.note_from(url, space="guild:7") is None
    km.undelete_note(note.id)
    assert km.note_from(url, space="guild:7") == note


# Editing


def test_an_edit_changes_text_title_tags_links_and_keeps_the_rest(km: KnowledgeManager) -> None:
    target = km.add_note("---\naliases: [Target]\n---\nhere")
    front = "---\ntags: [front]\nsee: '[[Target]]'\n---\n"
    note = km.add_note(front + "Old words #old", tags=["own"], author="user:42", source="https://d/1", space="guild:7")
    new = km.edit_note(note.id, text="New words #new and [[Elsewhere]]")
    assert (new.title, new.tags) == ("New words #new and [[Elsewhere]]", ("front", "new", "own"))
    assert [link.target for link in new.links] == ["Target", "Elsewhere"]
    assert new.links[0].note_id == target.id
    same = ("id", "path", "author", "space", "created_at", "front_matter", "owner", "kind", "source")
    assert all(getattr(new, field) == getattr(note, field) for field in same)
    assert (paths_found(km, "old"), paths_found(km, "elsewhere")) == ([], [note.path])
    assert [hit.link for hit in km.search("elsewhere")] == ["https://d/1"]


def test_a_title_of_its_own_stays_and_one_from_the_text_follows_it(km: KnowledgeManager) -> None:
    own, derived = km.add_note("# A\n\ntext", title="Own"), km.add_note("# A\n\ntext")
    assert km.edit_note(own.id, text="# B\n\ntext").title == "Own"
    assert km.edit_note(derived.id, text="# B\n\ntext").title == "B"
    assert km.edit_note(derived.id, title="New").title == "New"
    assert paths_found(km, "new") == [derived.path]
    assert km.edit_note(derived.id, title="").title == "B"


def test_tags_given_replace_all_but_those_in_the_text(km: KnowledgeManager) -> None:
    note = km.add_note("---\ntags: [front]\n---\ntext #inline", tags=["own"])
    assert km.edit_note(note.id, tags=["Ｎew"]).tags == ("inline", "new")
    assert km.edit_note(note.id, text="text").tags == ("new",)
    assert km.edit_note(note.id, tags=[]).tags == ()


def test_a_text_that_begins_as_front_matter_is_text(km: KnowledgeManager) -> None:
    note = km.add_note("plain")
    text = "---\ntags: [x]\n---\nbelow"
    edited = km.edit_note(note.id, text=text)
    assert (edited.body.strip(), edited.tags) == (text, ())
    rule = km.add_note("---\nan open rule")
    assert km.edit_note(rule.id, title="Rule").body == "---\nan open rule"


def test_an_unchanged_chunk_keeps_its_id_and_is_not_embedded_again(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    with open_base(tmp_path / "state", embedder=embedder, vector="exact") as km:
        note = km.add_note(LONG)
        km.catch_up()
        before, texts = chunk_ids(km), len(embedder.asked)
        km.edit_note(note.id, text=LONG + "\n\n" + "A new end. " * 60)
        km.catch_up()
        assert len(chunk_ids(km) & before) >= len(before) - 1
        assert 0 < len(embedder.asked) - texts <= 2


def test_an_edit_that_changes_nothing_is_no_version(km: KnowledgeManager) -> None:
    note = km.add_note("text #tag", tags=["own"])
    assert km.edit_note(note.id) == note
    assert km.edit_note(note.id, text="text #tag", title=note.title, tags=["own"]) == note
    assert km.note_history(note.id) == []


def test_the_history_has_five_versions_the_latest_first(km: KnowledgeManager) -> None:
    note = km.add_note("version 0", tags=["t"])
    for number in range(1, 8):
        km.edit_note(note.id, text=f"version {number}")
    history = km.note_history(note.id)
    assert [version.body for version in history] == [f"version {number}" for number in (6, 5, 4, 3, 2)]
    assert {(version.title, version.tags) for version in history[:1]} == {("version 6", ("t",))}
    assert [version.number for version in history] == sorted((v.number for v in history), reverse=True)
    with pytest.raises(NotFoundError):
        km.scoped({"user:1"}).note_history(note.id)


def test_an_edit_of_what_was_changed_meanwhile_is_refused_and_both_texts_are_there(km: KnowledgeManager) -> None:
    note = km.add_note("first")
    mine = km.edit_note(note.id, text="mine", expected=note.updated_at)
    with pytest.raises(ConflictError, match="changed at"):
        km.edit_note(note.id, text="yours", expected=note.updated_at)
    assert (km.note(note.id), [version.body for version in km.note_history(note.id)]) == (mine, ["first"])
    assert km.edit_note(note.id, text="yours", expected=mine.updated_at).body == "yours"


def test_of_processes_that_edit_at_once_one_is_told_of_the_conflict(tmp_path: Path) -> None:
    with open_base(tmp_path / "state") as km:
        note = km.add_note("first")
    edits = [("edit", note.id, text, note.updated_at) for text in ("one", "two", "three")]
    assert sorted(at_once(tmp_path / "state", *edits)) == ["conflict", "conflict", "done"]
    with open_base(tmp_path / "state") as km:
        assert [version.body for version in km.note_history(note.id)] == ["first"]


def test_threads_that_edit_without_expecting_lose_no_version(km: KnowledgeManager) -> None:
    note = km.add_note("0")
    threads = [threading.Thread(target=km.edit_note, args=(note.id,), kwargs={"text": str(n)}) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [version.body for version in km.note_history(note.id)]
    assert sorted([*said, km.note(note.id).body]) == ["0", "1", "2", "3", "4"]


def test_notes_of_a_vault_are_refused_with_the_name_of_their_file(km: KnowledgeManager, tmp_path: Path) -> None:
    write_notes(tmp_path / "garden", {"Plums/Ume.md": "salted"})
    km.ingest(tmp_path / "garden")
    verbs: list[Callable[[], Note]] = [
        lambda: km.edit_note("Ume", text="x"),
        lambda: km.delete_note("Ume"),
        lambda: km.undelete_note("Ume"),
    ]
    for verb in verbs:
        with pytest.raises(UsageError, match=r'Plums/Ume.md comes from the vault "garden": change its file'):
            verb()
    assert km.note("Ume").body == "salted"


def test_an_edited_note_must_say_something_of_a_possible_length(tmp_path: Path) -> None:
    with open_base(tmp_path / "state", max_note_bytes=2000) as km:
        note = km.add_note("text")
        for text in (" \n", "鍵" * 700):
            with pytest.raises(UsageError):
                km.edit_note(note.id, text=text)
        assert km.note(note.id) == note


# Trash


def test_a_deleted_note_comes_back_as_it_was(km: KnowledgeManager) -> None:
    other = km.add_note("---\naliases: [Other]\n---\nother")
    text = "---\ntags: [front]\nsee: '[[Front]]'\naliases: [Named]\n---\n# Title\n\nwords #inline [[Other]]"
    note = km.add_note(text, tags=["own"], author="user:42", source="https://d/1", space="guild:7")
    note = km.edit_note(note.id, text="# Title\n\nother words #inline [[Other]]")
    history = km.note_history(note.id)
    trashed = km.delete_note(note.id)
    assert trashed.trashed_at
    assert trashed == replace(note, trashed_at=trashed.trashed_at)
    assert (paths_found(km, "words"), km.delete_note(note.id)) == ([], trashed)
    with pytest.raises(UsageError, match="in the trash"):
        km.edit_note(note.id, text="x")
    assert km.undelete_note(note.id) == note == km.undelete_note(note.id)
    assert km.note("Named") == note
    assert [link.note_id for link in note.links] == ["", other.id]
    assert (paths_found(km, "words"), km.note_history(note.id)) == ([note.path], history)
    assert km.verify().ok


def test_restoring_from_the_trash_keeps_where_a_note_was_said(km: KnowledgeManager) -> None:
    note = km.add_note("words", source="https://d/1")
    km.delete_note(note.id)
    assert km.restore_note(note.id) == note == km.note_from("https://d/1", space="personal")


def test_what_the_trash_has_lost_cannot_be_undeleted(km: KnowledgeManager) -> None:
    note = km.add_note("words")
    km.edit_note(note.id, text="other words")
    km.delete_note(note.id)
    maintain(km._base, now=datetime.now(UTC) + timedelta(days=31))
    with pytest.raises(NotFoundError, match="longer than notes are kept in the trash"):
        km.undelete_note(note.id)


def test_a_view_changes_nothing_of_another_space(km: KnowledgeManager) -> None:
    note = km.add_note("words", space="user:1")
    view = km.scoped({"user:2", "guild:7"})
    gone = km.delete_note(km.add_note("gone", space="user:1").id)
    verbs: list[Callable[[], object]] = [
        lambda: view.edit_note(note.id, text="x"),
        lambda: view.delete_note(note.id),
        lambda: view.undelete_note(gone.id),
    ]
    for verb in verbs:
        with pytest.raises(NotFoundError):
            verb()
    assert (km.note(note.id), km.note(gone.id)) == (note, gone)


# Lists


def test_recent_notes_are_paged_without_a_gap_or_a_repetition(km: KnowledgeManager) -> None:
    ids = [km.add_note(f"note {number}", tags=["a/b"] if number % 2 else ["ab"]).id for number in range(23)]
    pages = [note.note_id for offset in range(0, 30, 7) for note in km.recent_notes(limit=7, offset=offset)]
    assert pages == ids[::-1]
    assert [note.note_id for note in km.recent_notes(limit=100, tag="A")] == ids[1::2][::-1]
    changed = km.edit_note(ids[5], text="changed")
    assert km.recent_notes(limit=1)[0].note_id == changed.id
    for wrong in ({"limit": 0}, {"limit": 1001}, {"offset": -1}):
        with pytest.raises(UsageError, match="out of range"):
            km.recent_notes(**wrong)


def test_an_author_is_who_kept_a_note_and_not_who_a_vault_says(km: KnowledgeManager, tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"Forged.md": "---\nauthor: user:42\n---\nx"})
    km.ingest(tmp_path / "vault")
    mine = km.add_note("mine", author="user:42")
    assert [note.note_id for note in km.recent_notes(author="user:42")] == [mine.id]
    assert [note.note_id for note in km.title_choices("", ours_only=True)] == [mine.id]
    assert len(km.title_choices("")) == 2


@pytest.mark.parametrize("typed", ["ｶﾞｰﾃﾞﾝ", "ガーデ", "ーデン", "PLAN", "ｐｌ", "n 2", " plan "])
def test_titles_are_found_by_any_part_whatever_its_width_or_case(km: KnowledgeManager, typed: str) -> None:
    note = km.add_note("x", title="ガーデン Plan ２")
    km.add_note("y", title="がーでん")
    assert [(one.note_id, one.title) for one in km.title_choices(typed)] == [(note.id, "ガーデン Plan ２")]


def titled(view: ScopedKnowledge, typed: str, limit: int = 25) -> list[str]:
    return [note.title for note in view.title_choices(typed, limit=limit)]


def test_titles_beyond_the_newest_are_found_too_the_latest_first(km: KnowledgeManager) -> None:
    from nescord.catalog import notes as notes_sql
    from nescord.catalog import sources as sources_sql
    from nescord.catalog.notes import IndexedChunk
    from nescord.drafting import content_of

    numbers = range(1500)
    with km._base.verb() as catalog, catalog.write() as connection:
        rows = []
        for number in numbers:
            draft = km._base.drafting.capture(
                "x",
                source=sources_sql.captures(connection).id,
                path=str(number),
                content=content_of("x"),
                author="",
                origin="",
                space="user:1" if number % 200 == 107 else "personal",
                when=f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z",
                title=f"Needle {number}" if number % 100 == 7 else f"会議 {number}",
            )
            rows.append((str(uuid7()), draft, [IndexedChunk.of(one) for one in draft.chunks]))
        notes_sql.insert(connection, rows)
    assert titled(km, "needle") == [f"Needle {number}" for number in range(1407, 0, -100)]
    assert titled(km, "needle", limit=3) == ["Needle 1407", "Needle 1307", "Needle 1207"]
    assert titled(km.scoped({"personal"}), "ＮＥＥＤＬＥ") == [f"Needle {number}" for number in range(1407, 0, -200)]
    km.add_note("x", title="needle, the newest")
    assert titled(km, "needle")[:2] == ["needle, the newest", "Needle 1407"]
    meetings = [number for number in reversed(numbers) if str(number).startswith("14") and number % 100 != 7]
    assert titled(km, "会議 14", limit=1000) == [f"会議 {number}" for number in meetings]


def test_tags_are_counted_in_scope_and_among_the_living(km: KnowledgeManager) -> None:
    for number, space in enumerate(["personal", "personal", "user:1", "guild:7", "guild:7", "guild:7"]):
        km.add_note(f"n{number}", space=space, tags=["all", f"only/{space.replace(':', '')}", "機械学習"])
    trashed = km.add_note("gone", tags=["all", "gone"])
    km.delete_note(trashed.id)
    assert km.tag_choices("") == [
        ("all", 6), ("機械学習", 6), ("only/guild7", 3), ("only/personal", 2), ("only/user1", 1),
    ]  # fmt: skip
    small, large = km.scoped({"user:1"}), km.scoped({"personal", "guild:7"})
    assert small.tag_choices("") == [("all", 1), ("only/user1", 1), ("機械学習", 1)]
    assert large.tag_choices("") == [("all", 5), ("機械学習", 5), ("only/guild7", 3), ("only/personal", 2)]
    assert (large.tag_choices("#ＯＮＬＹ/U"), small.tag_choices("＃Only/u")) == ([], [("only/user1", 1)])
    assert km.tag_choices("学習", limit=1) == [("機械学習", 6)]
    assert km.tag_choices("gone") == km.scoped(set()).tag_choices("") == []


# Against a plain model

_TEXTS = st.text(st.sampled_from("ab 鍵ガｶﾞ\n#-*[]:é"), min_size=1, max_size=30).filter(lambda text: bool(text.strip()))
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add again", "edit", "stale edit", "delete", "undelete", "look"]),
        st.integers(0, 3),
        _TEXTS,
        st.lists(st.sampled_from(["x", "y/z", "茶"]), max_size=2),
    ),
    max_size=25,
)


class Model:
    """What the notes should be: text, own tags, whether in the trash, and earlier texts of each."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.trashed: list[bool] = []
        self.earlier: list[list[str]] = []


@given(_STEPS)
def test_any_sequence_of_verbs_does_what_a_plain_model_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str, list[str]]]
) -> None:
    model, ids = Model(), [str(uuid7()) for _ in range(4)]
    with open_base(tmp_path_factory.mktemp("model") / "state") as km:
        for what, which, text, tags in steps:
            is_there = which < len(model.text)
            if what == "add" and len(model.text) < 4:
                which = len(model.text)
                km.add_note(text, note_id=ids[which], tags=tags)
                model.text.append(text)
                model.trashed.append(False)
                model.earlier.append([])
            elif not is_there:
                continue
            elif what == "add again":
                assert km.add_note("something else", note_id=ids[which]).body == model.text[which]
            elif what == "delete":
                km.delete_note(ids[which])
                model.trashed[which] = True
            elif what == "undelete":
                km.undelete_note(ids[which])
                model.trashed[which] = False
            elif what.endswith("edit") and model.trashed[which]:
                with pytest.raises(UsageError):
                    km.edit_note(ids[which], text=text)
            elif what == "edit":
                before = km.note(ids[which])
                after = km.edit_note(ids[which], text=text, expected=before.updated_at)
                if text != model.text[which]:
                    model.earlier[which] = [model.text[which], *model.earlier[which]][:5]
                    model.text[which] = text
                    assert after.updated_at > before.updated_at
            elif what == "stale edit":
                with pytest.raises(ConflictError):
                    km.edit_note(ids[which], text=text, expected="2026-01-01T00:00:00Z")
        for note_id, text, trashed, earlier in zip(ids, model.text, model.trashed, model.earlier, strict=False):
            note = km.note(note_id)
            assert (note.body, bool(note.trashed_at)) == (text, trashed)
            assert [version.body for version in km.note_history(note_id)] == earlier
        living = {note_id for note_id, trashed in zip(ids, model.trashed, strict=False) if not trashed}
        assert {note.note_id for note in km.recent_notes(limit=100)} == living
        assert {note.note_id for note in km.title_choices("", limit=100)} == living
        assert {note.note_id for note in km.trash()} == set(ids[: len(model.text)]) - living
        failed = [check for check in km.verify().checks if check.name.startswith("database") and check.status == "fail"]
        assert failed == []
