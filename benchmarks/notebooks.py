"""`make notebooks`: every notebook on the sample vault, or on one of any size: CPU seconds and memory of each.

python -m benchmarks.notebooks [FOLDER] [--notes 8000 --seed 1] [--language ja] [--parallel 1] [--embedder local]

FOLDER (default data/notebooks) is made anew, unless a knowledge base of --notes lies there already: then it is used
again. The report is left in it. CPU seconds are those of the kernel and of who drives it, memory is their peaks added.
Leaves with 1 if a notebook failed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import time
from pathlib import Path

from benchmarks import vault
from nescord import KnowledgeManager, Settings
from nescord.reports.build import building

_ROOT = Path(__file__).resolve().parent.parent
_SAMPLE = _ROOT / "data" / "sample" / "vault"
_MARK = "made-by-make-notebooks"


def main() -> int:
    """Print a line for each notebook, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=_ROOT / "data" / "notebooks")
    parser.add_argument("--notes", type=int, default=0, help="of a made vault; 0: the sample vault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--language", choices=("ja", "en"), default="ja")
    parser.add_argument("--parallel", type=int, choices=(1, 2), default=1)
    parser.add_argument("--embedder", choices=("local", "none"), default="local")
    asked = parser.parse_args()
    folder: Path = asked.folder.absolute()
    settings = Settings(
        data_dir=folder / "state", embedder=asked.embedder, report_parallel=asked.parallel, language=asked.language
    )
    if not _made(folder, asked.notes, asked.seed, settings):
        print(f"{folder} was not made by this and is not empty: name another folder", file=sys.stderr)
        return 2
    with KnowledgeManager.open_existing(settings) as km:
        status = km.status()
    print(f"{status.notes:,} notes, {status.chunks:,} chunks")
    began = time.monotonic()
    with building(settings) as under_way:
        under_way.ask_golden_queries()
        before = _cpu()
        built = under_way.make_marts()
        marts_cpu = _cpu() - before
        print(f"{'marts':28} {marts_cpu:6.1f} CPU s {built.seconds:6.1f} s            {built.bytes / 1e6:7.2f} MB")
        for notebook in under_way.notebooks:
            page = under_way.run(notebook)
            figures = f"{page.cpu_seconds:6.1f} CPU s {page.seconds:6.1f} s {page.rss_bytes / 1e6:5.0f} MB RSS"
            print(f"{page.notebook:28} {figures} {page.bytes / 1e6:6.2f} MB  {page.failure or ''}", flush=True)
        report = under_way.publish()
    total = sum(page.cpu_seconds for page in report.pages)
    most = max(page.rss_bytes for page in report.pages)
    sums = f"{total:.1f} CPU s (with marts {total + marts_cpu:.1f}), at most {most / 1e6:,.0f} MB RSS"
    print(f"{len(report.pages)} notebooks: {sums}, {report.bytes / 1e6:.2f} MB, {time.monotonic() - began:.0f} s")
    print(report.index)
    return 0 if report else 1


def _made(folder: Path, notes: int, seed: int, settings: Settings) -> bool:
    """A knowledge base of that size in `folder`; False for a folder of somebody else's."""
    mark = folder / _MARK
    kind = f"{notes} {seed} {settings.embedder}"
    if folder.is_dir() and any(folder.iterdir()):
        if not mark.is_file():
            return False
        if mark.read_text(encoding="utf-8") == kind:
            return True
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    source = _SAMPLE
    if notes:
        source = folder / "vault"
        vault.generate(source, notes, seed)
    with KnowledgeManager.open(settings) as km:
        km.ingest(source)
        km.verify()
        km.backups.create()
    mark.write_text(kind, encoding="utf-8")
    return True


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


if __name__ == "__main__":
    sys.exit(main())
