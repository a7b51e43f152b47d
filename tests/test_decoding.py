"""What decodes is decoded; what cannot be is refused with its reason, never guessed into gibberish."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from pathlib import Path

import nasty
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord.decoding import DecodeError, decode, decode_name

JAPANESE = "これは会議の記録です。\n\n- 予定を確認した\n- Docker の使い方\n"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400))
def test_every_utf8_text_comes_back_as_it_was(text: str) -> None:
    text = "x" + text  # a text that begins with U+FEFF or looks like a program is another test's business
    assert decode(text.encode()).text == text


@pytest.mark.parametrize("encoding", ["cp932", "euc_jp", "iso2022_jp", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
@pytest.mark.parametrize("text", [JAPANESE, "メモ\n", "# 設計 メモ\r\n\r\n確認しました！\r\n", JAPANESE * 300])
def test_japanese_of_any_age_is_read(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Für die Größe müssen wir prüfen, ob das Gerät läuft.", "cp1252"),
        ("Le café est très agréable à côté de l'école.", "cp1252"),
        ("It’s a “nice” day — isn’t it?", "cp1252"),
        ("à la carte", "cp1252"),
        ("Zażółć gęślą jaźń, to jest notatka o spotkaniu.", "cp1250"),
        ("Это заметка о встрече, которая состоится завтра утром.", "cp1251"),
        ("这是一个关于会议的记录。我们需要确认时间和地点，然后通知大家。", "gb18030"),
        ("이것은 회의에 대한 기록입니다. 우리는 시간과 장소를 확인해야 합니다.", "cp949"),
        ("髙橋さんと①の件。ﾃｽﾄ", "cp932"),
        ("山田太郎\n鈴木一郎\n田中花子\n" * 10, "cp932"),
    ],
)
@pytest.mark.parametrize("times", [1, 20])
def test_legacy_encodings_are_told_apart(text: str, encoding: str, times: int) -> None:
    assert decode((text + "\n").encode(encoding) * times).text == (text + "\n") * times


@pytest.mark.parametrize("at", [3, 300, 1200])
def test_utf8_with_a_broken_byte_is_refused_with_its_place(at: int) -> None:
    whole = ("日本語のメモです。" * 100).encode()
    with pytest.raises(DecodeError, match=f"not valid UTF-8 at byte {at} and in no other encoding that fits"):
        decode(whole[:at] + b"\xff" + whole[at:])


@pytest.mark.parametrize(
    "data", [b"plain text\xff here", b"# Title\n\xff\xfe\xfd broken", "naïve façade".encode() + b"\xe3"]
)
def test_broken_bytes_do_not_become_letters_of_a_code_page(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not valid UTF-8 at byte"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\nabc",
        b"PK\x03\x04abc",
        b"%PDF-1.7\nabc",
        b"\x7fELF\x02",
        bytes(range(256)),
        b"abc" + b"\0" * 99,
    ],
)
def test_binary_is_called_binary(data: bytes) -> None:
    with pytest.raises(DecodeError, match="binary, not text"):
        decode(data)


def test_nul_bytes_in_a_text_are_kept() -> None:
    assert decode(b"a text with a NUL \0 inside\r\n").text == "a text with a NUL \0 inside\r\n"


def test_a_truncated_utf16_file_is_refused() -> None:
    with pytest.raises(DecodeError, match="not valid UTF-16 at byte 4"):
        decode(b"\xff\xfea\0b")


def test_an_empty_file_is_an_empty_text() -> None:
    assert decode(b"").text == ""


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_do_worse_than_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode(data).text.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "euc_jp"])
def test_a_japanese_file_name_is_read(encoding: str) -> None:
    assert decode_name("会議メモ.md".encode(encoding)) == "会議メモ.md"


def test_a_name_is_nfc() -> None:
    assert decode_name(unicodedata.normalize("NFD", "がぎぐ.md").encode()) == "がぎぐ.md"


def test_a_name_in_no_encoding_shows_its_bytes() -> None:
    assert decode_name(b"\x82\xff.md") == "\\x82\\xff.md"


def test_the_nasty_files_decode_as_they_promise(tmp_path: Path) -> None:
    files = nasty.write(tmp_path)
    assert len(files) >= 15
    for file in files:
        path = tmp_path / os.fsdecode(file.raw)
        if not path.is_file() or file.path in ("vanishing.md", "unreadable.md"):
            continue
        assert decode_name(file.raw) == file.path
        if file.stored:
            assert file.phrase in decode(path.read_bytes()).text, file.what
        else:
            with pytest.raises(DecodeError, match=file.reason):
                decode(path.read_bytes())
