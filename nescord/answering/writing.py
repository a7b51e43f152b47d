"""One model for one answer: what is asked of it, on whose behalf, and what all of it cost."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from nescord.budget import Purpose, payer
from nescord.notes import Scope

if TYPE_CHECKING:
    from nescord.generation import Prompt
    from nescord.generation.service import GenerationService


class Writer:
    """`tokens` is what has been spent so far, as far as that was said; `is_cut`, that the last text has no end."""

    def __init__(self, service: GenerationService, scope: Scope) -> None:
        self.tokens = 0
        self.is_cut = False
        self._service = service
        self._who = payer(scope)

    @property
    def model(self) -> str:
        return self._service.model

    def stream(self, prompt: Prompt, purpose: Purpose = Purpose.ANSWER) -> Generator[str]:
        """The model's text as it comes, unchecked.

        Raises:
            EmbeddingError, ServiceUnavailableError: as GenerationService.stream, also in the middle.
        """
        stream = self._service.stream(prompt, purpose=purpose, who=self._who)
        try:
            yield from stream
        finally:
            stream.close()
            self.is_cut = stream.is_cut
            self.tokens += stream.usage.total if stream.usage else 0

    def line(self, prompt: Prompt) -> str:
        """The first line that the model writes. Raises as `stream`."""
        text = "".join(self.stream(prompt, Purpose.REWRITE))
        return next((line for line in text.splitlines() if line.strip()), "")
