"""Gemini's embeddings by google-generativeai, over REST. What both libraries share is in asking.py."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from nescord.embedding.asking import AskingEmbedder, Task
from nescord.remote import google_generativeai as sdk
from nescord.remote.deadline import within


class GeminiEmbedder(AskingEmbedder):
    """One request for each call."""

    @cached_property
    def _client(self) -> Any:  # the library has no types
        return sdk.new_client(self._access, "embedding")

    def _ask(self, texts: Sequence[str], task: Task | None, timeout: float) -> list[list[float]]:
        client = self._client
        from google.generativeai.embedding import embed_content
        from google.generativeai.types import RequestOptions

        def ask() -> Any:
            with sdk.told_as_ours(self._access, self._model, "embedding", timeout):
                return embed_content(
                    f"models/{self._model}",
                    list(texts),
                    task_type=task,
                    output_dimensionality=self._dims,
                    client=client,
                    request_options=RequestOptions(timeout=timeout, retry=None),
                )

        vectors: list[list[float]] = within(timeout, self._model, ask)["embedding"]
        return vectors
