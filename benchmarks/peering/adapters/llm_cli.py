"""llm: a Collection of embeddings in SQLite, as `llm embed-multi` fills it.

Follows "Using embeddings from Python" (collections, storing in bulk, similar) and "Writing plugins to add new embedding
models" for the model class, which is handed in as `model=`, so that no plugin of the user's is loaded.

- `embed_multi_with_metadata(store=True)` skips what is stored, by the content's hash: in each batch of 100, the entries
  whose id holds any content of that batch. So an entry whose former text is now a neighbour's is skipped, too: of a
  note with a new first paragraph, that paragraph is not found, neither then nor after any later run.
- The id is the file's path, as `embed-multi --files` has it, with the chunk's number behind.
- A collection is of one model: a switch is to another collection, and back again costs nothing.
- Nothing takes out an entry that is gone; `delete()` is of a whole collection.
- `similar()` compares the question with every entry in Python, as its page says. There is no keyword search.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import llm
import sqlite_utils

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main

_FILE = "embeddings.db"


class _Model(llm.EmbeddingModel):
    """What a plugin registers."""

    def __init__(self, counting: Counting) -> None:
        self.model_id = counting.model_key
        self._counting = counting

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        texts = [str(item) for item in items]
        yield from self._counting.embed(texts).tolist()


class _Asking(_Model):
    """The same for questions, which are not counted."""

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        yield from (self._counting.query(str(item)).tolist() for item in items)


class Llm(Adapter):
    modes: tuple[Mode, ...] = ("vector",)
    packages: tuple[str, ...] = ("llm", "sqlite-utils")
    how = "Collection.embed_multi_with_metadata(store=True), which skips by content hash; similar()"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        (state / "model").write_text(embedder.model)
        failed: list[list[str]] = []
        notes = 0

        def entries() -> Iterator[tuple[str, str, dict[str, str]]]:
            nonlocal notes
            for note in documents(vault, failed):
                notes += 1
                for name, text in zip(note.ids(), note.chunks, strict=True):
                    yield name, text, {"path": note.path, "title": note.title}

        _collection(state, _Model(embedder), embedder.model).embed_multi_with_metadata(entries(), store=True)
        return {"documents": notes, "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        collection = _collection(state, _Asking(embedder), embedder.model)

        def search(query: str, mode: str, limit: int) -> Found:
            found = collection.similar(query, number=limit)
            return [((one.metadata or {})["path"], one.content or "") for one in found]

        return search

    def stored(self, state: Path) -> Found:
        rows = _database(state).query(
            "select json_extract(metadata, '$.path') as path, content from embeddings where collection_id = "
            "(select id from collections where name = ?)",
            [f"notes-{(state / 'model').read_text()}"],
        )
        return [(row["path"], row["content"]) for row in rows]

    @staticmethod
    def lose_index(state: Path) -> None:
        """Its vectors are in the one file with all else."""
        for file in state.glob(f"{_FILE}*"):
            file.unlink()


def _database(state: Path) -> sqlite_utils.Database:
    return sqlite_utils.Database(state / _FILE)


def _collection(state: Path, model: llm.EmbeddingModel, name: str) -> llm.Collection:
    os.environ["LLM_USER_PATH"] = str(state / "user")  # nothing of the user's own is read or written
    return llm.Collection(f"notes-{name}", _database(state), model=model)


adapter = Llm()

if __name__ == "__main__":
    main(adapter)
