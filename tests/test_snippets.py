"""Snippets: the passage shown, and the words marked in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import snippets
from nescord.snippets import WIDTH, Marker
from nescord.words import normalise


def marked(text: str, *marks: tuple[bool, str]) -> list[str]:
    snippet, spans = Marker(marks).snippet(text)
    return [snippet[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("text", "mark", "expected"),
    [
        ("the runner ran, running on", (False, "run"), ["running"]),
        ("Cafés and a café", (False, "cafe"), ["Cafés", "café"]),
        ("élan vital", (False, "elan"), ["élan"]),
        ("prerun rerun run", (False, "run"), ["run"]),
        ("全文検索と検索語", (True, "検索"), ["検索", "検索"]),
        ("ﾃﾞｰﾀﾍﾞｰｽを使う", (True, "データベース"), ["ﾃﾞｰﾀﾍﾞｰｽ"]),
        ("か\u3099っこう", (True, "が"), ["か\u3099"]),
        ("株式会社㍿の…話", (True, "話"), ["話"]),
        ("検索engineの話", (False, "engine"), ["engine"]),
        ("ＡＢＣ と abc", (False, "abc"), ["abc"]),
        ("ＡＢＣ だけ", (False, "abc"), ["ＡＢＣ"]),
        ("nothing here", (True, "無"), []),
    ],
)
def test_what_was_looked_for_is_marked_as_it_is_written(text: str, mark: tuple[bool, str], expected: list[str]) -> None:
    assert marked(text, mark) == expected


def test_the_passage_holds_the_most_different_words() -> None:
    text = "alpha " + "filler " * 60 + "alpha and beta together " + "filler " * 60 + "beta"
    snippet, _ = Marker([(False, "alpha"), (False, "beta")]).snippet(text)
    assert "alpha and beta together" in snippet
    assert snippet.startswith("…")
    assert snippet.endswith("…")


def test_a_snippet_is_one_line() -> None:
    assert Marker([]).snippet("a\nb\tc\r\nd")[0] == "a b c  d"


@given(text=st.text(max_size=600), word=st.text(min_size=1, max_size=5), is_cjk=st.booleans())
def test_marks_always_lie_inside_the_snippet(text: str, word: str, is_cjk: bool) -> None:
    snippet, spans = Marker([(is_cjk, word)]).snippet(text)
    assert len(snippet) <= WIDTH + 2
    assert all(0 <= start < end <= len(snippet) for start, end in spans)
    assert list(spans) == sorted(spans)


def test_what_is_left_unnormalised_has_nothing_to_normalise_but_punctuation() -> None:
    for code in range(0x110000):
        character = chr(code)
        if snippets._CHANGING.search(character):
            continue
        normal = normalise(character)
        is_mark = snippets._LETTER.search(character + normal) is None and len(normal) == 1
        assert normal == character.lower() or is_mark, hex(code)


MIXED = st.text("検索がカ゛か\u3099ー々aA1（）！Ａｶﾞ㍿é\u0301 。\n", max_size=30)


@given(text=MIXED, words=st.lists(st.tuples(st.booleans(), MIXED.map(normalise)), max_size=3))
def test_what_is_found_does_not_hang_on_whether_the_text_was_normalised(
    text: str, words: list[tuple[bool, str]]
) -> None:
    # Marks are letters and digits: words and runs of a query.
    marker = Marker((is_cjk, word) for is_cjk, word in words if word.isalnum())
    found = marker.marks(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snippets, "_CHANGING", re.compile(""))  # there is always something to normalise
        assert marker.marks(text) == found
