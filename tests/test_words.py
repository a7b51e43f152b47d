"""Normalising and cutting text into index words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.words import index_text, normalise, stem


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ﾊﾝｶｸ ｶﾞｷﾞｸﾞ", "ハンカク ガギグ"),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ", "full width"),
        ("か\u3099", "が"),
        ("葛\U000e0100城", "葛城"),
        ("STRASSE Straße", "strasse strasse"),
        ("㍻三十年", "平成三十年"),
        ("J\u030c", "ǰ"),
    ],
)
def test_spellings_of_one_text_are_one(written: str, normal: str) -> None:
    assert normalise(written) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_a_run_of_cjk_becomes_bigrams_and_its_last_character() -> None:
    assert index_text("検索語").split() == ["検索", "索語", "語"]
    assert index_text("検").split() == ["検"]
    assert index_text("第3回の会議 Node.js").split() == ["第", "3", "回の", "の会", "会議", "議", "node.js"]


def test_words_are_stemmed_as_the_index_does() -> None:
    assert stem("running") == stem("runs") == "run"
    assert stem("cafés") == "cafe"
