"""The records of all peers as one page of Markdown: a row is a work, a column a peer, ratios are to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
Records = Mapping[str, Mapping[str, Record]]

WORK = {
    "cold": "cold ingest",
    "unchanged": "nothing changed",
    "appended": "1 % appended to",
    "renamed": "100 renamed (or a tenth)",
    "deleted": "100 deleted (or a tenth)",
    "switched": "another model",
    "switched back": "and back",
    "index lost": "vector store lost",
    "killed": "after kill -9 half way, the rest",
    "backup": "backup",
    "restore": "restore",
}
QUERIES = {"query keyword": "by words", "query vector": "by meaning", "query hybrid": "by both"}
GOLDEN = {"golden keyword": "by words", "golden vector": "by meaning", "golden hybrid": "by both"}
# By what a column is compared: the first of a group is ours, the last its physical limit.
GROUPS = {
    "with a model": (
        *("ours", "langchain_index", "langchain_cached", "llamaindex", "llm_cli", "txtai_index"),
        *("chroma", "numpy_scan", "limit"),
    ),
    "by words alone": ("ours_words", "sqlite_utils_fts", "fts5", "tantivy", "bm25s", "limit_words"),
}
LIMITS = ("limit", "limit_words")
YARDSTICKS = ("chroma", "numpy_scan", "fts5", "tantivy", "bm25s")
# Where ours is not first, or within a tenth of it: why. (group, row) → a sentence.
WHY = {
    ("with a model", "cold"): (
        "Nearly all of it is the embedder, the same for all, whose seconds vary by a tenth with what else the machine "
        "does. The rest of ours is words, links, Chroma and commits that outlive a power cut; the first has none of it."
    ),
    ("with a model", "switched"): (
        "As above: the embedder. Ours keeps the vectors of the model that it leaves, so that the way back is free."
    ),
    ("by words alone", "cold"): (
        "Ours takes front matter, tags, links and headings apart, knows notes and chunks again by their hashes, and "
        "indexes Japanese by pairs of signs: see what the others find of it, and what nothing changed costs them."
    ),
    ("by words alone", "backup"): (
        "Most of ours is its start, cutting the database into pages that later backups share, and reading all back "
        "before it says that it is done; the others copy a file."
    ),
    ("by words alone", "restore"): (
        "Ours holds each page against its hash and looks the database through before it takes the place of another."
    ),
    ("with a model", "query vector"): (
        "Ours looks up which notes may be seen and are as they were, compares within each language, keeps the best "
        "chunk of each note, and makes title, snippet and link of it; the others hand out the stored text."
    ),
    ("by words alone", "query keyword"): (
        "As above; and it finds single signs and parts of Japanese words, so it looks at more places."
    ),
}
_NEAR = 1.1
# An index that is empty, or of another model, finds none of them. How well a model tells generated words apart is
# another matter: that is what the golden queries are for.
_ANSWERED = 0.5


def is_right(record: Record) -> bool:
    """Whether a peer has done the work: nothing lost, doubled or stale, and what it has answers."""
    wrong = sum(record.get(name, 0) for name in ("lost", "doubled", "stale"))
    return not wrong and record.get("answered", 0) >= _ANSWERED * record.get("asked", 0)


def page(records: Records, head: Sequence[str]) -> str:
    """All tables. `records` are by peer and row; `head` comes first, as it is."""
    lines = list(head)
    for group, names in GROUPS.items():
        peers = [name for name in names if name in records]
        if not any(name not in LIMITS for name in peers):
            continue
        ours = peers[0] if peers[0].startswith("ours") else ""
        lines += ["", f"## {group.capitalize()}", ""]
        lines += _work(records, peers, group, ours)
        remarks = _slower_queries(records, peers, group, ours)
        for title, row_titles, cell in (
            ("Texts embedded", WORK, _figure("embedded", "{:,}")),
            ("Peak memory, MiB", WORK, _figure("rss", "{:,}")),
            ("On disk afterwards, MiB", WORK, _figure("disk", "{:,.1f}")),
            ("What was wrong afterwards", WORK, _wrong),
            ("A query in a warm process, ms: p50 / p95 (CPU, mean)", QUERIES, _millis),
            ("Golden queries of data/sample: MRR@10, recall@5 ja / en / across", GOLDEN, _golden),
            ("Other checks", OTHER, _other),
        ):
            lines += _grid(title, row_titles, records, peers, cell)
            if row_titles is QUERIES and remarks:
                lines += ["", *remarks]
    lines += ["", "## How each was used", ""]
    for name, rows in records.items():
        about = rows.get("about", {})
        versions = ", ".join(f"{one} {version}" for one, version in about.get("versions", {}).items())
        lines.append(f"- **{name}**: {about.get('how') or about.get('error', '')} ({versions})")
    lines += _failures(records)
    return "\n".join(lines) + "\n"


def _work(records: Records, peers: Sequence[str], group: str, ours: str) -> list[str]:
    """The table of CPU seconds, and below it what ours is not first in."""
    remarks = []

    def cell(name: str, row: str, record: Record) -> str:
        if "cpu" not in record:
            return _absent(record)
        mine = records.get(ours, {}).get(row, {}).get("cpu")
        ratio = f" {record['cpu'] / mine:.2f}×" if mine else ""
        text = f"{record['cpu']:.2f} ({record['embed_cpu']:.2f}){ratio}"
        if not is_right(record):
            return f"{text} ✗"
        return f"**{text}**" if name == _first(records, peers, row) else text

    for row, title in WORK.items():
        mine = records.get(ours, {}).get(row, {})
        if "cpu" not in mine:
            continue
        slower = []
        for what, names in (("peer", set(peers) - set(YARDSTICKS)), ("yardstick", set(peers) & set(YARDSTICKS))):
            first = _first(records, [name for name in peers if name in names], row)
            if first and (ratio := mine["cpu"] / records[first][row]["cpu"]) > _NEAR:
                slower.append(f"{ratio:.2f}× of the {what} {first} ({records[first][row]['cpu']:.2f} s)")
        if slower:
            spare = f"{mine['cpu']:.2f} s, {mine['cpu'] - mine['embed_cpu']:.2f} s without the embedder"
            remarks.append(f"- {title}: {' and '.join(slower)}: {spare}. {WHY.get((group, row), '')}".rstrip())
    lines = _grid("CPU seconds of a process (of it the embedder's), ratio to ours", WORK, records, peers, cell)
    lines += ["", "Bold: the first of those that have done the work. ✗: it has not, see below."]
    return lines + (["", "Ours is not within a tenth of the first in:", "", *remarks] if remarks else [])


def _slower_queries(records: Records, peers: Sequence[str], group: str, ours: str) -> list[str]:
    """The queries that another answers with less than nine tenths of what ours take."""
    remarks = []
    for row, title in QUERIES.items():
        mine = records.get(ours, {}).get(row, {}).get("cpu_ms")
        first = _first(records, peers, row, "cpu_ms")
        if mine and first and mine > _NEAR * (least := records[first][row]["cpu_ms"]):
            told = f"- {title}: {mine / least:.2f}× of {first} ({least:.2f} ms of CPU). {WHY.get((group, row), '')}"
            remarks.append(told.rstrip())
    return remarks


def _first(records: Records, peers: Sequence[str], row: str, what: str = "cpu") -> str:
    """Who needs the least of those that do it right; the physical limit takes no part."""
    costs = {
        name: records[name][row][what]
        for name in peers
        if name not in LIMITS and what in records[name].get(row, {}) and is_right(records[name][row])
    }
    return min(costs, key=lambda name: float(costs[name]), default="")


Cell = Callable[[str, str, Record], str]


def _grid(title: str, rows: Mapping[str, str], records: Records, peers: Sequence[str], cell: Cell) -> list[str]:
    body = []
    for row, name in rows.items():
        cells = [cell(peer, row, records[peer].get(row, {})) for peer in peers]
        if any(text not in ("", "has none") for text in cells):
            body.append(f"| {name} | {' | '.join(cells)} |")
    if not body:
        return []
    return ["", f"### {title}", "", f"| | {' | '.join(peers)} |", f"|---|{'---|' * len(peers)}", *body]


def _absent(record: Record) -> str:
    if record.get("none"):
        return "has none"
    return "failed" if record.get("error") else ""


def _figure(name: str, form: str) -> Cell:
    def cell(peer: str, row: str, record: Record) -> str:
        return form.format(record[name]) if name in record else _absent(record)

    return cell


def _wrong(peer: str, row: str, record: Record) -> str:
    if "lost" not in record:
        return _absent(record)
    found = [f"{record[name]:,} {name}" for name in ("lost", "doubled", "stale") if record[name]]
    if record.get("answered", 0) < _ANSWERED * record.get("asked", 0):
        found.append(f"{record['answered']} of {record['asked']} found by meaning")
    if record.get("twice", 0) > 0:
        found.append(f"{record['twice']:,} texts paid twice")
    return ", ".join(found) or "nothing"


def _millis(peer: str, row: str, record: Record) -> str:
    if "p50" not in record:
        return _absent(record)
    return f"{record['p50']:.2f} / {record['p95']:.2f} ({record['cpu_ms']:.2f})"


def _golden(peer: str, row: str, record: Record) -> str:
    if "MRR@10" not in record:
        return _absent(record)
    recalls = " / ".join(f"{record.get(f'recall@5 {name}', 0):.2f}" for name in ("ja", "en", "across"))
    return f"{record['MRR@10']:.3f}, {recalls}"


OTHER = {
    "japanese": "Japanese of 1 / 2 / 3 characters beside a scan: recall; notes too many a query",
    "stale": "stale hits after edits and deletions (20 questions, first ten)",
    "nasty": "15 nasty files and 5 good ones: good + nasty stored, reported, passed over in silence",
}


def _other(peer: str, row: str, record: Record) -> str:
    if row == "japanese" and "extra" in record:
        recalls = " / ".join(f"{record.get(f'recall {length}', 0):.2f}" for length in (1, 2, 3))
        return f"{recalls}; {record['extra']:.1f}"
    if row == "stale" and "hits" in record:
        return ", ".join(f"{mode} {count}" for mode, count in record["hits"].items())
    if row == "nasty" and "good" in record:
        counts = f"{record['good']} + {record['stored']}, {record['reported']}, {record['silent']}"
        if record["survived"]:
            return counts
        more = record["without names"]
        again = f"{more['good']} + {more['stored']}, {more['reported']}, {more['silent']}"
        return f"the run failed ({counts}); of {more['files']} with names in UTF-8: " + (
            again if more["survived"] else f"failed ({again})"
        )
    return _absent(record)


def _failures(records: Records) -> list[str]:
    told = [
        f"- {name}, {row}: `{error.replace('`', chr(39))}`"
        for name, rows in records.items()
        for row, record in rows.items()
        if (error := record.get("error") or record.get("last line"))
    ]
    return ["", "## What failed", "", *told] if told else []
