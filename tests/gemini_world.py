"""Both libraries for Gemini against the fake: adapters by name, settings that lead there, and a ledger to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.embedding.asking import LONGEST_FOR_A_QUERY, AskingEmbedder
from nescord.generation import Generator
from nescord.remote.access import Access
from nescord.remote.calls import BEHIND, Caller, Patience
from tests.budget_world import ledger
from tests.fakes.gemini import FakeGemini
from tests.vaults import open_base

LIBRARIES = ("gemini", "genai")
EMBEDDING, ANSWERING = "gemini-embedding-001", "gemini-3.5-flash-lite"
# How long an adapter waits for an answer that the fake never gives.
TIMEOUT = 1.0


def embedder(
    library: str,
    fake: FakeGemini,
    *,
    model: str = EMBEDDING,
    dims: int = 768,
    longest_for_a_query: float = LONGEST_FOR_A_QUERY,
    **access: object,
) -> AskingEmbedder:
    """The adapter of that library, whose endpoint is the fake."""
    from nescord.embedding.gemini import GeminiEmbedder
    from nescord.embedding.genai import GenaiEmbedder

    adapter = {"gemini": GeminiEmbedder, "genai": GenaiEmbedder}[library]
    return adapter(_access(fake, **access), model, dims, longest_for_a_query=longest_for_a_query)


def generator(library: str, fake: FakeGemini, *, model: str = ANSWERING, **access: object) -> Generator:
    """The adapter of that library, whose endpoint is the fake."""
    from nescord.generation.gemini import GeminiGenerator
    from nescord.generation.genai import GenaiGenerator

    return {"gemini": GeminiGenerator, "genai": GenaiGenerator}[library](_access(fake, **access), model)


def _access(fake: FakeGemini, **access: object) -> Access:
    return Access(**{"endpoint": fake.url, "timeout": TIMEOUT, "key": fake.key, **access})


@dataclass(frozen=True, slots=True)
class Called:
    """A knowledge base whose model elsewhere is the fake."""

    km: KnowledgeManager
    caller: Caller
    data: Path

    @property
    def settings(self) -> Settings:
        return self.km._base.settings

    @property
    def costs(self) -> list[tuple[object, ...]]:
        """Purpose, tokens and whether it is settled, of each call in its order."""
        return ledger(self.data)


@contextmanager
def called(data: Path, fake: FakeGemini, *, behind: Patience = BEHIND, **more: object) -> Iterator[Called]:
    """A caller with a budget of its own, as fast as the machine is unless `more` says otherwise."""
    fast = {"gemini_requests_per_minute": 1_000_000, "gemini_tokens_per_minute": 1_000_000_000}
    reach = {"gemini_endpoint": fake.url, "gemini_api_key": fake.key, "gemini_timeout": TIMEOUT}
    with open_base(data, vector="exact", **{**fast, **reach, **more}) as km:
        yield Called(km, Caller(km._base.settings, lambda: km.budget, behind=behind), data)
