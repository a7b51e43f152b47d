"""NescordBot through its public API, with the settings that it has by itself.

What only some verbs need is imported by these, as the command line does it. The embedder is handed in where a caller
may hand one in (`Models.own`): it is the local model of ours in a wrapper that counts, as every peer gets it. One
worker, because the peers embed in one process, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import apsw

from benchmarks.peering.shared import Adapter, Counting, Found, Mode, Search, main
from nescord import KnowledgeManager, Settings
from nescord.embedding import Vectors

_MOST = 1000  # of notes that a search gives


class _Embedder:
    """What ours knows as a model."""

    dims = 512
    max_batch = 64

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self.model_key = counting.model_key

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._counting.embed(texts)

    def embed_query(self, text: str) -> Vectors:
        return self._counting.query(text)


class Ours(Adapter):
    modes: tuple[Mode, ...] = ("keyword", "vector", "hybrid")
    packages: tuple[str, ...] = ("nescordbot", "apsw", "chromadb", "numpy")
    how = "KnowledgeManager.ingest, search, migrate; backups create and restore, each checked as always"
    embedder = "local"

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        from nescord.ingest import IngestOptions

        with self._opened(state, embedder) as km:
            if _live_key(state) not in ("", embedder.model_key):
                km.migrate(embedder.model_key)
            report = km.ingest(vault, options=IngestOptions(allow_mass_delete=True))
            failed = [[failure.path, failure.reason] for failure in km.failures() if not failure.stored]
            return {
                "documents": report.added + report.changed + report.renamed + report.unchanged,
                "failed": failed,
                "remarks": report.degraded,
            }

    def open(self, state: Path, embedder: Counting) -> Search:
        km = self._opened(state, embedder)
        texts = _database(state)

        def search(query: str, mode: str, limit: int) -> Found:
            hits = km.search(query, mode=mode, limit=min(limit, _MOST))
            if mode != "keyword" and hits.degraded:
                raise RuntimeError(f"no {mode} search: {hits.degraded}")
            return [
                (hit.path, texts.execute("SELECT text FROM chunk WHERE id = ?", (hit.chunk_id,)).get) for hit in hits
            ]

        return search

    def stored(self, state: Path) -> Found:
        return [(str(path), str(text)) for path, text in _database(state).execute(self._found())]

    @staticmethod
    def lose_index(state: Path) -> None:
        shutil.rmtree(state / "chroma")

    @staticmethod
    def backup(state: Path, to: Path) -> None:
        from nescord.backup.manager import BackupManager

        BackupManager(_settings(state, "none")).create()
        shutil.copytree(state / "backups", to / "backups")

    @staticmethod
    def restore(source: Path, state: Path) -> None:
        from nescord.backup.manager import BackupManager

        BackupManager(_settings(source, "none")).restored_copy(state)

    def _opened(self, state: Path, embedder: Counting) -> KnowledgeManager:
        from nescord.embedding.service import EmbeddingService

        km = KnowledgeManager.open(_settings(state, self.embedder))
        km._base.meaning.models.own = EmbeddingService(_Embedder(embedder))
        return km

    def _found(self) -> str:
        """A chunk of a living note, if it has a vector of the live model: without, meaning would not find it."""
        return (
            "SELECT note.path, chunk.text FROM chunk JOIN note ON note.key = chunk.note "
            "WHERE note.trashed_at IS NULL AND EXISTS (SELECT 1 FROM embedding WHERE text_hash = chunk.text_hash "
            "AND model = (SELECT model.id FROM model JOIN meta ON value = model.key WHERE name = 'live_model'))"
        )


def _settings(state: Path, embedder: str) -> Settings:
    return Settings(_env_file=None, data_dir=state, embedder=embedder, embedding_workers=1)


def _database(state: Path) -> apsw.Connection:
    return apsw.Connection(str(state / "nescordbot.db"), flags=apsw.SQLITE_OPEN_READONLY)


def _live_key(state: Path) -> str:
    return _database(state).execute("SELECT value FROM meta WHERE name = 'live_model'").get or ""


adapter = Ours()

if __name__ == "__main__":
    main(adapter)
