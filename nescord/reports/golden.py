"""Golden queries of a person's own: how well each mode of search answers them, kept over time.

Whoever writes a `golden.jsonl` (as that of data/sample) into the data folder or beside their notes is told, report by
report, whether search gets better or worse for them. The queries are asked in a child process, which alone opens the
database; what remains is `run/golden.jsonl`, one line a run, without a word of any query or note.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nescord import durable
from nescord.errors import NescordError, NotFoundError, UsageError
from nescord.process_groups import end_group
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.home import DataFolder
    from nescord.index.exact import ExactIndex
    from nescord.knowledge import KnowledgeManager
    from nescord.notes import SearchHits
    from nescord.opened import OpenBase
    from nescord.settings import Settings

NAME = "golden.jsonl"
MODES = ("keyword", "vector", "hybrid")
ALPHAS = tuple(round(tenth / 10, 1) for tenth in range(11))
"""Weights of the vectors that are tried."""
DEPTH = 10
"""Ranks beyond this count as not found."""
MOST_QUERIES = 1_000
MOST_RUNS = 200
PATIENCE = 600.0
"""Seconds that all of it may take in a report."""
_SWEEP_SECONDS = 90.0
_GRACE = 5.0
_TAIL = 400


@dataclass(frozen=True, slots=True)
class Golden:
    """A query and the notes (paths in NFC, or ids) any of which answers it; none where no note does.

    `kind` is `cross` where the answer exists only in another language; "" is asked of the notes themselves.
    """

    id: str
    query: str
    lang: str
    kind: str
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """How one golden query was answered. `group` is ja, en, across or unanswerable; `expected` counts its notes.

    `ranks` has for each mode the ranks (from 1, DEPTH at most) of those that were found; `silent` whether nothing came
    back, or only what was marked as weak; `sweep` the ranks in hybrid search for each of the run's `alphas`.
    """

    id: str
    group: str
    expected: int
    ranks: Mapping[str, tuple[int, ...]]
    silent: Mapping[str, bool]
    milliseconds: Mapping[str, float]
    sweep: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """All golden queries, asked once: when (UTC text), from which file (`fingerprint` is of its bytes), over how many
    notes, with which model ("": none), fusion and weight. `problem` says why nothing could be asked ("": it was)."""

    at: str
    file: str
    fingerprint: str = ""
    notes: int = 0
    model: str = ""
    fusion: str = ""
    alpha: float = 0.0
    alphas: tuple[float, ...] = ()
    remarks: tuple[str, ...] = ()
    problem: str = ""
    queries: tuple[Asked, ...] = ()


def history(data: Path) -> list[Run]:
    """The runs that are remembered in that data folder, oldest first; what cannot be read is passed over."""
    try:
        lines = (data / "run" / NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    runs = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            runs.append(_run_of(json.loads(line)))
    return sorted(runs, key=lambda run: run.at)


def _run_of(stored: dict[str, Any]) -> Run:
    queries = tuple(
        Asked(
            **{
                **each,
                "ranks": {mode: tuple(ranks) for mode, ranks in each["ranks"].items()},
                "sweep": tuple(map(tuple, each["sweep"])),
            }
        )
        for each in stored["queries"]
    )
    several = {name: tuple(stored[name]) for name in ("alphas", "remarks")}
    return Run(**{**stored, **several, "queries": queries})


def load(file: Path) -> list[Golden]:
    """The golden queries of a file.

    Raises:
        UsageError: it cannot be read, or a line is no golden query; the message names it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: save it as UTF-8") from error
    # Not splitlines: a query may hold U+2028, which JSON allows as it is.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > MOST_QUERIES:
        raise UsageError(f"{file} has {len(lines):,} queries: {MOST_QUERIES:,} are the most that are asked")
    return [_golden(file, number, line) for number, line in lines]


def find_file(data: Path, roots: Iterable[Path]) -> Path | None:
    """The file to use: that of the data folder, else that of the first vault that has one."""
    return next((folder / NAME for folder in (data, *roots) if (folder / NAME).is_file()), None)


def ask_in_child(folder: DataFolder, *, patience: float = PATIENCE) -> Run | None:
    """Ask all golden queries in a process of its own and remember the outcome; None where there is no golden file.

    Raises:
        NescordError: the child did not come to its end; what it said is in the message.
    """
    command = [sys.executable, "-P", "-m", "nescord.parent", str(_GRACE), "nescord.reports.golden"]
    ours, theirs = os.pipe()  # the child ends when the other end of its standard input does, however we end
    try:
        with subprocess.Popen(
            command,
            stdin=ours,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "NESCORD_DATA_DIR": str(folder.path)},
            process_group=0,
        ) as process:
            try:
                out, err = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                raise NescordError(f"the golden queries were not answered within {patience:.0f} seconds") from None
            finally:
                end_group(process, _GRACE)
    finally:
        os.close(ours)
        os.close(theirs)
    if process.returncode:
        tail = err.decode("utf-8", "replace").strip()[-_TAIL:]
        raise NescordError(f"asking the golden queries ended with {process.returncode}: {tail}")
    asked = json.loads(out)["at"]
    return next((run for run in reversed(history(folder.path)) if run.at == asked), None)


def ask(settings: Settings) -> Run | None:
    """Ask all golden queries in this process and remember the outcome; None where there is no golden file."""
    from nescord.home import DataFolder
    from nescord.knowledge import KnowledgeManager
    from nescord.opened import OpenBase

    base = OpenBase(DataFolder.find(settings), settings, is_new=False)
    with KnowledgeManager(base) as knowledge:
        roots = [Path(source.root) for source in knowledge.sources() if source.root]
        file = find_file(base.folder.path, roots)
        if file is None:
            return None
        try:
            run = _run(base, knowledge, file, load(file))
        except UsageError as error:
            run = Run(utc_text(datetime.now(UTC)), str(file), problem=str(error))
        _remember(base.folder.run / NAME, run)
    return run


def _golden(file: Path, number: int, line: str) -> Golden:
    def refused(why: str) -> UsageError:
        return UsageError(f'{file}, line {number}: {why} (a line is {{"query": "…", "expected": ["path.md"]}})')

    try:
        stored = json.loads(line)
    except ValueError:
        raise refused("is not JSON") from None
    if not isinstance(stored, dict) or not isinstance(stored.get("query"), str) or not stored["query"].strip():
        raise refused('has no "query"')
    expected = stored.get("expected")
    if not isinstance(expected, list) or not all(isinstance(path, str) for path in expected):
        raise refused('has no list "expected"')
    told = {name: stored.get(name, "") for name in ("lang", "kind")}
    if not all(isinstance(value, str) for value in told.values()):
        raise refused('"lang" and "kind" must be text')
    paths = tuple(dict.fromkeys(unicodedata.normalize("NFC", path) for path in expected))
    return Golden(str(stored.get("id", number)), stored["query"], told["lang"], told["kind"], paths)


def _run(base: OpenBase, knowledge: KnowledgeManager, file: Path, queries: Sequence[Golden]) -> Run:
    settings, remarks = base.settings, dict[str, None]()
    sweep = _Sweep(base) if settings.fusion != "rrf" else None
    if sweep is None:
        remarks["reciprocal rank fusion has no weight to try (NESCORD_FUSION=rrf)"] = None
    asked = tuple(_ask_one(knowledge, golden, sweep, remarks) for golden in queries)
    if sweep is not None and sweep.is_over:
        remarks[f"weights were tried for {_SWEEP_SECONDS:.0f} seconds, not for all queries"] = None
    with base.verb() as catalog, catalog.read() as connection:
        model = base.meaning.status(connection).model_key
    return Run(
        at=utc_text(datetime.now(UTC)),
        file=str(file),
        fingerprint=hashlib.sha256(file.read_bytes()).hexdigest()[:16],
        notes=knowledge.status().notes,
        model=model,
        fusion=settings.fusion,
        alpha=settings.hybrid_search_alpha,
        alphas=ALPHAS if any(each.sweep for each in asked) else (),
        remarks=tuple(remarks),
        queries=asked,
    )


def _ask_one(knowledge: KnowledgeManager, golden: Golden, sweep: _Sweep | None, remarks: dict[str, None]) -> Asked:
    from nescord import search_events

    expected, languages = set(golden.expected), set()
    for wanted in golden.expected:
        try:
            note = knowledge.note(wanted)
        except NotFoundError:
            remarks[f'query "{golden.id}": a note that it expects is not there'] = None
        except UsageError:  # several fit: whichever of them is found will do
            pass
        else:
            expected |= {note.id}
            languages.add(note.lang == "ja")
    ranks, silent, took = dict[str, tuple[int, ...]](), dict[str, bool](), dict[str, float]()
    for mode in MODES:
        begun = time.perf_counter()
        # What a report asks is nothing that a person has missed.
        hits = search_events.unrecorded(knowledge.search)(golden.query, mode=mode, limit=DEPTH)
        seconds = time.perf_counter() - begun
        if hits.mode != mode and golden.query.strip():
            remarks.update(dict.fromkeys(hits.degraded))
            continue
        ranks[mode] = ranks_of([(hit.note_id, hit.path) for hit in hits], expected)
        silent[mode] = all(hit.weak for hit in hits)
        took[mode] = round(1000 * seconds, 1)
    tried = sweep.ranks(golden.query, hits, expected) if sweep and golden.expected and "hybrid" in ranks else ()
    group = _group(golden, languages)
    return Asked(golden.id, group, len(golden.expected), ranks, silent, took, tried)


def _group(golden: Golden, are_japanese: set[bool]) -> str:
    """`are_japanese`: of the notes that answer."""
    from nescord.language import detect

    if not golden.expected:
        return "unanswerable"
    lang = golden.lang or detect(golden.query)
    if golden.kind == "cross" or (not golden.kind and are_japanese == {lang != "ja"}):
        return "across"
    return "ja" if lang == "ja" else "en"


def ranks_of(found: Sequence[tuple[str, str]], expected: set[str]) -> tuple[int, ...]:
    """From 1: where the expected notes stand among (id, path), each of them once."""
    return tuple(rank for rank, names in enumerate(found, 1) if not expected.isdisjoint(names))


class _Sweep:
    """Hybrid search with each weight in turn, by the exact scan; no model is asked for the query once more."""

    def __init__(self, base: OpenBase) -> None:
        self._base = base
        self._deadline = time.monotonic() + _SWEEP_SECONDS
        self._indexes: dict[int, ExactIndex] = {}
        self.is_over = False

    def ranks(self, query: str, hits: SearchHits, expected: set[str]) -> tuple[tuple[int, ...], ...]:
        """For each of ALPHAS; none where vectors had no part in it, or time is up."""
        from zoneinfo import ZoneInfo

        from nescord.catalog import search as search_sql
        from nescord.hybrid import hybrid_candidates
        from nescord.notes import Scope
        from nescord.query import parse_query

        asked, settings = hits.asked, self._base.settings
        self.is_over = self.is_over or time.monotonic() > self._deadline
        if asked is None or self.is_over:
            return ()
        parsed, found = parse_query(query, ZoneInfo(settings.timezone)), list[tuple[int, ...]]()
        exact, second = self._exact(asked.model), asked.second
        with self._base.verb() as catalog, catalog.read() as connection:
            for alpha in ALPHAS:
                best = hybrid_candidates(
                    connection, exact, exact, asked.vector, parsed, Scope(), DEPTH,
                    fusion=settings.fusion, alpha=alpha, second=second and (self._exact(second[0]), second[1]),
                )  # fmt: skip
                shown = search_sql.shown(connection, [one.chunk for one in best])
                notes = [shown[one.chunk] for one in best if one.chunk in shown]
                found.append(ranks_of([(note.note_id, note.path) for note in notes], expected))
        return tuple(found)

    def _exact(self, model: int) -> ExactIndex:
        from nescord.index.exact import ExactIndex

        if model not in self._indexes:
            self._indexes[model] = ExactIndex(model)
        return self._indexes[model]


def _remember(file: Path, run: Run) -> None:
    """Add a line; the newest MOST_RUNS stay."""
    try:
        kept = file.read_bytes().splitlines()[-(MOST_RUNS - 1) :]
    except FileNotFoundError:
        kept = []
    line = json.dumps(asdict(run), ensure_ascii=True, separators=(",", ":")).encode("ascii")
    durable.write_file(file, b"\n".join([*kept, line]) + b"\n")


def main() -> None:
    """The child: its answer is when the run was made, "" where there is no golden file."""
    from nescord.settings import Settings

    try:
        run = ask(Settings())
    except NescordError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
    sys.stdout.write(json.dumps({"at": run.at if run else ""}))


if __name__ == "__main__":
    main()
