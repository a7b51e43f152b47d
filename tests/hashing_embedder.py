"""A tiny model for tests: words and character pairs hashed into 64 numbers. Equal text, equal vector, in any process.

It knows nothing of meaning, but shared words make texts nearer: enough to test what happens to vectors. Not for use
outside tests: fused with keywords such vectors make search worse (docs/architecture.md).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from nescord.embedding import Vectors
from nescord.errors import TextRefusedError

DIMS = 64
REFUSED = "REFUSE-THIS-TEXT"


class HashingEmbedder:
    """`name` makes another model of it; a text that holds REFUSED is refused for good."""

    max_batch = 64
    dims = DIMS

    def __init__(self, name: str = "hashing") -> None:
        self.model_key = f"test|{name}|{DIMS}|similarity|1"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(-1, DIMS)

    def embed_query(self, text: str) -> Vectors:
        return self.embed_documents([text])[0]

    def _vector(self, text: str) -> Vectors:
        if REFUSED in text:
            raise TextRefusedError("the test model refuses this text")
        vector = np.zeros(DIMS, dtype=np.float32)
        # The model's own key takes part, so that vectors of two models differ.
        vector[zlib.crc32(self.model_key.encode()) % DIMS] = 0.25
        folded = text.casefold()
        for part in (*folded.split(), *(folded[i : i + 2] for i in range(len(folded) - 1))):
            number = zlib.crc32(part.encode("utf-8", "surrogatepass"))
            vector[number % DIMS] += 1 if number & 0x10000 else -1
        length = np.linalg.norm(vector)
        return vector / length if length else np.eye(1, DIMS, dtype=np.float32)[0]


class CountingEmbedder(HashingEmbedder):
    """Remembers every document that it was asked for, in order."""

    def __init__(self, name: str = "hashing") -> None:
        super().__init__(name)
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        return super().embed_documents(texts)
