"""`make yardsticks`: generate vaults, measure ingest and search beside their yardsticks, print one table.

python -m benchmarks.run [--notes 8000] [--seed 1] [--write docs/measured/ingest-and-keyword.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import apsw

from benchmarks import golden, ingest, keyword
from benchmarks.vault import generate, sample_queries
from nescord import KnowledgeManager, Settings


def one_shot_search(data_dir: Path, query: str) -> tuple[float, float]:
    """Wall and CPU seconds of `nescord search` from a cold shell, the median of five."""
    command = [sys.executable, "-m", "nescord.cli", "--data-dir", str(data_dir), "search", "--mode", "keyword", query]
    runs = []
    for _ in range(5):
        begun, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        runs.append((time.perf_counter() - begun, cpu))
    return sorted(runs)[2]


def measure(notes: int, seed: int) -> list[tuple[str, str]]:
    """Every figure, as (name, value) to print."""
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        small, large = scratch / "small", scratch / "large"
        generate(small, notes // 4, seed)
        generate(large, notes, seed)
        rss_small, rss_large = ingest.memory(small, notes // 4), ingest.memory(large, notes)
        figures = ingest.run(large, scratch)
        rows += [(name, f"{value:,.3f}") for name, value in figures.items()]
        rows.append((f"peak RSS of a cold ingest, {notes // 4:,} notes, MiB", str(rss_small)))
        rows.append((f"peak RSS of a cold ingest, {notes:,} notes, MiB (aim <= 200)", str(rss_large)))
        rows.append(("peak RSS, large / small (aim <= 1.5)", f"{rss_large / rss_small:.2f}"))
        rows += [(name, f"{value:,.3f}") for name, value in keyword.run(scratch / "ours", large).items()]
        wall, cpu = one_shot_search(scratch / "ours", sample_queries(large, 1, seed, "ja")[0])
        rows.append(("`nescord search` from a cold shell, wall s", f"{wall:.2f}"))
        rows.append(("`nescord search` from a cold shell, CPU s", f"{cpu:.2f}"))
        with KnowledgeManager.open(Settings(data_dir=scratch / "sample", embedder="none")) as km:
            km.ingest(golden.SAMPLE / "vault")
            found = golden.evaluate(lambda query: [hit.path for hit in km.search(query, limit=10)])
        rows += [(f"golden, {name}", str(figure)) for name, figure in found.items()]
    return rows


def main() -> None:
    """Measure and print, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--notes", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    asked = parser.parse_args()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"
    head = [
        "# Ingest and keyword search, measured",
        "",
        f"`python -m benchmarks.run --notes {asked.notes} --seed {asked.seed}`, {datetime.now(UTC):%F}, {machine}.",
        "CPU seconds of one run; the machine is shared, so the ratios count.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines = head + [f"| {name} | {value} |" for name, value in measure(asked.notes, asked.seed)]
    text = "\n".join(lines) + "\n"
    print(text)
    if asked.write:
        asked.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
