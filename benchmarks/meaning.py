"""Meaning on a whole vault: what embedding, an edit, a rename, a rebuild and a lost index cost.

    python -m benchmarks.meaning [--notes 2000] [--seed 1]

CPU seconds are of this process and its workers. The yardstick of embedding is the bare model on a sample of the same
texts in this process; that of an unchanged ingest is `os.walk` plus one `os.stat` a file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import vault as vaults
from benchmarks.ingest import walk_and_stat
from benchmarks.measure import best_of, clock
from nescord import KnowledgeManager, Settings
from nescord.catalog import vectors as sql
from nescord.embedding.local import LocalEmbedder
from nescord.embedding.service import embedding_input

_SAMPLE = 400


def all_cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def bare_rate(inputs: list[str]) -> float:
    """Chunks a CPU second of the model alone, in this process."""
    model = LocalEmbedder()
    model.embed_documents(inputs[:8])
    with clock() as measured:
        for first in range(0, len(inputs), 64):
            model.embed_documents(inputs[first : first + 64])
    return len(inputs) / measured.cpu


def run(notes: int, seed: int, scratch: Path) -> dict[str, str]:
    """All figures, as text."""
    rows: dict[str, str] = {}
    vault, data = scratch / "vault", scratch / "kb"
    vaults.generate(vault, notes, seed)
    with KnowledgeManager.open(Settings(data_dir=data, embedder="none")) as km:
        report = km.ingest(vault)
    rows["notes, chunks"] = f"{report.added:,}, {report.chunks_added:,}"
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local", vector="exact")) as km:
        with km._base.verb() as catalog, catalog.write() as connection:
            model = sql.add_model(connection, LocalEmbedder.model_key)
            texts = sql.pending(connection, model, _SAMPLE)
        rate = bare_rate([embedding_input(text.title, text.headings, text.text) for text in texts])
        rows["bare model, 1 thread, chunks per CPU s"] = f"{rate:.1f}"
        before, begun = all_cpu(), time.perf_counter()
        done = km.catch_up()
        cpu, wall = all_cpu() - before, time.perf_counter() - begun
        rows["embedded and stored, chunks per CPU s"] = f"{done.embedded / cpu:.1f}"
        rows["bare / ours (aim <= 1.1)"] = f"{rate / (done.embedded / cpu):.3f}"
        rows["embedded and stored, chunks per second of wall"] = f"{done.embedded / wall:.1f}"
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local")) as km:
        with clock() as drained:
            done = km.catch_up()
        rows["first drain into Chroma, rows per CPU s"] = f"{done.indexed / drained.cpu:,.0f}"
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local")) as km:
        known = set(sys.modules)
        km.ingest(vault)
        walk = best_of(9, lambda: walk_and_stat(vault))
        unchanged = best_of(9, lambda: km.ingest(vault))
        rows["unchanged ingest / walk + stat (aim <= 1.3)"] = f"{unchanged.cpu / walk.cpu:.3f}"
        rows["modules that an unchanged ingest imported"] = str(len(set(sys.modules) - known))
        edited = vaults.edit(vault, 0.01, seed)
        report = km.ingest(vault)
        rows["1 % edited: notes, chunks embedded, chunks a note"] = (
            f"{len(edited)}, {report.embedded}, {report.embedded / len(edited):.2f}"
        )
        appended = sorted(vault.rglob("*.md"))[: max(1, notes // 100)]
        for path in appended:
            with path.open("a", encoding="utf-8") as file:
                file.write("\nOne more line at the end of this note.\n")
        report = km.ingest(vault)
        rows["a line appended: notes, chunks embedded (aim <= 1.2 a note)"] = f"{len(appended)}, {report.embedded}"
        vaults.rename(vault, 100, seed)
        report = km.ingest(vault)
        rows["100 renames: renamed, embedded"] = f"{report.renamed}, {report.embedded}"
        rebuilt = km.rebuild_index()
        rows["index rebuilt: rows, embedded"] = f"{rebuilt.indexed:,}, {rebuilt.embedded}"
        shutil.rmtree(km.folder.chroma)
        again = km.catch_up()
        rows["Chroma's folder lost: rows, embedded"] = f"{again.indexed:,}, {again.embedded}"
        km.search("warm")
        begun = time.perf_counter()
        note = km.capture("a thought about the moment of finding: 見つける瞬間")
        km.embed_note(note.id)
        found = [hit.note_id for hit in km.search("見つける瞬間", mode="vector")]
        rows["capture to found by meaning, s of wall (aim < 0.5)"] = f"{time.perf_counter() - begun:.3f}"
        assert note.id in found
    return rows


def main() -> None:
    """Measure and print, as a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| figure | value |\n|---|---|")
        for name, value in run(asked.notes, asked.seed, Path(folder)).items():
            print(f"| {name} | {value} |", flush=True)


if __name__ == "__main__":
    main()
