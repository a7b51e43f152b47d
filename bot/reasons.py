"""What could not be asked, in words for a person: the reasons of searches and answers as texts of the catalogue.

The reasons themselves are for whoever runs the bot: they name settings, paths and addresses.
"""

from __future__ import annotations

from collections.abc import Iterable

# What a reason begins with, what it holds besides, and the key of its text ("": nobody need know). The first counts.
_KEYS: tuple[tuple[str, str, str], ...] = (
    ("vector:", "(the vectors of the local model answer)", "search.local"),
    ("vector:", "some notes wait to be embedded", "search.waiting"),
    ("vector:", "chunks wait to be embedded", ""),  # those of all spaces: how many is nobody's concern
    ("vector:", "nothing is embedded yet", "search.not_yet"),
    ("vector:", "embedding is switched off", "search.off"),
    ("vector:", "GEMINI_MONTHLY_LIMIT", "search.budget"),
    ("vector:", "nescord budget allow", "search.budget"),
    ("Chroma:", "(the exact scan answers)", "search.scanned"),
    ("answer:", "sentences that your notes do not support", "ask.unsupported"),
    ("answer:", "it was cut off before its end", "ask.cut"),
    ("answer:", "it is as long as it may be", "ask.longest"),
    ("answer:", "switched off (NESCORD_GENERATOR=none)", "ask.no_model"),
    ("answer:", "there is no model to answer with", "ask.no_model"),
    ("answer:", "GEMINI_MONTHLY_LIMIT", "ask.budget"),
    ("answer:", "nescord budget allow", "ask.budget"),
    ("answer:", "", "ask.not_written"),
    ("follow-up:", "", "ask.together"),
    ("question:", "not recorded", ""),
)


def keys_of(reasons: Iterable[str], *, mode: str = "hybrid") -> list[str]:
    """The keys of the texts for these reasons, each once. `mode` is how was searched in the end: `keyword` where
    vectors could not be asked at all."""
    keys = dict.fromkeys(_key(reason, mode) for reason in reasons)
    return [key for key in keys if key]


def _key(reason: str, mode: str) -> str:
    for begin, part, key in _KEYS:
        if reason.startswith(begin) and part in reason:
            return key
    return "search.away" if reason.startswith("vector:") and mode == "keyword" else "search.degraded"
