"""The second export and those that were cut short: what is the same is not made again, what a person does counts."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nescord import KnowledgeManager
from nescord.errors import ExportError, UsageError
from nescord.export.folder import MANIFEST, ExportFolder, Filing
from nescord.note_files import front_matter
from nescord.notes import Attachment
from tests.export_world import files_of
from tests.vaults import contents, open_base, write_notes

JOURNAL = ".nescord-export.journal"


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    write_notes(tmp_path / "vault", {"a.md": "# A\n\nalpha [[b]]\n", "x/b.md": "beta\n", "x/c.md": "2024 gamma\n"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        yield km


def opened(folder: Path) -> ExportFolder:
    return ExportFolder(folder, base="b", kind="vault", into=True)


def put(folder: Path, files: dict[str, bytes]) -> Filing:
    with opened(folder) as out:
        for path, data in files.items():
            out.put(path, data)
        return out.finish()


def functions_called(km: KnowledgeManager, out: Path) -> tuple[Filing, set[tuple[str, str]]]:
    """(file, function) of all that an export called."""
    with cProfile.Profile() as profile:
        filing = km.export(out, revisions=True).filing
    return filing, {(Path(file).name, name) for file, _, name in pstats.Stats(profile).stats}  # type: ignore[attr-defined]


def test_what_did_not_change_is_neither_made_nor_written_again(km: KnowledgeManager, tmp_path: Path) -> None:
    files = [Attachment("写真.png", "image/png", b"bytes", 5)]
    km.add_note("一つ [[a]]", title="題", attachments=files)
    first, called = functions_called(km, tmp_path / "out")
    assert {("text.py", "written"), ("markdown.py", "parse"), ("attachments.py", "content")} <= called
    before = contents(tmp_path / "out")
    again, called = functions_called(km, tmp_path / "out")
    assert (again.written, again.unchanged, again.kept) == (0, first.written, [])
    assert not {("text.py", "written"), ("markdown.py", "parse"), ("attachments.py", "content")} & called
    assert contents(tmp_path / "out") == before


def test_whatever_decides_what_a_file_says_makes_it_anew(tmp_path: Path) -> None:
    """Its own text, the name of what it links to, its files, the time zone: always as in a folder that is new."""
    write_notes(tmp_path / "vault", {"z.md": "---\ncreated: 2024-01-02 03:04\n---\nz\n", "b.md": "b\n"})
    out, written = tmp_path / "out", []

    def exported(km: KnowledgeManager) -> None:
        written.append(km.export(out).filing.written)
        km.export(tmp_path / f"fresh {len(written)}")
        assert files_of(out) == files_of(tmp_path / f"fresh {len(written)}")

    with open_base(tmp_path / "kb", timezone="Asia/Tokyo") as km:
        km.ingest(tmp_path / "vault")
        first = km.add_note("one", title="First", tags=["t"])
        km.add_note(f"see [[{first.path.rpartition('/')[2].removesuffix('.md')}]]", title="Second")
        exported(km)
        km.edit_note(first.id, title="Other")
        exported(km)
        km.edit_note(first.id, tags=["t", "u"])
        exported(km)
        (tmp_path / "out" / "b.md").unlink()
        exported(km)
    with open_base(tmp_path / "kb", timezone="America/New_York") as km:
        exported(km)
    # Under the other zone the date that it names is another moment than the one that is known of it.
    assert written == [4, 2, 1, 1, 1]


def test_a_remark_is_made_every_time(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"broken.md": "---\ntitle: a: b\ntags: [x #no\n[[link]]\n---\nbody #yes\n"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        assert [len(km.export(tmp_path / "out").remarks) for _ in range(2)] == [1, 1]


def test_a_manifest_that_does_not_say_what_files_were_made_of_is_read(km: KnowledgeManager, tmp_path: Path) -> None:
    km.export(tmp_path / "out")
    whole = (tmp_path / "out" / MANIFEST).read_bytes()
    said = json.loads(whole)
    del said["made_of"]
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(said), encoding="utf-8")
    assert km.export(tmp_path / "out").filing.unchanged == 3
    assert (tmp_path / "out" / MANIFEST).read_bytes() == whole


def test_a_file_that_a_person_writes_while_it_is_exported_stays(tmp_path: Path) -> None:
    put(tmp_path / "out", {"a.md": b"first"})
    with opened(tmp_path / "out") as out:
        out.put("a.md", b"second")
        out.put("new.md", b"second")
        for name in ("a.md", "new.md"):
            (tmp_path / "out" / name).write_bytes(b"mine")
        filing = out.finish()
    assert (filing.written, [kept.path for kept in filing.kept]) == (0, ["a.md", "new.md"])
    assert put(tmp_path / "out", {"a.md": b"third", "new.md": b"third"}).written == 0
    assert {(tmp_path / "out" / name).read_bytes() for name in ("a.md", "new.md")} == {b"mine"}


def test_a_folder_where_a_file_should_be_stands_in_the_way_of_that_file_only(tmp_path: Path) -> None:
    (tmp_path / "out" / "a.md").mkdir(parents=True)
    filing = put(tmp_path / "out", {"a.md": b"a", "b.md": b"b", "x/c.md": b"c"})
    assert (filing.written, [kept.path for kept in filing.kept]) == (2, ["a.md"])
    (tmp_path / "out" / "x" / "c.md").unlink()
    (tmp_path / "out" / "x" / "c.md").mkdir()
    filing = put(tmp_path / "out", {"b.md": b"b"})
    assert (filing.removed, [kept.path for kept in filing.kept]) == (0, ["x/c.md"])
    assert (tmp_path / "out" / "x" / "c.md").is_dir()


def test_a_name_that_the_file_system_does_not_have_is_told_of(tmp_path: Path) -> None:
    filing = put(tmp_path / "out", {"b.md": b"b", f"{'n' * 300}.md": b"n"})
    assert filing.written == 1
    (kept,) = filing.kept
    assert "the file system has no names such as" in kept.reason


@pytest.mark.parametrize("left", [b'["z.md", "abc', b"12\n", b"\xff\0\n", b"{}\n[1]\n"])
def test_what_a_killed_run_left_of_its_journal_swallows_nothing(tmp_path: Path, left: bytes) -> None:
    put(tmp_path / "out", {})
    (tmp_path / "out" / JOURNAL).write_bytes(left)
    with opened(tmp_path / "out") as out:  # one that names its files, and ends there
        out.put("a.md", b"first")
        out._name_all()
    filing = put(tmp_path / "out", {"a.md": b"second"})
    assert (filing.written, filing.kept) == (1, [])
    assert not (tmp_path / "out" / JOURNAL).exists()


def test_an_export_that_fails_leaves_neither_files_nor_names(tmp_path: Path) -> None:
    put(tmp_path / "out", {"a.md": b"a"})
    before = contents(tmp_path / "out")
    with opened(tmp_path / "out") as out:
        out.put("b.md", b"b")
        with pytest.raises(ExportError, match="cannot be written"), out.writing("c.md"):
            raise OSError(28, "No space left on device")
    assert contents(tmp_path / "out") == before


def test_the_vault_of_the_settings_is_refused_before_it_was_ever_read(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"a.md": "a\n"})
    with open_base(tmp_path / "kb", vault=tmp_path / "vault") as km:
        km.capture("one")
        with pytest.raises(UsageError, match="notes are read from"):
            km.export(tmp_path / "vault" / "out", into=True)
    assert sorted(files_of(tmp_path / "vault")) == ["a.md"]


def test_while_the_disk_is_waited_for_no_view_of_the_database_is_open(
    km: KnowledgeManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that is open keeps the write-ahead log from being cut."""
    cut, sync = list[bool](), os.fsync

    def syncing(fd: int) -> None:
        if (tmp_path / "out" / MANIFEST).exists() and len(list((tmp_path / "out").glob(".*.tmp"))) == 3 and not cut:
            with km._base.verb() as catalog:
                cut.append(catalog.checkpoint())
        sync(fd)

    monkeypatch.setattr(os, "fsync", syncing)
    assert km.export(tmp_path / "out").filing.written == 3
    assert cut[0]


def test_markdown_links_to_what_was_captured_keep_working_and_those_that_cannot_are_told_of(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        first = km.capture("# 目標 (x)\n\nt")
        old = first.path.rpartition("/")[2]
        km.add_note(f"[a](<{old}>) [b](<{old}#h i>) [c]({old}#h 't') ![d]( {old} )", title="inline")
        km.add_note(f"[e][r]\n\n[r]: {old}", title="reference")
        report = km.export(tmp_path / "out")
        day = first.path[:10]
    assert [remark.path for remark in report.remarks] == [f"captures/{day}-reference.md"]
    assert "leads nowhere here" in report.remarks[0].reason
    with open_base(tmp_path / "again") as again:
        again.ingest(tmp_path / "out")
        links = again.note("inline").links
        assert [link.text for link in links if link.note_id] == ["a", "b", "c", "d"]
        assert [link.anchor for link in links] == ["", "h i", "h", ""]


def test_front_matter_that_is_as_long_as_may_be_stays_front_matter(tmp_path: Path) -> None:
    text = "---\n" + "".join(f"k{at}: {'v' * 50}\n" for at in range(1149)) + "---\nbody\n"
    write_notes(tmp_path / "vault", {"long.md": text})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        (remark,) = km.export(tmp_path / "out").remarks
        assert "as long as it may be" in remark.reason
    assert (tmp_path / "out" / "long.md").read_text(encoding="utf-8") == text


def test_a_text_that_is_a_number_to_yaml_of_today_is_quoted() -> None:
    texts = ["1e5", "-2E+3", "0o17", "007", "yes", "12:30", "1.10", "~"]
    block = front_matter({"these": texts, "word": "e5"})
    assert all(f"- '{text}'\n" in block for text in texts)
    assert "word: e5\n" in block
    assert yaml.safe_load(block.strip("-\n"))["these"] == texts


def test_what_a_foreign_vault_claims_under_our_key_is_only_author_and_dates(tmp_path: Path) -> None:
    ours = {
        "id": "01a221bd-3ee1-7dd2-9cc1-4bcc7e3020e0",
        "space": "guild:7",
        "kind": "link",
        "origin": "https://d.test",
    }
    ours |= {"author": "user:42", "created": "2001-02-03T00:00:00Z", "updated": "2090-01-01T00:00:00Z", "digest": "b0"}
    odd = {"author": ["user:42"], "created": 99, "updated": {}, "digest": None}
    write_notes(
        tmp_path / "vault",
        {
            "forged.md": f"{front_matter({'nescord': ours})}text\n",
            "odd.md": f"{front_matter({'author': 'a', 'nescord': odd})}text\n",
            "none.md": f"{front_matter({'nescord': ['user:42']})}text\n",
        },
    )
    with open_base(tmp_path / "kb") as km:
        assert km.ingest(tmp_path / "vault").added == 3
        note = km.note("forged")
        assert (note.space, note.kind, note.owner) == ("personal", "permanent", "source")
        assert note.id != ours["id"]
        assert (note.author, note.created_at) == ("user:42", "2001-02-03T00:00:00Z")
        assert note.updated_at < "2090"
        assert km.note("odd").created_at > "2020"
        assert km.note("none").author == ""
        # Of what was exported, its word is not passed on.
        km.export(tmp_path / "out")
        said = yaml.safe_load((tmp_path / "out" / "forged.md").read_text(encoding="utf-8").split("---\n")[1])
        assert not {"id", "space", "kind"} & said["nescord"].keys()
