"""Bare Chroma: upsert what is there, delete the ids that are not; it knows nothing of files or of what changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, batched, documents, main


class Chroma(Adapter):
    modes: tuple[Mode, ...] = ("vector",)
    packages = ("chromadb",)
    how = "upsert of every chunk under path#number (all embedded anew), delete of ids that are gone; cosine"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        failed: list[list[str]] = []
        notes = list(documents(vault, failed))
        collection = _collection(state)
        rows = [(key, note, text) for note in notes for key, text in zip(note.ids(), note.chunks, strict=True)]
        for some in batched(rows, 500):
            texts = [text for *_, text in some]
            collection.upsert(
                ids=[key for key, *_ in some],
                documents=texts,
                embeddings=embedder.embed(texts),
                metadatas=[{"path": note.path, "title": note.title} for _, note, _ in some],
            )
        gone = set(collection.get(include=[])["ids"]) - {key for key, *_ in rows}
        for keys in batched(sorted(gone), 500):
            collection.delete(ids=list(keys))
        return {"documents": len(notes), "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        collection = _collection(state)

        def search(query: str, mode: str, limit: int) -> Found:
            found = collection.query(query_embeddings=embedder.query(query)[None], n_results=limit)
            return [
                (str(of["path"]), text) for of, text in zip(found["metadatas"][0], found["documents"][0], strict=True)
            ]

        return search

    def stored(self, state: Path) -> Found:
        found = _collection(state).get(include=["metadatas", "documents"])
        return [(str(of["path"]), text) for of, text in zip(found["metadatas"], found["documents"], strict=True)]

    @staticmethod
    def lose_index(state: Path) -> None:
        shutil.rmtree(state / "chroma")


def _collection(state: Path) -> Any:
    client = chromadb.PersistentClient(path=str(state / "chroma"), settings=Settings(anonymized_telemetry=False))
    return client.get_or_create_collection(
        "notes", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )


adapter = Chroma()

if __name__ == "__main__":
    main(adapter)
