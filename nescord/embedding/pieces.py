"""A request piece by piece: halves find the text that is refused, or that no answer ever comes for.

What was answered is kept whatever becomes of the rest. Where a model elsewhere is well and yet fails on a request, the
texts of it come last, in halves, and the one that is to blame is put aside for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nescord.errors import (
    NescordError,
    OutageError,
    RemoteError,
    TextRefusedError,
    UnusableVectorsError,
    WrongAnswerError,
)

if TYPE_CHECKING:
    from nescord.catalog.vectors import PendingText
    from nescord.embedding import Vectors
    from nescord.embedding.service import Embed, EmbeddingService

# A text that fails alone is asked for four times a day at most.
RETRY_AFTER = 6 * 3600


@dataclass(frozen=True, slots=True)
class Later:
    """Why a text has no vector, and in how many seconds it may be asked for again (0: last in the next turn)."""

    reason: str
    seconds: int = 0


# A text's vector, as stored; why it is refused for good; or why it is put aside.
Answer = bytes | str | Later
# Texts with their answers; and all such pieces of a request, with what went wrong after them.
Piece = tuple[Sequence["PendingText"], list[Answer]]
Result = tuple[list[Piece], NescordError | None]
# Those of the texts that have no vector at this moment.
StillMissing = Callable[[Sequence["PendingText"]], Sequence["PendingText"]]


def inputs(batch: Sequence[PendingText]) -> list[str]:
    """What is embedded for each."""
    from nescord.embedding.service import embedding_input

    return [embedding_input(text.title, text.headings, text.text) for text in batch]


def embedded(embed: Embed, batch: Sequence[PendingText]) -> list[Answer]:
    """An answer for each. Raises as `embed`."""
    return [answer for _, answers in _pieces(embed, batch) for answer in answers]


def asked(embed: Embed, batch: Sequence[PendingText]) -> Result:
    """The texts that were answered, piece by piece in their order, and why the others were not."""
    pieces = []
    try:
        for piece in _pieces(embed, batch):
            pieces.append(piece)
    except NescordError as error:
        return pieces, error
    return pieces, None


def asked_or_last(service: EmbeddingService, embed: Embed, batch: Sequence[PendingText]) -> Result:
    """As `asked`; where the request is to blame, and not the model, its texts are to come last."""
    pieces, error = asked(embed, batch)
    if error is None:
        return pieces, None
    try:
        is_to_blame = _is_of_the_request(service, error)
    except OutageError:  # left alone already, by this very request perhaps: it comes last, and the next one will tell
        is_to_blame = isinstance(error, RemoteError)
    if not is_to_blame:
        return pieces, error
    rest = _rest(batch, pieces)
    return [*pieces, (rest, [Later(str(error))] * len(rest))], None


def cautiously(service: EmbeddingService, batch: Sequence[PendingText], still_missing: StillMissing) -> Iterator[Piece]:
    """The texts of a request that has failed: in halves, with little patience, down to the single text.

    What is not missing any more, when its turn comes, is in no piece.

    Raises:
        NescordError: no text is to blame. The pieces before were given.
    """
    if service.remote and service.remote.outage():
        # A call is tried after the pause: by a text that may be to blame it would say nothing of the model.
        service.remote.probe()
    groups = deque(_halves(batch))
    while groups:
        some = still_missing(groups.popleft())
        pieces, error = asked(service.embed_warily, some) if some else ([], None)
        yield from pieces
        if error is None:
            continue
        if not _is_of_the_request(service, error):
            raise error
        rest = _rest(some, pieces)
        if len(rest) == 1:
            yield rest, [Later(str(error), RETRY_AFTER)]
        else:
            groups.extend(_halves(rest))


def _is_of_the_request(service: EmbeddingService, error: NescordError) -> bool:
    """Whether a harmless text is answered where this request, after all patience, was not.

    Raises:
        OutageError: nobody can tell, for the model is left alone.
    """
    may_be = isinstance(error, RemoteError | WrongAnswerError) and not isinstance(error, OutageError)
    if service.remote is None or not may_be:
        return False
    try:
        service.remote.probe()
    except OutageError:
        raise
    except NescordError:
        return False
    return True


def _rest(batch: Sequence[PendingText], pieces: Sequence[Piece]) -> Sequence[PendingText]:
    return batch[sum(len(texts) for texts, _ in pieces) :]


def _halves(batch: Sequence[PendingText]) -> list[Sequence[PendingText]]:
    middle = len(batch) // 2
    return [half for half in (batch[:middle], batch[middle:]) if half]


def _pieces(embed: Embed, batch: Sequence[PendingText]) -> Iterator[Piece]:
    """The texts with an answer for each, in their order. Halves find the refused ones."""
    try:
        yield batch, [_stored(vector) for vector in embed(inputs(batch))]
        return
    except UnusableVectorsError as error:
        right = {place: _stored(vector) for place, vector in error.right.items()}
        yield batch, _once_more(embed, batch, right)
        return
    except TextRefusedError as error:
        if len(batch) == 1:
            yield batch, [str(error)]
            return
    for half in _halves(batch):
        yield from _pieces(embed, half)


def _once_more(embed: Embed, batch: Sequence[PendingText], right: dict[int, bytes]) -> list[Answer]:
    """All answers, where some were no vectors: those are asked for again, by themselves."""
    answers: dict[int, Answer] = dict(right)
    wrong = [place for place in range(len(batch)) if place not in right]
    try:
        answers |= zip(wrong, map(_stored, embed(inputs([batch[place] for place in wrong]))), strict=True)
    except UnusableVectorsError as error:
        answers |= {
            place: _stored(error.right[at]) if at in error.right else str(error) for at, place in enumerate(wrong)
        }
    except NescordError as error:  # what came before is paid for
        answers |= dict.fromkeys(wrong, Later(str(error)))
    return [answers[place] for place in range(len(batch))]


def _stored(vector: Vectors) -> bytes:
    return vector.astype("<f4").tobytes()
