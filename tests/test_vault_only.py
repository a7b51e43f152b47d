"""A walk that is kept to some paths finds there what a walk through everything finds."""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.catalog import sources, writeback
from nescord.ingest import IngestOptions
from nescord.sources import vault
from nescord.sources.vault import KnownFile, Scan
from tests.vaults import contents, open_base, write_notes
from tests.watch_world import failures, fresh, stored

NAMES = ("a.md", "b.md", "が.md", unicodedata.normalize("NFD", "が.md"), "x.txt")
FOLDERS = ("", "sub/", "sub/deep/", "ignored/", ".hidden/", "日本/", "sub.md/")


def nfc(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def known_from(scan: Scan) -> dict[str, KnownFile]:
    return {file.raw: (file.path, None, *file.fingerprint) for file in scan.fresh}


def look(root: Path, known: dict[str, KnownFile], ignore_hash: bytes, only: list[str] | None) -> tuple[object, ...]:
    scan = vault.scan(root, known, ignore_hash, only)
    return [(file.path, file.raw) for file in scan.fresh], sorted(scan.vanished), sorted(scan.failed)


paths = st.builds(lambda folder, name: folder + name, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
writes = st.tuples(st.just("write"), paths, st.text("xyz", max_size=3))
removals = st.tuples(st.just("remove"), paths, st.just(""))
folder_removals = st.tuples(st.just("remove folder"), st.sampled_from(FOLDERS[1:]), st.just(""))
folder_moves = st.tuples(st.just("move folder"), st.sampled_from(FOLDERS[1:]), st.sampled_from(("new/", "sub/new/")))


def carry_out(root: Path, what: str, where: str, more: str) -> list[str]:
    """Do it, and say which paths an attentive observer would name."""
    file = root / where
    if what == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(more)
    elif what == "remove":
        file.unlink(missing_ok=True)
    elif what == "remove folder":
        shutil.rmtree(file, ignore_errors=True)
    elif file.is_dir() and not (root / more).exists() and not more.startswith(where):
        (root / more).parent.mkdir(parents=True, exist_ok=True)
        file.rename(root / more)
        return [nfc(where.rstrip("/")), nfc(more.rstrip("/"))]
    return [nfc(where.rstrip("/"))]


@given(st.lists(writes, max_size=12), st.lists(st.one_of(writes, removals, folder_removals, folder_moves), max_size=6))
def test_a_walk_kept_to_what_changed_finds_all_that_a_whole_walk_finds(
    before: list[tuple[str, str, str]], changes: list[tuple[str, str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        (root / ".nescordignore").write_text("ignored/\n")
        for change in before:
            carry_out(root, *change)
        first = vault.scan(root, {}, b"")
        known = known_from(first)
        touched = [path for change in changes for path in carry_out(root, *change)]
        assert look(root, known, first.ignore_hash, touched) == look(root, known, first.ignore_hash, None)


def test_nothing_else_is_listed_or_missed(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "1", "b/c.md": "2", "b/d.md": "3", "b c.md": "4"})
    first = vault.scan(tmp_path, {}, b"")
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "a.md").write_text("other")
    (tmp_path / "b c.md").unlink()
    assert look(tmp_path, known_from(first), b"", ["b/d.md"]) == ([], ["b/d.md"], [])
    assert look(tmp_path, known_from(first), b"", ["b"]) == ([], ["b/c.md", "b/d.md"], [])
    assert look(tmp_path, known_from(first), b"", []) == ([], [], [])


def test_another_ignore_file_concerns_every_note(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "1", "b/c.md": "2"})
    first = vault.scan(tmp_path, {}, b"")
    (tmp_path / ".nescordignore").write_text("b/\n")
    scan = vault.scan(tmp_path, known_from(first), first.ignore_hash, [".nescordignore"])
    assert scan.vanished == ["b/c.md"]


def test_the_lock_of_emacs_is_no_broken_link(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "1"})
    (tmp_path / ".#a.md").symlink_to("somebody@machine.4242:1700000000")
    (tmp_path / "b.md").symlink_to("nowhere.md")
    assert vault.scan(tmp_path, {}, b"").failed == [("b.md", "a link to something that is not there")]


@pytest.fixture
def km(tmp_path: Path) -> KnowledgeManager:
    return open_base(tmp_path / "kb")


def test_an_ingest_kept_to_some_paths_reads_no_other_file(tmp_path: Path, km: KnowledgeManager) -> None:
    root = tmp_path / "vault"
    write_notes(root, {"a.md": "# A\n\none", "b.md": "# B\n\ntwo", "sub/c.md": "# C\n\nthree"})
    with km:
        km.ingest(root)
        for name in ("a.md", "b.md", "sub/c.md"):
            (root / name).write_text("# 変更\n\nother words")
        before = contents(root)
        report = km.ingest(root, options=IngestOptions(only=["b.md"]))
        assert (report.changed, report.files_read) == (1, 1)
        report = km.ingest(root, options=IngestOptions(only=["sub"]))
        assert [(change.what, change.path) for change in report.changes] == [("changed", "sub/c.md")]
        assert km.ingest(root).changed == 1
    assert contents(root) == before
    assert stored(tmp_path / "kb") == fresh(tmp_path / "second", root)[0]


def test_what_is_wrong_elsewhere_stays_known(tmp_path: Path, km: KnowledgeManager) -> None:
    root = tmp_path / "vault"
    write_notes(root, {"a.md": "# A\n\none", "が.md": "# が\n\nsound"})
    (root / unicodedata.normalize("NFD", "が.md")).write_text("twin")
    (root / "broken.md").symlink_to("nowhere.md")
    with km:
        km.ingest(root)
        assert len(km.failures()) == 2
        (root / "a.md").write_text("# A\n\nother")
        km.ingest(root, options=IngestOptions(only=["a.md"]))
        assert len(km.failures()) == 2
        (root / "broken.md").unlink()
        km.ingest(root, options=IngestOptions(only=["broken.md"]))
        assert len(km.failures()) == 1
        (root / "が.md").unlink()  # now the other one is the note
        km.ingest(root, options=IngestOptions(only=["が.md"]))
    assert (stored(tmp_path / "kb"), failures(tmp_path / "kb")) == fresh(tmp_path / "second", root)


@pytest.mark.parametrize("name", ["が.md", "が (1).md", "が ('一').md", "が it's (a) ('b').md"])
def test_what_was_wrong_with_a_twin_is_forgotten_with_it(tmp_path: Path, km: KnowledgeManager, name: str) -> None:
    root = tmp_path / "vault"
    write_notes(root, {name: "sound"})
    (root / unicodedata.normalize("NFD", name)).write_text("twin")
    with km:
        km.ingest(root)
        assert len(km.failures()) == 1
        (root / unicodedata.normalize("NFD", name)).unlink()
        km.ingest(root, options=IngestOptions(only=[name]))
        assert km.failures() == []


def test_a_first_ingest_looks_at_everything(tmp_path: Path, km: KnowledgeManager) -> None:
    root = tmp_path / "vault"
    write_notes(root, {"a.md": "1", "b.md": "2"})
    with km:
        assert km.ingest(root, options=IngestOptions(only=["a.md"])).added == 2


def test_where_we_have_written_files_everything_is_looked_at(tmp_path: Path, km: KnowledgeManager) -> None:
    root = tmp_path / "vault"
    write_notes(root, {"a.md": "1", "b.md": "2"})
    with km:
        km.ingest(root)
        note = km.capture("ours").id
        with km._base.verb() as catalog, catalog.write() as connection:
            source = sources.by_root(connection, str(root))
            assert source
            writeback.begin(connection, note, source.id, "inbox/ours.md")
            connection.execute("UPDATE writeback SET state = 'there'")
            # On its way: that the file is still there would tell that nothing was removed.
            writeback.send(connection, [writeback.Sent(note, "", b"", b"")])
        write_notes(root, {"b.md": "other"})
        assert km.ingest(root, options=IngestOptions(only=["a.md"])).changed == 1
        with km._base.verb() as catalog, catalog.read() as connection:
            assert connection.execute("SELECT state FROM writeback").fetchall() == [("gone",)]


def test_notes_that_went_just_before_count_for_whether_too_many_go(tmp_path: Path, km: KnowledgeManager) -> None:
    root = tmp_path / "vault"
    write_notes(root, {f"{number}.md": f"note {number}" for number in range(60)})
    with km:
        km.ingest(root)
        for number in range(15):
            (root / f"{number}.md").unlink()
        assert km.ingest(root, options=IngestOptions(only=["0.md", "1.md"], gone_lately=12)).deleted == 2
        names = [f"{number}.md" for number in range(2, 15)]
        report = km.ingest(root, options=IngestOptions(only=names, gone_lately=14))
        assert (report.deleted, report.withheld) == (0, 13)
        assert "27 of 72 notes of vault vanished at once" in report.messages[0]
        assert km.ingest(root, options=IngestOptions(only=names)).deleted == 13
