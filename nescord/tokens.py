"""How many tokens a text is, before anybody counts them: for the budget, the pace and what a prompt may hold.

A person's rule of thumb, four characters a token, is off by half for Japanese and by a quarter for English Markdown.
The weights below were fitted to the vocabularies of Gemini and Gemma 3 over the sample vault and these docs, and then
rounded up, for a budget is kept by estimates that are not too low (docs/gemini.md has the error). No model is loaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# Tokens by character.
_BY_CHARACTER = (
    (re.compile(r"[\u3005\u3400-\u9fff\uf900-\ufaff]+"), 0.85),  # kanji
    (re.compile(r"[\u3041-\u309f]+"), 0.5),  # hiragana
    (re.compile(r"[\u30a0-\u30ff\uff66-\uff9f]+"), 0.9),  # katakana
    (re.compile(r"[\u3000-\u3004\u3006-\u303f\uff00-\uff65]+"), 1.1),  # punctuation and letters of full width
    (re.compile(r"[0-9]+"), 1.2),
    (re.compile(r"[!-/:-@\[-`{-~]+"), 0.85),
)
# A word brings the blank before it along; a run of line breaks is one token.
_WORD, _BY_WORD = re.compile(r"[A-Za-z]+"), 1.25
_LONG, _BY_LETTER_BEYOND = 6, 0.1
_BREAKS, _BY_BREAKS = re.compile(r"\n+"), 0.9
# Whatever else it is may not be in a vocabulary, and is then told byte by byte.
_KNOWN = re.compile(r"[\s!-~\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff9f]+")
_BY_BYTE = 0.34


def estimate(text: str) -> int:
    """About how many tokens the text is; rather too many than too few."""
    tokens = sum(weight * sum(map(len, found.findall(text))) for found, weight in _BY_CHARACTER)
    words = _WORD.findall(text)
    tokens += _BY_WORD * len(words) + _BY_LETTER_BEYOND * sum(max(0, len(word) - _LONG) for word in words)
    tokens += _BY_BREAKS * len(_BREAKS.findall(text))
    tokens += _BY_BYTE * len(_KNOWN.sub("", text).encode("utf-8", "replace"))
    return math.ceil(tokens)


def estimate_all(texts: Sequence[str]) -> int:
    """About how many tokens the texts are together, as they are sent in one request."""
    return sum(map(estimate, texts))
