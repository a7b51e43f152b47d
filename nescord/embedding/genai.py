"""Gemini's embeddings by google-genai. What both libraries share is in asking.py."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from nescord.embedding.asking import AskingEmbedder, Task
from nescord.remote import google_genai as sdk
from nescord.remote.deadline import within

if TYPE_CHECKING:
    from google.genai import Client


class GenaiEmbedder(AskingEmbedder):
    """One request for each call."""

    @cached_property
    def _client(self) -> Client:
        return sdk.new_client(self._access, "embedding")

    def _ask(self, texts: Sequence[str], task: Task | None, timeout: float) -> list[list[float]]:
        client = self._client
        from google.genai import types

        # Each text in a Content of its own: of plain strings gemini-embedding-2 makes one vector for all, in silence.
        contents: list[types.Content] = [types.Content(parts=[types.Part(text=text)]) for text in texts]

        def ask() -> types.EmbedContentResponse:
            with sdk.told_as_ours(self._access, self._model, "embedding", timeout):
                return client.models.embed_content(
                    model=self._model,
                    contents=contents,
                    config=types.EmbedContentConfig(
                        task_type=task,
                        output_dimensionality=self._dims,
                        http_options=types.HttpOptions(timeout=round(timeout * 1000)),
                    ),
                )

        answer = within(timeout, self._model, ask)
        return [one.values or [] for one in answer.embeddings or ()]
