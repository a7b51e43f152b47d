"""The facade: captures, scoped views, opening and beginning."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nescord import KnowledgeManager, Settings
from nescord.errors import CatalogError, NoKnowledgeBaseError, NotFoundError, UsageError
from nescord.home import DataFolder, read_identity
from tests.vaults import open_base, paths_found, write_notes


def test_a_capture_is_found_the_moment_it_returns_and_after_reopening(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        note = km.capture("買い物: 味噌と豆腐 #todo/shop", author="ann", source="https://discord.example/1/2/3")
        (hit,) = km.search("豆腐")
        assert (hit.note_id, hit.link) == (note.id, "https://discord.example/1/2/3")
        assert (note.kind, note.owner, note.author, note.tags) == ("fleeting", "us", "ann", ("todo/shop",))
    with open_base(tmp_path / "kb") as km:
        assert paths_found(km, "tag:todo 味噌") == [note.path]


def test_a_bare_link_is_kept_as_a_link(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        assert km.capture("https://example.com/a?b=c").kind == "link"


@pytest.mark.parametrize(("text", "space", "reason"), [(" \n", "personal", "empty"), ("x", "somewhere", "is no space")])
def test_a_capture_that_cannot_be_kept_says_why(tmp_path: Path, text: str, space: str, reason: str) -> None:
    with open_base(tmp_path / "kb") as km, pytest.raises(UsageError, match=reason):
        km.capture(text, space=space)


def test_a_scoped_view_sees_its_spaces_and_nothing_else(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"diary.md": "my secret diary", "link.md": "to [[theirs]] and [[diary]]"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        own = km.capture("a secret of ann", space="user:1")
        theirs = km.capture("a secret of bob", space="user:2")
        shared = km.capture("no secret of the guild, but the word", space="guild:7")
        view = km.scoped({"user:1", "guild:7"})
        assert {hit.note_id for hit in view.search("secret")} == {own.id, shared.id}
        assert {hit.note_id for hit in view.search("-bob secret")} == {own.id, shared.id}
        assert view.search("path:diary") == view.search("secret source:vault") == []
        for hidden in (theirs.id, theirs.path, "diary.md", "diary"):
            with pytest.raises(NotFoundError):
                view.note(hidden)
        assert view.note(own.id).body == "a secret of ann"
        with pytest.raises(UsageError, match="user:2"):
            view.capture("smuggled", space="user:2")
        assert view.capture("mine", space="user:1").space == "user:1"
        assert km.scoped(()).search("secret") == []
        assert len(km.search("secret")) == 4


def test_a_link_out_of_a_scope_is_dangling_within_it(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        hidden = km.capture("# Hidden", space="user:2")
        name = hidden.path.removesuffix(".md")
        note = km.capture(f"see [[{name}]]", space="user:1")
        assert km.note(note.id).links[0].note_id == hidden.id
        assert km.scoped({"user:1"}).note(note.id).links[0].note_id == ""


def test_a_vault_lives_in_the_space_that_the_setting_names(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"a.md": "apples"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        assert km.scoped({"personal"}).search("apples")
    with open_base(tmp_path / "kb", vault_space="guild:9") as km:
        km.ingest(tmp_path / "vault")
        assert km.scoped({"personal"}).search("apples") == []
        assert km.scoped({"guild:9"}).search("apples")
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        assert km.scoped({"guild:9"}).search("apples")


def test_a_name_that_fits_several_notes_is_asked_about(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"a/readme.md": "one", "b/README.md": "two"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        with pytest.raises(UsageError, match=r"fits 2 notes: .*a/readme.md"):
            km.note("readme")
        assert km.note("a/readme").body == "one"


def test_opening_where_nothing_is_begins_a_knowledge_base_once(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        assert km.is_new
        identity = read_identity(km.folder)
    with open_base(tmp_path / "kb") as km:
        assert not km.is_new
        assert read_identity(km.folder) == identity


def test_looking_where_nothing_is_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoKnowledgeBaseError, match='"nescord init" or "nescord ingest VAULT"'):
        KnowledgeManager.open_existing(Settings(data_dir=tmp_path / "kb"))
    assert not (tmp_path / "kb").exists()


def test_a_lost_database_is_never_replaced_by_an_empty_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "kb")
    KnowledgeManager.open(settings).close()
    for name in ("nescordbot.db", "nescordbot.db-wal", "nescordbot.db-shm"):
        (tmp_path / "kb" / name).unlink(missing_ok=True)
    for opened in (KnowledgeManager.open, KnowledgeManager.open_existing):
        with pytest.raises(CatalogError, match=r"the database of this knowledge base is missing.*nescord init --new"):
            opened(settings)
    assert not (tmp_path / "kb" / "nescordbot.db").exists()
    with KnowledgeManager.begin_anew(settings) as km:
        assert km.status().notes == 0


def test_a_beginning_that_was_cut_short_before_the_database_begins_again(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "kb")

    def power_cut(folder: DataFolder) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DataFolder.create(settings, begin=power_cut)
    assert (tmp_path / "kb" / "identity.json").exists()
    with pytest.raises(NoKnowledgeBaseError):
        KnowledgeManager.open_existing(settings)
    with open_base(tmp_path / "kb") as km:
        assert km.is_new
        km.capture("and goes on")


def test_an_emptied_database_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    open_base(tmp_path / "kb").close()
    (tmp_path / "kb" / "nescordbot.db").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"the database of this knowledge base is empty"):
        open_base(tmp_path / "kb")


def test_a_database_that_was_replaced_is_reopened_at_the_next_verb(tmp_path: Path) -> None:
    with open_base(tmp_path / "other") as other:
        other.capture("from the other base")
    with open_base(tmp_path / "kb") as km:
        km.capture("from the first base")
        for name in ("nescordbot.db-wal", "nescordbot.db-shm"):
            (tmp_path / "kb" / name).unlink(missing_ok=True)
        (tmp_path / "other" / "nescordbot.db").rename(tmp_path / "kb" / "nescordbot.db")
        assert len(paths_found(km, "other")) == 1
        assert paths_found(km, "first") == []


def test_many_threads_capture_and_search_one_knowledge_base(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                note = km.capture(f"thread{number} step{step} 検索")
                assert note.path in paths_found(km, f"thread{number} step{step}")
        except BaseException as error:
            errors.append(error)

    with open_base(tmp_path / "kb") as km:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert km.status().notes == 80


def test_a_trashed_path_that_is_taken_again_gets_a_path_of_its_own_when_restored(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_notes(tmp_path / name, {"a.md": f"apples of {name}", "keep.md": "kept"})
    with open_base(tmp_path / "kb") as km:
        ids = []
        for name in ("one", "two"):
            km.ingest(tmp_path / name)
            ids.append(km.search(f"apples source:{name}")[0].note_id)
            (tmp_path / name / "a.md").unlink()
            km.ingest(tmp_path / name)
        first, second = (km.restore_note(note_id) for note_id in ids)
        assert first.path == "a.md"
        assert second.path != "a.md"
        assert len(paths_found(km, "apples")) == 2
