"""`make demo`: the whole way of a note, from a folder of Markdown to an answer, in under a minute.

Everything is real but the notes: the knowledge base, the Prefect server, the flow. It works in `data/demo`, which
belongs to it and is made anew each time; nothing is needed, no key, no service, and nothing stays running.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.server import PrefectServer, prefect_server
from nescord import KnowledgeManager, Settings
from nescord.errors import NescordError, UsageError
from nescord.notes import SearchHit, SearchHits

if TYPE_CHECKING:
    from flows.ingest import Summary

_ROOT = Path(__file__).resolve().parent.parent
_VAULT = _ROOT / "data" / "sample" / "vault"
_MARK = "made-by-make-demo"
# What they ask, the query, and the note that answers it.
_SEARCHES = (
    ("A Japanese word", "第3回", "Meetings/2025-04-10 第3回 縁側運営会議.md"),
    ("An English question, a Japanese note", "how much New Year's money for the kids", "家族/お年玉と贈答.md"),
    ("A Japanese question, an English note", "息子がナッツを食べてしまったときの緊急対応", "Family/Leo's allergies.md"),
)
_ASKED_OF_EACH_INDEX = "temperature for kombu stock"
_HITS_SHOWN = 3
_HITS_COMPARED = 10


class DemoError(NescordError):
    """A step of the demo did not do what it should have."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the flow: its name and state as the server recorded them, and what the flow returned."""

    name: str
    state: str
    summary: Summary


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=_ROOT / "data" / "demo", help="made anew (default: data/demo)")
    folder: Path = parser.parse_args().data_dir.absolute()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show Japanese
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _leave)
    try:
        if not _VAULT.is_dir():
            raise UsageError(f"the sample vault {_VAULT} is missing: run the demo from a checkout of the repository")
        with own_folder(folder):
            _show(console, folder)
    except NescordError as error:
        Console(stderr=True, highlight=False).print(Text(f"demo: {error}"), soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True, highlight=False).print("demo: interrupted; nothing is left running")
        return 128 + signal.SIGINT
    return 0


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _show(console: Console, folder: Path) -> None:
    started = time.monotonic()
    console.print(Text("NescordBot demo", style="bold"))
    # Settings in the environment or in .env are meant for the user's own knowledge base. A blank counts as not given,
    # and wins over .env.
    os.environ.update({str(field.validation_alias): " " for field in Settings.model_fields.values()})
    os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'nescordbot.db'}"
    settings = Settings(data_dir=folder)
    with KnowledgeManager.open(settings) as knowledge:
        prefect_home = knowledge.folder.prefect
    console.print(f"\n1. A new knowledge base: SQLite, in {_shown(folder)}.", markup=False)
    console.print("2. A real Prefect server on a free loopback port (10 to 70 s) …")
    with prefect_server(prefect_home) as server:
        console.print(f"   It answers at {server.api_url}", style="dim")
        console.print(f"3. The flow takes {_shown(_VAULT)} in, twice: nothing is done twice.")
        runs = _ingest_twice(server, folder)
        console.print(_table(runs))
        summary = runs[0].summary
        console.print(
            f"   {summary['embedded']} texts were embedded here, {summary['indexed']} vectors put into Chroma."
        )
    console.print("\n4. The server is stopped, searching needs none. Three searches:")
    with KnowledgeManager.open_existing(settings) as knowledge:
        for what, query, answer in _SEARCHES:
            _print_hits(console, what, query, knowledge.search(query, limit=_HITS_SHOWN), answer)
    console.print("\n5. One question to each vector index:")
    _print_agreement(console, folder)
    nescord = _shown(Path(sys.executable).with_name("nescord"))
    console.print(f"\nDone in {time.monotonic() - started:.0f} s. Now you:")
    for command in (
        f'{nescord} --data-dir {_shown(folder)} search "第3回"',
        f"{nescord} ingest path/to/your/vault",
        "make test",
    ):
        console.print(f"  {command}", style="bold", markup=False, soft_wrap=True)


def _ingest_twice(server: PrefectServer, folder: Path) -> list[_Run]:
    # Prefect reads its settings once, when it is imported.
    os.environ.clear()
    os.environ.update(server.env)
    os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
    from prefect.client.orchestration import get_client

    from flows.ingest import ingest

    runs = []
    with get_client(sync_client=True) as client:
        for _ in range(2):
            state = ingest(vault=str(_VAULT), data_dir=str(folder), return_state=True)
            summary = state.result()
            flow_run_id = state.state_details.flow_run_id
            if flow_run_id is None:
                raise DemoError("the server has no record of the flow run")
            recorded = client.read_flow_run(flow_run_id)
            runs.append(_Run(recorded.name, recorded.state_name or "", summary))
    first, second = (run.summary for run in runs)
    done = ("added", "files_read", "embedded", "indexed")
    if not all(first[name] for name in done) or any(second[name] for name in done) or first["pending"]:
        raise DemoError(f"the runs did not do what they should: first {first}, second {second}")
    return runs


def _table(runs: list[_Run]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("flow run")
    table.add_column("state", no_wrap=True)
    shown = {"added": "added", "unchanged": "unchanged", "files_read": "opened"}
    shown["embedded"] = "embedded"
    for heading in (*shown.values(), "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        counts = (str(run.summary[name]) for name in shown)
        table.add_row(run.name, run.state, *counts, f"{run.summary['seconds']:.2f}")
    return table


def _print_hits(console: Console, what: str, query: str, hits: SearchHits, answer: str) -> None:
    if not hits or hits[0].path != answer or hits.degraded:
        found = [hit.path for hit in hits]
        raise DemoError(f'"{query}" should find {answer}, but found {found}; {"; ".join(hits.degraded)}')
    console.print(Text.assemble(f"\n{what} ({_how(hits)}):\n  ", (query, "bold")))
    for place, hit in enumerate(hits, 1):
        console.print(Text.assemble(f"  {place}. ", (hit.title, "bold cyan"), "  ", (hit.path, "dim")))
        console.print(Text("     ").append_text(_snippet(hit)), overflow="ellipsis", no_wrap=True)


def _how(hits: SearchHits) -> str:
    return f"{hits.mode}, vectors: {hits.index_kind}"


def _print_agreement(console: Console, folder: Path) -> None:
    console.print(Text.assemble("  ", (_ASKED_OF_EACH_INDEX, "bold")))
    found = {}
    for vector in ("chroma", "exact"):
        # What NESCORD_VECTOR or `nescord search --vector` sets.
        with KnowledgeManager.open_existing(Settings(data_dir=folder, vector=vector)) as knowledge:
            hits = knowledge.search(_ASKED_OF_EACH_INDEX, limit=_HITS_COMPARED)
        if hits.index_kind != vector or hits.degraded:
            raise DemoError(f"{vector} should have answered, not {hits.index_kind}: {'; '.join(hits.degraded)}")
        console.print(Text(f"  {_how(hits)}: {len(hits)} notes, the first is {hits[0].path}"))
        found[vector] = [hit.note_id for hit in hits]
    if found["chroma"] != found["exact"]:
        raise DemoError(f"the hits of Chroma and of the exact scan differ: {found}")
    console.print("  Their hits agree: the same notes in the same order.")


def _snippet(hit: SearchHit) -> Text:
    """The snippet on one line, with what was found marked: also for a pipe, which has no colours."""
    shown, end = Text(), 0
    for start, stop in hit.marks:
        shown.append(hit.snippet[end:start])
        shown.append(f"«{hit.snippet[start:stop]}»", "bold yellow")
        end = stop
    shown.append(hit.snippet[end:])
    shown.plain = shown.plain.replace("\n", " ")  # of the same length, so that the marks stay in place
    return shown


def _shown(path: Path) -> str:
    """`path` as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """An empty `folder` with our mark in it, locked against a second demo. What no demo made is never deleted."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder} is not a folder of the demo: move it away")
    mark = folder / _MARK
    if folder.is_dir() and any(folder.iterdir()) and not mark.is_file():
        raise UsageError(f"{folder} was not made by the demo, which would delete what is in it: move it away")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with mark.open("a", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another demo is running in {folder}: wait for it to end") from None
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry != mark:
                    entry.unlink()
            yield
    except PermissionError as error:
        raise UsageError(f"the demo cannot write {error.filename}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
