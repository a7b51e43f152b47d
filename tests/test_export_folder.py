"""What lies in the folder of an export: only what differs is written, what a person wrote stays, nothing gets out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from nescord.catalog.exporting import NamedNote
from nescord.errors import ExportError, UsageError
from nescord.export.folder import MANIFEST, ExportFolder, Filing
from nescord.export.names import Layout, file_name, tamed
from nescord.ingest import IngestOptions
from tests.export_world import files_of
from tests.survival import SOAK
from tests.vaults import REPOSITORY, contents, open_base, write_notes


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    write_notes(tmp_path / "vault", {"a.md": "# A\n\nalpha [[b]]\n", "x/b.md": "beta\n", "x/y/c.md": "gamma\n"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        yield km


def counts(filing: Filing) -> tuple[int, int, int, int]:
    return filing.written, filing.unchanged, filing.removed, len(filing.kept)


def test_the_same_notes_give_the_same_bytes_whenever_they_are_exported(km: KnowledgeManager, tmp_path: Path) -> None:
    km.capture("一つ #tag")
    km.export(tmp_path / "one")
    time.sleep(1.1)
    km.export(tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_only_what_differs_is_written_and_what_is_gone_is_removed(km: KnowledgeManager, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert counts(km.export(out).filing) == (3, 0, 0, 0)
    before = contents(out)
    assert counts(km.export(out).filing) == (0, 3, 0, 0)
    assert {path: was for path, was in contents(out).items() if MANIFEST not in path} == {
        path: was for path, was in before.items() if MANIFEST not in path
    }
    write_notes(tmp_path / "vault", {"a.md": "# A\n\nalphabet\n", "new.md": "delta\n"})
    (tmp_path / "vault" / "x" / "y" / "c.md").unlink()
    km.ingest(tmp_path / "vault")
    assert counts(km.export(out).filing) == (2, 1, 1, 0)
    assert not (out / "x" / "y").exists()
    assert (out / "x" / "b.md").exists()


def test_what_a_person_has_changed_is_neither_overwritten_nor_removed(km: KnowledgeManager, tmp_path: Path) -> None:
    out = tmp_path / "out"
    km.export(out)
    for name in ("a.md", "x/b.md", "x/y/c.md"):
        (out / name).write_text("mine", encoding="utf-8")
    (out / "my own.md").write_text("mine", encoding="utf-8")
    write_notes(tmp_path / "vault", {"a.md": "# A\n\nalphabet\n"})
    (tmp_path / "vault" / "x" / "y" / "c.md").unlink()
    km.ingest(tmp_path / "vault")
    for _ in range(2):
        filing = km.export(out).filing
        assert (filing.written, filing.removed) == (0, 0)
        assert {"a.md", "x/b.md"} <= {kept.path for kept in filing.kept}
        assert all((out / name).read_text() == "mine" for name in ("a.md", "x/b.md", "x/y/c.md", "my own.md"))
    (out / "a.md").unlink()
    assert km.export(out).filing.written == 1
    assert "alphabet" in (out / "a.md").read_text(encoding="utf-8")


def test_a_folder_with_other_things_in_it_is_refused_without_into(km: KnowledgeManager, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_notes(out, {"a.md": "somebody's", "theirs.txt": "text"})
    with pytest.raises(UsageError, match="is not empty, and holds no export"):
        km.export(out)
    assert sorted(files_of(out)) == ["a.md", "theirs.txt"]
    filing = km.export(out, into=True).filing
    assert [kept.path for kept in filing.kept] == ["a.md"]
    assert (out / "a.md").read_text(encoding="utf-8") == "somebody's"
    assert (out / "x" / "b.md").exists()
    assert km.export(out).filing.unchanged == 2


def test_an_export_of_another_kind_or_base_is_not_mixed_with_it(km: KnowledgeManager, tmp_path: Path) -> None:
    km.export(tmp_path / "out")
    with pytest.raises(UsageError, match="an export as vault"):
        km.export(tmp_path / "out", kind="jsonl")
    with open_base(tmp_path / "other") as other:
        other.capture("another base")
        with pytest.raises(UsageError, match="another knowledge base"):
            other.export(tmp_path / "out")
    assert len(files_of(tmp_path / "out")) == 4


def test_a_vault_and_the_data_folder_are_never_exported_to(km: KnowledgeManager, tmp_path: Path) -> None:
    before = contents(tmp_path / "vault")
    (tmp_path / "link").symlink_to(tmp_path / "vault")
    for where in ("vault", "vault/x/new", "kb/new", "", "link/new"):
        with pytest.raises(UsageError, match="notes are read from"):
            km.export(tmp_path / where, into=True)
    assert contents(tmp_path / "vault") == before
    assert not (tmp_path / "kb" / "new").exists()


def test_no_link_leads_out_of_the_folder(km: KnowledgeManager, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    write_notes(outside, {"b.md": "theirs", "y/c.md": "theirs"})
    out.mkdir()
    (out / "x").symlink_to(outside)
    (out / "a.md").symlink_to(outside / "new.md")
    filing = km.export(out, into=True).filing
    assert sorted(kept.path for kept in filing.kept) == ["a.md", "x/b.md", "x/y/c.md"]
    assert files_of(outside) == {"b.md": b"theirs", "y/c.md": b"theirs"}
    assert sorted(each.name for each in outside.iterdir()) == ["b.md", "y"]


def test_what_was_exported_is_not_removed_through_a_link(km: KnowledgeManager, tmp_path: Path) -> None:
    out = tmp_path / "out"
    km.export(out)
    (out / "x").rename(tmp_path / "elsewhere")
    (out / "x").symlink_to(tmp_path / "elsewhere")
    for name in ("x/b.md", "x/y/c.md"):
        (tmp_path / "vault" / name).unlink()
    assert km.ingest(tmp_path / "vault", options=IngestOptions(allow_mass_delete=True)).deleted == 2
    assert [kept.path for kept in km.export(out).filing.kept] == ["x/b.md", "x/y/c.md"]
    assert (tmp_path / "elsewhere" / "b.md").exists()
    assert (tmp_path / "elsewhere" / "y" / "c.md").exists()


@pytest.mark.parametrize("path", ["../out.md", "/etc/out.md", "a/../../out.md", "", "a//b.md", "a/\0.md"])
def test_a_path_that_leads_out_is_not_written(tmp_path: Path, path: str) -> None:
    with ExportFolder(tmp_path / "out", base="b", kind="vault", into=False) as folder:
        folder.put(path, b"x")
        assert [kept.reason for kept in folder.finish().kept] == ["its path leads out of the folder"]
    assert sorted(files_of(tmp_path)) == [f"out/{MANIFEST}"]


def test_two_exports_at_once_do_not_write_to_one_folder(km: KnowledgeManager, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fd = os.open(tmp_path / "out", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(ExportError, match="another export is writing"):
            km.export(tmp_path / "out")
    finally:
        os.close(fd)


def test_a_manifest_that_cannot_be_read_is_told_and_nothing_written(km: KnowledgeManager, tmp_path: Path) -> None:
    km.export(tmp_path / "out")
    for content in ("{", "[]", '{"format": "nescord-export", "version": 2}'):
        (tmp_path / "out" / MANIFEST).write_text(content, encoding="utf-8")
        before = contents(tmp_path / "out")
        with pytest.raises(ExportError, match="cannot be read"):
            km.export(tmp_path / "out")
        assert contents(tmp_path / "out") == before


def test_a_folder_that_cannot_be_made_is_told(km: KnowledgeManager, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="cannot be written"):
        km.export(tmp_path / "file" / "out")


def journal_size(out: Path) -> int:
    try:
        return (out / ".nescord-export.journal").stat().st_size
    except FileNotFoundError:
        return 0


def test_after_kills_at_any_moment_the_next_export_is_whole(tmp_path: Path) -> None:
    notes = {f"{at % 7}/note {at}.md": f"# {at}\n\ntext of 第{at}\n" for at in range(400)}
    write_notes(tmp_path / "vault", notes)
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
    out, rng, killed, before = tmp_path / "out", random.Random(4), 0, 0
    code = (
        "import sys; from tests.vaults import open_base; from pathlib import Path\n"
        "with open_base(Path(sys.argv[1])) as km:\n    print('go', flush=True); km.export(sys.argv[2])\n"
    )
    for round_ in range(60 if SOAK else 4):
        changed = rng.sample(sorted(notes), 300)
        notes |= {name: f"# {name}\n\nround {round_} of {name}\n" for name in changed}
        gone = rng.choice(sorted(notes))
        del notes[gone]
        write_notes(tmp_path / "vault", notes)
        (tmp_path / "vault" / gone).unlink()
        with open_base(tmp_path / "kb") as km:
            km.ingest(tmp_path / "vault")
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "kb"), str(out)], stdout=subprocess.PIPE, cwd=REPOSITORY
        )
        assert child.stdout is not None
        with child.stdout as told:
            told.readline()
        if round_ % 4 == 1:  # before any file has its name
            time.sleep(rng.random() * 0.3)
        else:
            while child.poll() is None and journal_size(out) <= before:
                time.sleep(0.0005)
            time.sleep(rng.random() * 0.03)
        child.kill()
        killed += child.wait() < 0
        before = journal_size(out)
        if round_ % 2:
            continue  # killed once more, with other notes
        with open_base(tmp_path / "kb") as km:
            assert km.export(out).filing.kept == []
            km.export(tmp_path / f"fresh {round_}")
        assert files_of(out) == files_of(tmp_path / f"fresh {round_}")
        before = 0
    assert killed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.md", "a/b.md"),
        ("../../b.md", "_./_./b.md"),
        ("/abs.md", "abs.md"),
        (".obsidian/x.md", "_obsidian/x.md"),
        ("a\0b.md", "a_b.md"),
        ("text", "text.md"),
        ("..", "untitled.md"),
        ("", "untitled.md"),
        ("長" * 83 + ".md", "長" * 83 + ".md"),
        ("長" * 200 + ".md", "長" * 84 + ".md"),
        ("a/./b.markdown", "a/_/b.markdown"),
    ],
)
def test_no_path_of_a_note_leads_out(path: str, expected: str) -> None:
    assert tamed(path) == expected


def test_no_two_files_differ_in_their_case_alone_and_the_first_keeps_its_name() -> None:
    paths = ["Tea.md", "tea.md", "TEA.md", "x.md/b.md", "x.md", "tea.md/z.md"]
    paths += ["A" * 252 + ".md", "a" * 252 + ".md"]
    notes = [NamedNote(str(at), "notes", "folder", path, "", "personal", "[]") for at, path in enumerate(paths)]
    layout = Layout(notes, by_space=False, by_source=False)
    assert [layout.place(str(at)) for at in range(len(paths))] == [
        *("Tea.md", "tea-2.md", "TEA-3.md", "x.md/b.md", "x-2.md", "_/tea.md/z.md"),
        *(f"{'A' * 252}.md", f"{'a' * 250}-2.md"),
    ]
    assert layout.meant("tea") == "0"


def test_a_file_of_a_note_is_never_taken_for_a_note() -> None:
    names = ["a.md", "../b.MD", "写真 1.png", "nul", "", ".bashrc", "a.markdown"]
    assert [file_name(name) for name in names] == [
        *("a.md.txt", "b.MD.txt", "写真_1.png", "_nul", "untitled", "bashrc", "a.markdown.txt"),
    ]


def test_the_manifest_names_every_file_with_its_hash(km: KnowledgeManager, tmp_path: Path) -> None:
    km.export(tmp_path / "out")
    files = files_of(tmp_path / "out")
    said = json.loads(files.pop(MANIFEST))
    assert said["files"] == {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
