"""What embedding will cost, told before a call is made: `nescord ingest --dry-run`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nescord.catalog import vectors as vectors_sql
from nescord.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.catalog.notes import DraftNote
    from nescord.embedding.remote import RemoteEmbedder
    from nescord.notes import Chunk
    from nescord.opened import OpenBase


@dataclass(frozen=True, slots=True)
class Cost:
    """Texts to embed, about how many tokens they are, and US dollars by the price of the settings."""

    texts: int
    tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class EmbeddingCost:
    """What embedding costs with a model elsewhere: `warm` what has no vector yet, `cold` all notes, from nothing.

    `left` are the tokens that the month's budget still has.
    """

    model_key: str
    warm: Cost
    cold: Cost
    left: int


def costing(catalog: Catalog, base: OpenBase) -> Costing | None:
    """For the model that new notes are embedded with; None where that is in this process, or there is none."""
    try:
        service = base.meaning.choice(catalog).live
    except ServiceUnavailableError:
        return None
    return None if service.remote is None else Costing(service.remote, base)


class Costing:
    """Adds up the texts that an ingest would store, and then what is stored. Equal text is embedded once."""

    def __init__(self, model: RemoteEmbedder, base: OpenBase) -> None:
        self._model = model
        self._price = base.settings.price_embedding
        self._budget = base.budget
        self._tokens: dict[bytes, int] = {}

    def add(self, draft: DraftNote, chunks: Iterable[Chunk]) -> None:
        """`IngestOptions.drafted`: a note and those of its chunks that are not stored yet."""
        for chunk in chunks:
            self._count(chunk.text_hash, draft.title, chunk.headings, chunk.text)

    def cost(self, catalog: Catalog) -> EmbeddingCost:
        """What it comes to."""
        with catalog.read() as connection:
            model = vectors_sql.model_id(connection, self._model.model_key) or 0
            known = vectors_sql.known_texts(connection, model)
            for text in vectors_sql.all_texts(connection):
                self._count(text.text_hash, text.title, text.headings, text.text)
        missing = [tokens for text_hash, tokens in self._tokens.items() if text_hash not in known]
        state = self._budget.state()
        return EmbeddingCost(
            self._model.model_key,
            self._cost(missing),
            self._cost(self._tokens.values()),
            max(0, state.limit - state.total),
        )

    def _cost(self, tokens: Collection[int]) -> Cost:
        return Cost(len(tokens), sum(tokens), round(sum(tokens) * self._price / 1e6, 6))

    def _count(self, text_hash: bytes, title: str, headings: str, text: str) -> None:
        from nescord.embedding.service import embedding_input

        if text_hash not in self._tokens:
            self._tokens[text_hash] = self._model.tokens_of(embedding_input(title, headings, text))
