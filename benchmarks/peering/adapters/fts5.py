"""Bare FTS5: one table, made anew by each ingest, since SQLite knows nothing of files."""

from __future__ import annotations

from pathlib import Path

import apsw

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main


class Fts5(Adapter):
    modes: tuple[Mode, ...] = ("keyword",)
    packages = ("apsw",)
    how = "tokenize=trigram, the one of its tokenizers that can see into Japanese; made anew each time; words with OR"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        failed: list[list[str]] = []
        notes = 0
        database = _database(state)
        with database:
            database.execute("DROP TABLE IF EXISTS chunk")
            database.execute(
                "CREATE VIRTUAL TABLE chunk USING fts5"
                "(title, text, path UNINDEXED, tokenize = 'trigram remove_diacritics 1')"
            )
            for note in documents(vault, failed):
                notes += 1
                rows = ((note.title, text, note.path) for text in note.chunks)
                database.executemany("INSERT INTO chunk (title, text, path) VALUES (?, ?, ?)", rows)
        database.close()
        return {"documents": notes, "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        database = _database(state)

        def search(query: str, mode: str, limit: int) -> Found:
            words = " OR ".join('"{}"'.format(word.replace('"', '""')) for word in query.split())
            sql = "SELECT path, text FROM chunk WHERE chunk MATCH ? ORDER BY rank LIMIT ?"
            return [(str(path), str(text)) for path, text in database.execute(sql, (words, limit))]

        return search

    def stored(self, state: Path) -> Found:
        return [(str(path), str(text)) for path, text in _database(state).execute("SELECT path, text FROM chunk")]

    @staticmethod
    def backup(state: Path, to: Path) -> None:
        to.mkdir(parents=True)
        source, target = _database(state), apsw.Connection(str(to / "fts5.db"))
        with target.backup("main", source, "main") as backup:
            backup.step()
        target.close()

    restore = backup


def _database(state: Path) -> apsw.Connection:
    database = apsw.Connection(str(state / "fts5.db"))
    database.execute("PRAGMA journal_mode = wal")
    return database


adapter = Fts5()

if __name__ == "__main__":
    main(adapter)
