"""A vault out and in again: is every note what it was, does it give the same answers, and what does that cost?

Generated notes and some that were captured are exported as a vault and as JSON lines. Each is taken into an empty
knowledge base; then notes, and the answers to queries of two languages, are compared. Beside the export stands the
plainest thing that could be done: the same bytes written to as many files, each of them synced.

    python -m benchmarks.export_round_trip --notes 8000
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks import vault
from benchmarks.measure import clock
from nescord import KnowledgeManager, Settings
from nescord.catalog import exporting as exporting_sql
from nescord.catalog import notes as notes_sql
from nescord.export import Format
from nescord.notes import Note, ResolvedLink, Scope
from nescord.sources import jsonl

_QUERIES, _CAPTURES, _SEED = 200, 200, 13
_TIE, _MOST = 0.005, 1000
_KINDS: tuple[Format, ...] = ("vault", "jsonl", "parquet")

Name = Callable[[Note], str]
Said = dict[str, tuple[object, ...]]
# Query -> path -> score, best first.
Answers = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=8_000)
    parser.add_argument("--export", nargs=3, metavar=("DATA", "FOLDER", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.export:
        _export(*arguments.export)
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(Path(folder), arguments.notes)


def _run(folder: Path, notes: int) -> None:
    facts = vault.generate(folder / "vault", notes, _SEED)
    print(f"{facts.notes:,} notes, {facts.bytes / 1e6:.1f} MB, {facts.links:,} links; {_CAPTURES} captured")
    queries = [
        query for lang in ("ja", "en") for query in vault.sample_queries(folder / "vault", _QUERIES, _SEED, lang)
    ]
    with _opened(folder / "base") as km:
        with clock() as taken:
            km.ingest(folder / "vault")
        print(f"ingest: {taken.cpu:.1f} CPU s, {taken.wall:.1f} s")
        _capture(km, _CAPTURES)
        by_place, by_id = _said(km, _place), _said(km, _id)
        answers = _answers(km, queries)
    for kind in _KINDS:
        for what in ("export", "again"):
            print(f"{kind}, {what}: {_in_a_process_of_its_own(folder, kind)}")
    _write_plainly(folder / "out vault", folder / "plain")
    with _opened(folder / "from vault") as again:
        again.ingest(folder / "out vault")
        _compare("vault", by_place, _said(again, _exported))
        _compare_answers("vault, answers", answers, _answers(again, queries))
    with _opened(folder / "from jsonl") as again:
        with jsonl.opened(folder / "out jsonl" / "notes.jsonl") as sources:
            for source in sources:
                again.take_in(source, space="personal", owner="us")
        _compare("jsonl, with ids", by_id, _said(again, _id))
        _compare_answers("jsonl, answers", answers, _answers(again, queries))


def _opened(data: Path) -> KnowledgeManager:
    return KnowledgeManager.open(Settings(data_dir=data, embedder="none", search_events="off"))


def _capture(km: KnowledgeManager, count: int) -> None:
    """Notes of ours with titles and tags of their own, and links to others of them and to notes of the vault."""
    rng, stems = random.Random(_SEED), list[str]()
    titles = [each.title for each in km.recent_notes(limit=500)]
    for number in range(count):
        to = f"[[{rng.choice(stems)}]]" if stems and rng.random() < 0.3 else f"[[{rng.choice(titles)}]]"
        title = f"{rng.choice(titles)[:40]} {rng.randrange(50)}" if number % 2 else ""
        note = km.add_note(f"# 覚え書き {number % 80}\n\nsee {to} #t{number % 9}\n", title=title, tags=["覚え書き"])
        stems.append(note.path.rpartition("/")[2].removesuffix(".md"))


def _in_a_process_of_its_own(folder: Path, kind: str) -> str:
    """The line that `_export` prints: memory can be told only of a whole process."""
    arguments = ("--export", str(folder / "base"), str(folder / f"out {kind}"), kind)
    command = [sys.executable, "-m", "benchmarks.export_round_trip", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _export(data: str, folder: str, kind: Format) -> None:
    with _opened(Path(data)) as km:
        before = _peak_mb()
        with clock() as taken:
            report = km.export(folder, kind=kind)
    filing = report.filing
    print(
        f"{taken.cpu:.1f} CPU s, {taken.wall:.1f} s, peak {_peak_mb()} MiB ({before} before); "
        f"{report.notes:,} notes, {filing.written:,} files written, {filing.bytes / 1e6:.1f} MB, "
        f"{len(report.remarks)} remarks, {len(filing.kept)} kept"
    )


def _peak_mb() -> int:
    """The most memory of this process, in MiB. (What getrusage says of it, it has from the process that began it.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _write_plainly(source: Path, target: Path) -> None:
    files = [(path.relative_to(source), path.read_bytes()) for path in source.rglob("*.md")]
    with clock() as taken:
        for place, data in files:
            path = target / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
    print(f"yardstick, as many files of the same bytes, synced: {taken.cpu:.1f} CPU s, {taken.wall:.1f} s")


def _notes(km: KnowledgeManager) -> list[Note]:
    with km._base.verb() as catalog, catalog.read() as connection:  # there is no verb that gives all of them
        return [notes_sql.find(connection, note_id, Scope())[0] for note_id in exporting_sql.ids(connection, Scope())]


def _said(km: KnowledgeManager, name: Name) -> Said:
    """What of each note must come back, by its name: of a link that leads to a note, by that note's name."""
    notes = _notes(km)
    names = {note.id: name(note) for note in notes}
    bodies = {note.id: _without_targets(note) for note in notes}
    return {
        names[note.id]: (
            *(note.title, bodies[note.id], frozenset(note.tags), note.aliases, note.author, note.created_at),
            note.updated_at,
            frozenset(_link(link, names) for link in note.links),
        )
        for note in notes
    }


def _without_targets(note: Note) -> str:
    """A link to what was captured is to another name afterwards; where it leads is compared all the same."""
    body = note.body
    for link in note.links:
        if link.note_id:
            body = body.replace(f"[[{link.target}", "[[")
    return body


def _link(link: ResolvedLink, names: dict[str, str]) -> tuple[str, ...]:
    target = names[link.note_id] if link.note_id else f"? {link.target}"
    return link.kind, target, link.anchor, link.text


def _place(note: Note) -> str:
    return note.id if note.owner == "us" else note.path


def _id(note: Note) -> str:
    return note.id


def _exported(note: Note) -> str:
    return str(note.front_matter.get("nescord", {}).get("id") or note.path)


def _answers(km: KnowledgeManager, queries: Sequence[str]) -> Answers:
    return {query: {hit.path: hit.score for hit in km.search(query, mode="keyword", limit=_MOST)} for query in queries}


def _compare(what: str, before: Said, after: Said) -> None:
    differing = [name for name in before if after.get(name) != before[name]]
    more = len(after.keys() - before.keys())
    print(f"{what}: {len(before):,} compared, {len(differing)} differ, {more} more")
    for name in differing[:3]:
        print(f"  {name}\n    {before[name]!r:.600}\n    {after.get(name)!r:.600}")


def _compare_answers(what: str, before: Answers, after: Answers) -> None:
    """Notes of vaults only: the words of a link that was renamed are words of what was captured. Equal scores have no
    order, and every text weighs a little in the scores of all others."""
    others, orders, cut = 0, 0, 0
    for query, scores in before.items():
        expected, found = _of_vaults(scores), _of_vaults(after[query])
        # Where there are more answers than can be asked for, which of equal ones are the last is chance.
        is_cut = len(scores) == _MOST
        others += not set(expected[: _MOST // 2]) <= set(found) if is_cut else set(expected) != set(found)
        cut += is_cut
        places = {name: place for place, name in enumerate(expected)}
        orders += any(
            places.get(one, 0) > places.get(below, 0)
            and abs(scores.get(one, 0) - scores.get(below, 0)) > _TIE * abs(scores.get(one, 0))
            for one, below in pairwise(found)
        )
    print(f"{what}: {len(before)} queries, {others} find other notes, {orders} in another order; {cut} found too many")


def _of_vaults(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not re.match(r"captures/|[0-9-]{10}/", path)]


if __name__ == "__main__":
    main()
