"""Bare numpy: a matrix in a file and one product for each query; made anew by each ingest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, documents, main


class NumpyScan(Adapter):
    modes: tuple[Mode, ...] = ("vector",)
    packages = ("numpy",)
    how = "all texts embedded anew each time, np.save, matrix @ vector"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        failed: list[list[str]] = []
        notes = list(documents(vault, failed))
        places = [(note.path, text) for note in notes for text in note.chunks]
        np.save(state / "matrix.npy", embedder.embed([text for _, text in places]))
        (state / "places.json").write_text(json.dumps(places), "utf-8")
        return {"documents": len(notes), "failed": failed}

    def open(self, state: Path, embedder: Counting) -> Search:
        matrix, places = np.load(state / "matrix.npy"), self.stored(state)

        def search(query: str, mode: str, limit: int) -> Found:
            scores = matrix @ embedder.query(query)
            return [places[at] for at in np.argsort(-scores)[:limit].tolist()]

        return search

    def stored(self, state: Path) -> Found:
        return [(path, text) for path, text in json.loads((state / "places.json").read_text("utf-8"))]


adapter = NumpyScan()

if __name__ == "__main__":
    main(adapter)
