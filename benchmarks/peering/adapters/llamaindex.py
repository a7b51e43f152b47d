"""LlamaIndex: an IngestionPipeline with a docstore, UPSERTS_AND_DELETE, its cache, and Chroma.

Follows "Ingestion Pipeline" and "Ingestion Pipeline + Document Management" (a docstore and a vector store attached,
`persist` and `load`, ids made of file names), "Custom Transformations" for the splitter, "Custom Embeddings" for the
model, and the Chroma integration page.

- A note is a Document whose id is its path, and the splitter is the pipeline's first transformation. Chunks handed in
  as Documents would be no favour: a node without a source document is stored with `document_id` "None", so that neither
  the upsert nor the deletion of a changed one would find it in Chroma.
  An edited note is embedded whole; the cache has what was given as one list, so it helps only with the very same list.
- `persist()` writes its two JSON files in place at the end: a run that is killed before is paid for again.
- The metadata is left out of what is embedded (`excluded_embed_metadata_keys`), so that all peers embed the same texts.
- A model has a collection and a pipeline's storage of its own: the docstore knows texts, not by which model they were
  embedded, and would skip every note after a switch.
- Keyword and hybrid: ChromaVectorStore has neither; BM25Retriever is another package, in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chromadb
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import NodeParser
from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main

_KEYS = ["path", "title"]


class _Embedding(BaseEmbedding):
    """The methods that LlamaIndex asks of a custom embedding."""

    _counting: Counting = PrivateAttr()

    def __init__(self, counting: Counting) -> None:
        super().__init__(model_name=counting.model_key, embed_batch_size=100)
        self._counting = counting

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self._counting.embed(texts).tolist()
        return rows

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        row: list[float] = self._counting.query(query).tolist()
        return row

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class _Splitter(NodeParser):
    """The splitter of all peers; the notes were already cut when they were read."""

    _chunks: dict[str, tuple[str, ...]] = PrivateAttr()

    def __init__(self, chunks: dict[str, tuple[str, ...]]) -> None:
        super().__init__()
        self._chunks = chunks

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        return [part for node in nodes for part in build_nodes_from_splits(list(self._chunks[node.id_]), node)]


class LlamaIndex(Adapter):
    modes: tuple[Mode, ...] = ("vector",)
    packages: tuple[str, ...] = ("llama-index-core", "llama-index-vector-stores-chroma", "chromadb")
    how = "IngestionPipeline(UPSERTS_AND_DELETE) with SimpleDocumentStore, its cache, and Chroma; persist() at the end"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        (state / "model").write_text(embedder.model)
        failed: list[list[str]] = []
        notes = list(documents(vault, failed))
        pipeline = IngestionPipeline(
            transformations=[_Splitter({note.path: note.chunks for note in notes}), _Embedding(embedder)],
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
            vector_store=_store(state, embedder.model),
        )
        storage = state / f"pipeline-{embedder.model}"
        if storage.exists():
            pipeline.load(str(storage))
        nodes = pipeline.run(
            documents=[
                Document(
                    id_=note.path,
                    text="\n\n".join(note.chunks),
                    metadata={"path": note.path, "title": note.title},
                    excluded_embed_metadata_keys=_KEYS,
                )
                for note in notes
            ]
        )
        pipeline.persist(str(storage))
        return {"documents": len(notes), "failed": failed, "remarks": {"nodes": len(nodes)}}

    def open(self, state: Path, embedder: Counting) -> Search:
        index = VectorStoreIndex.from_vector_store(_store(state, embedder.model), embed_model=_Embedding(embedder))

        def search(query: str, mode: str, limit: int) -> Found:
            found = index.as_retriever(similarity_top_k=limit).retrieve(query)
            return [(one.node.metadata["path"], one.node.get_content()) for one in found]

        return search

    def stored(self, state: Path) -> Found:
        held = _store(state, (state / "model").read_text()).client.get(include=["documents", "metadatas"])
        return [(metadata["path"], text) for metadata, text in zip(held["metadatas"], held["documents"], strict=True)]

    @staticmethod
    def lose_index(state: Path) -> None:
        shutil.rmtree(state / "chroma")


def _store(state: Path, model: str) -> ChromaVectorStore:
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(state / "chroma"), settings)
    return ChromaVectorStore(chroma_collection=client.get_or_create_collection(f"notes-{model}"))


adapter = LlamaIndex()

if __name__ == "__main__":
    main(adapter)
