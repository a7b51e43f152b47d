"""A process that ingests, embeds, drains and sometimes rebuilds the index: made to be killed at any of these.

    python tests/meaning_worker.py DATA VAULT EMBEDDED (ingest|rebuild)

Appends a line to the file EMBEDDED for every text that the model is asked for. Prints `ready` before it begins, then a
JSON line when it is through.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from nescord import KnowledgeManager, Settings, embed
from nescord.embedding import Vectors
from nescord.embedding.service import EmbeddingService
from tests.hashing_embedder import HashingEmbedder


class LoggingEmbedder(HashingEmbedder):
    """Says what it was asked for before it answers."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        lines = "".join(f"{zlib.crc32(text.encode()):08x}{len(text):08x}\n" for text in texts)
        os.write(self._log, lines.encode())
        return super().embed_documents(texts)


def main() -> None:
    data, vault, log, verb = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    embed.BATCH_TEXTS = 16
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local", lock_timeout=60)) as km:
        km._base.meaning.models.own = EmbeddingService(LoggingEmbedder(log))
        print("ready", flush=True)
        report = km.ingest(vault)
        indexed = km.rebuild_index().indexed if verb == "rebuild" else report.indexed
        print(json.dumps({"pending": report.pending, "indexed": indexed, "found": report.degraded}), flush=True)


if __name__ == "__main__":
    main()
