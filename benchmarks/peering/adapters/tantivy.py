"""Tantivy from Python: an index in a folder, made anew by each ingest, since it knows nothing of files."""

from __future__ import annotations

from pathlib import Path

import tantivy  # type: ignore[import-not-found]  # it is in an environment of its own

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main


class Tantivy(Adapter):
    modes: tuple[Mode, ...] = ("keyword",)
    packages = ("tantivy",)
    how = "ngrams of 1 to 3 characters (its default tokenizer takes a Japanese sentence for a word); made anew"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        failed: list[list[str]] = []
        notes = 0
        index = _index(state)
        writer = index.writer()
        writer.delete_all_documents()
        for note in documents(vault, failed):
            notes += 1
            for text in note.chunks:
                writer.add_document(tantivy.Document(title=note.title, text=text, path=note.path))
        writer.commit()
        writer.wait_merging_threads()
        return {"documents": notes, "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        index = _index(state)
        index.reload()
        searcher = index.searcher()

        def search(query: str, mode: str, limit: int) -> Found:
            words = " ".join('"{}"'.format(word.replace("\\", "\\\\").replace('"', '\\"')) for word in query.split())
            asked, _ = index.parse_query_lenient(words, ["title", "text"])
            return [_place(searcher, address) for _, address in searcher.search(asked, limit, count=False).hits]

        return search

    def stored(self, state: Path) -> Found:
        index = _index(state)
        searcher = index.searcher()
        found = searcher.search(tantivy.Query.all_query(), max(1, searcher.num_docs)).hits
        return [_place(searcher, address) for _, address in found]


def _place(searcher: tantivy.Searcher, address: tantivy.DocAddress) -> tuple[str, str]:
    document = searcher.doc(address)
    return str(document.get_first("path")), str(document.get_first("text"))


def _index(state: Path) -> tantivy.Index:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("title", stored=True, tokenizer_name="pieces")
    builder.add_text_field("text", stored=True, tokenizer_name="pieces")
    builder.add_text_field("path", stored=True, tokenizer_name="raw")
    folder = state / "tantivy"
    folder.mkdir(exist_ok=True)
    index = tantivy.Index(builder.build(), path=str(folder))
    pieces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.ngram(min_gram=1, max_gram=3, prefix_only=False))
    index.register_tokenizer("pieces", pieces.filter(tantivy.Filter.lowercase()).build())
    return index


adapter = Tantivy()

if __name__ == "__main__":
    main(adapter)
