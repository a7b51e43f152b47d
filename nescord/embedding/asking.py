"""What both libraries for Gemini's embeddings need: tasks, checks of an answer, and whose fault a refusal is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from nescord.embedding.remote import PROBE, PROBE_TOKENS, model_key
from nescord.errors import BlockedError, RemoteRefusedError, WrongAnswerError
from nescord.remote.failures import DoubtfulError
from nescord.tokens import estimate

if TYPE_CHECKING:
    from nescord.embedding import Vectors
    from nescord.remote.access import Access

Task = Literal["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]

MAX_BATCH = 100
# Newer models know no task_type: the task stands in front of the text, as Google's guide to them says.
_TOLD_BY_TASK_TYPE = frozenset({"gemini-embedding-001", "embedding-001", "text-embedding-004"})
_PREFIX: dict[Task, str] = {
    "RETRIEVAL_DOCUMENT": "title: none | text: ",
    "RETRIEVAL_QUERY": "task: search result | query: ",
}
# A person waits for it, and would rather have what is found by words.
LONGEST_FOR_A_QUERY = 10.0
# For so many seconds an answer to the harmless text says that the settings are right.
_PROBE_HOLDS = 60.0


class AskingEmbedder(ABC):
    """One request for each call, no budget, no pace and no repetition: those are nescord/embedding/remote.py's."""

    max_batch: ClassVar[int] = MAX_BATCH

    def __init__(
        self, access: Access, model: str, dims: int, *, longest_for_a_query: float = LONGEST_FOR_A_QUERY
    ) -> None:
        self._access, self._model, self._dims = access, model, dims
        self._for_a_query = min(access.timeout, longest_for_a_query)
        self._has_answered = False
        self._probed_at = float("-inf")

    @property
    def model_key(self) -> str:
        return model_key(self._model, self._dims)

    @property
    def dims(self) -> int:
        return self._dims

    def told_before(self, task: Task) -> str:
        """What is sent in front of each text, and paid like it; "" where the model knows task types."""
        return "" if self._model in _TOLD_BY_TASK_TYPE else _PREFIX[task]

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dims) float32 of length 1; a row that is not of finite numbers, or zero, is handed on as it came.

        Raises:
            RateLimitedError, RemoteError: later. RemoteRefusedError: after a setting was mended. BlockedError: not with
                all of these texts. WrongAnswerError: too few vectors, too many, or some of a wrong length.
        """
        return self._vectors(texts, "RETRIEVAL_DOCUMENT")

    def embed_query(self, text: str) -> Vectors:
        """(dims,) float32 of length 1. Raises as embed_documents."""
        row: Vectors = self._vectors([text], "RETRIEVAL_QUERY")[0]
        return row

    @abstractmethod
    def _ask(self, texts: Sequence[str], task: Task | None, timeout: float) -> list[list[float]]:
        """One request; what came, unchecked."""

    def _vectors(self, texts: Sequence[str], task: Task) -> Vectors:
        try:
            answer = self._told(texts, task)
        except DoubtfulError as error:
            if len(texts) == 1 or not self._has_answered:
                self._is_it_the_text(error, task)
            raise
        return self._checked(answer, texts)

    def _told(self, texts: Sequence[str], task: Task) -> list[list[float]]:
        timeout = self._access.timeout if task == "RETRIEVAL_DOCUMENT" else self._for_a_query
        if before := self.told_before(task):
            answer = self._ask([before + text for text in texts], None, timeout)
        else:
            answer = self._ask(texts, task, timeout)
        self._has_answered = True
        return answer

    def _is_it_the_text(self, error: DoubtfulError, task: Task) -> None:
        """A harmless text is asked for: if that is refused as well, no text is to blame.

        What was answered before says nothing: an account may be closed while notes are embedded.
        """
        if time.monotonic() - self._probed_at < _PROBE_HOLDS:
            return
        try:
            self._told([PROBE], task)
        except BlockedError:
            raise RemoteRefusedError(
                f"{error}; a harmless text is refused as well: check NESCORD_GEMINI_EMBEDDING_MODEL and "
                "NESCORD_GEMINI_DIMS"
            ) from error
        self._probed_at = time.monotonic()
        error.tokens += PROBE_TOKENS + estimate(self.told_before(task))

    def _checked(self, answer: Sequence[Sequence[float]], texts: Sequence[str]) -> Vectors:
        import numpy as np

        if len(answer) != len(texts):
            raise WrongAnswerError(
                f"{self._model} answered {len(texts)} texts with {len(answer)} vectors: nothing of it can be used"
            )
        wrong = next((len(row) for row in answer if len(row) != self._dims), None)
        if wrong is not None:
            raise WrongAnswerError(
                f"{self._model} gave a vector of {wrong} numbers instead of {self._dims}: nothing of it can be used "
                "(is NESCORD_GEMINI_DIMS a length that the model has?)"
            )
        vectors = np.asarray(answer, np.float64)
        # Only in full are they of length 1 as they come. A row of zeros has no direction and stays one.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
