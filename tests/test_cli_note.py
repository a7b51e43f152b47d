"""`nescord note edit`, `history`, `files`, `delete` and `undelete` as people and scripts run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import in_process, nescord

from nescord.notes import Attachment
from tests.vaults import open_base, write_notes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with open_base(tmp_path / "state") as km:
        write_notes(tmp_path / "vault", {"Ume.md": "salted"})
        km.ingest(tmp_path / "vault")
        files = [
            Attachment("../écrit\n:1.txt", "text/plain", b"dear", 4),
            Attachment("far.bin", "", None, 9, "too far"),
        ]
        km.add_note("first text", title="Plums", attachments=files)
    return tmp_path / "state"


def run(data: Path, *arguments: str) -> tuple[int, str, str]:
    done = nescord("--data-dir", data, "note", *arguments)
    return done.code, done.out, done.err


def test_a_note_is_edited_and_what_it_said_can_be_read(data: Path) -> None:
    code, out, _ = run(data, "edit", "Plums", "second", "text", "--tag", "Garden", "--json")
    changed = json.loads(out)
    assert (code, changed["title"], changed["tags"]) == (0, "Plums", ["garden"])
    given = in_process("--data-dir", data, "note", "edit", "Plums", "-", given="三つ目\n".encode())
    assert (given.code, given.out) == (0, f"changed Plums  {changed['note_id']}\n")
    versions = json.loads(run(data, "history", "Plums", "--json")[1])
    assert [version["body"] for version in versions] == ["second text", "first text"]
    number = versions[1]["number"]
    assert run(data, "history", "Plums", "--show", str(number)) == (0, "first text\n", "")
    assert run(data, "history", "Plums", "--show", "99")[0] == 2


def test_an_edit_that_comes_too_late_exits_with_one(data: Path) -> None:
    code, _, err = run(data, "edit", "Plums", "x", "--expected", "2020-01-01T00:00:00Z")
    assert (code, "was changed at" in err) == (1, True)
    assert run(data, "edit", "Plums")[0] == 2
    code, _, err = run(data, "edit", "Ume", "x")
    assert (code, "Ume.md comes from the vault" in err) == (2, True)


def test_a_note_is_deleted_and_comes_back(data: Path) -> None:
    code, out, _ = run(data, "delete", "Plums", "--json")
    note_id = json.loads(out)["note_id"]
    assert (code, nescord("--data-dir", data, "search", "first").code) == (0, 1)
    assert run(data, "undelete", note_id)[:2] == (0, f"back again: Plums  {note_id}\n")
    assert nescord("--data-dir", data, "search", "first").code == 0
    assert run(data, "undelete", "nothing")[0] == 2


def test_files_are_listed_and_saved_under_names_that_lead_nowhere_else(data: Path, tmp_path: Path) -> None:
    code, out, _ = run(data, "files", "Plums", "--save", str(tmp_path / "a" / "b"))
    assert (code, "not stored: too far" in out) == (0, True)
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["0-.._écrit _1.txt"]
    assert (tmp_path / "a" / "b" / "0-.._écrit _1.txt").read_bytes() == b"dear"
    code, _, err = run(data, "files", "Plums", "--save", str(tmp_path / "a" / "b"))
    assert (code, "File exists" in err) == (2, True)
