"""A model elsewhere as an embedder: what leaves the machine is masked, paid for, and asked for in requests that fit.

The adapters of the providers (gemini.py, genai.py) know how to ask; here is what holds for each of their calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nescord import packages
from nescord.errors import EmbeddingUnavailableError, OutageError, RemoteError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.budget import Budget, Purpose
    from nescord.embedding import Vectors
    from nescord.embedding.asking import AskingEmbedder
    from nescord.remote.calls import Caller
    from nescord.settings import Settings

# Of the 20,000 that a request may have: ours is an estimate.
_MOST_TOKENS = 16_000
# Attempts and seconds of waiting; fewer attempts than the failures in a row that a model is left alone for.
_WARY = (2, 60.0)
# A text that nothing can be said against, to find out whether anything is answered at all, and what it costs.
PROBE, PROBE_TOKENS = "nescord", 4
_PACKAGES = {"gemini": "google.generativeai", "genai": "google.genai"}


class RemoteEmbedder:
    """An adapter whose every call goes through `caller`, for one purpose. Safe to use from many threads."""

    def __init__(
        self, adapter: AskingEmbedder, model: str, caller: Caller, wary: Caller, settings: Settings, purpose: Purpose
    ) -> None:
        from nescord.remote.pace import tokens_of_a_request
        from nescord.tokens import estimate

        self.parallel = settings.gemini_parallel
        self._adapter = adapter
        self._model = model
        self._caller, self._wary = caller, wary
        self._settings = settings
        self._purpose = purpose
        self._most_tokens = min(_MOST_TOKENS, tokens_of_a_request(settings))
        self._before_a_text = estimate(adapter.told_before("RETRIEVAL_DOCUMENT"))
        self._before_a_query = estimate(adapter.told_before("RETRIEVAL_QUERY"))

    @property
    def model_key(self) -> str:
        return self._adapter.model_key

    @property
    def dims(self) -> int:
        return self._adapter.dims

    @property
    def max_batch(self) -> int:
        return self._adapter.max_batch

    def on_behalf(self, purpose: Purpose) -> RemoteEmbedder:
        """The same model, asked for another purpose."""
        return RemoteEmbedder(self._adapter, self._model, self._caller, self._wary, self._settings, purpose)

    def claimed(self, texts: Iterable[bytes]) -> AbstractContextManager[None]:
        """For the length of the block no other process has these texts embedded; see claims.py."""
        from nescord.embedding.claims import claimed
        from nescord.home import DataFolder

        return claimed(DataFolder.at(self._settings).run / "embedding.claims", self.model_key, texts)

    def outage(self) -> str:
        """Since when the model is left alone because it did not answer, and why; "" while it answers."""
        from nescord.home import DataFolder
        from nescord.remote.breaker import outages

        found = outages(DataFolder.at(self._settings).run).get(self._model)
        if found is None:
            return ""
        since, until = (utc_text(datetime.fromtimestamp(when, UTC)) for when in (found.since, found.until))
        return f"{self._model} has not answered since {since} ({found.reason}): it is asked again after {until}"

    def tokens_of(self, text: str) -> int:
        """About how many tokens a text of a note is, with what the model is told in front of it."""
        from nescord.tokens import estimate

        return self._before_a_text + estimate(text)

    def requests(self, texts: Sequence[str]) -> list[slice]:
        """The texts in requests of at most `max_batch`, each within what a request may have."""
        requests, first, tokens = [], 0, 0
        for place, text in enumerate(texts):
            more = self.tokens_of(text)
            if place > first and (place - first == self.max_batch or tokens + more > self._most_tokens):
                requests.append(slice(first, place))
                first, tokens = place, 0
            tokens += more
        return [*requests, slice(first, len(texts))]

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder`. One request, which the caller of this has made small enough."""
        return self._documents(texts, self._caller)

    def embed_warily(self, texts: Sequence[str]) -> Vectors:
        """As `embed_documents`, with less patience: for texts that have failed, so that their failures do not end in
        the model's being left alone."""
        return self._documents(texts, self._wary)

    def probe(self) -> None:
        """Ask for a harmless text.

        Raises:
            NescordError: not even that is answered.
        """
        self._documents([PROBE], self._wary)

    def embed_query(self, text: str) -> Vectors:
        """As `Embedder`."""
        from nescord.budget import Purpose
        from nescord.tokens import estimate

        sent = self._masked(text)
        tokens = self._before_a_query + estimate(sent)
        return self._caller.call(
            Purpose.EMBED_QUERY, self._model, tokens, lambda: (self._adapter.embed_query(sent), None)
        )

    def _documents(self, texts: Sequence[str], caller: Caller) -> Vectors:
        sent = [self._masked(text) for text in texts]
        failed: list[RemoteError] = []

        def once() -> tuple[Vectors, None]:
            try:
                return self._adapter.embed_documents(sent), None
            except RemoteError as error:
                failed.append(error)
                raise

        try:
            return caller.call(self._purpose, self._model, sum(map(self.tokens_of, sent)), once)
        except OutageError as error:
            if failed:  # it has had its attempts, and they were what the model is left alone for
                raise failed[-1] from error
            raise

    def _masked(self, text: str) -> str:
        if self._settings.mask == "off":
            return text
        from nescord.masking import masked

        return masked(text)[0]


def model_key(model: str, dims: int) -> str:
    """The key under which the vectors of a model are stored: the same for both libraries, as the vectors are."""
    return f"gemini|{model}|{dims}|retrieval|1"


def open_remote(key: str, settings: Settings, budget: Callable[[], Budget] | None) -> RemoteEmbedder:
    """The model of Gemini's that gave the vectors of that key. No library is imported yet.

    Without a `budget` it can be opened, and nothing be asked of it.

    Raises:
        RemoteRefusedError: no key is set. EmbeddingUnavailableError: no library for it is installed.
    """
    from nescord.budget import Purpose
    from nescord.remote.access import access_of
    from nescord.remote.calls import Caller, Patience

    _, model, dims, *_ = key.split("|")
    library = _library(settings)
    adapter: AskingEmbedder
    if library == "genai":
        from nescord.embedding.genai import GenaiEmbedder

        adapter = GenaiEmbedder(access_of(settings), model, int(dims))
    else:
        from nescord.embedding.gemini import GeminiEmbedder

        adapter = GeminiEmbedder(access_of(settings), model, int(dims))
    budget = budget or _no_budget
    caller, wary = Caller(settings, budget), Caller(settings, budget, behind=Patience(*_WARY))
    return RemoteEmbedder(adapter, model, caller, wary, settings, Purpose.EMBED_NEW)


def _no_budget() -> Budget:
    raise EmbeddingUnavailableError("a model elsewhere is asked within a knowledge base only, which keeps its budget")


def _library(settings: Settings) -> str:
    """Which of the two asks: the one that is named, else the one that is there."""
    named = settings.embedder if settings.embedder in _PACKAGES else ""
    for library in (named,) if named else _PACKAGES:
        if packages.is_installed(_PACKAGES[library]):
            return library
    wanted = named or "gemini"
    raise EmbeddingUnavailableError(
        f"Gemini cannot be asked: the package {_PACKAGES[wanted]} is not installed (pip install 'nescordbot[{wanted}]')"
    )
