"""What the verbs of `nescord/knowing` cost on a large knowledge base that was ingested and embedded before.

python -m benchmarks.knowing DATA_DIR
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

from nescord import KnowledgeManager, Settings


def main() -> None:
    """Each verb once cold (its libraries are imported by it) and once warm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    settings = Settings(data_dir=parser.parse_args().data, generator="none", vector="exact")
    with KnowledgeManager.open_existing(settings) as km:
        notes = [hit.note_id for hit in km.search("after:2000", limit=50)]
        print(f"{km.status().notes:,} notes, {km.status().chunks:,} chunks")
        verbs: dict[str, Callable[[], object]] = {
            "suggest_links x 10": lambda: [km.suggest_links(note) for note in notes[:10]],
            "suggest_tags x 10": lambda: [km.suggest_tags(note, by="extract") for note in notes[:10]],
            "duplicates": km.duplicates,
            "graph": km.graph,
            "link_path": lambda: km.link_path(notes[0], notes[-1]),
            "review of all": lambda: km.review("2000..2099"),
            "summarize x 10": lambda: [km.summarize(note, by="extract") for note in notes[:10]],
            "secrets": km.secrets,
        }
        for name, verb in verbs.items():
            print(f"{name:>18}  {_timed(verb)}  {_timed(verb)}  {_peak_mb():5.0f} MB peak")
        report = km.duplicates(limit=1000)
        print(f"{report.compared:,} pairs compared, {len(report.pairs):,} found, {report.degraded}")


def _timed(verb: Callable[[], object]) -> str:
    begun, cpu = time.perf_counter(), time.process_time()
    verb()
    return f"{time.perf_counter() - begun:7.2f} s ({time.process_time() - cpu:6.2f} CPU s)"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
