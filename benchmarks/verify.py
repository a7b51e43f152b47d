"""What `nescord verify` costs on a healthy store: `python -m benchmarks.verify [--notes 12000] [--seed 1]`.

12,000 notes are 40,000 chunks, with random vectors so that none need be embedded, all of them in Chroma. The command
runs in a process of its own; CPU seconds are its own and those of its children. Beside it stand the parts that nobody
could do without: SQLite's quick_check, and `import chromadb`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hybrid import fill
from benchmarks.measure import clock
from benchmarks.vault import generate
from nescord import KnowledgeManager, Settings

_REPEATS = 3


def cpu_of(*command: str) -> float:
    """CPU seconds of a command with all its children, the least of some runs; it must leave with 0."""
    runs = []
    for _ in range(_REPEATS):
        before = os.times()
        done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True)
        after = os.times()
        runs.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if "verify" in command:
            checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
            assert checks["index.sentinel"]["status"] == "pass", "Chroma was not verified"
    return min(runs)


def run(notes: int, seed: int, scratch: Path) -> dict[str, float]:
    """All figures."""
    vault, data = scratch / "vault", scratch / "kb"
    generate(vault, notes, seed)
    with KnowledgeManager.open(Settings(data_dir=data, embedder="none")) as km:
        km.ingest(vault)
    chunks = fill(data, seed)
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local", vector="auto")) as km:
        assert km.drain().indexed == chunks
        with km._base.verb() as catalog, catalog.read() as connection, clock() as pages:
            connection.execute("PRAGMA quick_check").fetchall()
    command = ("-m", "nescord.cli", "--data-dir", str(data), "verify", "--json")
    return {
        "chunks": chunks,
        "nescord verify, CPU s (aim < 6 for 40,000 chunks)": cpu_of(*command),
        "nescord verify --deep, CPU s": cpu_of(*command, "--deep"),
        "SQLite's quick_check alone, CPU s": pages.cpu,
        "import chromadb alone, CPU s": cpu_of("-c", "import chromadb"),
    }


def main() -> None:
    """Measure and print, as a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    os.environ |= {"NESCORD_EMBEDDER": "local", "NESCORD_VECTOR": "auto"}
    with tempfile.TemporaryDirectory() as folder:
        print("| figure | value |\n|---|---|")
        for name, value in run(asked.notes, asked.seed, Path(folder)).items():
            print(f"| {name} | {value:,.2f} |")


if __name__ == "__main__":
    main()
