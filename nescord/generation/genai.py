"""Gemini's answers by google-genai."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from nescord.generation import Piece, Prompt, Usage
from nescord.generation.ends import CUT, check_end, check_feedback
from nescord.remote import failures
from nescord.remote import google_genai as sdk

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import GenerateContentResponse

    from nescord.remote.access import Access


class GenaiGenerator:
    """One request for each answer, in the caller's thread."""

    def __init__(self, access: Access, model: str) -> None:
        self._access, self.model = access, model

    @cached_property
    def _client(self) -> Client:
        return sdk.new_client(self._access, "answering")

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """As Generator."""
        client = self._client
        from google.genai import types

        config = types.GenerateContentConfig(
            system_instruction=prompt.system,
            max_output_tokens=prompt.max_tokens,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        with sdk.told_as_ours(self._access, self.model, "answering", self._access.timeout):
            yield from self._pieces(
                client.models.generate_content_stream(model=self.model, contents=prompt.text, config=config)
            )

    def _pieces(self, chunks: Iterator[GenerateContentResponse]) -> Iterator[Piece]:
        ended = ""
        for chunk in chunks:
            usage = _usage(chunk)
            feedback = chunk.prompt_feedback
            check_feedback(_name(feedback.block_reason if feedback else None), self.model, usage)
            for candidate in (chunk.candidates or ())[:1]:
                ended = _name(candidate.finish_reason)
                parts = (candidate.content.parts if candidate.content else None) or ()
                said = "".join(part.text for part in parts if part.text and not part.thought)
                yield Piece(said, usage, ended == CUT)
                check_end(ended, self.model, usage)
        if ended in ("", "FINISH_REASON_UNSPECIFIED"):
            raise failures.ended_early(self.model)


def _usage(chunk: GenerateContentResponse) -> Usage | None:
    told = chunk.usage_metadata
    if told is None or not told.total_token_count:
        return None
    prompt = told.prompt_token_count or 0
    return Usage(prompt, max(0, told.total_token_count - prompt))


def _name(reason: object) -> str:
    """The name of an enum's value; "" for none."""
    return "" if reason is None else str(getattr(reason, "name", reason))
