"""An export as JSON lines or tables, and the command: everything is in it, and it is the same every time."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cli_runs import nescord

from nescord import KnowledgeManager
from nescord.notes import Attachment, Note
from tests.export_world import as_same, files_of, notes_of
from tests.vaults import SAMPLE, open_base, write_notes

GUILD = "guild:7700000000000000003"
FILE = Attachment("写真.png", "image/png", b"\x89PNG bytes", 10)
FILES = [FILE, Attachment("lost.bin", "", None, 9, "it could not be fetched")]


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    front = "---\ntags: [cafe, 飲み物]\naliases: [コーヒー]\nrating: 4.5\n---\n"
    write_notes(
        tmp_path / "vault", {"珈琲.md": f"{front}# 珈琲\n\n豆を挽く。[[Tea]] [[Nowhere#x|y]]\n", "Tea.md": "tea\n"}
    )
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        note = km.add_note("first 🎉", title="題", tags=["仕事"], space=GUILD, author="user:42", attachments=FILES)
        km.edit_note(note.id, text="second 🎉")
        km.edit_note(note.id, text="third 🎉 [[珈琲]]")
        km.delete_note(km.capture("in the trash").id)
        yield km


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "notes.jsonl").read_text(encoding="utf-8").splitlines()]


def test_each_line_says_all_of_a_note(km: KnowledgeManager, tmp_path: Path) -> None:
    assert km.export(tmp_path / "out", kind="jsonl", revisions=True).notes == 3
    head, *said = lines(tmp_path / "out")
    assert head == {"format": "nescord-jsonl", "version": 1}
    by_path = {each["path"]: each for each in said}
    coffee, tea = by_path["珈琲.md"], by_path["Tea.md"]
    note = km.note("珈琲.md")
    assert coffee["id"] == note.id
    assert (coffee["text"], coffee["title"], coffee["lang"]) == (note.body, "珈琲", "ja")
    assert coffee["front_matter"] == {"tags": ["cafe", "飲み物"], "aliases": ["コーヒー"], "rating": 4.5}
    assert coffee["links"] == [
        {"kind": "wiki", "target": "Tea", "anchor": "", "text": "", "note_id": tea["id"]},
        {"kind": "wiki", "target": "Nowhere", "anchor": "x", "text": "y", "note_id": ""},
    ]
    (ours,) = [each for each in said if each["owner"] == "us"]
    assert (ours["space"], ours["author"], ours["tags"], ours["trashed_at"]) == (GUILD, "user:42", ["仕事"], "")
    stored, lost = ours["attachments"]
    assert base64.b64decode(stored["bytes_base64"]) == FILE.content
    assert stored["sha256"] == hashlib.sha256(FILE.content or b"").hexdigest()
    assert (lost["sha256"], lost["reason"], "bytes_base64" in lost) == ("", "it could not be fetched", False)
    assert [former["text"] for former in ours["revisions"]] == ["second 🎉", "first 🎉"]
    assert all(set(each) == set(coffee) for each in said)


def test_it_is_written_anew_only_when_something_differs(km: KnowledgeManager, tmp_path: Path) -> None:
    for kind in ("jsonl", "parquet"):
        first = km.export(tmp_path / kind, kind=kind)
        assert first.filing.written
        again = km.export(tmp_path / kind, kind=kind)
        assert (again.filing.written, again.filing.unchanged) == (0, first.filing.written)
        km.export(tmp_path / f"{kind} elsewhere", kind=kind)
        assert files_of(tmp_path / kind) == files_of(tmp_path / f"{kind} elsewhere")
    km.capture("more")
    assert km.export(tmp_path / "jsonl", kind="jsonl").filing.written == 1
    assert len(lines(tmp_path / "jsonl")) == 5


def test_only_the_spaces_named_are_in_it(km: KnowledgeManager, tmp_path: Path) -> None:
    assert km.export(tmp_path / "jsonl", kind="jsonl", spaces=[GUILD]).notes == 1
    _, said = lines(tmp_path / "jsonl")
    assert said["space"] == GUILD
    # A note that is not in it is not told of.
    assert said["links"][0]["note_id"] == ""
    km.export(tmp_path / "parquet", kind="parquet", spaces=["personal"])
    assert all(b"third" not in data for data in files_of(tmp_path / "parquet").values())


def test_tables_have_every_note_link_tag_and_file(km: KnowledgeManager, tmp_path: Path) -> None:
    assert km.export(tmp_path / "out", kind="parquet", revisions=True).notes == 3
    tables = {path.stem: pq.read_table(path).to_pylist() for path in (tmp_path / "out").glob("*.parquet")}
    assert set(tables) == {"notes", "links", "tags", "attachments", "revisions"}
    by_path = {row["path"]: row for row in tables["notes"]}
    coffee = by_path["珈琲.md"]
    assert (coffee["title"], coffee["aliases"], coffee["tags"]) == ("珈琲", ["コーヒー"], ["cafe", "飲み物"])
    assert coffee["created_at"].isoformat() == km.note("珈琲").created_at.replace("Z", "+00:00")
    assert json.loads(coffee["front_matter"])["rating"] == 4.5
    links = {(row["note_id"], row["target"]): row["to_note"] for row in tables["links"]}
    assert links[coffee["id"], "Tea"] == by_path["Tea.md"]["id"]
    assert links[coffee["id"], "Nowhere"] is None
    assert sorted(row["tag"] for row in tables["tags"]) == ["cafe", "仕事", "飲み物"]
    assert [(row["name"], row["content"]) for row in tables["attachments"]] == [
        ("写真.png", FILE.content),
        ("lost.bin", None),
    ]
    assert [row["text"] for row in tables["revisions"]] == ["first 🎉", "second 🎉"]


def _said_of(notes: list[Note]) -> dict[str, tuple[object, ...]]:
    same = as_same(notes, {note.id: note.id for note in notes})
    return {note.id: (same[note.id], note.path, note.space, note.kind, note.front_matter) for note in notes}


def test_json_lines_come_back_with_their_ids(km: KnowledgeManager, tmp_path: Path) -> None:
    km.ingest(SAMPLE / "vault", name="sample")
    km.export(tmp_path / "out", kind="jsonl", revisions=True)
    took = nescord("--data-dir", str(tmp_path / "again"), "import-from", "jsonl", str(tmp_path / "out" / "notes.jsonl"))
    assert took.code == 0, took.err
    with open_base(tmp_path / "again") as again:
        assert _said_of(notes_of(again)) == _said_of(notes_of(km))
        (ours,) = [note for note in notes_of(again) if note.owner == "us" and note.author]
        assert [version.body for version in again.note_history(ours.id)] == ["second 🎉", "first 🎉"]
        assert again.attachment(ours.id, 0) == FILE.content


def test_the_command_exports_and_says_what_it_did(km: KnowledgeManager, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = nescord("--data-dir", str(tmp_path / "kb"), "export", str(out))
    assert (first.code, "3 notes; 4 files written, 0 unchanged, 0 removed, 0 kept" in first.out) == (0, True)
    (out / "personal" / "Tea.md").write_text("mine", encoding="utf-8")
    again = nescord("--data-dir", str(tmp_path / "kb"), "export", str(out))
    assert "kept: personal/Tea.md: it was changed since it was exported" in again.err
    told = json.loads(nescord("--data-dir", str(tmp_path / "kb"), "export", str(out), "--json").out)
    assert (told["format"], told["notes"], told["written"], told["unchanged"]) == ("vault", 3, 0, 3)
    assert [kept["path"] for kept in told["kept"]] == ["personal/Tea.md"]


def test_the_command_refuses_what_cannot_be(km: KnowledgeManager, tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path / "kb"), "export")
    assert nescord(*where, str(tmp_path / "vault")).code == 2
    assert nescord(*where, str(tmp_path / "out"), "--format", "pdf").code == 2
    assert nescord(*where, str(tmp_path / "out"), "--space", "nowhere").code == 2
    assert nescord("--data-dir", str(tmp_path / "none"), "export", str(tmp_path / "out")).code == 2
    assert not (tmp_path / "out").exists()
