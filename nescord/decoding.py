"""Bytes of a file or of its name → text, without ever guessing a text into gibberish.

UTF-8 first and strictly; then byte order marks, the Japanese encodings of older machines and, through
charset-normalizer, those of other languages. A UTF-8 text with a few broken bytes is refused rather than read as a
Latin code page, where every byte "fits": what was right before stays searchable until somebody mends the file.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

_BOMS = (  # UTF-32 LE begins with the mark of UTF-16 LE
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC = (
    *(b"\x89PNG\r\n", b"PK\x03\x04", b"PK\x05\x06", b"%PDF-1.", b"%PDF-2.", b"\x7fELF", b"GIF87a", b"GIF89a"),
    *(b"\xff\xd8\xff", b"\x1f\x8b\x08", b"7z\xbc\xaf\x27\x1c", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"Rar!\x1a\x07"),
    *(
        b"SQLite format 3\x00",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"\xca\xfe\xba\xbe",
        b"\xcf\xfa\xed\xfe",
        b"\x00asm",
    ),
)
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))
# A text with a NUL here and there is a text; the zeros that a power cut leaves at a file's end are not.
_CONTROL_SHARE = 0.1
_LOOKED_AT = 64 * 1024

_JAPANESE = ("cp932", "euc_jp")
_OTHERS = [
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("gb18030", "big5", "cp949"),
]
_KANA = re.compile(r"[\u3041-\u309e\u30a1-\u30fe]")
_JAPANESE_SIGN = re.compile(
    r"[\u3000-\u3003\u3005-\u3015\u301c\u30fb\uff01-\uff5e\u2015\u2026\u2025\u25cb\u25cf\u25a0\u25a1\u2192\u203b]"
)
_HALF_KANA = re.compile(r"[\uff61-\uff9f]")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_NOT_ASCII_RUN = re.compile(r"[^\x00-\x7f]+")
_ENOUGH = 0.75

_HIGH = bytes(range(0x80, 0x100))
# With so few letters to judge by, charset-normalizer takes the windows-1250 of Prague for that of Paris.
_FEW = 30
_TYPOGRAPHY = frozenset("’‘“”„‚‹›«»–—…•·€£§°©®™¿¡ªº´\u00a0、。，．・：；？！「」『』（）《》【】〈〉～")
_STRANGE = "ÿþÞðÐ˙ţŢýÝ"
_LATIN_HEAPS = {  # accented letters in a row: zażółć
    encoding: re.compile(rf"[\u00c0-\u024f]{{{{{length}}}}}")
    for encoding, length in (("cp1252", 3), ("cp1250", 5), ("cp1254", 5))
}
_TWO_SCRIPTS = re.compile(r"[A-Za-z][\u0370-\u06ff]|[\u0370-\u06ff][A-Za-z]")


class DecodeError(ValueError):
    """These bytes are no text that can be read with certainty; the message is the reason, for a person."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, and the name of the encoding that it was written in."""

    text: str
    encoding: str


def decode(data: bytes) -> Decoded:
    """The text of a file, line ends and NULs as they are, without a byte order mark; DecodeError if there is none."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return Decoded(_strictly(data, encoding, skip=len(mark)), encoding)
    if data.startswith(_MAGIC):
        raise DecodeError("binary, not text: it begins like an image, archive or program")
    if _is_control_heavy(data):
        return _decode_wide(data)
    if b"\x1b$" in data and (found := _iso_2022_jp(data)) is not None:
        return found
    try:
        return Decoded(data.decode(), "utf-8")
    except UnicodeDecodeError as error:
        found = _decode_legacy(data, error)
        if found is None:
            raise DecodeError(
                f"not valid UTF-8 at byte {error.start} and in no other encoding that fits (save it as UTF-8)"
            ) from None
        return found


def decode_name(raw: bytes) -> str:
    """A file name for people, in NFC; bytes that fit no encoding are written as \\xNN."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        japanese = _japanese(raw)
        name = japanese.text if japanese is not None else raw.decode(errors="backslashreplace")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _strictly(data: bytes, encoding: str, *, skip: int) -> str:
    try:
        return data[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-le").removesuffix("-be").upper()
        raise DecodeError(
            f"not valid {name} at byte {error.start + skip}, although its byte order mark says so (save it as UTF-8)"
        ) from None


def _is_control_heavy(data: bytes) -> bool:
    head = data[:_LOOKED_AT]
    return len(head) - len(head.translate(None, _CONTROLS)) > _CONTROL_SHARE * len(head)


def _decode_wide(data: bytes) -> Decoded:
    """UTF-16 without a byte order mark, if the NULs stand as they do there; anything else is binary."""
    head = data[:_LOOKED_AT]
    even, odd = head[::2].count(0), head[1::2].count(0)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    if len(data) % 2 == 0 and max(even, odd) > 0.1 * len(head) and min(even, odd) < 0.01 * len(head):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = "\0"
        if not _is_control_heavy(text.encode()) and "\0" not in text:
            return Decoded(text, encoding)
    raise DecodeError("binary, not text: it is full of control characters")


def _iso_2022_jp(data: bytes) -> Decoded | None:
    for encoding in ("iso2022_jp", "iso2022_jp_ext"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return Decoded(text, encoding)
    return None


def _decode_legacy(data: bytes, error: UnicodeDecodeError) -> Decoded | None:
    # Bytes of another encoding are hardly ever valid UTF-8 by chance: where more sequences are right than broken,
    # it is UTF-8 that was damaged.
    window = data[max(0, error.start - _LOOKED_AT) : error.start + _LOOKED_AT]
    decoded = window.decode(errors="replace")
    broken = decoded.count("\ufffd")
    intact = len(decoded) - broken - sum(byte < 0x80 for byte in window)
    if intact >= broken:
        return None
    return _japanese(data) or _other(data)


def _japanese(data: bytes) -> Decoded | None:
    best, best_score = None, _ENOUGH
    for encoding in _JAPANESE:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Bytes of everyday kanji in cp932 are rare in other encodings; those of EUC-JP are also Chinese and Korean.
        score = _japanese_score(text[:_LOOKED_AT], without_kana=_LOOKED_AT if encoding == "cp932" else 20)
        if score > best_score:
            best, best_score = Decoded(text, encoding), score
    return best


def _japanese_score(text: str, *, without_kana: int) -> float:
    """How much of what is not ASCII is everyday Japanese, 0 to 1; 0 too for stray kanji between Latin letters.

    Without kana all of it must be everyday kanji in words, as in a title, a file name or a list of names, and no
    longer than `without_kana`: cp932 turns it’s into it痴, and Chinese bytes into rare kanji without any kana.
    """
    runs = _NOT_ASCII_RUN.findall(text)
    foreign = "".join(runs)
    if not foreign:
        return 0.0
    kana = len(_KANA.findall(foreign))
    han = "".join(_HAN.findall(foreign))
    # JIS level 1, the kanji in daily use, are the rows 0x88-0x98 of Shift_JIS.
    common = sum(0x88 <= lead <= 0x98 for lead in han.encode("shift_jis", "ignore")[::2])
    signs = len(_JAPANESE_SIGN.findall(foreign))
    # EUC-JP read as cp932 is full of half-width kana: they count for less than what the right reading shows.
    score = (kana + common + signs + 0.8 * len(_HALF_KANA.findall(foreign))) / len(foreign)
    if kana >= 0.1 * len(foreign):
        return score
    words = len(foreign) <= without_kana and len(foreign) >= 2 * len(runs) and common + signs == len(foreign)
    return score if words else 0.0


def _other(data: bytes) -> Decoded | None:
    few = len(data) - len(data.translate(None, _HIGH)) < _FEW
    encoding = "cp1252" if few else ""
    text = _plausible(data, encoding) if few else None
    if text is None:
        from charset_normalizer import from_bytes  # 30 ms to import, and hardly ever needed

        best = from_bytes(data[:_LOOKED_AT], cp_isolation=_OTHERS, preemptive_behaviour=False).best()
        if best is None:
            return None
        encoding = best.encoding
        text = _plausible(data, encoding)
    return None if text is None else Decoded(text, encoding)


def _plausible(data: bytes, encoding: str) -> str | None:
    """The text, if its letters could stand together: é in a Latin word or a whole Russian one, not textÿ or ѓeѓX."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    head = text[:_LOOKED_AT]
    foreign = "".join(_NOT_ASCII_RUN.findall(head))
    letters = sum(character.isalpha() or character in _TYPOGRAPHY for character in foreign)
    strange = sum(map(foreign.count, _STRANGE))
    if letters - strange < 0.8 * len(foreign) or _TWO_SCRIPTS.search(head):
        return None
    heap = _LATIN_HEAPS.get(encoding)
    if heap.search(head) if heap else len(foreign) < 6:
        return None
    return text
