"""Small vaults and knowledge bases for tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.embedding import Embedder
from nescord.embedding.service import EmbeddingService

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "data" / "sample"

# What to put before a command so that file permissions count for it; None where that cannot be had.
_SETPRIV = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
UNPRIVILEGED = [] if os.geteuid() else _SETPRIV if shutil.which("setpriv") else None


def write_notes(root: Path, notes: dict[str, str]) -> None:
    """Write path -> text, dated a minute back: a file of this very moment is read again, as it may still change."""
    past = time.time() - 60
    for path, text in notes.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        os.utime(file, (past, past))


def open_base(folder: Path, *, embedder: Embedder | str = "none", **settings: object) -> KnowledgeManager:
    """The knowledge base in `folder`, begun if need be; without a model unless one is named, which takes a second.

    `embedder` is the name of one, as in the settings, or a model of the test's own.
    """
    name = embedder if isinstance(embedder, str) else "none"
    km = KnowledgeManager.open(Settings(**{"data_dir": folder, "embedder": name, **settings}))
    if not isinstance(embedder, str):
        km._base.meaning.models.own = EmbeddingService(embedder)
    return km


def contents(root: Path) -> dict[str, tuple[str, int]]:
    """Every file below `root` with its hash and mtime: what must be the same before and after."""
    found = {}
    for folder, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.access(path, os.R_OK):
                with open(path, "rb") as file:
                    digest = hashlib.blake2b(file.read()).hexdigest()
                found[os.fsdecode(path)] = (digest, os.stat(path).st_mtime_ns)
    return found


def paths_found(km: KnowledgeManager, query: str, limit: int = 1000) -> list[str]:
    """The paths of the notes that answer."""
    return [hit.path for hit in km.search(query, limit=limit)]
