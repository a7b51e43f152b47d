"""An export as Parquet files, for DuckDB, pandas and whatever else reads tables. docs/export.md has the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from nescord.export.folder import ExportFolder
from nescord.export.reading import ExportedNote, Reading

_BATCH_ROWS, _BATCH_BYTES = 512, 16 * 2**20
_TEXT, _TEXTS, _MOMENT = pa.string(), pa.list_(pa.string()), pa.timestamp("us", "UTC")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS: Mapping[str, pa.Schema] = {
    "notes": _schema(
        **dict.fromkeys(("id", "path", "source", "title", "text"), _TEXT),
        **dict.fromkeys(("tags", "aliases"), _TEXTS),
        **dict.fromkeys(("front_matter", "space", "author", "origin", "kind", "owner", "lang"), _TEXT),
        **dict.fromkeys(("created_at", "updated_at"), _MOMENT),
    ),
    "links": _schema(
        note_id=_TEXT, ordinal=pa.int32(), **dict.fromkeys(("kind", "target", "anchor", "text", "to_note"), _TEXT)
    ),
    "tags": _schema(note_id=_TEXT, tag=_TEXT),
    "attachments": _schema(
        note_id=_TEXT,
        ordinal=pa.int32(),
        name=_TEXT,
        media_type=_TEXT,
        size=pa.int64(),
        sha256=_TEXT,
        content=pa.binary(),
    ),
    "revisions": _schema(note_id=_TEXT, replaced_at=_MOMENT, title=_TEXT, text=_TEXT, tags=_TEXTS),
}


def export(reading: Reading, folder: ExportFolder) -> int:
    """Put one file of each table into the folder; how many notes."""
    count = 0
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context(_table(stack.enter_context(folder.writing(f"{name}.parquet")), schema))
            for name, schema in SCHEMAS.items()
            if name != "revisions" or reading.revisions
        }
        for exported in reading.notes():
            for name, row in _rows(exported, reading):
                tables[name].add(row)
            count += 1
    return count


class _Table:
    """Rows in the making: written in batches, so that memory holds one and not the table."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[dict[str, Any]] = []
        self._size = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._size += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
        if len(self._rows) >= _BATCH_ROWS or self._size >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows, self._size = [], 0


@contextmanager
def _table(file: BinaryIO, schema: pa.Schema) -> Iterator[_Table]:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        table = _Table(writer, schema)
        yield table
        table.flush()


def _rows(exported: ExportedNote, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    note = exported.note
    plain = ("id", "path", "source", "title", "space", "author", "kind", "owner", "lang")
    yield (
        "notes",
        {
            **{name: getattr(note, name) for name in plain},
            "text": note.body,
            "tags": list(note.tags),
            "aliases": list(note.aliases),
            "front_matter": json.dumps(note.front_matter, ensure_ascii=False),
            "origin": exported.origin,
            "created_at": _moment(note.created_at),
            "updated_at": _moment(note.updated_at),
        },
    )
    for ordinal, link in enumerate(note.links):
        said = {"kind": link.kind, "target": link.target, "anchor": link.anchor, "text": link.text}
        yield "links", {"note_id": note.id, "ordinal": ordinal, **said, "to_note": link.note_id or None}
    for tag in note.tags:
        yield "tags", {"note_id": note.id, "tag": tag}
    for file in exported.files:
        yield (
            "attachments",
            {
                "note_id": note.id,
                "ordinal": file.ordinal,
                "name": file.name,
                "media_type": file.media_type,
                "size": file.size,
                "sha256": None if file.sha256 is None else file.sha256.hex(),
                "content": reading.content(note, file),
            },
        )
    for version in exported.versions:
        replaced = {"replaced_at": _moment(version.replaced_at), "title": version.title, "text": version.body}
        yield "revisions", {"note_id": note.id, **replaced, "tags": list(version.tags)}


def _moment(text: str) -> datetime | None:
    """Of a text that is none, nothing."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
