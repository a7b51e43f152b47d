"""How text becomes index words, the same way for what is stored and what is asked.

SQLite's unicode61 tokenizer takes an unbroken Japanese sentence for one word, so it finds 2 of 54 notes about 検索.
Here text is normalised (NFKC, case folded) and every run of CJK characters is written out as overlapping bigrams plus
its last character alone; FTS5's phrase queries over those find any substring of a run exactly. The rest stays words,
which the porter stemmer folds further. TOKENIZER_VERSION is stored beside the index: a change here rebuilds it.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from operator import add

import apsw

TOKENIZER_VERSION = "1"
TOKENIZER = ("porter", "unicode61", "remove_diacritics", "2")

# Kanji with 々〆〇〻, extensions and compatibility ideographs; kana with ー and iteration marks; Hangul.
CJK = (  # the inside of a character class
    "\u3005-\u3007\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u1100-\u11ff\uac00-\ud7ff"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_CJK_RUN = re.compile(f"([{CJK}]+)")
_HIRAGANA = re.compile("[\u3041-\u3096\u309d-\u309f]+")
# What normalisation leaves behind of marks that a reader does not see or cannot type.
_DROPPED = re.compile("[\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
# What may be dropped, may change under case folding beyond ASCII, or may compose anew after it (J + U+030C). Most text
# has none of these, and one search for them is cheaper than a second pass of normalisation.
_UNSETTLED = re.compile(
    "[\u00aa-\u05ff\u10a0-\u10ff\u13a0-\u13ff\u1c80-\u1fff\u2c00-\u2dff\u3099\u309a\ua640-\ua7ff\uab30-\uabbf"
    "\ufb00-\ufb17\ufe00-\ufe2f\U00010400-\U0001efff\U000e0100-\U000e01ef]"
)
# A token for unicode61: letters, numbers and private use, and marks that continue one. `\w` also knows the underscore.
_WORD = re.compile(r"[^\W_]+")
# A letter or digit of a word, as a pattern, where CJK runs may touch the word.
LETTER = f"[^\\W_{CJK}]"


def normalise(text: str) -> str:
    """NFKC_Casefold as far as search needs it: `ﾊﾝｶｸ` = `ハンカク`, `Ａ` = `a`; idempotent.

    U+3099/U+309A that could not be composed and variation selectors are dropped.
    """
    if text.isascii():
        return text.lower()
    normal = unicodedata.normalize("NFKC", text)
    if _UNSETTLED.search(normal) is None:
        return normal.lower()
    return unicodedata.normalize("NFKC", _DROPPED.sub("", normal.casefold()))


def index_text(text: str) -> str:
    """The text that FTS5 is given for `text`: CJK runs as bigrams and last character, words as they are."""
    normal = normalise(text)
    if normal.isascii():
        return normal
    parts = _CJK_RUN.split(normal)
    parts[1::2] = map(run_text, parts[1::2])
    # Words only between the runs: unicode61 takes unassigned code points and newer emoji for letters, `\w` does not.
    parts[::2] = [part if part.isascii() else " ".join(_WORD.findall(part)) for part in parts[::2]]
    return " ".join(parts)


def run_text(run: str) -> str:
    """`検索語` -> `検索 索語 語`."""
    return " ".join(map(add, run, run[1:])) + " " + run[-1]


def bigrams(run: str) -> list[str]:
    """The overlapping bigrams of a run of at least two characters."""
    return list(map(add, run, run[1:]))


def is_hiragana(text: str) -> bool:
    """Whether `text` is hiragana only: particles and endings, the stop words of Japanese bigrams."""
    return _HIRAGANA.fullmatch(text) is not None


def has_hiragana(text: str) -> bool:
    """Whether there is hiragana in `text`: what sets a Japanese sentence apart from a compound."""
    return _HIRAGANA.search(text) is not None


def pieces(normal: str) -> Iterator[tuple[bool, str]]:
    """Cut normalised text without white space or punctuation in mind: (is a CJK run, text) for each run and word."""
    for position, part in enumerate(_CJK_RUN.split(normal)):
        if position % 2:
            yield True, part
        else:
            for word in _WORD.findall(part):
                yield False, word


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The form under which FTS5 indexes a normalised word: diacritics removed, porter-stemmed (`cafés` -> `cafe`)."""
    with _tokenizer_lock:
        tokens = _tokenizer()(
            word.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False, include_colocated=False
        )
    return " ".join(map(str, tokens))


@lru_cache(maxsize=1)
def _tokenizer() -> apsw.FTS5Tokenizer:
    return apsw.Connection(":memory:").fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:]))


# APSW refuses a connection that another thread is using at the moment.
_tokenizer_lock = threading.Lock()

# The English words that say nothing about what a note is about; a question made of nothing else keeps them.
_STOP_WORDS = """
    a about above after again all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here
    hers him his how i if in into is it its itself just me more most my no nor not now of off on once only or
    other our out over own s same she should so some such t than that the their them then there these they this
    those through to too under until up very was we were what when where which while who whom why will with
    would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
