"""Whoever writes for us: which model that is, and every answer of it masked, paid for and at its pace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nescord.budget import Purpose
from nescord.errors import AnswerUnavailableError
from nescord.generation import Piece, Prompt, Usage
from nescord.remote.access import access_of
from nescord.remote.calls import Caller
from nescord.remote.deadline import pieces_within
from nescord.tokens import estimate

if TYPE_CHECKING:
    from nescord.budget import Budget
    from nescord.generation import Generator
    from nescord.settings import Settings


class Stream(Iterator[str]):
    """The text of an answer as it comes. Once it has ended, `usage` is what it has cost, if that was said, and `is_cut`
    whether it was as long as it may be. Who wants no more of it closes it."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self.usage: Usage | None = None
        self.is_cut = False
        self._pieces = pieces

    def __next__(self) -> str:
        for piece in self._pieces:
            self.usage = piece.usage or self.usage
            self.is_cut = piece.is_cut
            if piece.text:
                return piece.text
        raise StopIteration

    def close(self) -> None:
        """End it here. It has cost what was put aside for it: nobody knows what the model went on to write."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class GenerationService:
    """The model that the settings name. Safe to use from many threads; no library is imported before it is asked."""

    def __init__(self, generator: Generator, caller: Caller, settings: Settings) -> None:
        self._generator, self._caller, self._settings = generator, caller, settings

    @classmethod
    def of(cls, settings: Settings, budget: Callable[[], Budget]) -> GenerationService:
        """The service of the settings.

        Raises:
            AnswerUnavailableError: there is no model to answer with, and why.
        """
        return cls(open_generator(settings), Caller(settings, budget), settings)

    @property
    def model(self) -> str:
        return self._generator.model

    def stream(self, prompt: Prompt, *, purpose: Purpose = Purpose.ANSWER, who: str | None = None) -> Stream:
        """The answer as it comes. Its first piece has come when this returns.

        Raises:
            BudgetError: not this month, or not for that purpose. RateLimitedError, RemoteError: not now.
                RemoteRefusedError: after a setting was mended. BlockedError: not this question. The last two kinds may
                also come with a later piece.
        """
        sent = self._masked(prompt)
        tokens = estimate(sent.system) + estimate(sent.text) + sent.max_tokens
        pieces = self._caller.stream(
            purpose,
            self.model,
            tokens,
            lambda: pieces_within(self._settings.gemini_timeout, self.model, self._generator.stream(sent)),
            lambda piece: piece.usage.total if piece.usage else None,
            who=who,
        )
        return Stream(pieces)

    def _masked(self, prompt: Prompt) -> Prompt:
        if self._settings.mask == "off":
            return prompt
        from nescord.masking import masked_by_quotes

        return replace(prompt, text=masked_by_quotes(prompt.text))


def open_generator(settings: Settings) -> Generator:
    """The model that the settings name. No library is imported yet.

    Raises:
        AnswerUnavailableError: answering is switched off, no key is set, or the package is not installed.
    """
    from nescord.remote import google_genai, google_generativeai

    if settings.generator == "none":
        raise AnswerUnavailableError("answering by a model is switched off (NESCORD_GENERATOR=none)")
    if settings.gemini_api_key is None:
        raise AnswerUnavailableError("there is no model to answer with: GEMINI_API_KEY is not set")
    access = access_of(settings)
    by_itself = "gemini" if google_generativeai.is_installed() else "genai"
    if (by_itself if settings.generator == "auto" else settings.generator) == "gemini":
        from nescord.generation.gemini import GeminiGenerator

        google_generativeai.check_installed("answering")
        return GeminiGenerator(access, settings.gemini_model)
    from nescord.generation.genai import GenaiGenerator

    google_genai.check_installed("answering")
    return GenaiGenerator(access, settings.gemini_model)
