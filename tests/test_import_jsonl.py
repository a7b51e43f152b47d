"""An export as JSON lines comes back as the notes that it was made of, and broken lines cost only themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nescord import KnowledgeManager
from nescord.errors import UsageError
from nescord.identifiers import uuid7
from nescord.importing import ImportReport
from nescord.notes import Attachment, Note
from nescord.sources.jsonl import opened
from tests.vaults import SAMPLE, open_base, paths_found

HEAD = {"format": "nescord-jsonl", "version": 1}


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "state") as knowledge:
        yield knowledge


def take_in(km: KnowledgeManager, file: Path, name: str = "") -> list[ImportReport]:
    with opened(file, name=name) as sources:
        return [km.take_in(source, space="personal", owner="us") for source in sources]


def write(file: Path, *lines: object) -> Path:
    text = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in (HEAD, *lines))
    file.write_text("\n".join(text) + "\n", encoding="utf-8", errors="surrogatepass")
    return file


def line(path: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid7()), "path": path, "source": "notes", "title": "", "text": text, "owner": "source", **more}


def all_notes(km: KnowledgeManager) -> dict[str, Note]:
    found = {}
    while titles := km.recent_notes(limit=1000, offset=len(found)):
        found |= {one.note_id: km.note(one.note_id) for one in titles}
    # The source of what was captured has another name where there are captures already, and a claim of one is no wish.
    return {note_id: replace(note, source="") for note_id, note in found.items()}


def test_the_sample_comes_in_with_ids_links_files_and_former_texts(km: KnowledgeManager) -> None:
    reports = take_in(km, SAMPLE / "notes.jsonl")
    assert [(report.source, report.added, report.failed) for report in reports] == [("notes", 2, 0), ("captures", 1, 0)]
    soup, bins = km.note("味噌汁"), km.note("Bin day")
    assert (soup.id, soup.owner, soup.aliases, soup.tags) == (
        "01975a00-0000-7000-8000-000000000001",
        "source",
        ("みそしる",),
        ("cooking", "和食"),
    )
    assert [link.note_id for link in soup.links] == ["01975a00-0000-7000-8000-000000000002"]
    assert (bins.owner, bins.space, bins.author) == ("us", "user:420000000000000042", "user:420000000000000042")
    assert km.attachment(bins.id, 0) == b"Thursday\n"
    assert [(one.body, one.replaced_at) for one in km.note_history(bins.id)] == [
        ("Bin day is Tuesday. #home", "2025-06-13T18:00:00Z")
    ]
    assert [report.unchanged for report in take_in(km, SAMPLE / "notes.jsonl")] == [2, 1]


def test_a_whole_base_comes_back_equal_and_answers_alike(km: KnowledgeManager, tmp_path: Path) -> None:
    km.ingest(SAMPLE / "vault")
    first = km.add_note("# 朝\n\nFirst thing #morning", tags=["日課"], space="user:42", author="user:42")
    km.edit_note(first.id, text="# 朝\n\nSecond thing, see [[Home]]", title="朝の手順")
    km.edit_note(first.id, text="# 朝\n\nThird thing, see [[Home]]")
    files = [Attachment("図.png", "image/png", b"\0png", 4), Attachment("big.bin", "", None, 10**9, "it is too large")]
    km.add_note("", attachments=files, source="https://discord.com/channels/1/2/3", space="guild:7")
    km.add_note("---\n\nno front matter, a rule\n\n---\nand more")
    merged = [km.add_note(f"part {n} #tag{n}", author="user:42").id for n in range(3)]
    km.merge(merged)
    km.delete_note(km.capture("in the trash").id)
    km.export(tmp_path / "out", kind="jsonl", revisions=True)
    with open_base(tmp_path / "empty") as other:
        reports = take_in(other, tmp_path / "out" / "notes.jsonl")
        assert not any(report.failed or report.kept for report in reports)
        before, after = all_notes(km), all_notes(other)
        assert after.keys() == before.keys()
        for note_id, note in before.items():
            assert after[note_id] == note
            assert other.attachments(note_id) == km.attachments(note_id)
            assert [(one.body, one.title, sorted(one.tags)) for one in other.note_history(note_id)] == [
                (one.body, one.title, sorted(one.tags)) for one in km.note_history(note_id)
            ]
        golden = [json.loads(each) for each in (SAMPLE / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
        for query in (each["query"] for each in golden):
            assert [(hit.note_id, hit.path) for hit in other.search(query)] == [
                (hit.note_id, hit.path) for hit in km.search(query)
            ]
        again = take_in(other, tmp_path / "out" / "notes.jsonl")
        assert all(report.unchanged and not report.changes for report in again)


def test_into_the_base_that_it_came_from_nothing_comes_twice(km: KnowledgeManager, tmp_path: Path) -> None:
    km.ingest(SAMPLE / "vault")
    km.capture("mine")
    km.export(tmp_path / "out", kind="jsonl")
    notes = all_notes(km)
    for _ in range(2):
        reports = take_in(km, tmp_path / "out" / "notes.jsonl")
        assert sum(report.kept for report in reports) == len(notes)
    assert all_notes(km) == notes


def test_a_vault_takes_its_notes_over_where_it_is(km: KnowledgeManager, tmp_path: Path) -> None:
    km.ingest(SAMPLE / "vault")
    km.export(tmp_path / "out", kind="jsonl")
    with open_base(tmp_path / "other") as other:
        take_in(other, tmp_path / "out" / "notes.jsonl")
        other.move_source("vault", SAMPLE / "vault")
        report = other.ingest(SAMPLE / "vault")
        assert (report.added, report.deleted) == (0, 0)
        assert all_notes(other).keys() == all_notes(km).keys()


def test_broken_lines_are_told_of_and_stop_nothing(km: KnowledgeManager, tmp_path: Path) -> None:
    deep = '{"path": "deep.md", "source": "notes", "front_matter": ' + "[" * 100_000 + "]" * 100_000 + "}"
    file = write(
        tmp_path / "notes.jsonl",
        line("good.md", "早起き"),
        '{"path": "cut.md", "source": "notes", "tex',
        "[1, 2]",
        "",
        {"id": "x", "source": "notes", "text": "no path"},
        line("id.md", "text") | {"id": "17"},
        line("text.md", "") | {"text": 5},
        line("tags.md", "t", tags=["a", 1]),
        line("front.md", "t", front_matter=[1]),
        '{"path": "nan.md", "source": "notes", "text": "t", "front_matter": {"a": NaN}}',
        deep,
        line("../../etc.md", "up"),
        line("/abs.md", "abs"),
        line("file.md", "t", attachments=[{"name": "f", "bytes_base64": "%%%", "sha256": "0"}]),
        line("sum.md", "t", attachments=[{"name": "f", "bytes_base64": "QQ==", "sha256": "0" * 64}]),
        line("half.md", "half \ud800", front_matter={"a": "\ud800"}, title="\udfff"),
        line("space.md", "t", space="everyone"),
        line("trash.md", "t", trashed_at="2025-01-01T00:00:00Z"),
        line("　全角 名.md", "full width", source="二番"),
    )
    reports = take_in(km, file)
    assert [(report.source, report.added) for report in reports] == [("notes", 2), ("二番", 1)]
    assert reports[0].failed == 14
    assert paths_found(km, "早起き") == ["good.md"]
    assert km.note("half.md").front_matter == {"a": "?"}
    assert {failure.path for failure in km.failures()} >= {"line 3", "line 4", "id.md", "sum.md", "../../etc.md"}
    write(file, line("good.md", "早起き"))


def test_text_may_have_its_own_front_matter_where_the_line_has_none(km: KnowledgeManager, tmp_path: Path) -> None:
    take_in(km, write(tmp_path / "n.jsonl", line("a.md", "---\ntitle: 題\ntags: [x]\ncreated: 2020-02-02\n---\nbody")))
    note = km.note("a.md")
    assert (note.title, note.tags, note.body, note.created_at[:4]) == ("題", ("x",), "body", "2020")


def test_a_text_that_looks_like_front_matter_stays_a_text(km: KnowledgeManager, tmp_path: Path) -> None:
    text = "---\na: 1\n---\nbelow #tag"
    take_in(km, write(tmp_path / "n.jsonl", line("a.md", text, front_matter={"b": 2}), line("b.md", "", title="題")))
    note = km.note("a.md")
    assert (note.body, note.front_matter, note.tags) == (text, {"b": 2}, ("tag",))
    assert (km.note("b.md").title, km.note("b.md").body) == ("題", "")


def test_two_exports_are_told_apart_by_a_name(km: KnowledgeManager, tmp_path: Path) -> None:
    take_in(km, write(tmp_path / "one.jsonl", line("Home.md", "of one")))
    [report] = take_in(km, write(tmp_path / "two.jsonl", line("Home.md", "of two")), name="work")
    assert (report.source, report.added) == ("work-notes", 1)
    # Without a name the path is taken, and nothing is written over.
    take_in(km, write(tmp_path / "three.jsonl", line("Home.md", "of three")))
    assert sorted(note.body for note in all_notes(km).values()) == ["of one", "of three", "of two"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("", "no export"),
        ("{}", "no export"),
        ("\0\1", "no export"),
        ('{"format": "nescord-jsonl", "version": 2}', "version 2"),
    ],
)
def test_what_is_no_export_of_ours_is_refused(tmp_path: Path, head: str, message: str) -> None:
    (tmp_path / "x.jsonl").write_text(head, encoding="utf-8")
    with pytest.raises(UsageError, match=message), opened(tmp_path / "x.jsonl"):
        pass
    with pytest.raises(UsageError, match="cannot be read"), opened(tmp_path / "nothing.jsonl"):
        pass
