"""Rows of the database, or of anywhere, to Parquet: in batches, so that memory holds one batch and not a table.

pyarrow is imported here and in whatever imports this: only in the child process that builds marts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import apsw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nescord.catalog import marts as sql
from nescord.marts.counting import count_words
from nescord.marts.schema import Column, Table, Type

Value = sql.Value
Row = TypeVar("Row")

_BATCH = 4096
_BATCH_OF = {"notes": 256}
# A note may have 64 MB, and more if the settings say so: a batch has this much, or one row. Arrow has no array of texts
# beyond 2 GiB, and memory holds a batch several times.
_BATCH_BYTES = 64 * 2**20
_LEVEL = 1
_UNLIKE = frozenset({"text", "title", "path", "query", "question", "note_id", "id", "run_id"})
_TYPES: Mapping[Type, pa.DataType] = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
    "DATE": pa.date32(),
    "BLOB": pa.binary(),
}
# Reasons and names may hold control characters.
_JSON = json.JSONDecoder(strict=False)
_TEXTS = ("VARCHAR", "VARCHAR[]")
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)


def export_catalog(connection: apsw.Connection, table: Table, target: Path, *, texts: bool, spaces: str | None) -> int:
    """Write a table of the database; how many rows it has."""
    names = tuple(sql.EXPORTS[table.name].columns)
    as_bytes = {column.name for column in table.columns if column.type in _TEXTS}
    cursor = sql.rows(connection, table.name, as_bytes, spaces)

    def columns(batch: list[tuple[Value, ...]]) -> dict[str, Sequence[object]]:
        return dict(zip(names, zip(*batch, strict=True), strict=True))

    return _write(table, target, map(columns, _batches(cursor, table.name, _size)), texts=texts)


def export_rows(table: Table, rows: Iterable[Mapping[str, object]], target: Path) -> int:
    """Write rows that come from elsewhere; how many they are."""

    def columns(batch: list[Mapping[str, object]]) -> dict[str, Sequence[object]]:
        return {name: [row.get(name) for row in batch] for name in table.names}

    batches = _batches(rows, table.name, lambda row: _size(row.values()))
    return _write(table, target, map(columns, batches), texts=True)


def export_vectors(connection: apsw.Connection, model: sql.Model, target: Path, spaces: str | None) -> int:
    """Write the vectors of a model: `model, text_hash, vector`, the last one a list of fixed length. How many."""
    # Nothing is nullable: the levels that Parquet keeps for that would be most of the work.
    number = pa.field("element", pa.float32(), nullable=False)
    schema = pa.schema(
        [
            pa.field("model", pa.string(), nullable=False),
            pa.field("text_hash", pa.binary(), nullable=False),
            pa.field("vector", pa.list_(number, model.dims), nullable=False),
        ]
    )
    vector = schema.field("vector").type
    # Vectors hardly compress: zstd takes three times as long for a twelfth less.
    options = {"compression": "none", "use_dictionary": ["model"], "write_statistics": False}
    count = 0
    with pq.ParquetWriter(target, schema, **options) as writer:
        for rows in _batches(sql.vectors(connection, model, spaces), "vectors", _size):
            hashes, blobs = zip(*rows, strict=True)
            # From the bytes as they are. (pa.array of numpy's would import pandas, which takes a second.)
            bits = pa.py_buffer(b"".join(blobs))
            numbers = pa.Array.from_buffers(pa.float32(), len(rows) * model.dims, [None, bits])
            columns = [
                pa.array([model.key] * len(rows), pa.string()),
                pa.array(hashes, pa.binary()),
                pa.FixedSizeListArray.from_arrays(numbers, type=vector),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            count += len(rows)
    return count


def fingerprint(vectors: Iterable[tuple[bytes, bytes]]) -> tuple[str, int]:
    """What tells whether any vector was added, replaced or deleted; and how many there are.

    Of the numbers themselves: the id of a row that was deleted comes again, and a text may be embedded anew.
    """
    digest, count = hashlib.blake2b(digest_size=16), 0
    for text_hash, vector in vectors:
        digest.update(b"%d %b %d " % (len(text_hash), text_hash, len(vector)))
        digest.update(vector)
        count += 1
    return digest.hexdigest(), count


def _batches(rows: Iterable[Row], table: str, size_of: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Not too many rows at a time, nor too large ones."""
    most, some, room = _BATCH_OF.get(table, _BATCH), list[Row](), _BATCH_BYTES
    for row in rows:
        size = size_of(row)
        if some and (size > room or len(some) == most):
            yield some
            some, room = [], _BATCH_BYTES
        some.append(row)
        room -= size
    if some:
        yield some


def _size(values: Iterable[object]) -> int:
    """Of the texts and blobs, which are what may be large."""
    return sum(len(value) for value in values if isinstance(value, bytes | str))


def _write(table: Table, target: Path, batches: Iterable[Mapping[str, Sequence[object]]], *, texts: bool) -> int:
    schema = pa.schema([(column.name, _TYPES[column.type]) for column in table.columns])
    count = 0
    # Texts and ids are hardly ever the same: looking for equal ones is work for nothing.
    alike = [column.name for column in table.columns if column.type == "VARCHAR" and column.name not in _UNLIKE]
    options = {"compression": "zstd", "compression_level": _LEVEL, "use_dictionary": alike}
    with pq.ParquetWriter(target, schema, **options) as writer:
        for batch in batches:
            columns = _arrays(table, batch, texts=texts)
            count += len(columns[0])
            writer.write_batch(pa.record_batch(columns, schema=schema))
            del batch, columns  # before the next one is fetched
    return count


def _arrays(table: Table, batch: Mapping[str, Sequence[object]], *, texts: bool) -> list[pa.Array]:
    size = len(next(iter(batch.values())))
    made: dict[str, pa.Array] = dict.fromkeys(table.names)
    for column in table.columns:
        if column.name in batch:
            made[column.name] = _array(column, batch[column.name])
    if "chars" in made:
        made["chars"] = pc.utf8_length(made["text"])
    if "words" in made:
        made["words"] = count_words(made["text"])
    for column in table.columns:
        if column.is_written and not texts:
            made[column.name] = pa.nulls(size, _TYPES[column.type])
    return [made[column.name].cast(_TYPES[column.type]) for column in table.columns]


def _array(column: Column, values: Sequence[object]) -> pa.Array:
    convert: Callable[[Sequence[object]], pa.Array] = _CONVERSIONS.get(column.type, _plain(column.type))
    return convert(values)


def _plain(kind: Type) -> Callable[[Sequence[object]], pa.Array]:
    wanted = _TYPES[kind]

    def convert(values: Sequence[object]) -> pa.Array:
        try:
            return pa.array(values, wanted)
        except _UNFIT:  # from a file that somebody has written in
            return pa.chunked_array([_one(value, wanted) for value in values], wanted).combine_chunks()

    return convert


def _one(value: object, wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array([value], wanted)
    except _UNFIT:
        return pa.nulls(1, wanted)


def _texts(values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    # Not UTF-8; or, from elsewhere, half a character, or no text at all.
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([None if value is None else _decoded(value) for value in values], pa.string())


def _lists(values: Sequence[object]) -> pa.Array:
    lists: list[list[object] | None] = [None if value is None else _JSON.decode(_decoded(value)) for value in values]
    return pa.array(
        [None if each is None else [_decoded(str(one)) for one in each] for each in lists], _TYPES["VARCHAR[]"]
    )


def _decoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def _moments(values: Sequence[object]) -> pa.Array:
    return _cast(values, "TIMESTAMPTZ")


def _days(values: Sequence[object]) -> pa.Array:
    return _cast(values, "DATE")


def _cast(values: Sequence[object], kind: Type) -> pa.Array:
    """ISO texts as moments or days; blank, or what is none, as NULL."""
    wanted = _TYPES[kind]
    texts = [value or None for value in values]
    try:
        return pa.array(texts, pa.string()).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.chunked_array([_cast_one(text, wanted) for text in texts], wanted).combine_chunks()


def _cast_one(text: object, wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array([text], pa.string()).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.nulls(1, wanted)


def _booleans(values: Sequence[object]) -> pa.Array:
    return pa.array([None if value is None else bool(value) for value in values], pa.bool_())


_CONVERSIONS: Mapping[Type, Callable[[Sequence[object]], pa.Array]] = {
    "VARCHAR": _texts,
    "VARCHAR[]": _lists,
    "TIMESTAMPTZ": _moments,
    "DATE": _days,
    "BOOLEAN": _booleans,
}
