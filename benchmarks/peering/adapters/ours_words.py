"""NescordBot without a model (NESCORD_EMBEDDER=none), beside those that search by words alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peering.adapters.ours import Ours, _settings
from benchmarks.peering.shared import Counting, Mode, main
from nescord import KnowledgeManager


class OursByWords(Ours):
    modes: tuple[Mode, ...] = ("keyword",)
    packages = ("nescordbot", "apsw")
    how = "as ours, with NESCORD_EMBEDDER=none"
    lose_index = None  # type: ignore[assignment]  # without a model there is no vector store

    def _opened(self, state: Path, embedder: Counting) -> KnowledgeManager:
        return KnowledgeManager.open(_settings(state, "none"))

    def _found(self) -> str:
        return "SELECT path, text FROM chunk JOIN note ON note.key = chunk.note WHERE note.trashed_at IS NULL"


adapter = OursByWords()

if __name__ == "__main__":
    main(adapter)
