"""How many words a text has, for thousands of texts at once.

By bytes and not by a regular expression over Unicode, which takes as long as all the rest of a build. A run of letters
and digits is a word, full-width ones as well; so is each kanji and each kana, since their scripts put no blanks between
words. Of the characters of four bytes (emoji, rare kanji) none counts.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_IS_WORD, _STANDS_ALONE = 1, 2
# The first bytes of letters of two bytes (Latin with accents to N'Ko) and of three (to Georgian; Hangul).
_WIDE = 0xEF  # and of full-width and half-width forms, among much that is none
_OF_TWO, _OF_THREE = range(0xC3, 0xE0), (0xE0, 0xE1, 0xEA, 0xEB, 0xEC, 0xED)


def count_words(texts: pa.Array) -> pa.Array:
    """The words of each text, NULL where there is none. `texts` is an array of strings, not a slice of one."""
    _, offsets, content = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[: len(texts) + 1] if offsets else np.zeros(1, np.int32)
    words = np.zeros(len(texts), np.int32)
    filled = np.flatnonzero(np.diff(bounds))
    if len(filled):
        raw = np.frombuffer(content, np.uint8)[: bounds[-1]]
        words[filled] = np.add.reduceat(_begins(raw, bounds[filled]), bounds[filled], dtype=np.int32)
    # Not pa.array, which would import pandas for numpy's arrays.
    counts = pa.Array.from_buffers(pa.int32(), len(texts), [None, pa.py_buffer(words)])
    return pc.if_else(texts.is_null(), None, counts)


def _begins(raw: NDArray[np.uint8], starts: NDArray[np.int32]) -> NDArray[np.bool_]:
    """The bytes that begin a word, where texts that begin at `starts` follow one another."""
    kinds = _CLASSES[raw]
    # U+3000 to U+303F are punctuation.
    kinds[:-1][(raw[:-1] == 0xE3) & (raw[1:] == 0x80)] = 0
    _tell_widths(kinds, raw)
    in_word = kinds == _IS_WORD
    goes_on = in_word.copy()
    goes_on[1:] &= in_word[:-1]
    goes_on[:1] = False
    goes_on[2:] |= in_word[2:] & _IS_TWO[raw[:-2]]
    goes_on[3:] |= in_word[3:] & in_word[:-3] & _IS_THREE[raw[:-3]]
    goes_on[starts] = False
    begins: NDArray[np.bool_] = (in_word & ~goes_on) | (kinds == _STANDS_ALONE)
    return begins


def _tell_widths(kinds: NDArray[np.uint8], raw: NDArray[np.uint8]) -> None:
    """Set the kinds of full-width letters and digits, which make words as narrow ones do, and of half-width kana."""
    places = np.flatnonzero(raw == _WIDE)
    character = 0xF000 + (raw[places + 1].astype(np.int32) - 0x80) * 64 + (raw[places + 2].astype(np.int32) - 0x80)
    for first, last, kind in _WIDTHS:
        kinds[places[(character >= first) & (character <= last)]] = kind


def _table(*groups: tuple[range | tuple[int, ...], int]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for group, kind in groups:
        table[list(group)] = kind
    return table


_ASCII = (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B))
_CLASSES = _table((_ASCII, _IS_WORD), (_OF_TWO, _IS_WORD), (_OF_THREE, _IS_WORD), (range(0xE3, 0xEA), _STANDS_ALONE))
_IS_TWO, _IS_THREE = _table((_OF_TWO, 1)).astype(bool), _table(((*_OF_THREE, _WIDE), 1)).astype(bool)
# The marks of voiced kana, U+FF9E and U+FF9F, belong to the kana before them.
_WIDTHS = (
    *((0xFF10, 0xFF19, _IS_WORD), (0xFF21, 0xFF3A, _IS_WORD), (0xFF41, 0xFF5A, _IS_WORD)),
    (0xFF66, 0xFF9D, _STANDS_ALONE),
)
