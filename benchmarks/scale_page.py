"""What `benchmarks.scale` has measured, as tables and as a picture: figures by size, and how fast each grows.

The growth between two sizes is the exponent b of "n times as many chunks cost n^b times as much": 1 is in proportion,
0 is the same for any size. Only between the two largest sizes is it more than what it costs to start.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.scale import Record

DOCS = Path(__file__).parent.parent / "docs"
Records = Mapping[tuple[int, str], Record]
Value = Callable[[Records, int], float | None]

# Okabe and Ito's colours, which the colour-blind tell apart; markers do it in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "os^Dv*X"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure by size: its name, a short one where it is drawn, and where it stands."""

    name: str
    value: Value
    label: str = ""


def _cpu(*steps: str) -> Value:
    def value(records: Records, size: int) -> float | None:
        found = [records.get((size, step)) for step in steps]
        return sum(one.cpu for one in found if one) if all(one and not one.error for one in found) else None

    return value


def _of(step: str, read: Callable[[Record], object]) -> Value:
    def value(records: Records, size: int) -> float | None:
        record = records.get((size, step))
        found = None if record is None or record.error else read(record)
        return float(found) if isinstance(found, int | float) else None

    return value


def _wall(step: str) -> Value:
    return _of(step, lambda record: record.wall)


def _rss(step: str) -> Value:
    return _of(step, lambda record: record.rss_mb)


def _figure(step: str, name: str) -> Value:
    return _of(step, lambda record: record.figures.get(name))


def _disk(step: str, name: str) -> Value:
    return _of(step, lambda record: record.disk[name] / 1e6)


SECTIONS: dict[str, tuple[Row, ...]] = {
    "CPU seconds": (
        Row("ingest, notes and words", _cpu("ingest"), "ingest"),
        Row("storing the vectors", _cpu("fill")),
        Row("drain into Chroma", _cpu("drain"), "drain into Chroma"),
        Row("ingest with nothing changed", _cpu("unchanged"), "ingest, unchanged"),
        Row("ingest with 1 % edited", _cpu("edited")),
        Row("drain of that 1 %", _cpu("edited_drain"), "drain of 1 % edited"),
        Row("backup, the first", _cpu("backup"), "first backup"),
        Row("backup after 1 % edited", _cpu("backup_again")),
        Row("check of both backups", _cpu("backup_check")),
        Row("restore", _cpu("restore")),
        Row("verify", _cpu("verify"), "verify"),
        Row("verify --deep", _cpu("verify_deep"), "verify --deep"),
        Row("index rebuild", _cpu("rebuild")),
        Row("full-text index made anew", _cpu("words")),
    ),
    "Wall seconds": (
        Row("ingest, notes and words", _wall("ingest")),
        Row("drain into Chroma", _wall("drain")),
        Row("backup, the first", _wall("backup")),
        Row("backup after 1 % edited", _wall("backup_again")),
        Row("verify", _wall("verify")),
        Row("verify --deep", _wall("verify_deep")),
        Row("`nescord search --mode keyword`, cold shell", _wall("search_words")),
        Row("`nescord search`, cold shell", _wall("search")),
    ),
    "A query in a warm process, milliseconds of CPU": (
        Row("words, median", _figure("keyword", "cpu_p50_ms"), "words, median"),
        Row("words, 95 %", _figure("keyword", "cpu_p95_ms"), "words, 95 %"),
        Row("meaning, exact scan, median", _figure("exact", "cpu_p50_ms"), "meaning, exact scan"),
        Row("meaning, exact scan, 95 %", _figure("exact", "cpu_p95_ms")),
        Row("hybrid, exact scan, median", _figure("hybrid", "cpu_p50_ms"), "hybrid, exact scan"),
        Row("hybrid, exact scan, 95 %", _figure("hybrid", "cpu_p95_ms"), "hybrid, exact scan, 95 %"),
        Row("hybrid, exact scan, with a rare tag, median", _figure("filtered", "cpu_p50_ms")),
        Row("hybrid, exact scan, with a rare tag, 95 %", _figure("filtered", "cpu_p95_ms")),
        Row("meaning, Chroma server, median, without the server", _figure("chroma", "cpu_p50_ms")),
        Row("meaning, Chroma server, 95 %, without the server", _figure("chroma", "cpu_p95_ms")),
        Row(
            "hybrid, Chroma server, median, without the server",
            _figure("hybrid_chroma", "cpu_p50_ms"),
            "hybrid, Chroma",
        ),
        Row("hybrid, Chroma server, 95 %, without the server", _figure("hybrid_chroma", "cpu_p95_ms")),
        Row("the Chroma server's own, mean", _figure("hybrid_chroma", "server_cpu_ms"), "Chroma server's own"),
        Row("share of the exact ten that Chroma finds", _figure("chroma", "of the exact ten")),
    ),
    "Peak memory, MiB": (
        Row("ingest", _rss("ingest"), "ingest"),
        Row("drain into Chroma", _rss("drain"), "drain into Chroma"),
        Row("ingest with nothing changed", _rss("unchanged")),
        Row("a process that searches by words", _figure("keyword", "own_rss_mb"), "search by words"),
        Row("a process that searches by exact scan", _figure("hybrid", "own_rss_mb"), "search, exact scan"),
        Row("a process that searches beside a Chroma server", _figure("hybrid_chroma", "own_rss_mb"), "beside Chroma"),
        Row("the Chroma server", _figure("hybrid_chroma", "server_rss_mb"), "Chroma server"),
        Row("backup, the first", _rss("backup"), "first backup"),
        Row("verify", _rss("verify"), "verify"),
        Row("verify --deep", _rss("verify_deep")),
        Row("full-text index made anew", _rss("words")),
    ),
    "Disk, MB": (
        Row("the vault", _of("generate", lambda record: int(str(record.figures["bytes"])) / 1e6)),
        Row("database with words", _disk("ingest", "database"), "database, words only"),
        Row("database with vectors", _disk("fill", "database"), "database with vectors"),
        Row("Chroma", _disk("drain", "chroma"), "Chroma"),
        Row("backups, one", _disk("backup", "backups"), "backups, one"),
        Row("backups, two", _disk("backup_again", "backups")),
    ),
}
_UNITS = ("CPU seconds", "", "CPU milliseconds", "MiB", "MB")


def tables(records: Iterable[Record]) -> str:
    """A table a section: sizes as columns, then the growth between the two largest."""
    by_step = {(record.size, record.step): record for record in records}
    sizes = sorted({size for size, _ in by_step})
    counted = _figure("ingest", "chunks")
    counts = {size: counted(by_step, size) or size for size in sizes}
    heads = [f"{counts[size]:,.0f}" for size in sizes]
    lines = []
    for title, rows in SECTIONS.items():
        lines += [f"## {title}", "", f"| chunks | {' | '.join(heads)} | growth |", "|---|" + "---:|" * (len(sizes) + 1)]
        for row in rows:
            values = [row.value(by_step, size) for size in sizes]
            shown = ["–" if value is None else _shown(value) for value in values]
            lines.append(f"| {row.name} | {' | '.join(shown)} | {_growth(list(counts.values()), values)} |")
        lines.append("")
    failed = [f"- {record.size:,}, {record.step}: {record.error}" for record in by_step.values() if record.error]
    return "\n".join([*lines, *(["## What failed", "", *failed, ""] if failed else [])])


def exponent(fewer: float, less: float, more: float, greater: float) -> float:
    """The b of `greater / less = (more / fewer) ** b`."""
    return math.log(greater / less) / math.log(more / fewer)


def _growth(counts: list[float], values: list[float | None]) -> str:
    """Between each two sizes, the last in bold: that one tells most."""
    pairs = list(zip(counts, values, strict=True))
    found = [f"{exponent(n, low, m, high):.2f}" if low and high else "–" for (n, low), (m, high) in pairwise(pairs)]
    return " · ".join([*found[:-1], f"**{found[-1]}**"]) if found else "–"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def write(records: Iterable[Record]) -> None:
    """Into docs/."""
    records = list(records)
    (DOCS / "measured" / "scale.md").write_text(_page(records), "utf-8")
    picture(records, DOCS / "images" / "scale.png")


def _page(records: list[Record]) -> str:
    import apsw
    import chromadb

    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"
    head = [
        "# How it grows, measured",
        "",
        f"`python -m benchmarks.scale --write`, {datetime.now(UTC):%F}, {machine}, chromadb {chromadb.__version__}.",
        "Notes are generated, half Japanese, half English; vectors are drawn like real ones. Each step is a process,",
        "measured by wait4; one run, beside other work. Queries are 40 Japanese and 40 English ones, each the best of",
        "three times. What it means is told in [scaling.md](../scaling.md).",
        "",
        "Growth is the exponent between each two neighbouring sizes: 1 in proportion, 0 the same for any size.",
        "",
        "![The same figures, both axes logarithmic](../images/scale.png)",
        "",
        "",
    ]
    return "\n".join(head) + tables(records)


def picture(records: Iterable[Record], target: Path) -> None:
    """CPU, queries, memory and disk over chunks, all logarithmic, beside a line of what grows in proportion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    by_step = {(record.size, record.step): record for record in records}
    sizes = sorted({size for size, _ in by_step})
    counted = _figure("ingest", "chunks")
    counts = [counted(by_step, size) or size for size in sizes]
    drawn = [(title, unit, rows) for (title, rows), unit in zip(SECTIONS.items(), _UNITS, strict=True) if unit]
    figure, places = pyplot.subplots(2, 2, figsize=(12, 10.6), layout="constrained")
    for at, (title, unit, rows) in zip(places.flat, drawn, strict=True):
        labelled = [row for row in rows if row.label]
        highest = 0.0
        for number, row in enumerate(labelled):
            points = [(n, v) for n, size in zip(counts, sizes, strict=True) if (v := row.value(by_step, size))]
            if not points:
                continue
            highest = max(highest, *(v for _, v in points))
            at.plot(
                *zip(*points, strict=True),
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle="-" if number < len(_COLOURS) else "--",
                linewidth=1.6,
                markersize=6,
                label=row.label,
            )
        if highest and len(counts) > 1:
            ends = [highest * n / counts[-1] for n in (counts[0], counts[-1])]
            at.plot((counts[0], counts[-1]), ends, color="#999999", linestyle=":", label="in proportion")
        at.set(xscale="log", yscale="log", ylabel=unit, title=f"{title.split(',')[0]}, by number of chunks")
        at.grid(True, which="major", color="#dddddd", linewidth=0.6)
        if highest:
            at.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.11))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
