"""An exported vault is a vault: taken in again, every note is what it was, and answers the same questions."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import golden
from nescord import KnowledgeManager
from nescord.errors import UsageError
from nescord.notes import Attachment
from tests.export_world import as_same, exported_ids, files_of, notes_of, own_names
from tests.vaults import SAMPLE, open_base, paths_found, write_notes

GUILD = "guild:7700000000000000003"


def came_back(km: KnowledgeManager, folder: Path, *, texts: bool = True) -> None:
    """Export to `folder`, take that in elsewhere, compare; and the second base exports to the same, but for ids."""
    report = km.export(folder / "out")
    assert report.remarks == []
    assert report.filing.kept == []
    before = notes_of(km)
    with open_base(folder / "again") as again:
        taken = again.ingest(folder / "out", name="notes")
        assert (taken.failed, taken.added) == (0, len(before))
        after = notes_of(again)
        found, expected = (
            as_same(after, exported_ids(after), texts=texts),
            as_same(before, own_names(before), texts=texts),
        )
        # A note without any title is called by its file.
        nameless = {name: replace(found[name], title="") for name, said in expected.items() if not said.title}
        assert {**found, **nameless} == expected
        again.export(folder / "out again")
    first, second = files_of(folder / "out"), files_of(folder / "out again")
    assert {name: data for name, data in second.items() if name.endswith(".md")} == {
        name: _without_our_id(data) for name, data in first.items() if name.endswith(".md")
    }


def _without_our_id(data: bytes) -> bytes:
    """A note that was captured is one of a vault in the second base, and says no more what it was in the first."""
    lines = data.splitlines(keepends=True)
    ours = (b"  id: ", b"  kind: ", b"  space: ")
    return b"".join(line for line in lines if not line.startswith(ours))


def test_the_sample_vault_comes_back_and_answers_the_golden_queries_as_before(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(SAMPLE / "vault")
        ours = km.capture(
            "# 図書館の件 📚\n\n本を返す。[[梅干し2025]] #用事", author="user:42", source="https://d.test/1"
        )
        before = {row.id: paths_found(km, row.query, limit=10) for row in golden.load()}
        came_back(km, tmp_path)
        with open_base(tmp_path / "again") as again:
            for row in golden.load():
                name = f"captures/{ours.path[:10]}-図書館の件_📚.md"
                expected = [name if path == ours.path else path for path in before[row.id]]
                assert paths_found(again, row.query, limit=10) == expected, row.query


def test_what_was_captured_is_a_file_of_its_date_and_title_with_what_obsidian_knows(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        note = km.add_note(
            "本文 #メモ\n",
            title="会議: a/b? 🎉",
            tags=["仕事", "no"],
            author="user:42",
            source="https://d.test/1",
            space=GUILD,
        )
        km.export(tmp_path / "out")
        (path,) = (tmp_path / "out" / "captures").iterdir()
        assert path.name == f"{note.path[:10]}-会議_a_b_🎉.md"
        text = path.read_text(encoding="utf-8")
        head, _, body = text.removeprefix("---\n").partition("---\n")
        assert body == note.body
        values = yaml.safe_load(head.replace(note.created_at, "when"))
        assert values["title"] == "会議: a/b? 🎉"
        assert sorted(values["tags"]) == ["no", "仕事"]
        ours = values["nescord"]
        assert (ours["id"], ours["space"], ours["author"]) == (note.id, GUILD, "user:42")
        assert ours["origin"] == "https://d.test/1"
        assert "🎉" in head
        assert path.stat().st_mtime == datetime.fromisoformat(note.updated_at).timestamp()


def test_nothing_is_added_to_a_note_that_says_all_of_itself(tmp_path: Path) -> None:
    text = "---\ntitle: 鍵\ncreated: 2024-01-02\nupdated: 2024-05-06T07:08:09Z\nrating: 4.5\ndone: true\n---\n# Key\n"
    write_notes(tmp_path / "vault", {"a/鍵.md": text})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        km.export(tmp_path / "out")
        assert (tmp_path / "out" / "a" / "鍵.md").read_text(encoding="utf-8") == text


def test_dates_of_files_come_back_until_the_text_is_another(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"plain.md": "no front matter\n", "other.md": "nor here\n"})
    os.utime(tmp_path / "vault" / "plain.md", (1_500_000_000, 1_500_000_000))
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        km.export(tmp_path / "out")
    out = tmp_path / "out" / "plain.md"
    assert out.stat().st_mtime == 1_500_000_000
    os.utime(out)  # as a clone of a repository has it
    with open_base(tmp_path / "again") as again:
        again.ingest(tmp_path / "out")
        assert again.note("plain").updated_at == again.note("plain").created_at == "2017-07-14T02:40:00Z"
        out.write_text(out.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
        again.ingest(tmp_path / "out")
        assert again.note("plain").created_at == "2017-07-14T02:40:00Z"
        assert again.note("plain").updated_at > "2020"


def test_what_a_front_matter_claims_of_id_and_space_is_not_believed(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        note = km.capture("of the guild", space=GUILD)
        km.export(tmp_path / "out")
        km.ingest(tmp_path / "out")
        (other,) = [each for each in notes_of(km) if each.owner == "source"]
        assert (other.space, other.body) == ("personal", note.body)
        assert other.id != note.id


def test_links_lead_to_what_was_captured_under_its_new_name(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"Home.md": "see [[Tea]]\n", "Tea.md": "tea\n"})
    with open_base(tmp_path / "kb") as km:
        first = km.capture("# 目標\n\ntarget [[Tea]]")
        stem = first.path.removesuffix(".md").partition("/")[2]
        km.add_note(
            f"see [[{stem}]], [[{stem}#節|label]], ![[{stem}]] and `[[{stem}]]`, | [x]({stem}.md)", title="source"
        )
        (tmp_path / "vault" / "Home.md").write_text(f"---\nup: '[[{stem}]]'\n---\n[[Tea]] [[{stem}]]\n")
        km.ingest(tmp_path / "vault")
        came_back(km, tmp_path, texts=False)
        new = f"captures/{first.path[:10]}-目標"
        text = (tmp_path / "out" / "captures" / f"{first.path[:10]}-source.md").read_text(encoding="utf-8")
        assert f"see [[{new}]], [[{new}#節|label]], ![[{new}]] and `[[{stem}]]`" in text
        assert (tmp_path / "out" / "Home.md").read_text(encoding="utf-8").count(f"[[{new}]]") == 2


def test_a_merged_note_is_found_by_links_to_what_it_took_in(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        first, second = km.capture("# one\n\nfirst text"), km.capture("# two\n\nsecond text")
        stem = second.path.removesuffix(".md").partition("/")[2]
        km.capture(f"# third\n\nsee [[{stem}]]")
        km.merge([first.id, second.id])
        came_back(km, tmp_path, texts=False)


def test_a_tag_or_title_that_an_edit_took_away_does_not_come_back(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        text = "---\ntitle: '[[Old]]'\ntags: [a, b]\nalias: x, y\n---\nbody #c\n"
        note = km.capture(text)
        km.edit_note(note.id, title="New", tags=["b", "d"])
        km.add_note("---\nTags: '[[Tea]]'\n---\none", tags=["x"])
        km.add_note("---\ntags: ['[[Green Tea]]', y]\n---\ntwo", tags=["x"])
        came_back(km, tmp_path)


def test_texts_that_would_be_taken_for_something_else_come_back(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        for text in (
            "%PDF-1.4 is how they begin",
            "---\n---\n---\na: 1\n---\nafter",
            "GIF89a",
            "\ufeffmark",
            "a\0b\r\nc\r",
        ):
            km.add_note(text, title="t")
        write_notes(
            tmp_path / "vault", {"empty.md": "", "block.md": "---\n---\n---\nb: 1\n---\nx", "bom.md": "\ufeff\ufeffx"}
        )
        km.ingest(tmp_path / "vault")
        came_back(km, tmp_path)


def test_a_broken_front_matter_stays_as_it_is(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"broken.md": "---\ntitle: a: b\ntags: [x #no\n[[link]]\n---\nbody #yes\n"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        report = km.export(tmp_path / "out")
        assert (tmp_path / "out" / "broken.md").read_bytes() == (tmp_path / "vault" / "broken.md").read_bytes()
        (remark,) = report.remarks
        assert (remark.path, "front matter is broken" in remark.reason) == ("broken.md", True)


def test_spaces_are_folders_where_there_are_several_and_none_shows_in_anothers(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"a.md": "mine\n"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        km.capture("theirs", space=GUILD)
        km.export(tmp_path / "all")
        km.export(tmp_path / "one", spaces=[GUILD])
        with pytest.raises(UsageError, match='"guild" is no space'):
            km.export(tmp_path / "none", spaces=["guild"])
    names = {path for path in files_of(tmp_path / "all") if path.endswith(".md")}
    assert {path.split("/")[0] for path in names} == {"personal", GUILD.replace(":", "_")}
    assert all(b"mine" not in data for data in files_of(tmp_path / "one").values())
    assert not (tmp_path / "none").exists()


def test_vaults_are_folders_where_there_are_several(tmp_path: Path) -> None:
    for name in ("work", "家"):
        write_notes(tmp_path / name, {"Home.md": f"home of {name}, [[Plan]]\n", "Plan.md": f"plan of {name}\n"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "work")
        km.ingest(tmp_path / "家")
        km.export(tmp_path / "out")
    with open_base(tmp_path / "again") as again:
        again.ingest(tmp_path / "out")
        for name in ("work", "家"):
            (link,) = again.note(f"{name}/Home.md").links
            assert again.note(link.note_id).path == f"{name}/Plan.md"


def test_files_of_notes_lie_beside_them_under_safe_names(tmp_path: Path) -> None:
    names = ["../../写真?.png", "写真?.png", "note.md", "con.txt", ""]
    files = [Attachment(name, "image/png", f"bytes {at}".encode(), 7) for at, name in enumerate(names)]
    files.append(Attachment("lost.bin", "", None, 9, "it could not be fetched"))
    with open_base(tmp_path / "kb") as km:
        note = km.add_note("with files", title="題", attachments=files)
        km.export(tmp_path / "out")
        again = km.export(tmp_path / "out")
        assert (again.filing.written, again.filing.removed) == (0, 0)
        text = (tmp_path / "out" / "captures" / f"{note.path[:10]}-題.md").read_text(encoding="utf-8")
    kept = {path: data for path, data in files_of(tmp_path / "out").items() if path.startswith("attachments/")}
    assert sorted(kept.values()) == [f"bytes {at}".encode() for at in range(len(names))]
    assert all(path.startswith(f"attachments/captures/{note.path[:10]}-題/") for path in kept)
    assert not any(path.endswith(".md") for path in kept)
    assert all(f"- {path}\n" in text for path in kept)
    assert "lost.bin: it could not be fetched" in text
    with open_base(tmp_path / "again") as other:
        assert other.ingest(tmp_path / "out").added == 1


def test_revisions_are_there_when_asked_for_and_no_notes(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        note = km.capture("# 題\n\nfirst")
        km.edit_note(note.id, text="# 題\n\nsecond")
        km.edit_note(note.id, text="# 題\n\nthird")
        km.export(tmp_path / "out")
        assert not any(b"first" in data for data in files_of(tmp_path / "out").values())
        km.export(tmp_path / "out", revisions=True)
    former = {path: data for path, data in files_of(tmp_path / "out").items() if path.startswith(".revisions/")}
    assert [data.rpartition(b"\n")[2] for _, data in sorted(former.items())] == [b"first", b"second"]
    with open_base(tmp_path / "again") as other:
        assert other.ingest(tmp_path / "out").added == 1


_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\x1b", exclude_categories=["Cs"]), max_size=20)
_NAME = st.sampled_from(["Tea", "珈琲", "が", "b c", "🎉", "2024-01-02", "nothing", "x.y"])
_PIECE = st.one_of(
    _LINE,
    _LINE.map(lambda text: f"# {text}"),
    _NAME.map(lambda name: f"see [[{name}]] and [[{name}#h|{name}]] ![[{name}]] [t](<{name}.md>)"),
    st.sampled_from(
        ["#tag", "#日本/語", "---", "```", "| a | b |\n|--|--|\n| [[Tea\\|t]] | #x |", "- [ ] todo", "\ttab", " "]
    ),
)
_BODY = st.lists(_PIECE, max_size=6).map("\n".join)
_SCALAR = st.one_of(
    _LINE, st.integers(-99, 99), st.booleans(), st.none(), st.sampled_from(["no", "1e5", "007", "12:30", "~"])
)
_KEY = st.sampled_from(
    [
        "title",
        "tags",
        "Tags",
        "tag",
        "aliases",
        "alias",
        "created",
        "updated",
        "date",
        "author",
        "日付",
        "up",
        "nescord",
    ]
)
_VALUE = st.one_of(
    _SCALAR, st.lists(_SCALAR, max_size=3), st.dictionaries(_KEY, _SCALAR, max_size=2), _NAME.map("[[{}]]".format)
)
_DATE = st.sampled_from(["2024-02-30", "2019-12-31", "2020-01-01T02:03:04+09:00", "2021年3月4日"])
_FRONT = st.dictionaries(_KEY, st.one_of(_VALUE, _DATE), max_size=5)


@st.composite
def _text(draw: st.DrawFn) -> str:
    body = draw(_BODY)
    if draw(st.booleans()):
        return body
    front = yaml.safe_dump(draw(_FRONT), allow_unicode=True, sort_keys=False)
    return f"---\n{front}---\n{body}"


@settings(max_examples=25)
@given(
    vault=st.dictionaries(_NAME, _text(), max_size=4),
    captures=st.lists(st.tuples(_text(), _LINE, st.lists(_LINE, max_size=2)), max_size=3),
    edits=st.lists(
        st.tuples(st.integers(0, 2), st.none() | _BODY, st.none() | _LINE, st.none() | st.lists(_LINE)), max_size=3
    ),
)
def test_whatever_notes_say_they_come_back(
    vault: dict[str, str], captures: list[tuple[str, str, list[str]]], edits: list
) -> None:
    folder = Path(mkdtemp(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    try:
        write_notes(folder / "vault", {"folder/keep.md": "", **{f"{name}.md": text for name, text in vault.items()}})
        with open_base(folder / "kb") as km:
            km.ingest(folder / "vault")
            kept = [km.add_note(text, title=title, tags=tags).id for text, title, tags in captures if text.strip()]
            for at, text, title, tags in edits:
                if at < len(kept) and (text is None or text.strip()):
                    km.edit_note(kept[at], text=text, title=title, tags=tags)
            came_back(km, folder)
    finally:
        shutil.rmtree(folder)
