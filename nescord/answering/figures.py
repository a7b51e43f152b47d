"""The numbers in a text, however they are written: `２０` = `20` = `二十` = `twenty`, and `2025-04-10` holds three."""

from __future__ import annotations

import re
import unicodedata

_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")
_LATIN = re.compile(r"[a-z]+")
_KANJI = re.compile("[〇零一二三四五六七八九十百千万]+")
# 三日, 二十グラム; not 千葉 or 一緒.
_COUNTED = re.compile(
    "(?:(?<![\u3400-\u9fff])|(?<=[年月日時週]))[〇零一二三四五六七八九十百千万]+"
    "(?=[年月日時分秒回人個本枚冊円度杯歳週歩泊割倍つグキメリミセパ])"
)
_KANJI_DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")} | {"零": 0}
_KANJI_UNITS = {"十": 10, "百": 100, "千": 1000}

_CARDINALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_MONTHS = "january february march april may june july august september october november december"
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100, "thousand": 1000}
_ORDINALS = {"once": 1, "twice": 2, "first": 1, "second": 2, "third": 3}
_NUMBER_WORDS = {
    word: str(value)
    for word, value in (
        *((word, value) for value, word in enumerate(_CARDINALS.split())),
        *((word, value) for value, word in enumerate(_MONTHS.split(), 1)),
        *_TENS.items(),
        *_ORDINALS.items(),
    )
}
# Mostly they are no numbers.
_DOUBTFUL = {"one", "may", "march", *_ORDINALS}


def numbers(text: str) -> frozenset[str]:
    """All that may be a number in `text`: what is looked into."""
    normal = unicodedata.normalize("NFKC", text).lower()
    return frozenset(
        _in_digits(normal)
        | {str(_kanji_value(run)) for run in _KANJI.findall(normal)}
        | {_NUMBER_WORDS[word] for word in _LATIN.findall(normal) if word in _NUMBER_WORDS}
    )


def claimed_numbers(text: str) -> frozenset[str]:
    """What surely is a number in `text`: what has to be found elsewhere."""
    normal = unicodedata.normalize("NFKC", text).lower()
    words = {word for word in _LATIN.findall(normal) if word in _NUMBER_WORDS} - _DOUBTFUL
    counted = {str(_kanji_value(run)) for run in _COUNTED.findall(normal)} - {"1"}
    return frozenset(_in_digits(normal) | counted | {_NUMBER_WORDS[word] for word in words})


def is_number_word(word: str) -> bool:
    """Whether a normalised word in Latin letters or digits is a number."""
    return word in _NUMBER_WORDS or word.isdecimal()


def _in_digits(normal: str) -> set[str]:
    return {value for match in _DIGITS.finditer(normal) for value in _values(match[0])}


def _values(digits: str) -> list[str]:
    plain = _THOUSANDS.sub("", digits)
    parts = re.split(r"[.,]", plain)
    if len(parts) == 2 and "." in plain:
        return [f"{_whole(parts[0])}.{parts[1]}"]
    return [_whole(part) for part in parts]


def _whole(digits: str) -> str:
    """Without the zeros before it. Not by `int`, which takes no more than 4,300 digits."""
    return "".join(str(unicodedata.decimal(digit)) for digit in digits).lstrip("0") or "0"


def _kanji_value(run: str) -> int:
    """`二十三` = 23, `一五〇` = 150, `三万二千` = 32000."""
    total = part = digit = 0
    for one in run:
        if one in _KANJI_DIGITS:
            digit = digit * 10 + _KANJI_DIGITS[one]
        elif one == "万":
            total, part, digit = total + (part + digit or 1) * 10_000, 0, 0
        else:
            part, digit = part + (digit or 1) * _KANJI_UNITS[one], 0
    return total + part + digit
