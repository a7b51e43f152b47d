"""Writes files that have broken note programs before, and says of each what must become of it."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PHRASE_JA = "検索の設計について会議で確認しました。"
PHRASE_EN = "We agreed on the search design in the meeting."


@dataclass(frozen=True, slots=True)
class Nasty:
    """One file: `raw` opens it in the folder, `path` is its name for people.

    `stored`: its text is searchable, and `phrase` is in it. Otherwise `reason` is part of the recorded reason; for a
    stored file `reason` is part of its warning ("" = it has none).
    """

    raw: bytes
    path: str
    what: str
    stored: bool
    reason: str = ""
    phrase: str = ""


def write(folder: Path) -> list[Nasty]:
    """Fill an existing folder. `vanishing.md` is an ordinary file: the test takes it away between scan and read."""
    written: list[Nasty] = []

    def add(
        name: str | bytes,
        content: bytes,
        what: str,
        *,
        stored: bool = True,
        reason: str = "",
        phrase: str = "",
        path: str = "",
    ) -> None:
        raw = name if isinstance(name, bytes) else name.encode()
        with open(os.path.join(os.fsencode(folder), raw), "wb") as file:
            file.write(content)
        path = path or unicodedata.normalize("NFC", raw.decode())
        written.append(Nasty(raw, path, what, stored, reason, phrase))

    ja = f"# 議事録\n\n{PHRASE_JA}\n"
    en = f"# Minutes\n\n{PHRASE_EN}\n"
    add("empty.md", b"", "no bytes at all")
    add("blank.md", b"\n \t\r\n", "nothing but white space")
    add(
        "one-line.md",
        (PHRASE_EN + " ").encode() * (20_000_000 // (len(PHRASE_EN) + 1)),
        "20 MB on one line",
        phrase=PHRASE_EN,
    )
    add(
        "broken-utf8.md",
        ja.encode()[:28] + b"\xff" + ja.encode()[28:],
        "UTF-8 with a broken byte",
        stored=False,
        reason="not valid UTF-8 at byte 28 and in no other encoding that fits",
    )
    add("utf8-bom.md", b"\xef\xbb\xbf" + ja.encode(), "UTF-8 with BOM", phrase=PHRASE_JA)
    add("utf16le.md", b"\xff\xfe" + ja.encode("utf-16-le"), "UTF-16 LE with BOM", phrase=PHRASE_JA)
    add("utf16be.md", b"\xfe\xff" + ja.encode("utf-16-be"), "UTF-16 BE with BOM", phrase=PHRASE_JA)
    add("shift-jis.md", ja.encode("cp932"), "Shift_JIS text", phrase=PHRASE_JA)
    add("euc-jp.md", ja.encode("euc_jp"), "EUC-JP text", phrase=PHRASE_JA)
    add("iso-2022-jp.md", ja.encode("iso2022_jp"), "ISO-2022-JP text", phrase=PHRASE_JA)
    add("会議メモ.md".encode("cp932"), ja.encode(), "a file name in Shift_JIS", phrase=PHRASE_JA, path="会議メモ.md")
    add(b"\x82\xff.md", en.encode(), "a file name in no encoding", phrase=PHRASE_EN, path="\\x82\\xff.md")
    add(
        "picture.md", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "a picture named .md", stored=False, reason="binary"
    )
    add("random.md", bytes(range(256)) * 16, "bytes named .md", stored=False, reason="binary")
    add("zeros.md", en.encode() + b"\0" * 4096, "a tail of zeros after a power cut", stored=False, reason="binary")
    add("nul.md", en.encode() + b"a\0b and after\n" + en.encode(), "NUL bytes in a text", phrase="\0b and after")
    add("crlf.md", ja.replace("\n", "\r\n").encode(), "CRLF line ends", phrase=PHRASE_JA)
    add(
        "front-matter.md",
        f"---\ntitle: a: b: c\ntags: [x\n---\n\n{PHRASE_EN}\n".encode(),
        "broken front matter",
        reason="front matter, line 2",
        phrase=PHRASE_EN,
    )
    add(
        "alias-bomb.md",
        ("---\na: &a [x, x, x, x, x, x, x, x, x]\n" + _bomb() + f"---\n{PHRASE_EN}\n").encode(),
        "front matter that unfolds to billions of values",
        reason="it unfolds to more than",
        phrase=PHRASE_EN,
    )
    add("deep-list.md", ("- " * 5_000 + PHRASE_EN + "\n").encode(), "a 5,000-deep list", phrase=PHRASE_EN)
    add("brackets.md", ("[" * 100_000 + "\n\n" + PHRASE_EN).encode(), "100,000 open brackets", phrase=PHRASE_EN)
    add("🎉絵文字 👩‍👩‍👧.md", ja.encode(), "emoji in the name", phrase=PHRASE_JA)
    add(unicodedata.normalize("NFD", "がぎぐ.md"), ja.encode(), "an NFD name, as macOS writes it", phrase=PHRASE_JA)
    # One path for people: which of the two is stored is the vault's choice, the other is named as failed.
    add(unicodedata.normalize("NFC", "ばびぶ.md"), ja.encode(), "one of two names that are one in NFC")
    add(unicodedata.normalize("NFD", "ばびぶ.md"), en.encode(), "one of two names that are one in NFC")
    add("vanishing.md", en.encode(), "gone between scan and read", stored=False)
    add("unreadable.md", en.encode(), "no permission to read", stored=False, reason="ermission")
    _lock(folder / "unreadable.md", written)
    os.symlink("nowhere.md", folder / "dangling.md")
    written.append(Nasty(b"dangling.md", "dangling.md", "a link to nothing", stored=False))
    os.mkfifo(folder / "pipe.md")
    written.append(Nasty(b"pipe.md", "pipe.md", "a pipe: opening it would wait for ever", stored=False))
    (folder / "folder.md").mkdir()
    written.append(Nasty(b"folder.md", "folder.md", "a folder named .md", stored=False))
    return written


def _bomb() -> str:
    names = "abcdefghij"
    return "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise(names))


def _lock(path: Path, written: list[Nasty]) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything
        last = written.pop()
        written.append(Nasty(last.raw, last.path, last.what, stored=True, phrase=PHRASE_EN))
