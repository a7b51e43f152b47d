"""Text written by a model elsewhere: small provider adapters behind one protocol, and the service that all use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: how it is to answer, what, and the longest answer in tokens."""

    system: str
    text: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that an answer has cost; what a model thinks to itself is output."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer as it comes, and what it has cost so far, where that is said.

    `is_cut`: the answer ends here because it is as long as it may be.
    """

    text: str
    usage: Usage | None = None
    is_cut: bool = False


class Generator(Protocol):
    """A model that writes. An answer that ends neither by itself nor at its limit ends with an error."""

    @property
    def model(self) -> str: ...

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """The answer, as it comes: one request, which is made when the first piece is asked for.

        Raises:
            RateLimitedError, RemoteError: later. RemoteRefusedError: after a setting was mended. BlockedError: not
                this; it may come in the middle of an answer.
        """
        ...
