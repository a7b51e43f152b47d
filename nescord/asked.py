"""A question as vectors: of the live model, and of a second one that has followed; or in plain words why not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nescord.catalog import model_choice
from nescord.catalog import vectors as vectors_sql
from nescord.embedding.local import LocalEmbedder
from nescord.errors import EmbeddingError, ServiceUnavailableError
from nescord.query_vectors import query_vector

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.embedding import Vectors
    from nescord.embedding.choice import Models


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as a vector of `model`, and of a second model that has vectors, too. `degraded` says what is missing."""

    model: int
    vector: Vectors
    second: tuple[int, Vectors] | None = None
    degraded: tuple[str, ...] = ()


def ask(catalog: Catalog, models: Models, text: str) -> Asked | str:
    """The query's vectors, or why there are none. Never within a transaction: a model elsewhere takes its time."""
    with catalog.read() as connection:
        live = model_choice.live_key(connection)
        model = vectors_sql.model_id(connection, live) if live else None
    try:
        choice = models.choice(live)
        if choice.refused:
            return choice.refused
        if model is None:
            return "nothing is embedded yet (nescord ingest)"
        asked = Asked(model, query_vector(catalog, choice.live, text))
    except (EmbeddingError, ServiceUnavailableError) as error:
        return _stand_in(catalog, models, text, live, error) or str(error)
    return _with_second(catalog, models, text, asked, models.second_key(live or ""))


def _stand_in(catalog: Catalog, models: Models, text: str, live: str | None, error: Exception) -> Asked | None:
    """The vectors that the local model gave these notes once, while the live one, which is elsewhere, is not to be had.

    Not where embedding is switched off or something else was asked for.
    """
    local = LocalEmbedder.model_key
    with catalog.read() as connection:
        model = vectors_sql.model_id(connection, local)
        if (
            not live
            or not live.startswith("gemini|")
            or not model
            or not vectors_sql.count_indexable(connection, model)
        ):
            return None
    try:
        models.wanted_key(live)
        vector = models.by_key(local).query(text)
    except (EmbeddingError, ServiceUnavailableError):
        return None
    return Asked(model, vector, degraded=(f"vector: {error} (the vectors of the local model answer)",))


def _with_second(catalog: Catalog, models: Models, text: str, asked: Asked, key: str) -> Asked:
    if not key:
        return asked
    with catalog.read() as connection:
        number = vectors_sql.model_id(connection, key)
        if number is None or not vectors_sql.has_embeddings(connection, number):
            return asked
    try:
        return replace(asked, second=(number, models.by_key(key).query(text)))
    except (EmbeddingError, ServiceUnavailableError) as error:
        return replace(asked, degraded=(f"vector: {error}",))
