"""What a profiler looks at, in a process with nothing else in it: `python -m benchmarks.profiled WORK PLACE`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nescord import KnowledgeManager, Settings

_UNCHANGED, _ASKED, _SHELLS = 100, 20, 10


def main(work: str, place: Path) -> None:
    """Do one kind of work in the knowledge base and the vault below `place`."""
    vault, data = place / "vault", place / "kb"
    if work in ("cold", "embedding"):
        embedder = "none" if work == "cold" else "local"
        settings = Settings(data_dir=place / work, embedder=embedder, vector="exact", embedding_workers=1)
        with KnowledgeManager.open(settings) as km:
            km.ingest(vault if work == "cold" else place / "small")
    elif work == "unchanged":
        with KnowledgeManager.open_existing(Settings(data_dir=data, embedder="none")) as km:
            for _ in range(_UNCHANGED):
                km.ingest(vault)
    elif work == "hybrid":
        with KnowledgeManager.open_existing(Settings(data_dir=data, embedder="local", vector="exact")) as km:
            for query in _queries(place) * _ASKED:
                km.search(query)
    elif work == "shell":
        for query in _queries(place)[:_SHELLS]:
            command = [sys.executable, "-m", "nescord.cli", "--data-dir", str(data), "search", query]
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    else:
        raise ValueError(f"nobody knows how to do {work!r}")


def _queries(place: Path) -> list[str]:
    return (place / "queries.txt").read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
