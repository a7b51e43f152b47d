"""What a real `nescord watch` makes of what people, editors and sync programs do to a vault."""

from __future__ import annotations

import os
import shutil
import time
import unicodedata
from pathlib import Path

import pytest
from cli_runs import nescord

from tests.vaults import contents, open_base, paths_found, write_notes
from tests.watch_world import Watch, changes, failures, fresh, ids, stored

pytestmark = pytest.mark.slow

NOTES = {
    "a.md": "# Alpha\n\napples are red #fruit\n",
    "会議.md": "# 会議\n\n検索の設計を決めた。\n",
    "sub/c.md": "# Cherries\n\ncherries are sour [[a]]\n",
    "sub/d.md": "# Dates\n\ndates are sweet\n",
    "sub/deep/e.md": "# Elder\n\nelder flowers\n",
}


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    write_notes(tmp_path / "vault", NOTES)
    return tmp_path / "vault"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "kb"


def is_as_after_a_full_scan(tmp_path: Path, vault: Path) -> bool:
    return (stored(tmp_path / "kb"), failures(tmp_path / "kb")) == fresh(tmp_path / "second", vault)


def test_a_saved_note_is_found_and_no_other_file_is_looked_at(data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        assert watch.until_begun()["added"] == 5
        (vault / "a.md").write_text("# Alpha\n\nquinces are yellow\n", encoding="utf-8")
        look = watch.until_changed("changed", "a.md")
        assert (look["whole"], look["paths"], look["files_read"]) == (False, ["a.md"], 1)
        (vault / "新しい.md").write_text("# 新しい\n\n柿は甘い。\n", encoding="utf-8")
        watch.until_changed("added", "新しい.md")
        with open_base(data) as km:  # beside it
            assert paths_found(km, "quinces") == ["a.md"]
            assert paths_found(km, "柿") == ["新しい.md"]
            assert paths_found(km, "apples") == []


def test_editors_save_in_many_ways_and_a_note_stays_one(tmp_path: Path, data: Path, vault: Path) -> None:
    def by_temporary_file(file: Path, text: str) -> None:
        (file.parent / ".tmp4711").write_text(text, encoding="utf-8")
        (file.parent / ".tmp4711").rename(file)

    def by_backup(file: Path, text: str) -> None:
        file.rename(file.with_name(file.name + "~"))
        file.write_text(text, encoding="utf-8")
        file.with_name(file.name + "~").unlink()

    def in_place_slowly(file: Path, text: str) -> None:
        with file.open("w", encoding="utf-8") as stream:
            for character in text:
                stream.write(character)
                stream.flush()
                time.sleep(0.005)

    def with_a_lock_beside(file: Path, text: str) -> None:
        lock = file.with_name(f".#{file.name}")
        lock.symlink_to("somebody@machine.4242")
        time.sleep(0.4)
        by_temporary_file(file, text)
        lock.unlink()

    ways = (by_temporary_file, by_backup, in_place_slowly, with_a_lock_beside)
    with Watch(data, vault) as watch:
        watch.until_begun()
        before = ids(data)
        for number, save in enumerate(ways):
            since, word = len(watch.looks), f"word{number} 言葉{number}"
            save(vault / "sub" / "c.md", f"# Cherries\n\n{word}\n")
            watch.until(lambda look: look["changed"], since)
            (vault / "sub" / f"after{number}.md").write_text("# after")
            watch.until_changed("added", f"sub/after{number}.md")
            with open_base(data) as km:
                assert paths_found(km, f"言葉{number}") == ["sub/c.md"]
        assert {path: note for path, note in ids(data).items() if path in before} == before
        assert not any(what in ("failed", "deleted") for look in watch.looks for what, _ in changes(look))
    assert is_as_after_a_full_scan(tmp_path, vault)


def test_a_renamed_note_and_a_renamed_folder_keep_their_ids(data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        before = ids(data)
        (vault / "a.md").rename(vault / "sub" / "りんご.md")
        watch.until_changed("renamed", "sub/りんご.md")
        (vault / "sub").rename(vault / "果物")
        watch.until_changed("renamed", "果物/りんご.md")
        (vault / "果物" / "deep" / "e.md").rename(vault / "e.md")
        watch.until_changed("renamed", "e.md")
        after = ids(data)
    moved = {"a.md": "果物/りんご.md", "sub/c.md": "果物/c.md", "sub/d.md": "果物/d.md", "sub/deep/e.md": "e.md"}
    assert after == {moved.get(path, path): note for path, note in before.items()}


def test_a_note_that_is_away_for_a_moment_keeps_its_id(tmp_path: Path, data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        before = ids(data)
        (vault / "a.md").rename(tmp_path / "cut")
        time.sleep(0.6)  # several times as long as a batch is waited for
        (tmp_path / "cut").rename(vault / "pasted.md")
        watch.until_changed("renamed", "pasted.md")
        assert ids(data)["pasted.md"] == before["a.md"]


def test_a_deleted_note_is_found_no_more_and_comes_back_as_itself(data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        before = ids(data)
        (vault / "会議.md").unlink()
        watch.until_changed("deleted", "会議.md")
        with open_base(data) as km:
            assert paths_found(km, "検索") == []
        write_notes(vault, {"会議.md": NOTES["会議.md"]})
        watch.until_changed("revived", "会議.md")
        assert ids(data) == before


def test_notes_that_vanish_one_after_the_other_are_kept_as_if_at_once(data: Path, vault: Path) -> None:
    many = {f"many/{number}.md": f"# Note {number}\n\nword{number}\n" for number in range(30)}
    write_notes(vault, many)
    with Watch(data, vault) as watch:
        watch.until_begun()
        before = ids(data)
        for name in many:  # as a sync program or `rm -r` on a slow disk
            (vault / name).unlink()
            time.sleep(0.05)
        look = watch.until(lambda look: look["withheld"])
        assert (look["withheld"], look["deleted"]) == (30, 0)
        # Gone from there, yet not forgotten: they turn up under another name.
        write_notes(vault / "sub", {Path(name).name: text for name, text in many.items()})
        watch.until_changed("renamed", "sub/7.md")
        after = ids(data)
    assert watch.said.count("nothing was deleted") == 1
    assert after["sub/7.md"] == before["many/7.md"]
    assert set(after.values()) == set(before.values())


def test_new_folders_are_watched_from_then_on(tmp_path: Path, data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        write_notes(vault, {f"new/{number}/deeper/日記.md": f"# 日記 {number}" for number in range(5)})
        watch.until(lambda _: len(ids(data)) == 10)
        (vault / "new" / "3" / "deeper" / "日記.md").write_text("# 変更")
        look = watch.until_changed("changed", "new/3/deeper/日記.md")
        assert look["paths"] == ["new/3/deeper/日記.md"]
        shutil.rmtree(vault / "new" / "4")
        watch.until_changed("deleted", "new/4/deeper/日記.md")
    assert is_as_after_a_full_scan(tmp_path, vault)


def test_other_patterns_to_ignore_count_at_once(tmp_path: Path, data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        (vault / ".nescordignore").write_text("deep/\n*.txt\n")
        watch.until_changed("deleted", "sub/deep/e.md")
        (vault / "sub" / "deep" / "f.md").write_text("ignored")
        (vault / ".nescordignore").write_text("a.md\n")
        watch.until_changed("revived", "sub/deep/e.md")
        since = len(watch.looks)
        (vault / "sub" / "deep" / "e.md").write_text("# Elder again")
        watch.until_changed("changed", "sub/deep/e.md", since)
    assert is_as_after_a_full_scan(tmp_path, vault)


def test_what_is_no_note_of_the_vault_is_not_even_looked_at(tmp_path: Path, data: Path, vault: Path) -> None:
    write_notes(vault, {".git/x.md": "x", "build/out/y.md": "y", ".nescordignore": "build/\n"})
    write_notes(tmp_path / "outside", {"z.md": "z"})
    (vault / "link").symlink_to(tmp_path / "outside")
    with Watch(data, vault) as watch:
        watch.until_begun()
        for path in (vault / ".git" / "x.md", vault / "build" / "out" / "y.md", tmp_path / "outside" / "z.md"):
            path.write_text("changed")
        write_notes(vault, {".git/new/n.md": "x", "build/new/n.md": "y", "picture.png": "", ".obsidian/w.md": ""})
        (vault / "last.md").write_text("last")
        watch.until_changed("added", "last.md")
        assert [look["paths"] for look in watch.looks] == [[], ["last.md"]]


def test_notes_with_two_names_change_under_both(tmp_path: Path, data: Path, vault: Path) -> None:
    (vault / "alias.md").symlink_to("a.md")
    (vault / "mirror").symlink_to("sub")
    with Watch(data, vault) as watch:
        watch.until_begun()
        (vault / "a.md").write_text("# Alpha\n\nquinces\n")
        look = watch.until_changed("changed", "a.md")
        assert ("changed", "alias.md") in changes(look)
        (vault / "sub" / "c.md").write_text("# Cherries\n\nquinces\n")
        assert ("changed", "mirror/c.md") in changes(watch.until_changed("changed", "sub/c.md"))
        os.link(vault / "sub" / "d.md", vault / "hard.md")
        watch.until_changed("added", "hard.md")
        (vault / "hard.md").write_text("# Dates\n\nfigs\n")
        watch.until_changed("changed", "sub/d.md")
    assert is_as_after_a_full_scan(tmp_path, vault)


def test_a_second_name_counts_from_the_moment_it_is_given(tmp_path: Path, data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        os.link(vault / "sub" / "d.md", vault / "hard.md")
        watch.until_changed("added", "hard.md")
        (vault / "hard.md").write_text("# Dates\n\nfigs\n")
        watch.until_changed("changed", "sub/d.md")
    assert is_as_after_a_full_scan(tmp_path, vault)


def test_names_of_any_composition_and_of_no_encoding_are_taken_in(tmp_path: Path, data: Path, vault: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "が行.md")
    with Watch(data, vault) as watch:
        watch.until_begun()
        (vault / decomposed).write_text("# が行\n\nNFD\n")
        watch.until_changed("added", "が行.md")
        (vault / decomposed).rename(vault / "が行.md")  # the same note, renamed to NFC
        (vault / decomposed).write_text("twin")
        watch.until(lambda look: any(what == "failed" for what, _ in changes(look)))
        (vault / "が行.md").unlink()
        watch.until_changed("changed", "が行.md")
        with open(os.fsencode(vault) + b"/sub/\x83\x65\x83\x58\x83\x67.md", "w") as file:  # テスト in Shift_JIS
            file.write("# Shift_JIS")
        watch.until(lambda look: look.get("added") and look["whole"], 1)
        (vault / "a.md").write_text("# Alpha\n\nstill watched\n")
        watch.until_changed("changed", "a.md")
    assert is_as_after_a_full_scan(tmp_path, vault)


def test_the_vault_is_never_written(data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        (vault / "b.md").write_text("# B")
        (vault / "a.md").unlink()
        before = contents(vault)
        watch.until_changed("added", "b.md")
        watch.until_changed("deleted", "a.md")
    assert contents(vault) == before
    assert nescord("--data-dir", data, "verify", "--json").code == 0
