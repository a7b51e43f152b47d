"""Text → vectors: small provider adapters behind one protocol, and the service that all use.

A provider adapter knows its model and nothing else; batching, checks and workers are in service.py, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# numpy takes 0.15 s to import, and an ingest that found nothing new needs none of it.
Vectors: TypeAlias = "NDArray[np.float32]"


class Embedder(Protocol):
    """A model. `model_key` is `provider|model|dims|task|prep-version`: vectors of different keys are never compared."""

    @property
    def model_key(self) -> str: ...

    @property
    def dims(self) -> int: ...

    @property
    def max_batch(self) -> int: ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dims) float32, each row of length 1."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """(dims,) float32 of length 1."""
        ...
