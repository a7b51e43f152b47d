"""txtai: an embeddings database with content and hybrid search, saved to a folder.

Follows the "Index guide" (index and upsert, save, delete), the "Query guide" (SQL with bind parameters, hybrid
weights) and "Configuration > Vectors > external" for the model, which is deprecated in favour of a class of one's own
in the same place; the vectors are the same.

- `upsert` inserts or updates by id, and embeds whatever it is given: txtai has no notion of "unchanged". All chunks go
  in at each run, and the ids that are gone are found by SQL and deleted.
- `checkpoint=`, "enables indexing restart", keeps the vectors of finished batches (1,024 texts) for the next try. They
  are matched by place alone, so the folder goes as soon as a run is saved; no page says so, but the next run would
  otherwise take the old vectors for whatever stands there by then.
- A switch of the model is a new index in the old one's place: `reindex` would embed the stored content by the new
  model, and the upsert of what the folder says now would pay a second time. An index has one model, so the way back
  costs as much.
- `save` to the folder is not one transaction: config, vectors, content and terms are written one after another,
  in place. What is killed in the middle of it does not load, here or for a next run; a person has to remove the folder.
- A backup is `save` to a compressed archive, which `load` reads.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

from txtai import Embeddings

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main

_WEIGHTS = {"keyword": 0.0, "vector": 1.0, "hybrid": 0.5}
_ALL = 1 << 31


class Txtai(Adapter):
    modes: tuple[Mode, ...] = ("keyword", "vector", "hybrid")
    packages: tuple[str, ...] = ("txtai", "faiss-cpu", "torch")
    how = "Embeddings(content=True, hybrid=True).upsert of all chunks and delete, checkpoint=, save"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        failed: list[list[str]] = []
        notes = list(documents(vault, failed))
        embeddings = _opened(state, embedder)
        if embeddings.config["path"] != embedder.model_key:
            embeddings = Embeddings(_config(embedder))
        wanted = {
            name: {"text": text, "path": note.path, "title": note.title}
            for note in notes
            for name, text in zip(note.ids(), note.chunks, strict=True)
        }
        embeddings.upsert(
            [(name, fields, None) for name, fields in wanted.items()], checkpoint=str(state / "checkpoint")
        )
        gone = [row["id"] for row in embeddings.search("select id from txtai", _ALL) if row["id"] not in wanted]
        if gone:
            embeddings.delete(gone)
        embeddings.save(str(state / "index"))
        shutil.rmtree(state / "checkpoint", ignore_errors=True)
        embeddings.close()
        return {"documents": len(notes), "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        embeddings = _opened(state, embedder, asking=True)

        def search(query: str, mode: str, limit: int) -> Found:
            found = embeddings.search(
                "select path, text, score from txtai where similar(:query)",
                limit,
                weights=_WEIGHTS[mode],
                parameters={"query": query},
            )
            return [(row["path"], row["text"]) for row in found]

        return search

    def stored(self, state: Path) -> Found:
        embeddings = _opened(state, Counting("hash"))
        return [(row["path"], row["text"]) for row in embeddings.search("select path, text from txtai", _ALL)]

    @staticmethod
    def lose_index(state: Path) -> None:
        """Vectors, content and terms are in one folder."""
        shutil.rmtree(state / "index")

    @staticmethod
    def backup(state: Path, to: Path) -> None:
        _opened(state, Counting("hash")).save(str(to / "index.tar.gz"))

    @staticmethod
    def restore(source: Path, state: Path) -> None:
        embeddings = Embeddings()
        embeddings.load(str(source / "index.tar.gz"), config={"transform": _config(Counting("hash"))["transform"]})
        embeddings.save(str(state / "index"))


def _config(embedder: Counting, *, asking: bool = False) -> dict[str, Any]:
    def transform(texts: list[str]) -> Any:
        return [embedder.query(text) for text in texts] if asking else embedder.embed(texts)

    return {"method": "external", "path": embedder.model_key, "transform": transform, "content": True, "hybrid": True}


def _opened(state: Path, embedder: Counting, *, asking: bool = False) -> Embeddings:
    embeddings = Embeddings(_config(embedder, asking=asking))
    if embeddings.exists(str(state / "index")):
        # A function cannot be saved with the rest of the configuration.
        embeddings.load(str(state / "index"), config={"transform": _config(embedder, asking=asking)["transform"]})
    return embeddings


adapter = Txtai()

if __name__ == "__main__":
    main(adapter)
