"""The vector of a query, asked for once: with a model elsewhere each search would be a call, and cost.

The catalog keeps those that were of use lately. A model in this process is as fast as the catalog is.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nescord.catalog import queries as queries_sql
from nescord.catalog import vectors as vectors_sql
from nescord.errors import NescordError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.embedding import Vectors
    from nescord.embedding.service import EmbeddingService

# 6 MB of vectors with 768 dimensions.
MOST_KEPT = 2_000
_DAY = len("2026-11-28")

_log = logging.getLogger(__name__)


def query_vector(catalog: Catalog, service: EmbeddingService, text: str) -> Vectors:
    """(dims,) float32 of length 1, read-only. Not to be called within a transaction: a model elsewhere takes its time.

    Raises:
        EmbeddingError, ServiceUnavailableError: as `EmbeddingService.query`, where the query is not known.
    """
    if service.remote is None:
        return service.query(text)
    wanted = " ".join(text.split())
    text_hash = hashlib.blake2b(wanted.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    now = utc_text(datetime.now(UTC))
    with catalog.read() as connection:
        model = vectors_sql.model_id(connection, service.model_key)
        known = None if model is None else queries_sql.vector(connection, model, text_hash)
    if known is None:
        vector = service.query(wanted)
        _keep(catalog, service, text_hash, vector.astype("<f4").tobytes(), now)
        return vector
    stored, used_at = known
    if used_at[:_DAY] != now[:_DAY]:  # once a day is enough to tell which are of use
        _keep(catalog, service, text_hash, stored, now)
    import numpy as np

    return np.frombuffer(stored, "<f4")


def _keep(catalog: Catalog, service: EmbeddingService, text_hash: bytes, vector: bytes, now: str) -> None:
    try:
        with catalog.write() as connection:
            model = vectors_sql.add_model(connection, service.model_key)
            queries_sql.keep_vector(connection, model, text_hash, vector, now, MOST_KEPT)
    except NescordError as error:  # a full disk, say: the search has its vector and goes on
        _log.warning("the vector of a query could not be kept, asking again will cost: %s", error)
