"""The detector knows the languages of a mixed vault, also from a title's length of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.language import detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("会議の記録です。", "ja"),
        ("東京都庁", "ja"),
        ("会議資料", "ja"),
        ("メモ", "ja"),
        ("ﾒﾓ", "ja"),
        ("# Docker の使い方\n\n```sh\ndocker run --rm -it ubuntu bash\n```\nコンテナを起動する。", "ja"),
        ("这是一个关于会议的记录。我们需要确认时间和地点。", "zh"),
        ("這是一個關於會議的記錄。", "zh"),
        ("这是一个关于「の」的会议记录。我们需要确认时间和地点，然后通知大家参加会议。", "zh"),
        ("中国語の「这」と「们」は日本語では使わない。", "ja"),
        ("Chili con carne", "en"),
        ("이것은 회의 기록입니다.", "ko"),
        ("We agreed on the search design in the meeting.", "en"),
        (
            "The Japanese word 改善 stands for a change for the better, and it is used in every factory of the world.",
            "en",
        ),
        ("Docker compose", "en"),
        ("Das ist nicht die Größe, die wir mit der Maschine prüfen.", "de"),
        ("Gerät läuft", "de"),
        ("Le café est très agréable et les enfants sont dans la cour.", "fr"),
        ("El niño comió en la mañana y los perros no.", "es"),
        ("Il gatto è sul tavolo e non vuole scendere, ma questo è il suo posto.", "it"),
        ("Это заметка о встрече.", "ru"),
        ("", "und"),
        ("12:30 — 100 % → 🎉", "und"),
        ("。、「」", "und"),
    ],
)
def test_languages_are_told_apart(text: str, language: str) -> None:
    assert detect(text) == language


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert detect(text).isascii()


def test_nothing_without_letters_has_a_language() -> None:
    assert {detect(text) for text in ("!?", "\0", "123", "- [ ] \n---\n")} == {"und"}
