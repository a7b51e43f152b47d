"""How each step grows with the number of chunks: `python -m benchmarks.scale [--chunks 1000 10000 100000 1000000]`.

    python -m benchmarks.scale [--chunks N ...] [--place DIR] [--seed 1] [--limit 20000] [--write]

For each size a vault is generated and taken in, gets synthetic vectors and an index, is searched, backed up, edited,
verified and rebuilt: every step in a process of its own, measured by wait4 (CPU seconds, peak memory, wall). A step
that ends is a line of DIR/scale.jsonl, so a run that is stopped goes on with the next one when it is said again; one
that fails, or takes longer than the limit, is written down with its error, and the run goes on. `--write` puts tables
and picture into docs/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_ERROR_SHOWN = 400
_ENVIRONMENT = {"NESCORD_EMBEDDER": "local", "NESCORD_SEARCH_EVENTS": "off", "ANONYMIZED_TELEMETRY": "False"}


@dataclass(frozen=True, slots=True)
class Step:
    """What is done: a function of scale_steps, or (`command`) what a person would type. `begins` are the folders that a
    step which was cut off would find half made."""

    name: str
    command: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()


STEPS = (
    Step("generate", begins=("vault",)),
    Step("ingest", begins=("kb",)),
    Step("real"),
    Step("fill"),
    Step("drain", begins=("kb/chroma",)),
    Step("unchanged"),
    Step("keyword"),
    Step("exact"),
    Step("hybrid"),
    Step("filtered"),
    Step("chroma"),
    Step("hybrid_chroma"),
    Step("search_words", ("search", "--mode", "keyword", "--json", "{query}")),
    Step("search", ("search", "--json", "{query}")),
    Step("backup", ("backup", "create", "--json"), begins=("kb/backups",)),
    Step("edit"),
    Step("edited"),
    Step("edited_fill"),
    Step("edited_drain"),
    Step("backup_again", ("backup", "create", "--json")),
    Step("backup_check", ("backup", "check", "--json")),
    Step("restore"),
    Step("verify", ("verify", "--json")),
    Step("verify_deep", ("verify", "--deep", "--json")),
    Step("rebuild", ("index", "rebuild", "--json")),
    Step("words"),
)
_SAME_AS = {"edited": "ingest", "edited_fill": "fill", "edited_drain": "drain"}


@dataclass(frozen=True, slots=True)
class Record:
    """A step of a size: CPU seconds and the most resident memory of its process and their children, wall seconds, what
    the step itself has found, bytes of disk afterwards; or what went wrong."""

    size: int
    step: str
    cpu: float = 0.0
    wall: float = 0.0
    rss_mb: int = 0
    figures: dict[str, object] = field(default_factory=dict)
    disk: dict[str, int] = field(default_factory=dict)
    error: str = ""


def read(journal: Path) -> dict[tuple[int, str], Record]:
    """What was done so far; a line that was cut off counts for nothing."""
    records = {}
    for line in journal.read_text("utf-8").splitlines() if journal.exists() else ():
        try:
            record = Record(**json.loads(line))
        except ValueError:
            continue
        records[record.size, record.step] = record
    return records


def run(place: Path, sizes: list[int], seed: int, limit: float, *, keep: bool = False) -> None:
    """Do what is not done yet, and tell as it goes."""
    place.mkdir(parents=True, exist_ok=True)
    journal = place / "scale.jsonl"
    _end_cut_line(journal)
    for size in sizes:
        folder = place / str(size)
        done = read(journal)
        for step in STEPS:
            if (size, step.name) in done:
                continue
            record = one(step, size, folder, seed, limit)
            with journal.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            told = record.error or json.dumps(record.figures)
            print(
                f"{size:>9} {step.name:<14} {record.cpu:9.2f} CPU s {record.wall:9.2f} s {record.rss_mb:6} MB  {told}"
            )
            sys.stdout.flush()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def one(step: Step, size: int, folder: Path, seed: int, limit: float) -> Record:
    """Do one step and measure it."""
    folder.mkdir(exist_ok=True)
    for begun in step.begins:
        shutil.rmtree(folder / begun, ignore_errors=True)
    if step.command:
        queries = folder / "queries.json"
        query = json.loads(queries.read_text("utf-8"))[-1] if queries.exists() else "plan"
        arguments = [argument.format(query=query) for argument in step.command]
        program = ["-m", "nescord.cli", "--data-dir", str(folder / "kb"), *arguments]
    else:
        name = _SAME_AS.get(step.name, step.name)
        program = ["-m", "benchmarks.scale_steps", name, str(folder), str(size), str(seed)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status, usage, wall = _measured([sys.executable, *program], out, err, limit)
        printed, complaint = _all_of(out), _all_of(err)
    error = ""
    if status == -signal.SIGKILL and wall >= limit:
        error = f"stopped after {limit:.0f} s"
    elif status and not (step.name.startswith("verify") and status == 1):
        error = f"status {status}: {complaint.strip()[-_ERROR_SHOWN:]}"
    try:
        figures = {} if error else _telling(step, json.loads(printed.splitlines()[-1] if not step.command else printed))
    except (ValueError, IndexError) as problem:
        figures, error = {}, f"what it printed is no JSON ({problem}): {printed[-_ERROR_SHOWN:]}"
    return Record(
        size=size,
        step=step.name,
        cpu=round(usage[0], 3),
        wall=round(wall, 3),
        rss_mb=usage[1],
        figures=figures,
        disk=_disk(folder),
        error=error,
    )


def _measured(command: list[str], out: IO[bytes], err: IO[bytes], limit: float) -> tuple[int, tuple[float, int], float]:
    """Status, (CPU seconds, peak MiB) of the process and what it has waited for, and wall seconds."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=os.environ | _ENVIRONMENT, start_new_session=True
    )
    overdue = threading.Timer(limit, os.killpg, (child.pid, signal.SIGKILL))
    overdue.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
    except BaseException:  # Ctrl-C: the step goes with us
        os.killpg(child.pid, signal.SIGKILL)
        raise
    finally:
        overdue.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return child.returncode, (cpu, usage.ru_maxrss // 1024), time.perf_counter() - begun


def _telling(step: Step, found: object) -> dict[str, object]:
    """Of what a command prints, that which belongs into a table."""
    if step.name.startswith("verify"):
        checks = found["checks"]  # type: ignore[index]  # a document of ours
        wrong = [f"{each['name']}: {each['status']}: {each['value']}" for each in checks if each["status"] != "pass"]
        return {"checks": len(checks), "not passed": wrong}
    if isinstance(found, list):
        return {"rows": len(found)}
    assert isinstance(found, dict)
    return {name: value for name, value in found.items() if isinstance(value, int | float | str)}


def _disk(folder: Path) -> dict[str, int]:
    kb = folder / "kb"
    places = {"chroma": kb / "chroma", "backups": kb / "backups"}
    sizes = {name: sum(file.stat().st_size for file in at.rglob("*") if file.is_file()) for name, at in places.items()}
    database = kb / "nescordbot.db"
    return {"database": database.stat().st_size if database.exists() else 0} | sizes


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _end_cut_line(journal: Path) -> None:
    if journal.exists() and not journal.read_bytes().endswith(b"\n"):
        with journal.open("ab") as lines:
            lines.write(b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="how each step grows")
    parser.add_argument("--chunks", type=int, nargs="+", default=SIZES)
    parser.add_argument("--place", type=Path, default=Path(tempfile.gettempdir()) / "nescord-scale")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=20_000, help="seconds that one step may take")
    parser.add_argument("--keep", action="store_true", help="leave what was made of each size")
    parser.add_argument("--write", action="store_true", help="docs/measured/scale.md and docs/images/scale.png")
    asked = parser.parse_args()
    run(asked.place, list(asked.chunks), asked.seed, asked.limit, keep=asked.keep)
    from benchmarks import scale_page  # only now: what this process has loaded would count as memory of its children

    records = list(read(asked.place / "scale.jsonl").values())
    print(scale_page.tables(records))
    if asked.write:
        scale_page.write(records)


if __name__ == "__main__":
    main()
