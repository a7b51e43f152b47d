"""A note as a file and back: the same bytes each time, names for every system, and what a reader makes of it."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writeback_world import last_line

from nescord import Settings
from nescord.drafting import Drafting, content_of
from nescord.notes import Note
from nescord.sources.vault import UnreadableError
from nescord.sources.writeback_file import blob_id, claimed_id, edited, note_hash, written
from nescord.sources.writeback_names import MOST_BYTES, Names, conflict_stem, stem_of

DRAFTING = Drafting.from_settings(Settings())
NOTE = Note(
    id="019ab3f2-6c1e-7d1a-9b5e-0f4c2a7e9d10",
    source="captures",
    path="2026-11-24/x.md",
    title="梅干し: no",
    body="三日干した #保存食\n\n---\nno end",
    front_matter={},
    lang="ja",
    author="user:7",
    space="personal",
    kind="fleeting",
    owner="us",
    created_at="2026-11-24T08:00:00Z",
    updated_at="2026-11-25T08:00:00Z",
    trashed_at="",
    tags=("no", "保存食", "2026"),
    aliases=("*梅", "1.0"),
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def captured(text: str, title: str = "", tags: tuple[str, ...] = ()) -> Note:
    draft = DRAFTING.capture(
        text, source=1, path="x.md", content=content_of(text), space="personal", author="", origin="",
        when="2026-11-24T08:00:00Z", title=title, tags=tags,
    )  # fmt: skip
    return replace(
        NOTE, title=draft.title, body=draft.body, tags=tuple(draft.tags), aliases=(), author="", lang=draft.lang
    )


def again(note: Note, data: bytes) -> bytes:
    """The hash of the note that comes out of a file."""
    return note_hash(edited(DRAFTING, note, data, source=1, path="inbox/a.md", when="2026-11-26T08:00:00Z"))


def test_the_file_of_a_note_is_what_people_expect() -> None:
    file = written(
        replace(NOTE, front_matter={"mood": "calm", "Title": "theirs"}), "https://discord.com/channels/1/2/3"
    )
    assert file.data.decode() == (
        "---\nid: 019ab3f2-6c1e-7d1a-9b5e-0f4c2a7e9d10\ntitle: '梅干し: no'\ntags:\n- '2026'\n- 'no'\n"
        "aliases:\n- '*梅'\n- '1.0'\ncreated: '2026-11-24T08:00:00Z'\nupdated: '2026-11-25T08:00:00Z'\n"
        "origin: https://discord.com/channels/1/2/3\nauthor: user:7\nmood: calm\n---\n"
        "三日干した #保存食\n\n---\nno end\n"
    )
    assert written(NOTE, "").data == written(replace(NOTE, tags=("2026", "no", "保存食")), "").data
    assert again(NOTE, written(NOTE, "").data) == note_hash(NOTE)


@given(TEXT.filter(str.strip), TEXT, st.lists(TEXT, max_size=3), st.dictionaries(TEXT, PLAIN, max_size=3))
def test_what_is_written_is_read_as_it_was_meant(
    text: str, title: str, tags: list[str], more: dict[str, object]
) -> None:
    note = replace(captured(text, title, tuple(tags)), front_matter=more)
    first = written(note, "")
    draft = edited(DRAFTING, note, first.data, source=1, path="inbox/a.md", when=note.updated_at)
    assert (draft.title, draft.body.rstrip("\r\n")) == (note.title or "a", note.body.rstrip("\r\n"))
    assert set(note.tags) <= set(draft.tags)
    assert written(note, "").data == first.data


def test_a_line_that_is_added_by_an_editor_is_no_change() -> None:
    data = written(NOTE, "").data
    assert again(NOTE, data + b"\n") == note_hash(NOTE)
    assert again(NOTE, data.replace(b"no end", b"an end")) != note_hash(NOTE)


def test_a_title_follows_the_text_until_somebody_types_one() -> None:
    note = captured("first line\n\nmore")
    data = written(note, "").data
    assert edited_title(note, data.replace(b"\nfirst line", b"\nanother line")) == "another line"
    assert edited_title(note, data.replace(b"title: first line", b"title: mine")) == "mine"
    assert edited_title(note, data.replace(b"title: first line\n", b"")) == "first line"
    assert edited_title(note, b"") == "a"


def edited_title(note: Note, data: bytes) -> str:
    return edited(DRAFTING, note, data, source=1, path="inbox/a.md", when=note.updated_at).title


def test_front_matter_that_cannot_be_read_changes_nothing() -> None:
    with pytest.raises(UnreadableError, match=r"front matter, line 3.*keeps what it said before"):
        again(NOTE, b"---\ntitle: x\nkey: [open\n---\ntext")
    assert claimed_id(b"---\nid: [open\n---\n") == ""
    assert claimed_id(written(NOTE, "").data) == NOTE.id


def test_a_blob_has_the_name_that_git_gives_it() -> None:
    assert blob_id(b"hi\n", "") == "45b983be36b73c0788dc9cbcb76cbb80fc7bb057"
    assert blob_id(b"hi\n", "0" * 64) == "96c18f0297e38d01f4b2dacddea4259aea6b2961eb0822bd2c0c3f6029030045"


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("題名", "2026-11-24-題名"),
        ("Buy green tea", "2026-11-24-Buy-green-tea"),
        ('a/b\\c: "d" <e> | f? #g [[h]] ^i', "2026-11-24-a-b-c-d-e-f-g-h-i"),
        ("か\u3099き\u3099", "2026-11-24-がぎ"),
        ("dots...", "2026-11-24-dots"),
        ("..", "2026-11-24-note"),
        ("\u202eevil\u200b\x07", "2026-11-24-evil"),
        ("", "2026-11-24-note"),
        ("🍵 茶", "2026-11-24-🍵-茶"),
    ],
)
def test_a_title_becomes_a_name_that_every_system_can_have(title: str, stem: str) -> None:
    assert stem_of("2026-11-24", title) == stem


@given(st.lists(st.text(max_size=80), max_size=8))
def test_no_two_files_have_one_name_and_each_is_short_enough(titles: list[str]) -> None:
    names = Names(["inbox/2026-11-24-note.md"])
    paths = [names.give("inbox", stem_of("2026-11-24", title)) for title in titles]
    assert len({path.casefold() for path in paths} - {"inbox/2026-11-24-note.md"}) == len(paths)
    for path in paths:
        name = path.removeprefix("inbox/")
        assert len(name.encode()) <= MOST_BYTES
        assert unicodedata.is_normalized("NFC", name)
        assert not PureWindowsPath(name).is_reserved()
        assert not set(name) & set('<>:"/\\|?*#^[]')
        assert name.endswith(".md")
        assert Path(name).stem == Path(name).stem.strip(" .")


def test_names_that_differ_in_case_or_composition_only_are_one_name() -> None:
    names = Names(["inbox/Tea.md", "inbox/カ\u3099.md"])
    assert names.give("inbox", "tEA") == "inbox/tEA-2.md"
    assert names.give("inbox", "ガ") == "inbox/ガ-2.md"
    assert names.give("", "tea") == "tea.md"
    long = names.give("inbox", "題" * 60)
    assert names.give("inbox", "題" * 60) == long.replace(long[-4:], "-2.md") or len(long.encode()) <= MOST_BYTES
    assert conflict_stem("a/b/x.md", "2026-11-24") == "x-conflict-2026-11-24"
    assert len(conflict_stem(long, "2026-11-24").encode()) <= MOST_BYTES - len("-99.md")
    assert last_line(conflict_stem(long, "2026-11-24")).endswith("-conflict-2026-11-24")
