"""Deterministic vectors with meaning: texts that share words, or words of one line of the table, are near each other.

Like the real ones they are nested (the first 768 numbers of 3072 are the shorter vector) and of length 1 only in full.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FULL_DIMS = 3072
# Words of one meaning, in both languages. Japanese ones are found anywhere, English ones as whole words.
SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("backup", "backups", "snapshot", "バックアップ", "控え", "保管"),
    ("restore", "recovery", "復元", "復旧", "取り戻す"),
    ("error", "failure", "broken", "エラー", "障害", "故障"),
    ("meeting", "conference", "会議", "打ち合わせ", "ミーティング"),
    ("travel", "trip", "journey", "旅行", "旅", "出張"),
    ("food", "meal", "dinner", "食事", "料理", "ご飯"),
    ("coffee", "espresso", "コーヒー", "珈琲"),
    ("cat", "cats", "kitten", "猫", "ねこ", "ネコ"),
    ("dog", "dogs", "puppy", "犬", "いぬ", "イヌ"),
    ("car", "vehicle", "automobile", "車", "自動車"),
    ("money", "budget", "cost", "予算", "費用", "お金"),
    ("doctor", "hospital", "clinic", "医者", "病院", "医師"),
    ("book", "reading", "本", "読書", "書籍"),
    ("house", "home", "家", "住宅"),
    ("database", "sqlite", "データベース"),
    ("search", "find", "検索", "探す"),
    ("password", "credential", "パスワード", "暗証"),
    ("music", "song", "音楽", "曲"),
    ("weather", "rain", "天気", "雨"),
    ("deadline", "due", "締め切り", "期限", "締切"),
)
_ENGLISH = re.compile(r"[a-z0-9]{2,}")
_JAPANESE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]+")
# A shared meaning weighs more than a shared word, and a word more than a pair of characters.
_MEANING, _WORD, _PAIR = 3.0, 1.0, 0.35


def vector(text: str, dims: int, synonyms: tuple[tuple[str, ...], ...] = SYNONYMS) -> NDArray[np.float64]:
    """The vector of a text; below the full dimensions its length is not 1."""
    total = np.zeros(dims)
    for feature, weight in _features(text.lower(), synonyms).items():
        total += weight * _direction(feature, dims)
    # Every text has a share of one direction, as real ones do: unrelated texts are not at right angles.
    total += 0.5 * _direction("any text", dims)
    if dims >= FULL_DIMS:
        return total / np.linalg.norm(total)
    return total / np.linalg.norm(total) * np.sqrt(dims / FULL_DIMS)


def _features(text: str, synonyms: tuple[tuple[str, ...], ...]) -> dict[str, float]:
    words = Counter(_ENGLISH.findall(text))
    runs = _JAPANESE.findall(text)
    found: dict[str, float] = {}
    for number, line in enumerate(synonyms):
        times = sum(words[word] if word.isascii() else text.count(word) for word in line)
        if times:
            found[f"meaning {number}"] = _MEANING * np.sqrt(times)
    for word, times in words.items():
        found[f"word {word}"] = _WORD * np.sqrt(times)
    for pair, times in Counter(run[at : at + 2] for run in runs for at in range(len(run))).items():
        found[f"pair {pair}"] = _PAIR * np.sqrt(times)
    return found


@lru_cache(4096)
def _direction(feature: str, dims: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dims) / np.sqrt(dims)
