"""SQL of embeddings, of the log that vector indexes follow, and of the collections that follow it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apsw

LANGUAGE_GROUPS = ("ja", "other")


@dataclass(frozen=True, slots=True)
class PendingText:
    """A text that has no vector of a model yet, with the note it was first met in; `chunk` is that chunk's id."""

    chunk: int
    text_hash: bytes
    title: str
    headings: str
    text: str


class PlacedVector(NamedTuple):
    """A chunk's vector, and where it belongs."""

    chunk: int
    note: int
    language_group: str
    vector: bytes


@dataclass(frozen=True, slots=True)
class Collection:
    """A Chroma collection that follows the log; `applied_seq` is the last log row it has been told."""

    name: str
    model: int
    language_group: str
    epoch: str
    state: str
    applied_seq: int


_COLLECTION = "name, model, language_group, epoch, state, applied_seq"
# Left to itself SQLite may begin with all vectors, in the order of their hashes: to sort them by chunk, and even to
# look up a few chunks. A CROSS JOIN keeps the order (https://www.sqlite.org/optoverview.html#crossjoin).
_BY_CHUNK = "CROSS JOIN"
_HAS_NO_VECTOR = """
NOT EXISTS (SELECT 1 FROM embedding WHERE embedding.model = :model AND embedding.text_hash = chunk.text_hash)
"""
_WAS_NOT_ASKED = """
NOT EXISTS (SELECT 1 FROM embed_failure
            WHERE embed_failure.model = :model AND embed_failure.text_hash = chunk.text_hash)
"""
_IS_DUE = "embed_failure.retry_at <= strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"
# A failure may outlive its text, and stand beside a vector that came by another way: then nothing is missing.
_IS_MISSED = """
EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = embed_failure.text_hash)
AND NOT EXISTS (SELECT 1 FROM embedding WHERE embedding.model = :model
                AND embedding.text_hash = embed_failure.text_hash)
"""


@dataclass(frozen=True, slots=True)
class Failures:
    """Texts of a model that are `refused` for good, and those `put_aside`, the first of them until `until`."""

    refused: int = 0
    put_aside: int = 0
    until: str = ""


def epoch(connection: apsw.Connection) -> str:
    """Which life of this knowledge base it is: a collection of another epoch is never used."""
    value: str = connection.execute("SELECT value FROM meta WHERE name = 'epoch'").get
    return value


def model_id(connection: apsw.Connection, key: str) -> int | None:
    """The number of the model with that key; None before its first use."""
    value: int | None = connection.execute("SELECT id FROM model WHERE key = ?", (key,)).get
    return value


def add_model(connection: apsw.Connection, key: str) -> int:
    """The number of the model with that key, given on its first use."""
    connection.execute("INSERT OR IGNORE INTO model (key) VALUES (?)", (key,))
    return model_id(connection, key) or 0


def is_embedded_through(connection: apsw.Connection, model: int) -> bool:
    """Whether every chunk was looked at for this model: one comparison, for the run that has nothing to do."""
    last = last_chunk(connection)
    through: int = connection.execute("SELECT embedded_through FROM model WHERE id = ?", (model,)).get or 0
    if through < last:
        return False
    missed = f"SELECT 1 FROM embed_failure WHERE model = :model AND {_IS_DUE} AND {_IS_MISSED} LIMIT 1"
    return connection.execute(missed, {"model": model}).get is None


def last_chunk(connection: apsw.Connection) -> int:
    """The largest chunk id that is in use."""
    value: int = connection.execute("SELECT coalesce(max(id), 0) FROM chunk").get
    return value


def set_embedded_through(connection: apsw.Connection, model: int, chunk_id: int) -> None:
    """Every chunk up to this id has a vector of the model, is refused for good or put aside."""
    connection.execute("UPDATE model SET embedded_through = max(embedded_through, ?) WHERE id = ?", (chunk_id, model))


def pending(connection: apsw.Connection, model: int, limit: int) -> list[PendingText]:
    """The first `limit` texts without a vector, each once, in the order of their chunks."""
    rows = connection.execute(
        "SELECT min(chunk.id), chunk.text_hash, note.title, chunk.headings, chunk.text FROM chunk "
        "JOIN note ON note.key = chunk.note WHERE chunk.id IN (SELECT id FROM chunk WHERE id > "
        "coalesce((SELECT embedded_through FROM model WHERE id = :model), 0) "
        f"AND {_HAS_NO_VECTOR} AND {_WAS_NOT_ASKED} ORDER BY id LIMIT :limit) "
        "GROUP BY chunk.text_hash ORDER BY 1",
        {"model": model, "limit": limit},
    )
    return [PendingText(*row) for row in rows]


def due(connection: apsw.Connection, model: int) -> list[PendingText]:
    """The texts that were put aside and may be asked for again, each once."""
    rows = connection.execute(
        "SELECT min(chunk.id), chunk.text_hash, note.title, chunk.headings, chunk.text FROM embed_failure "
        "JOIN chunk ON chunk.text_hash = embed_failure.text_hash JOIN note ON note.key = chunk.note "
        f"WHERE embed_failure.model = :model AND {_IS_DUE} AND {_HAS_NO_VECTOR} "
        "GROUP BY chunk.text_hash ORDER BY 1",
        {"model": model},
    )
    return [PendingText(*row) for row in rows]


def without_vector(connection: apsw.Connection, model: int, texts: Sequence[PendingText]) -> list[PendingText]:
    """Those of the texts that have none at this moment."""
    known = "SELECT 1 FROM embedding WHERE model = ? AND text_hash = ?"
    return [text for text in texts if connection.execute(known, (model, text.text_hash)).get is None]


def texts_of_note(connection: apsw.Connection, note_id: str) -> list[PendingText]:
    """The texts of one note, whether they have vectors or not."""
    rows = connection.execute(
        "SELECT chunk.id, chunk.text_hash, note.title, chunk.headings, chunk.text FROM chunk "
        "JOIN note ON note.key = chunk.note WHERE note.id = ? ORDER BY chunk.ordinal",
        (note_id,),
    )
    return [PendingText(*row) for row in rows]


def all_texts(connection: apsw.Connection) -> Iterator[PendingText]:
    """Every text that is stored, once."""
    rows = connection.execute(
        "SELECT min(chunk.id), chunk.text_hash, note.title, chunk.headings, chunk.text FROM chunk "
        "JOIN note ON note.key = chunk.note GROUP BY chunk.text_hash"
    )
    return (PendingText(*row) for row in rows)


def known_texts(connection: apsw.Connection, model: int) -> set[bytes]:
    """The hashes of the texts that have a vector of the model, are refused for good, or put aside until later."""
    rows = connection.execute(
        "SELECT text_hash FROM embedding WHERE model = ?1 UNION ALL "
        f"SELECT text_hash FROM embed_failure WHERE model = ?1 AND ({_IS_DUE}) IS NOT TRUE",
        (model,),
    )
    return {bytes(text_hash) for (text_hash,) in rows}


def count_pending(connection: apsw.Connection, model: int) -> int:
    """How many chunks have no vector of the model, and are neither refused nor put aside until later."""
    count: int = connection.execute(
        f"SELECT count(*) FROM chunk WHERE {_HAS_NO_VECTOR} AND NOT EXISTS (SELECT 1 FROM embed_failure "
        f"WHERE model = :model AND embed_failure.text_hash = chunk.text_hash AND ({_IS_DUE}) IS NOT TRUE)",
        {"model": model},
    ).get
    return count


def store(connection: apsw.Connection, model: int, rows: Sequence[tuple[bytes, bytes]]) -> None:
    """Keep (text hash, vector) and log every chunk that has such a text."""
    connection.executemany(
        "DELETE FROM embed_failure WHERE model = ? AND text_hash = ?", ((model, text_hash) for text_hash, _ in rows)
    )
    connection.executemany(
        "INSERT OR IGNORE INTO embedding (model, text_hash, vector) VALUES (?, ?, ?)",
        ((model, text_hash, vector) for text_hash, vector in rows),
    )
    connection.executemany(
        "INSERT INTO index_log (op, chunk, language_group) SELECT 'add', id, language_group FROM chunk "
        "WHERE text_hash = ? ORDER BY id",
        ((text_hash,) for text_hash, _ in rows),
    )


def refuse(connection: apsw.Connection, model: int, rows: Iterable[tuple[bytes, str, str | None]], when: str) -> None:
    """Texts (text hash, reason, retry at) that are not asked for again until then; without a date, for good.

    One that has a vector, as somebody else had it embedded meanwhile, is passed over.
    """
    connection.executemany(
        "INSERT OR REPLACE INTO embed_failure SELECT ?1, ?2, ?3, ?4, ?5 "
        "WHERE NOT EXISTS (SELECT 1 FROM embedding WHERE model = ?1 AND text_hash = ?2)",
        ((model, text_hash, reason, when, retry_at) for text_hash, reason, retry_at in rows),
    )


def failures(connection: apsw.Connection, model: int) -> Failures:
    """How many texts of chunks have no vector although they were asked for."""
    refused, put_aside, until = connection.execute(
        f"SELECT count(*) FILTER (WHERE retry_at IS NULL), count(*) FILTER (WHERE NOT {_IS_DUE}), "
        f"min(retry_at) FILTER (WHERE NOT {_IS_DUE}) FROM embed_failure WHERE model = :model AND {_IS_MISSED}",
        {"model": model},
    ).fetchone()  # type: ignore[misc]  # an aggregate has a row
    return Failures(int(refused), int(put_aside), str(until or ""))


def forget_failures(connection: apsw.Connection) -> int:
    """Let every text that was refused or put aside be asked for again, by any model; how many there were."""
    # Those of texts that are gone are forgotten as well, and not counted: nobody will ask for them.
    count: int = connection.execute(
        "SELECT count(DISTINCT text_hash) FROM embed_failure "
        "WHERE EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = embed_failure.text_hash)"
    ).get
    connection.execute("DELETE FROM embed_failure")
    if count:
        connection.execute("UPDATE model SET embedded_through = 0")
    return count


def count_embeddings(connection: apsw.Connection, model: int) -> int:
    """How many texts have a vector of the model."""
    count: int = connection.execute("SELECT count(*) FROM embedding WHERE model = ?", (model,)).get
    return count


def has_embeddings(connection: apsw.Connection, model: int) -> bool:
    """Whether any text has a vector of the model."""
    return connection.execute("SELECT 1 FROM embedding WHERE model = ? LIMIT 1", (model,)).get is not None


def last_seq(connection: apsw.Connection) -> int:
    """The newest row of the log."""
    value: int = connection.execute("SELECT coalesce(max(seq), 0) FROM index_log").get
    return value


def first_seq(connection: apsw.Connection) -> int:
    """The oldest row of the log that is kept; a follower that is further behind must start over."""
    value: int = connection.execute("SELECT coalesce(min(seq), 0) FROM index_log").get
    return value


def log_after(connection: apsw.Connection, seq: int, language_group: str | None, limit: int) -> list[tuple[int, int]]:
    """The next rows of the log as (seq, chunk id), of one language group or (None) of all."""
    rows: list[tuple[int, int]] = connection.execute(
        "SELECT seq, chunk FROM index_log WHERE seq > ? AND (?2 IS NULL OR language_group = ?2) ORDER BY seq LIMIT ?3",
        (seq, language_group, limit),
    ).fetchall()  # type: ignore[assignment]  # two columns
    return rows


def trim_log(connection: apsw.Connection, keep: int) -> None:
    """Forget what every collection has been told, but for the newest `keep` rows."""
    connection.execute(
        "DELETE FROM index_log WHERE seq <= min((SELECT coalesce(max(seq), 0) FROM index_log) - ?, "
        "(SELECT coalesce(min(applied_seq), 0) FROM collection WHERE state <> 'old'))",
        (keep,),
    )


def vectors_of(
    connection: apsw.Connection, model: int, language_group: str | None, chunk_ids: Sequence[int]
) -> dict[int, bytes]:
    """The vectors of those of the chunks that exist, have one, and are of the group (None: of any)."""
    rows = connection.execute(
        f"SELECT chunk.id, embedding.vector FROM chunk {_BY_CHUNK} embedding ON embedding.model = ?1 "
        "AND embedding.text_hash = chunk.text_hash WHERE chunk.id IN (SELECT value FROM json_each(?2)) "
        "AND (?3 IS NULL OR chunk.language_group = ?3)",
        (model, json.dumps(list(chunk_ids)), language_group),
    )
    return {chunk_id: vector for chunk_id, vector in rows}  # noqa: C416 - typed by the comprehension


def all_vectors(
    connection: apsw.Connection, model: int, language_group: str | None
) -> Iterator[tuple[int, str, bytes]]:
    """(chunk id, language group, vector) of every chunk with a vector, by id."""
    yield from connection.execute(
        f"SELECT chunk.id, chunk.language_group, embedding.vector FROM chunk {_BY_CHUNK} embedding "
        "ON embedding.model = ?1 AND embedding.text_hash = chunk.text_hash "
        "WHERE ?2 IS NULL OR chunk.language_group = ?2 ORDER BY chunk.id",
        (model, language_group),
    )


def placed_vectors(connection: apsw.Connection, model: int, chunk_ids: Sequence[int] | None) -> Iterator[PlacedVector]:
    """The vectors of those of the chunks (None: of all) that exist and have one, by id."""
    some = "" if chunk_ids is None else "WHERE chunk.id IN (SELECT value FROM json_each(?))"
    rows = connection.execute(
        f"SELECT chunk.id, chunk.note, chunk.language_group, embedding.vector FROM chunk {_BY_CHUNK} embedding "
        f"ON embedding.model = ? AND embedding.text_hash = chunk.text_hash {some} ORDER BY chunk.id",
        (model,) if chunk_ids is None else (model, json.dumps(list(chunk_ids))),
    )
    return (PlacedVector(*row) for row in rows)


def count_indexable(connection: apsw.Connection, model: int, language_group: str | None = None) -> int:
    """How many chunks have a vector: what a complete index holds."""
    count: int = connection.execute(
        "SELECT count(*) FROM chunk JOIN embedding ON embedding.model = ?1 "
        "AND embedding.text_hash = chunk.text_hash WHERE ?2 IS NULL OR chunk.language_group = ?2",
        (model, language_group),
    ).get
    return count


def collections(connection: apsw.Connection) -> list[Collection]:
    """Every collection that is known, by name."""
    return [Collection(*row) for row in connection.execute(f"SELECT {_COLLECTION} FROM collection ORDER BY name")]


def count_behind(connection: apsw.Connection, model: int) -> int:
    """Changes of chunks that Chroma has not been told."""
    now = epoch(connection)
    live = {
        found.language_group: found
        for found in collections(connection)
        if found.model == model and found.state == "live" and found.epoch == now
    }
    behind = 0
    for group in LANGUAGE_GROUPS:
        if group in live:
            behind += len(log_after(connection, live[group].applied_seq, group, -1))
        else:
            behind += count_indexable(connection, model, group)
    return behind


def put_collection(connection: apsw.Connection, collection: Collection) -> None:
    """Insert a collection, or bring its row up to date."""
    connection.execute(
        "INSERT OR REPLACE INTO collection VALUES (?, ?, ?, ?, ?, ?)",
        (
            collection.name, collection.model, collection.language_group, collection.epoch, collection.state,
            collection.applied_seq,
        ),
    )  # fmt: skip


def set_applied(connection: apsw.Connection, name: str, seq: int) -> None:
    """The collection has been told everything up to `seq`."""
    connection.execute("UPDATE collection SET applied_seq = max(applied_seq, ?) WHERE name = ?", (seq, name))


def drop_collection(connection: apsw.Connection, name: str) -> None:
    """Forget a collection."""
    connection.execute("DELETE FROM collection WHERE name = ?", (name,))
