"""Which models a knowledge base works with: the live one, another that is asked for, one that follows behind.

The live model is the one that the notes were first embedded with (catalog/model_choice.py). Other vectors would have to
be made of every note before they answer anything, which costs time or money: so a setting that names another model
never switches by itself. It is said, search goes on by words, and `nescord index migrate` does it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nescord.embedding.service import EmbeddingService, key_of, open_model, wanted_name
from nescord.errors import EmbeddingUnavailableError, ServiceUnavailableError

if TYPE_CHECKING:
    from nescord.budget import Budget
    from nescord.catalog.vectors import Failures
    from nescord.settings import Settings


@dataclass(frozen=True, slots=True)
class Choice:
    """`live` embeds new notes. `refused` says why its vectors may not answer: another model is asked for."""

    live: EmbeddingService
    refused: str = ""


class Models:
    """The models of one knowledge base, each opened once. Safe to use from many threads.

    `own` is a model of the caller's, in place of what the settings name.
    """

    def __init__(self, settings: Settings, budget: Callable[[], Budget]) -> None:
        self.own: EmbeddingService | None = None
        self._settings = settings
        self._budget = budget
        self._services: dict[str, EmbeddingService] = {}
        self._opening = threading.Lock()

    def choice(self, live_key: str | None) -> Choice:
        """What to work with, where the live model is the one of that key (None: nothing is embedded yet).

        Raises:
            EmbeddingUnavailableError: embedding is switched off, or the live model cannot be had.
        """
        wanted_key = self.wanted_key(live_key)
        if live_key is None or live_key == wanted_key:
            return Choice(self.by_key(wanted_key))
        refused = self._refusal(wanted_key, live_key)
        try:
            return Choice(self.by_key(live_key), refused)
        except ServiceUnavailableError as error:
            raise EmbeddingUnavailableError(f"{refused}; new notes wait: {error}") from error

    def wanted_key(self, live_key: str | None) -> str:
        """The key of the model that is asked for: the live one, unless the settings name another.

        Raises:
            EmbeddingUnavailableError: embedding is switched off.
        """
        if self.own:
            return self.own.model_key
        wanted = key_of(wanted_name(self._settings), self._settings)
        if live_key is not None and self._settings.embedder == "auto" and not _is_said(self._settings, live_key):
            return live_key
        return wanted

    def named(self, name: str) -> EmbeddingService:
        """The model of that name, as the settings describe it. Raises as `open_model`."""
        return self.by_key(key_of(name, self._settings))

    def by_key(self, key: str) -> EmbeddingService:
        """The model whose vectors are stored under that key. Raises as `open_model`."""
        if self.own and self.own.model_key == key:
            return self.own
        with self._opening:
            if key not in self._services:
                self._services[key] = open_model(key, self._settings, self._budget)
            return self._services[key]

    def _refusal(self, wanted_key: str, live_key: str) -> str:
        if self.own:
            asks, name, mend = "the caller", self.own.model_key, "go on with the other one"
        elif self._settings.embedder == "auto":
            asks, name, mend = "NESCORD_GEMINI_EMBEDDING_MODEL or NESCORD_GEMINI_DIMS", "gemini", "unset it"
        else:
            asks = f"NESCORD_EMBEDDER={self._settings.embedder}"
            name, mend = wanted_name(self._settings), "set NESCORD_EMBEDDER=auto"
        return (
            f"{asks} asks for {wanted_key}, but the notes are embedded with {live_key}: "
            f"nescord index migrate --to {name} (or {mend})"
        )

    def second_key(self, live_key: str) -> str:
        """The key of the model that follows behind the live one; "" where none is wanted."""
        is_wanted = self._settings.embedder == "local+e5" and live_key == key_of("local", self._settings)
        return key_of("e5", self._settings) if is_wanted and not self.own else ""


def without_vector(failures: Failures) -> tuple[str, ...]:
    """Which texts nobody waits for, and how to ask for them."""
    told = []
    if failures.refused:
        told.append(f"vector: {_texts(failures.refused)} refused by the model (nescord index retry asks again)")
    if failures.put_aside:
        told.append(
            f"vector: {_texts(failures.put_aside)} put aside until {failures.until}, as no answer came for them "
            "(nescord index retry asks earlier)"
        )
    return tuple(told)


def _texts(count: int) -> str:
    return "1 text is" if count == 1 else f"{count:,} texts are"


def _is_said(settings: Settings, live_key: str) -> bool:
    """Whether the settings name model and length of the vectors themselves, and not only by what is usual today."""
    said = {"gemini_embedding_model", "gemini_dims"} & settings.model_fields_set
    return live_key.startswith("gemini|") and settings.gemini_api_key is not None and bool(said)
