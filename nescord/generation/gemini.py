"""Gemini's answers by google-generativeai, over REST.

The request is made from the library's own types and sent by its client: its GenerativeModel takes its client from a
state of the whole process, and always holds back one piece of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from nescord.generation import Piece, Prompt, Usage
from nescord.generation.ends import CUT, check_end, check_feedback
from nescord.remote import failures
from nescord.remote import google_generativeai as sdk

if TYPE_CHECKING:
    from nescord.remote.access import Access


class GeminiGenerator:
    """One request for each answer, in the caller's thread."""

    def __init__(self, access: Access, model: str) -> None:
        self._access, self.model = access, model

    @cached_property
    def _client(self) -> Any:  # the library has no types
        return sdk.new_client(self._access, "answering")

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """As Generator."""
        client = self._client
        from google.generativeai import protos

        request = protos.GenerateContentRequest(
            model=f"models/{self.model}",
            system_instruction=protos.Content(parts=[protos.Part(text=prompt.system)]),
            contents=[protos.Content(role="user", parts=[protos.Part(text=prompt.text)])],
            generation_config=protos.GenerationConfig(max_output_tokens=prompt.max_tokens),
        )
        with sdk.told_as_ours(self._access, self.model, "answering", self._access.timeout):
            chunks = client.stream_generate_content(request, retry=None, timeout=self._access.timeout)
            try:
                yield from self._pieces(chunks)
            finally:
                chunks.cancel()

    def _pieces(self, chunks: Iterator[Any]) -> Iterator[Piece]:
        ended = ""
        for chunk in chunks:
            usage = _usage(chunk.usage_metadata)
            check_feedback(_name(chunk.prompt_feedback.block_reason), self.model, usage)
            for candidate in islice(chunk.candidates, 1):  # a slice of it would be of another type, without names
                ended = _name(candidate.finish_reason)
                yield Piece("".join(part.text for part in candidate.content.parts), usage, ended == CUT)
                check_end(ended, self.model, usage)
        if ended in ("", "FINISH_REASON_UNSPECIFIED"):
            raise failures.ended_early(self.model)


def _usage(usage: Any) -> Usage | None:
    # The library knows no tokens of thought, but the total holds them.
    prompt, total = int(usage.prompt_token_count), int(usage.total_token_count)
    return Usage(prompt, max(0, total - prompt)) if total else None


def _name(reason: Any) -> str:
    """The name of an enum's value; a number for one that is newer than the library."""
    return str(getattr(reason, "name", reason))
