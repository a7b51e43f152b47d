"""LangChain: `index()` with an SQLRecordManager in front of a Chroma vector store.

Follows "How to use the LangChain indexing API" (the page of `index`, RecordManager and deletion modes), and the Chroma
integration page for `persist_directory`.

- `cleanup="full"`: the only mode that also takes out the documents of sources that are gone; it asks for the whole
  data set in one call, and a scan of a folder is that. "incremental" and "scoped_full" would leave deleted notes.
- A record manager's namespace names its collection, as the page advises; a model has a collection of its own, so that
  a switch back finds its vectors. (`force_update=True`, the other way that is named, pays for every text each time.)
- `key_encoder="blake2b"`: the default, SHA-1, is warned about. The key is of text and metadata, so of the path too.
- CacheBackedEmbeddings is on another page and the indexing page does not ask for it: it is a peer of its own here,
  `langchain_cached`.
- No keyword or hybrid mode: BM25Retriever is built in memory from all documents at each start and persists nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.indexes import SQLRecordManager
from langchain_classic.storage import LocalFileStore
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main


class _Embeddings(Embeddings):
    """The two methods of LangChain's interface."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self._counting.embed(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        row: list[float] = self._counting.query(text).tolist()
        return row


class LangChain(Adapter):
    modes: tuple[Mode, ...] = ("vector",)
    packages: tuple[str, ...] = ("langchain-core", "langchain-classic", "langchain-chroma", "chromadb")
    how = 'index(cleanup="full", key_encoder="blake2b") with SQLRecordManager and Chroma'

    def __init__(self, *, cached: bool) -> None:
        self._cached = cached
        if cached:
            self.how += ", embeddings behind CacheBackedEmbeddings in a LocalFileStore"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        _remember(state, embedder.model)
        failed: list[list[str]] = []
        notes = 0

        def chunks() -> Iterator[Document]:
            nonlocal notes
            for note in documents(vault, failed):
                notes += 1
                for text in note.chunks:
                    yield Document(text, metadata={"source": note.path, "title": note.title})

        records = SQLRecordManager(f"chroma/{embedder.model}", db_url=f"sqlite:///{state / 'record_manager_cache.sql'}")
        records.create_schema()
        done = index(
            chunks(),
            records,
            self._store(state, embedder.model, embedder),
            cleanup="full",
            source_id_key="source",
            key_encoder="blake2b",
        )
        return {"documents": notes, "failed": failed, "remarks": dict(done)}

    def open(self, state: Path, embedder: Counting) -> Search:
        store = self._store(state, embedder.model, embedder)

        def search(query: str, mode: str, limit: int) -> Found:
            found = store.similarity_search(query, k=limit)
            return [(one.metadata["source"], one.page_content) for one in found]

        return search

    def stored(self, state: Path) -> Found:
        held = self._store(state, _remembered(state), None).get(include=["documents", "metadatas"])
        return [(metadata["source"], text) for metadata, text in zip(held["metadatas"], held["documents"], strict=True)]

    @staticmethod
    def lose_index(state: Path) -> None:
        shutil.rmtree(state / "chroma")

    def _store(self, state: Path, model: str, embedder: Counting | None) -> Chroma:
        embeddings: Embeddings | None = embedder and _Embeddings(embedder)
        if embedder and self._cached:
            embeddings = CacheBackedEmbeddings.from_bytes_store(
                embeddings, LocalFileStore(state / "cache"), namespace=f"bench-{embedder.model}", key_encoder="blake2b"
            )
        return Chroma(
            collection_name=f"notes-{model}",
            embedding_function=embeddings,
            persist_directory=str(state / "chroma"),
            client_settings=Settings(anonymized_telemetry=False),
        )


def _remember(state: Path, model: str) -> None:
    """Which model's collection a search would be in: `stored` is not told."""
    (state / "model").write_text(model)


def _remembered(state: Path) -> str:
    return (state / "model").read_text()


adapter = LangChain(cached=False)

if __name__ == "__main__":
    main(adapter)
