"""Mend what verification found, as far as nothing can be lost by it: everything derived is made anew from the notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nescord.catalog import fulltext
from nescord.errors import LockTimeoutError, ServiceUnavailableError
from nescord.index.store import DamagedIndexError
from nescord.persistence.database import dims_of, models, unusable_vectors
from nescord.persistence.report import PersistenceReport

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.meaning import Meaning

_WORDS = frozenset({"database.words", "database.word_rows", "database.word_canaries"})
# What can be wrong with a database and is made anew from the notes.
MENDABLE = _WORDS | {"database.embeddings"}
_UNTOLD = frozenset({"database.behind", "index.store"})


def repair(report: PersistenceReport, catalog: Catalog, meaning: Meaning) -> list[str]:
    """Mend, and say what was done and what could not be. The caller holds ingest.lock."""
    bad = {check.name for check in report.checks if check.status == "fail"}
    done = []
    if bad & _WORDS:
        with catalog.write() as connection:
            fulltext.rebuild(connection)
        done.append("the full-text index was written anew")
    if "database.embeddings" in bad:
        done.append(f"{_drop_unusable_vectors(catalog):,} vectors were dropped: nescord ingest embeds them again")
    try:
        done += _mend_index(report, bad, catalog, meaning)
    except (ServiceUnavailableError, LockTimeoutError, DamagedIndexError) as error:
        done.append(f"the vector index could not be mended: {error}")
    return done


def _mend_index(report: PersistenceReport, bad: set[str], catalog: Catalog, meaning: Meaning) -> list[str]:
    is_used = any(check.name == "index.ids" for check in report.checks)
    if ("database.embeddings" in bad and is_used) or any(name.startswith("index.") for name in bad):
        return [f"the vector index was built anew: {meaning.rebuild(catalog).indexed:,} vectors"]
    if any(check.status == "warn" and check.name in _UNTOLD for check in report.checks):
        told = meaning.drain(catalog)
        return [f"Chroma was told what changed: {told.indexed:,} vectors", *told.degraded]
    return []


def _drop_unusable_vectors(catalog: Catalog) -> int:
    """They are worth nothing. The chunks concerned wait for a vector again."""
    with catalog.write() as connection:
        unusable = {model: unusable_vectors(connection, model, dims_of(key)) for model, key in models(connection)}
        for model, bad in unusable.items():
            connection.executemany(
                "INSERT INTO index_log (op, chunk, language_group) SELECT 'delete', chunk.id, chunk.language_group "
                "FROM chunk JOIN embedding ON embedding.text_hash = chunk.text_hash WHERE embedding.id = ?",
                ((key,) for key in bad),
            )
            connection.executemany("DELETE FROM embedding WHERE id = ?", ((key,) for key in bad))
            if bad:
                connection.execute("UPDATE model SET embedded_through = 0 WHERE id = ?", (model,))
    return sum(map(len, unusable.values()))
