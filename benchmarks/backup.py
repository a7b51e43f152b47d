"""Ten daily backups of a growing knowledge base beside restic, borg and full zstd copies.

    python -m benchmarks.backup [--notes 8000] [--days 10] [--seed 1]

Each day 1 % of the notes change. The others back up a consistent copy of the database, which is made for them and not
counted; ours makes its own, reads it back and keeps probes. CPU seconds: ours of the verb in this process, the others'
of their processes; restores write one file. Vectors are random, of the real size. A program that is not installed is
left out, and said (`apt-get install restic borgbackup zstd`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from benchmarks.hybrid import fill
from benchmarks.measure import Clock, clock, percentile
from benchmarks.vault import edit, generate
from nescord import KnowledgeManager, Settings
from nescord.backup.check import check
from nescord.backup.copies import stage
from nescord.backup.create import create
from nescord.backup.store import BackupStore

_CHANGED = 0.01
_WRITER_SECONDS = 20.0
_PAUSE = 0.02


@dataclass(slots=True)
class Figures:
    """What one way of backing up has cost: bytes of the repository, seconds of the first and the later backups."""

    first: Clock = field(default_factory=Clock)
    later: list[Clock] = field(default_factory=list)
    bytes: int = 0
    restore: Clock = field(default_factory=Clock)
    verify: Clock = field(default_factory=Clock)


class Tool:
    """A program that backs up one file: its commands for a new repository, day `n`, a restore and a verification."""

    def __init__(self, scratch: Path, name: str, source: Path) -> None:
        self.name = name
        self.repository = scratch / f"{name}-repository"
        self._source = source
        self._target = scratch / f"{name}-restored"
        self._environment = {
            **os.environ,
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(scratch / "restic-cache"),
            "BORG_REPO": str(self.repository),
            "BORG_BASE_DIR": str(scratch / "borg-base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        self.figures = Figures()

    def begin(self) -> None:
        if self.name == "zstd":
            self.repository.mkdir()
            return
        self._run(*(["restic", "init"] if self.name == "restic" else ["borg", "init", "--encryption", "none"]))

    def back_up(self, day: int) -> None:
        commands = {
            "restic": ["restic", "backup", str(self._source)],
            "borg": ["borg", "create", "--compression", "zstd,3", f"::day{day}", str(self._source)],
            "zstd": ["zstd", "-3", "-q", str(self._source), "-o", str(self.repository / f"{day:03d}.zst")],
        }
        spent = self._run(*commands[self.name])
        if day:
            self.figures.later.append(spent)
        else:
            self.figures.first = spent

    def finish(self, days: int) -> None:
        """Restore the newest backup, which must be the source again, and verify all of them."""
        self.figures.bytes = _size(self.repository)
        self._target.mkdir()
        restored = self._target / (self._source.name if self.name == "zstd" else str(self._source)[1:])
        commands = {
            "restic": ["restic", "restore", "latest", "--target", str(self._target)],
            "borg": ["borg", "extract", f"::day{days - 1}"],
            "zstd": ["zstd", "-dq", str(self.repository / f"{days - 1:03d}.zst"), "-o", str(restored)],
        }
        self.figures.restore = self._run(*commands[self.name])
        if restored.read_bytes() != self._source.read_bytes():
            raise AssertionError(f"{self.name} did not restore what it was given")
        shutil.rmtree(self._target)
        commands = {
            "restic": ["restic", "check", "--read-data"],
            "borg": ["borg", "check", "--verify-data"],
            "zstd": ["zstd", "-tq", *map(str, sorted(self.repository.iterdir()))],
        }
        self.figures.verify = self._run(*commands[self.name])

    def _run(self, *command: str) -> Clock:
        """CPU seconds of the process and its children, and seconds of wall time."""
        cwd = self._target if self._target.is_dir() else None
        begun, before = time.perf_counter(), os.times()
        done = subprocess.run(command, env=self._environment, cwd=cwd, check=False, capture_output=True)
        after = os.times()
        if done.returncode:
            raise RuntimeError(f"{command} failed: {done.stderr.decode('utf-8', 'replace')}")
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Clock(cpu, time.perf_counter() - begun)


def run(notes: int, days: int, seed: int, scratch: Path) -> tuple[dict[str, Figures], dict[str, float]]:
    """The costs of each way, and what is to be said of the database and of who writes meanwhile."""
    vault, data, copy = scratch / "vault", scratch / "kb", scratch / "source" / "nescordbot.db"
    copy.parent.mkdir()
    generate(vault, notes, seed)
    settings = Settings(data_dir=data, embedder="none")
    tools = [Tool(scratch, name, copy) for name in ("restic", "borg", "zstd") if shutil.which(name)]
    ours = Figures()
    for day in range(days):
        if day:
            edit(vault, _CHANGED, seed + day)
        with KnowledgeManager.open(settings) as km:
            km.ingest(vault)
        fill(data, seed + day)
        with KnowledgeManager.open(settings) as km:
            with clock() as spent:
                create(km._base)
            _copy(km, copy)
        if day:
            ours.later.append(spent)
        else:
            ours.first = spent
        for tool in tools:
            if not day:
                tool.begin()
            tool.back_up(day)
    with KnowledgeManager.open(settings) as km:
        _finish_ours(ours, BackupStore(km.folder.backups), scratch / "restored.db")
    for tool in tools:
        tool.finish(days)
    one_copy = tools[-1].figures.bytes / days if tools and tools[-1].name == "zstd" else 0.0
    facts = {"size of the database, MB": copy.stat().st_size / 1e6, "one full zstd copy, MB": one_copy / 1e6}
    facts |= _commit_times(settings)
    return {"nescord": ours, **{tool.name: tool.figures for tool in tools}}, facts


def _finish_ours(figures: Figures, store: BackupStore, target: Path) -> None:
    figures.bytes = store.bytes_used()
    with clock() as figures.restore:
        stage(store, store.manifest(store.ids()[-1]), target)
    target.unlink()
    with clock() as figures.verify:
        found = check(store)
    if not all(each.ok for each in found):
        raise AssertionError(f"check found problems: {found}")


def _copy(km: KnowledgeManager, target: Path) -> None:
    """A consistent copy for those who can only back up files."""
    target.unlink(missing_ok=True)
    with km._base.verb() as catalog, catalog.read() as source:
        copy = apsw.Connection(str(target))
        copy.pragma("journal_mode", "off")
        with copy.backup("main", source, "main") as backup:
            backup.step(-1)
        copy.close()


def _commit_times(settings: Settings) -> dict[str, float]:
    """Milliseconds of a capture by another process, alone and while backups are made one after the other."""
    alone = _captures(settings, lambda: time.sleep(0.05))
    with KnowledgeManager.open(settings) as km:
        meanwhile = _captures(settings, lambda: create(km._base))
    return {
        "capture alone, median ms": statistics.median(alone),
        "capture alone, p95 ms": percentile(alone, 0.95),
        "capture while a backup is made, median ms": statistics.median(meanwhile),
        "capture while a backup is made, p95 ms": percentile(meanwhile, 0.95),
    }


def _captures(settings: Settings, meanwhile: Callable[[], object]) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.backup", "--write-to", str(settings.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while writer.poll() is None:
            meanwhile()
        return [float(line) for line in writer.stdout]


def write(data: Path) -> None:
    """Capture notes for a while; print how long each took, in milliseconds."""
    with KnowledgeManager.open_existing(Settings(data_dir=data, embedder="none")) as km:
        km.capture("the first one opens everything")
        print("ready", flush=True)
        times = []
        end = time.monotonic() + _WRITER_SECONDS
        while time.monotonic() < end:
            begun = time.perf_counter()
            km.capture(f"note number {len(times)}, written while a backup is made")
            times.append((time.perf_counter() - begun) * 1000)
            time.sleep(_PAUSE)
        print("\n".join(f"{each:.3f}" for each in times))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def table(found: Mapping[str, Figures], facts: Mapping[str, float], days: int) -> str:
    """Everything as Markdown: a column for each way, and the rest below."""

    def later(figures: Figures) -> float:
        return statistics.median(each.cpu for each in figures.later)

    ours = found["nescord"]
    rows: list[tuple[str, Callable[[Figures], float]]] = [
        (f"repository after {days} days, MB", lambda each: each.bytes / 1e6),
        ("first backup, CPU s", lambda each: each.first.cpu),
        ("later backup, CPU s (median)", later),
        ("later backup, s", lambda each: statistics.median(spent.wall for spent in each.later)),
        ("restore, CPU s", lambda each: each.restore.cpu),
        ("restore, s", lambda each: each.restore.wall),
        ("verify all, CPU s", lambda each: each.verify.cpu),
        ("our repository / theirs", lambda each: ours.bytes / each.bytes),
        ("our later CPU / theirs", lambda each: later(ours) / later(each)),
    ]
    lines = [f"| figure | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    lines += [f"| {name} | {' | '.join(f'{get(each):,.2f}' for each in found.values())} |" for name, get in rows]
    lines += ["", "| figure | value |", "|---|---|", *(f"| {name} | {value:,.2f} |" for name, value in facts.items())]
    if one := facts["one full zstd copy, MB"]:
        lines.append(f"| our repository / one full zstd copy (aim <= 1.5) | {ours.bytes / 1e6 / one:.2f} |")
    missing = [name for name in ("restic", "borg", "zstd") if name not in found]
    if missing:
        lines += ["", f"Not installed, left out: {', '.join(missing)}."]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=int, default=8_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-to", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write_to:
        write(asked.write_to)
        return
    with tempfile.TemporaryDirectory() as folder:
        found, facts = run(asked.notes, asked.days, asked.seed, Path(folder))
    print(table(found, facts, asked.days))


if __name__ == "__main__":
    main()
