"""The estimate against counts of the real vocabularies, kept here, and against the counting of the fake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.tokens import estimate, estimate_all
from tests.fakes.gemini.tokens import count_tokens

VAULT = Path(__file__).parent.parent / "data" / "sample" / "vault"

# The larger of what the vocabularies of Gemini and of Gemma 3 make of each note.
COUNTED = {
    "ja": {
        "Daily/2025-03-08.md": 131,
        "Health/人間ドック2025.md": 287,
        "HowTo/NASバックアップ手順.md": 400,
        "HowTo/給湯器エラー.md": 292,
        "Meetings/2025-07-03 倉庫システム要件打合せ.md": 457,
        "Projects/家計簿アプリ.md": 354,
        "Travel/屋久島 計画.md": 300,
        "レシピ/佐々木さんの煮卵.md": 155,
        "レシピ/梅干し2025.md": 310,
        "読書/失敗の本質.md": 300,
        "ﾚｼｰﾄ整理.md": 182,
    },
    "en": {
        "Books/Braiding Sweetgrass.md": 201,
        "Books/Reading list 2025.md": 211,
        "Daily/2025-10-02.md": 134,
        "Garden/🍅 tomato log 2025.md": 308,
        "Home.md": 255,
        "HowTo/Laptop restore.md": 276,
        "HowTo/printer setup.md": 282,
        "Meetings/2025-05-14 Harbor sync.md": 264,
        "Projects/Harbor migration.md": 1605,
        "Projects/blog post.draft.md": 78,
        "Recipes/Grandma's pierogi.md": 236,
        "Travel/Kyoto with parents.md": 239,
    },
}


def text_of(name: str) -> str:
    return (VAULT / name).read_text(encoding="utf-8")


def vault_texts(language: str) -> list[str]:
    """The notes of the sample vault in that language, the broken ones left out."""
    texts = []
    for path in sorted(VAULT.rglob("*.md")):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        kana_or_kanji = sum("\u3041" <= letter <= "\u9fff" for letter in text)
        is_japanese = kana_or_kanji > 0.3 * len(text)
        if len(text) >= 150 and "\0" not in text and is_japanese == (language == "ja"):
            texts.append(text)
    return texts


@pytest.mark.parametrize(("language", "most"), [("ja", 1.1), ("en", 1.15)])
def test_all_notes_together_are_not_under_counted_and_not_much_over(language: str, most: float) -> None:
    counted = COUNTED[language]
    together = estimate_all([text_of(name) for name in counted])
    assert 1 <= together / sum(counted.values()) <= most


@pytest.mark.parametrize("name", [name for counted in COUNTED.values() for name in counted])
def test_no_note_is_under_counted_by_more_than_a_tenth(name: str) -> None:
    counted = (COUNTED["ja"] | COUNTED["en"])[name]
    assert 0.9 <= estimate(text_of(name)) / counted <= 1.35


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_fake_counts_about_the_same(language: str) -> None:
    texts = vault_texts(language)
    assert len(texts) > 30
    assert 0.9 <= estimate_all(texts) / sum(map(count_tokens, texts)) <= 1.2
    # A text of a line or two may be further off, but not by half.
    assert all(0.8 <= estimate(text) / count_tokens(text) <= 1.6 for text in texts)


def test_words_are_not_tokens() -> None:
    japanese = "この文には空白がひとつもありませんが、四十文字ほどあり、トークンは一つではない。"
    assert 20 <= estimate(japanese) <= 40
    assert len(japanese.split()) == 1
    assert estimate("") == 0


def test_what_is_in_no_vocabulary_is_told_byte_by_byte() -> None:
    assert estimate("🍅" * 30) >= 30
    assert estimate("안녕하세요 " * 20) >= 40
    assert estimate("\ud800") >= 1


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_is_never_fewer_tokens(first: str, second: str) -> None:
    assert estimate(first + second) >= max(estimate(first), estimate(second)) - 1
    assert estimate_all([first, second]) == estimate(first) + estimate(second)
