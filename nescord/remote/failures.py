"""What Google's answers and the failures of a connection mean: which may pass, which need a person, which one text.

An answer of 4xx or 5xx costs nothing (Google bills requests that succeed, see "Will I be charged for failed requests"
of its billing questions); what breaks off after it was sent may have been done, and counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nescord.errors import BlockedError, NescordError, RateLimitedError, RemoteError, RemoteRefusedError

Kind = Literal["embedding", "answering"]

_MODEL_SETTING: dict[Kind, str] = {"embedding": "NESCORD_GEMINI_EMBEDDING_MODEL", "answering": "NESCORD_GEMINI_MODEL"}
_TRANSIENT = frozenset({408, 409, 425, 499})
_LONGEST_SHOWN = 240
# Of one text or prompt, and not of how we ask: what Google says of it, as far as it is known.
_OF_THE_TEXT = re.compile(
    r"block|prohibit|safety|token count|too long|exceeds the (limit|maximum)|payload size|content is empty|"
    r"contents is not specified|must not be empty",
    re.IGNORECASE,
)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


class DoubtfulError(BlockedError):
    """A bad request whose reason is not known: the text may be to blame, or how we ask. Whoever asked finds out."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer with a status that is no success, as either library hands it on."""

    status: int
    message: str
    details: Sequence[Mapping[str, object]] = field(default_factory=tuple)
    retry_after: str | None = None

    @property
    def reasons(self) -> set[str]:
        """The reasons of google.rpc.ErrorInfo."""
        return {str(detail["reason"]) for detail in self.details if "reason" in detail}

    @property
    def seconds(self) -> float | None:
        """When to come again: RetryInfo, which is exact, or else the header."""
        for detail in self.details:
            if match := _SECONDS.fullmatch(str(detail.get("retryDelay", ""))):
                return float(match[1])
        try:
            return max(0.0, float(self.retry_after)) if self.retry_after else None
        except ValueError:  # a date, which Google does not send
            return None


def error_of(refusal: Refusal, model: str, kind: Kind, key: str) -> NescordError:
    """The error of our own that an answer to a request with that key stands for. What it says holds no key."""
    status, said = refusal.status, _shown(refusal.message, key)
    if status == 429:
        return RateLimitedError(f"{model} allows no more for now: {said}", retry_after=refusal.seconds)
    if status >= 500 or status in _TRANSIENT:
        return RemoteError(f"{model} could not answer ({status}): {said}")
    if status in (401, 403) or refusal.reasons & {"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"}:
        return RemoteRefusedError(f"the key is refused ({status}): {said} (set another GEMINI_API_KEY)")
    if status == 404:
        return RemoteRefusedError(f"there is no model {model!r}: {said} (set {_MODEL_SETTING[kind]})")
    if 300 <= status < 400:
        return redirected(model)
    if status in (400, 413) and _OF_THE_TEXT.search(refusal.message):
        return BlockedError(f"{model} refuses a text: {said}")
    if status == 400 and "location" not in refusal.message:
        return DoubtfulError(f"{model} refuses a text: {said}")
    return RemoteRefusedError(f"{model} cannot be asked like this ({status}): {said}")


def redirected(model: str) -> RemoteRefusedError:
    """No redirect is followed: the key and the notes would go along to wherever it leads."""
    return RemoteRefusedError(
        f"the endpoint of {model} sends its callers elsewhere, and the key does not go there "
        "(correct NESCORD_GEMINI_ENDPOINT)"
    )


def unreached(model: str, error: Exception) -> RemoteError:
    """No connection: nothing was sent."""
    return RemoteError(f"{model} cannot be reached: {_cause(error)}")


def broken_off(model: str, error: Exception) -> RemoteError:
    """It was sent, and then there was no answer, or half of one."""
    return RemoteError(f"{model} broke off its answer: {_cause(error)}", may_be_billed=True)


def ended_early(model: str) -> RemoteError:
    """A stream that ends as if all was said, without saying so."""
    return RemoteError(f"{model} broke off its answer", may_be_billed=True)


def too_slow(model: str, seconds: float) -> RemoteError:
    return RemoteError(f"{model} did not answer within {seconds:g} s (NESCORD_GEMINI_TIMEOUT)", may_be_billed=True)


def not_understood(model: str) -> RemoteError:
    """200, and not what the API answers: a proxy, or the login page of a network."""
    return RemoteError(
        f"what came instead of an answer of {model} is not from Gemini (is there a proxy, or a login of the network, "
        "in between?)",
        may_be_billed=True,
    )


def _cause(error: Exception) -> str:
    """The name only: what the libraries add holds addresses of objects and, at times, of requests."""
    return type(error).__name__


def _shown(message: str, key: str) -> str:
    """In one short line, and without secrets: Google names the key that it refuses, and may repeat what it was sent."""
    from nescord.masking import MASK, masked

    line = masked(" ".join(message.split()).replace(key, MASK))[0]
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"
