"""bm25s: matrices in a folder, made anew by each ingest: it has no other way."""

from __future__ import annotations

from pathlib import Path

import bm25s  # type: ignore[import-not-found]  # it is in an environment of its own

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main


class Bm25s(Adapter):
    modes: tuple[Mode, ...] = ("keyword",)
    packages = ("bm25s",)
    how = "its own tokenizer (words of two letters and more: a Japanese phrase is one word); made anew"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        failed: list[list[str]] = []
        notes = list(documents(vault, failed))
        corpus = [{"path": note.path, "text": text} for note in notes for text in note.chunks]
        retriever = bm25s.BM25()
        retriever.index(bm25s.tokenize([one["text"] for one in corpus], show_progress=False), show_progress=False)
        retriever.save(state / "bm25s", corpus=corpus)
        return {"documents": len(notes), "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        retriever = bm25s.BM25.load(state / "bm25s", load_corpus=True)

        def search(query: str, mode: str, limit: int) -> Found:
            words = bm25s.tokenize(query, show_progress=False)
            found, scores = retriever.retrieve(words, k=min(limit, len(retriever.corpus)), show_progress=False)
            return [(one["path"], one["text"]) for one, score in zip(found[0], scores[0], strict=True) if score > 0]

        return search

    def stored(self, state: Path) -> Found:
        retriever = bm25s.BM25.load(state / "bm25s", load_corpus=True)
        return [(one["path"], one["text"]) for one in retriever.corpus]


adapter = Bm25s()

if __name__ == "__main__":
    main(adapter)
