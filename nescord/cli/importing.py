"""`nescord import-from`: the notes of another program, or of an export, become notes of this knowledge base."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.ingesting import Stop, Watch
from nescord.cli.output import Part, Screen, emit, fail, say
from nescord.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

    from nescord.importing import ImportReport
    from nescord.sources.entries import NoteSource

    # The sources, and what is to be said of them once they are read.
    Opened = AbstractContextManager[tuple[Sequence[NoteSource], Sequence[str]]]

_LISTED = 20
_SIGNS = {"added": "+", "changed": "~", "renamed": ">", "revived": "^"}
_COUNTS = ("added", "changed", "renamed", "revived", "unchanged", "kept", "failed", "warned")
_MEANING = ("embedded", "refused", "pending", "indexed")


def nescordbot(
    context: typer.Context,
    database: Annotated[Path, typer.Argument(metavar="DB", help="The SQLite file of the bot that came before.")],
    space_of_guilds: Annotated[
        str,
        typer.Option(
            metavar="SPACE",
            help="Where notes of a guild go: author (only who wrote them), guild (all of it may see them), or a space.",
        ),
    ] = "author",
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="The time zone of the machine that it ran on, such as Asia/Tokyo.")
    ] = "UTC",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take in the notes of the bot that came before, with tags, links and what they said before.

    Its database is copied and only read. The same again changes nothing; what was edited here meanwhile stays.
    """
    from nescord.home import DataFolder
    from nescord.setting_rules import is_space
    from nescord.sources.nescordbot_db import Reading, opened

    call = Call.of(context, data_dir, as_json)
    if space_of_guilds not in ("guild", "author") and not is_space(space_of_guilds):
        raise UsageError(
            f'"{space_of_guilds}" is no space: --space-of-guilds takes author, guild, personal, guild:<id> or user:<id>'
        )
    reading = Reading(space_of_guilds, _zone(timezone))
    live = DataFolder.at(call.settings()).database

    @contextmanager
    def sources() -> Iterator[tuple[Sequence[NoteSource], Sequence[str]]]:
        with opened(database, reading, live=live) as source:
            yield [source], source.remarks

    _take_in(call, sources())


def jsonl(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What nescord export --format jsonl has written.")],
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Keep its sources apart from those of another export.")
    ] = "",
    space: Annotated[
        str, typer.Option("--space", metavar="SPACE", help="Where notes go that name no space.")
    ] = "personal",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take in notes of an export as JSON lines, with their ids. Notes that are there already stay as they are."""
    from nescord.setting_rules import is_space
    from nescord.sources.jsonl import opened

    call = Call.of(context, data_dir, as_json)
    if not is_space(space):
        raise UsageError(f'"{space}" is no space: --space takes personal, guild:<id> or user:<id>')
    call.settings()  # root gives itself up before anything is opened

    @contextmanager
    def sources() -> Iterator[tuple[Sequence[NoteSource], Sequence[str]]]:
        with opened(file, name=name) as found:
            yield found, ()

    _take_in(call, sources(), space)


def _take_in(call: Call, opened: Opened, space: str = "personal") -> None:
    from nescord.ingest import IngestOptions

    stop = Stop()
    reports: list[ImportReport] = []
    with ExitStack() as stack:
        stack.enter_context(stop)
        try:
            # Before the knowledge base: what cannot be read begins none.
            sources, remarks = stack.enter_context(opened)
            knowledge = stack.enter_context(call.open_or_begin(warn=True))
            watch = stack.enter_context(Watch(with_bar=sys.stderr.isatty() and not call.as_json))
            options = IngestOptions(stop=stop.is_asked, progress=watch.tell, embed_progress=watch.tell_embedding)
            for source in sources:
                reports.append(knowledge.take_in(source, space=space, owner="us", options=options))
                if stop.was_asked:
                    break
            said = list(remarks)
        except KeyboardInterrupt:
            stack.close()
            message = "interrupted before the first note; the next import begins again"
            raise typer.Exit(fail(message, stop.exit_code, call.as_json)) from None
    if call.as_json:
        emit(_document(reports, said, is_interrupted=stop.was_asked))
    else:
        for report in reports:
            _show(report)
    _say_what_is_wrong(reports, said)
    if stop.was_asked:
        say("interrupted: what was stored is kept, and the next import goes on from there")
        raise typer.Exit(stop.exit_code)


def _zone(key: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):  # as in the settings
        raise UsageError(f'"{key}" is no time zone: --timezone takes one such as Asia/Tokyo or UTC') from None


def _document(reports: Sequence[ImportReport], remarks: Sequence[str], *, is_interrupted: bool) -> dict[str, object]:
    """The counts of all sources together, then each source."""
    last = reports[-1] if reports else None
    counts = {name: sum(getattr(report, name) for report in reports) for name in (*_COUNTS, *_MEANING, "seconds")}
    # What waits for a vector is counted over all notes, so the last one has it.
    counts |= {"seconds": round(counts["seconds"], 3), "pending": last.pending if last else 0}
    return counts | {
        "interrupted": is_interrupted,
        "remarks": list(remarks),
        "sources": [asdict(report) for report in reports],
    }


def _show(report: ImportReport) -> None:
    """The changes of a source, then its counts."""
    screen = Screen()
    changes = [change for change in report.changes if change.what in _SIGNS]
    for change in changes[:_LISTED]:
        was = (Part(f"  (was {change.was})", "dim"),) if change.was else ()
        screen.line(_SIGNS[change.what], " ", change.path, *was)
    if len(changes) > _LISTED:
        screen.line(Part(f"and {len(changes) - _LISTED:,} more", "dim"))
    counts = [(name, getattr(report, name)) for name in (*_COUNTS, *_MEANING)]
    said = ", ".join(f"{name} {count}" for name, count in counts if count or name == "unchanged")
    screen.line(f"{report.source}, {report.seconds:.1f} s: {said}")


def _say_what_is_wrong(reports: Sequence[ImportReport], remarks: Sequence[str]) -> None:
    """On stderr, also with --json: what a person has to know or to mend."""
    screen = Screen(sys.stderr)
    for change in [change for report in reports for change in report.changes if change.what == "failed"][:_LISTED]:
        screen.line(Part("failed: ", "red"), f"{change.path}: {change.reason}")
    if any(report.failed or report.warned for report in reports):
        screen.line("every note with something to mend: nescord failures")
    kept = [change for report in reports for change in report.changes if change.what == "withheld"]
    for change in kept[:_LISTED]:
        screen.line(Part("note: ", "yellow"), f"{change.path}: {change.reason}")
    if len(kept) > _LISTED:
        screen.line(f"and {len(kept) - _LISTED:,} more that were kept as they are")
    for reason in dict.fromkeys((*remarks, *(reason for report in reports for reason in report.degraded))):
        screen.line(Part("note: ", "yellow"), reason)
