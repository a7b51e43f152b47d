"""sqlite-utils: a table of chunks with SQLite's full-text search beside it, kept up to date by triggers.

Follows "Full-text search" and "Upserting data" of its Python API page: `enable_fts(create_triggers=True)`, `upsert_all`
by primary key, `delete`, `search(quote=True)` as the page says to for what a person typed.

- The tokenizer stays the default of SQLite, unicode61; the page names "porter", for English. It says nothing of
  Japanese, where unicode61 takes all between two punctuation marks for one word.
- It has no notion of "unchanged": every row is upserted, which costs no embedding. Rows that are gone are deleted by
  id. All is one transaction (`db.atomic()`), so that a kill leaves what was there before.
- A backup is its dump as SQL: `iterdump()` with sqlite-dump installed beside it, as the page asks for where there is
  full-text search; the script makes a new file. (Copying the file is SQLite's own business, not the library's.)
- No vectors, so no model. The index is in the one database file: there is no folder to lose.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlite_utils

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main

_FILE = "notes.db"
_TABLE = "chunks"


class SqliteUtils(Adapter):
    modes: tuple[Mode, ...] = ("keyword",)
    packages: tuple[str, ...] = ("sqlite-utils", "sqlite-dump")
    how = "enable_fts(create_triggers=True), upsert_all and delete in one transaction, search(quote=True)"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        database = _database(state)
        table = database.table(_TABLE)
        if not table.exists():
            table.create({"id": str, "path": str, "title": str, "text": str}, pk="id")
            table.enable_fts(["title", "text"], create_triggers=True)
        failed: list[list[str]] = []
        gone = {row["id"] for row in table.rows_where(select="id")}
        notes = 0

        def rows() -> Iterator[dict[str, str]]:
            nonlocal notes
            for note in documents(vault, failed):
                notes += 1
                for name, text in zip(note.ids(), note.chunks, strict=True):
                    gone.discard(name)
                    yield {"id": name, "path": note.path, "title": note.title, "text": text}

        with database.atomic():
            table.upsert_all(rows(), pk="id")
            for name in gone:
                table.delete(name)
        database.close()
        return {"documents": notes, "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        table = _database(state).table(_TABLE)

        def search(query: str, mode: str, limit: int) -> Found:
            found = table.search(query, columns=["path", "text"], limit=limit, quote=True)
            return [(row["path"], row["text"]) for row in found]

        return search

    def stored(self, state: Path) -> Found:
        return [(row["path"], row["text"]) for row in _database(state).table(_TABLE).rows_where(select="path, text")]

    @staticmethod
    def backup(state: Path, to: Path) -> None:
        to.mkdir(parents=True, exist_ok=True)
        with (to / "notes.sql").open("w", encoding="utf-8") as script:
            script.writelines(f"{line}\n" for line in _database(state).iterdump())

    @staticmethod
    def restore(source: Path, state: Path) -> None:
        state.mkdir(parents=True)
        connection = sqlite3.connect(state / _FILE)
        connection.executescript((source / "notes.sql").read_bytes().decode())
        connection.close()  # the virtual table is known to the next connection, not to this one


def _database(state: Path) -> sqlite_utils.Database:
    return sqlite_utils.Database(state / _FILE)


adapter = SqliteUtils()

if __name__ == "__main__":
    main(adapter)
