"""How an answer of Gemini's ends, by the names that both libraries give its end."""

from __future__ import annotations

from nescord.errors import BlockedError
from nescord.generation import Usage

CUT = "MAX_TOKENS"
# It ends by itself, or there is more to come.
_WELL = frozenset({"STOP", CUT, "FINISH_REASON_UNSPECIFIED", ""})


def check_end(reason: str, model: str, usage: Usage | None) -> None:
    """Raises:
    BlockedError: the model says no more, by its rules.
    """
    if reason not in _WELL:
        raise BlockedError(f"{model} does not say the rest ({reason})", tokens=_tokens(usage))


def check_feedback(reason: str, model: str, usage: Usage | None) -> None:
    """Raises:
    BlockedError: the question is refused as a whole.
    """
    if reason not in ("", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"):
        raise BlockedError(f"{model} does not answer this ({reason})", tokens=_tokens(usage))


def _tokens(usage: Usage | None) -> int:
    return usage.total if usage else 0
