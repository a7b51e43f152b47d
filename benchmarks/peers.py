"""`make bench`: NescordBot beside what people would use instead, on the same notes with the same model.

    python -m benchmarks.peers [--notes 2000 | --vault DIR] [--peers a,b] [--embedder hash] [--write FILE] [--resume]

Each step of each peer is a process of its own, in a virtual environment that is made on demand. A vault of yours is
copied first and never written to. Every result goes to a file as it comes: after an interruption, --resume goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peering import steps, table, venvs
from benchmarks.peering.measure import ROOT, run
from benchmarks.peering.shared import note_files
from benchmarks.vault import generate

ALL = tuple(name for names in table.GROUPS.values() for name in names)
RESULTS = ROOT / "data" / "peers" / "results.jsonl"


def digest(vault: Path) -> str:
    """Of every name, size and time below a folder, and of every byte of its notes."""
    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(vault.rglob("*")):
        info = path.lstat()
        whole.update(f"{path.relative_to(vault)}|{info.st_size}|{info.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    for note in note_files(vault):
        whole.update((vault / note).read_bytes())
    return whole.hexdigest()


def copy_notes(vault: Path, to: Path) -> None:
    """The notes of a vault and nothing else of it: its attachments are no part of the work."""
    for note in note_files(vault):
        (to / note).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(vault / note, to / note)


class Results:
    """The file of results: a line for each record, of these very conditions or of others."""

    def __init__(self, path: Path, conditions: str, *, resume: bool) -> None:
        self._path = path
        self._conditions = conditions
        self.records: dict[str, dict[str, dict[str, Any]]] = {}
        self.done: set[tuple[str, str]] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume and path.exists():
            for line in path.read_text("utf-8").splitlines():
                self._take(json.loads(line))
        else:
            path.unlink(missing_ok=True)

    def add(self, peer: str, group: str, record: dict[str, Any]) -> None:
        """Write down one record; the one of the row "" says that the group is done."""
        entry = {"conditions": self._conditions, "peer": peer, "group": group, "record": record}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        if entry["conditions"] != self._conditions:
            return
        record = dict(entry["record"])
        row = record.pop("row")
        if row:
            self.records.setdefault(entry["peer"], {})[row] = record
        else:
            self.done.add((entry["peer"], entry["group"]))


def main() -> None:
    """Measure, print, perhaps write."""
    asked = _arguments()
    wanted = [name for name in asked.peers.split(",") if name] or list(ALL)
    base = asked.scratch / "base"
    shutil.rmtree(base, ignore_errors=True)
    before = digest(asked.vault) if asked.vault else ""
    if asked.vault:
        copy_notes(asked.vault, base)
    else:
        generate(base, asked.notes, asked.seed)
    what = before or f"{asked.notes} notes of seed {asked.seed}"
    results = Results(asked.results, f"{what}, {asked.embedder}", resume=asked.resume)
    for name in wanted:
        _measure(name, asked, base, results)
    if asked.vault and digest(asked.vault) != before:
        sys.exit(f"{asked.vault} has changed while this ran: the figures are of the copy from before")
    ordered = {name: results.records[name] for name in ALL if name in results.records}
    text = table.page(ordered, _head(asked, ordered))
    print(text)
    if asked.write:
        asked.write.write_text(text, "utf-8")


def _measure(name: str, asked: argparse.Namespace, base: Path, results: Results) -> None:
    """All groups of one peer that are not done yet."""
    groups = [group for group in asked.groups.split(",") if (name, group) not in results.done]
    if name in table.LIMITS:  # which promise nothing about them
        groups = [group for group in groups if group != "nasty"]
    if not groups:
        return
    scratch = asked.scratch / name
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        python = venvs.environment(name, asked.venvs)
    except subprocess.CalledProcessError as error:
        results.add(
            name, "about", {"row": "about", "error": f"no environment: {error.stderr.strip().splitlines()[-1]}"}
        )
        return
    # The first start compiles what is imported, and is not measured.
    about = run([str(python), "-m", f"benchmarks.peering.adapters.{name}", "about"])
    results.add(name, "about", {"row": "about", "error": about.error, **about.result})
    if about.error:
        return
    cold = results.records[name].get("cold", {})
    peer = steps.Peer(name, python, scratch, base, asked.embedder, about.result)
    peer.paid_when_cold, peer.seconds_when_cold = cold.get("embedded", 0), cold.get("wall", 0.0)
    for group in groups:
        begun = time.monotonic()
        try:
            for record in steps.GROUPS[group](peer):
                results.add(name, group, record)
        except steps.StepError as error:  # the step that the rest of its group stands on
            results.add(name, group, {"row": "cold" if group == "work" else group, "error": str(error)})
        results.add(name, group, {"row": ""})
        print(f"{name}: {group}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    shutil.rmtree(scratch, ignore_errors=True)


def _head(asked: argparse.Namespace, records: table.Records) -> list[str]:
    cold = next((rows["cold"] for rows in records.values() if "notes" in rows.get("cold", {})), {})
    of = "a vault of the reader's" if asked.vault else f"a generated vault (seed {asked.seed}), half Japanese"
    command = f"python -m benchmarks.peers {'--vault DIR' if asked.vault else f'--notes {asked.notes}'}"
    embedder = (
        "the local model (USE multilingual 3)" if asked.embedder == "local" else "hashed words: no quality figures"
    )
    return [
        "# Beside what people would use instead",
        "",
        f"`{command} --embedder {asked.embedder}`, {datetime.now(UTC):%F}; {cold.get('notes', '?')} notes, "
        f"{cold.get('chunks', '?')} chunks, {of}.",
        f"{_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}. "
        f"One splitter and one embedder for all: {embedder}, in the process of the peer.",
        "",
        "A step is a fresh process, and its CPU seconds hold interpreter and imports. `limit` is what the work costs",
        "with nothing around it: read, hash, cut, embed what is new, insert; it keeps no promise. `chroma`,",
        "`numpy_scan`, `fts5`, `tantivy` and `bm25s` are yardsticks: parts without a notion of files or of changes.",
    ]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="compare with other tools")
    parser.add_argument("--vault", type=Path, metavar="DIR", help="notes of yours; copied, never written to")
    parser.add_argument("--notes", type=int, default=2000, help="of a generated vault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", default="", help=f"some of: {', '.join(ALL)}")
    parser.add_argument("--groups", default=",".join(steps.GROUPS), help="some of: " + ", ".join(steps.GROUPS))
    parser.add_argument("--embedder", default="local", choices=("local", "hash"))
    parser.add_argument("--venvs", type=Path, default=venvs.FOLDER, metavar="DIR")
    parser.add_argument("--scratch", type=Path, default=ROOT / "data" / "peers" / "scratch", metavar="DIR")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="JSON lines, as they come")
    parser.add_argument("--resume", action="store_true", help="go on with what that file has")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the page to this file")
    asked = parser.parse_args()
    for list_, known in ((asked.peers, ALL), (asked.groups, tuple(steps.GROUPS))):
        if unknown := {one for one in list_.split(",") if one} - set(known):
            parser.error(f"not known: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return asked


if __name__ == "__main__":
    main()
