"""The physical limit: what the work costs with nothing around it.

Walk and stat; read, hash, parse and cut what changed; embed each distinct text once; bare inserts into SQLite without
an index, a lock, a log, a check or an fsync. It searches by a scan: of text, or of vectors with one product. Nothing
that keeps promises can be cheaper, and this keeps none.
"""

from __future__ import annotations

import os
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import apsw

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, batched, main, note_files, read

_SCHEMA = """
PRAGMA journal_mode = off; PRAGMA synchronous = off;
CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, digest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunk (digest TEXT, number INTEGER, text TEXT, hash BLOB);
CREATE TABLE IF NOT EXISTS vector (model TEXT, hash BLOB, value BLOB, PRIMARY KEY (model, hash)) WITHOUT ROWID;
"""
_CHUNKS = "SELECT file.path, chunk.text, chunk.hash FROM file JOIN chunk USING (digest)"


class Limit(Adapter):
    modes: tuple[Mode, ...] = ("vector",)
    packages: tuple[str, ...] = ("apsw", "numpy")
    how = "no index, lock, log, check or fsync: the least that this work can cost"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        with _database(state) as database:  # one transaction for all that a run does
            known = {path: rest for path, *rest in database.execute("SELECT * FROM file")}
            digests = {digest for _, _, digest in known.values()}
            seen: dict[str, tuple[int, int]] = {}
            for path in note_files(vault):
                info = os.stat(vault / path)  # noqa: PTH116 - the plain way
                seen[path] = (info.st_size, info.st_mtime_ns)
            failed: list[list[str]] = []
            for path, (size, mtime) in seen.items():
                if path in known and known[path][:2] == [size, mtime]:
                    continue
                try:
                    document = read(vault, path)
                except Exception as error:
                    failed.append([path, str(error)])
                    continue
                if document.digest not in digests:
                    digests.add(document.digest)
                    rows = ((document.digest, number, text, _hash(text)) for number, text in enumerate(document.chunks))
                    database.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", rows)
                database.execute("REPLACE INTO file VALUES (?, ?, ?, ?)", (path, size, mtime, document.digest))
            gone = [(path,) for path in known if path not in seen]
            database.executemany("DELETE FROM file WHERE path = ?", gone)
            if gone or known:
                database.execute("DELETE FROM chunk WHERE digest NOT IN (SELECT digest FROM file)")
            self._embed(database, embedder)
        return {"documents": len(seen), "failed": failed}

    def _embed(self, database: apsw.Connection, embedder: Counting) -> None:
        missing = dict(
            database.execute(
                "SELECT hash, text FROM chunk WHERE hash NOT IN (SELECT hash FROM vector WHERE model = ?)",
                (embedder.model_key,),
            )
        )
        for some in batched(missing.items(), 512) if missing else ():
            rows = embedder.embed([text for _, text in some])
            values = ((embedder.model_key, key, row.tobytes()) for (key, _), row in zip(some, rows, strict=True))
            database.executemany("INSERT INTO vector VALUES (?, ?, ?)", values)

    def open(self, state: Path, embedder: Counting) -> Search:
        import numpy as np

        database = _database(state)
        rows = database.execute(
            f"SELECT path, text, value FROM ({_CHUNKS}) AS one JOIN vector ON vector.hash = one.hash AND model = ?",
            (embedder.model_key,),
        ).fetchall()
        places = [(str(path), str(text)) for path, text, _ in rows]
        values: list[Any] = [value for *_, value in rows]
        matrix = np.frombuffer(b"".join(values), np.float32).reshape(len(rows), -1)

        def search(query: str, mode: str, limit: int) -> Found:
            scores = matrix @ embedder.query(query)
            best = np.argpartition(-scores, min(limit, len(rows) - 1))[:limit]
            return [places[at] for at in best[np.argsort(-scores[best])].tolist()]

        return search

    def stored(self, state: Path) -> Found:
        return [(path, text) for path, text, _ in _database(state).execute(_CHUNKS)]

    @staticmethod
    def backup(state: Path, to: Path) -> None:
        to.mkdir(parents=True)
        shutil.copyfile(state / "limit.db", to / "limit.db")

    restore = backup


def _database(state: Path) -> apsw.Connection:
    database = apsw.Connection(str(state / "limit.db"))
    database.execute(_SCHEMA).fetchall()  # a pragma answers: only who reads on gets to the next one
    return database


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


adapter = Limit()

if __name__ == "__main__":
    main(adapter)
