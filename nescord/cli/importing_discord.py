"""`nescord import discord`: what was said in Discord becomes notes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.ingesting import Stop, Watch
from nescord.cli.output import Part, Screen, emit, fail, say

if TYPE_CHECKING:
    from nescord.importing_discord import DiscordImport, DiscordImports

_LISTED = 20


def discord(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="JSON of DiscordChatExporter, Discord's data package, or folders of them."
        ),
    ],
    space: Annotated[
        str, typer.Option("--space", metavar="SPACE", help="Keep all of it here: personal, guild:<id> or user:<id>.")
    ] = "",
    gap: Annotated[
        int, typer.Option("--gap", metavar="MINUTES", help="A conversation ends after so long without a message.")
    ] = 60,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Import what was said in Discord: a note for each thread and each conversation.

    The same files again change nothing; a later export adds what is new and what was edited, and deletes nothing.
    """
    from nescord.ingest import IngestOptions

    call = Call.of(context, data_dir, as_json)
    stop = Stop()
    with ExitStack() as stack:
        stack.enter_context(stop)
        try:
            knowledge = stack.enter_context(call.open_or_begin(warn=True))
            watch = stack.enter_context(Watch(with_bar=sys.stderr.isatty() and not call.as_json))
            options = IngestOptions(stop=stop.is_asked, progress=watch.tell, embed_progress=watch.tell_embedding)
            done = knowledge.import_discord(files, space=space, gap_minutes=gap, options=options)
        except KeyboardInterrupt:
            stack.close()
            message = "interrupted before the first note; the next import begins again"
            raise typer.Exit(fail(message, stop.exit_code, call.as_json)) from None
    if call.as_json:
        emit(
            {
                "imports": [
                    asdict(one.report) | {"said": one.said, "left_out": one.left_out, "troubles": list(one.troubles)}
                    for one in done.imports
                ],
                "unusable": done.unusable,
            }
        )
    else:
        for one in done.imports:
            _show(one)
    _say_what_is_wrong(done)
    if any(one.report.interrupted or (stop.was_asked and one.report.pending) for one in done.imports):
        say("interrupted: what was stored is kept, and the next import goes on from there")
        raise typer.Exit(stop.exit_code)
    if done.unusable:
        raise typer.Exit(1)


def _show(one: DiscordImport) -> None:
    """One line for a source: where it went and what came of it."""
    report = one.report
    names = ("added", "changed", "revived", "unchanged", "kept", "failed", "embedded", "pending")
    counts = [(name, getattr(report, name)) for name in names]
    said = ", ".join(f"{name} {count:,}" for name, count in counts if count or name == "unchanged")
    Screen().line(
        Part(report.source, "bold"), f" → {report.space}: {one.said:,} messages, {report.seconds:.1f} s: notes {said}"
    )


def _say_what_is_wrong(done: DiscordImports) -> None:
    """On stderr, also with --json: what a person has to know or to mend."""
    screen = Screen(sys.stderr)
    for reason in done.unusable:
        screen.line(Part("failed: ", "red"), reason)
    for one in done.imports:
        for trouble in one.troubles[:_LISTED]:
            screen.line(Part("failed: ", "red"), trouble)
        if len(one.troubles) > _LISTED:
            screen.line(f"and {len(one.troubles) - _LISTED:,} more files that are broken")
        if one.left_out:
            screen.line(
                Part("note: ", "yellow"),
                f"{one.left_out:,} messages of {one.report.source} were left out: they do not say which they are or "
                "when they were said, or are of somebody who was erased",
            )
        for change in [change for change in one.report.changes if change.what == "failed"][:_LISTED]:
            screen.line(Part("failed: ", "red"), f"{change.path}: {change.reason}")
    # Each source of an import lacks the same model.
    for reason in dict.fromkeys(
        reason for one in done.imports for reason in (*one.report.degraded, *one.report.messages)
    ):
        screen.line(Part("note: ", "yellow"), reason)
