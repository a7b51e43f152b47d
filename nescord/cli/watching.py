"""`nescord watch`: a vault is followed, and what changes in it is taken in at once, until somebody ends it."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir
from nescord.cli.ingesting import Stop, say_what_is_wrong, show_changes
from nescord.cli.output import Screen, emit_line, say
from nescord.errors import NescordError
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.notes import IngestReport
    from nescord.watching import Turn


def watch(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="VAULT", help="The folder to watch (unset: NESCORD_VAULT).")
    ] = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line, for each look.")] = False,
) -> None:
    """Follow a vault: a note that is saved is found a moment later. The vault itself is only read.

    Takes in the whole vault first, then what changes; ends with Ctrl-C or SIGTERM. The service may run meanwhile.
    """
    from nescord.ingest import IngestOptions
    from nescord.watching import follow, watched_vault

    call = Call.of(context, data_dir, as_json)
    stop = _Stop()
    teller = _Teller(call.as_json)
    try:
        with ExitStack() as stack:
            stack.enter_context(stop)
            settings = call.settings()
            root = watched_vault(settings, path)
            knowledge = stack.enter_context(call.open_or_begin(warn=True))
            turns = follow(
                knowledge,
                root,
                rescan=settings.watch_rescan_minutes * 60,
                options=IngestOptions(stop=stop.is_asked),
                is_stopped=lambda: stop.was_asked,
            )
            for turn in stack.enter_context(closing(turns)):
                stop.rest()
                if not turn.is_routine:
                    teller.tell(turn)
    except KeyboardInterrupt:  # while nothing was being stored
        pass
    except NescordError as error:
        if not call.as_json:
            raise
        emit_line({"at": _now(), "error": str(error)})
        say(f"nescord: {error}")
        raise typer.Exit(error.exit_code) from None
    say("ended: the next nescord watch or nescord ingest goes on from here")


class _Stop(Stop):
    """Between two looks there is nothing to be stored, and the first signal ends the wait at once."""

    def rest(self) -> None:
        self._is_at_work = False


class _Teller:
    """Tells of each look. What is still wrong, and was said, is not said again."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._has_begun = False
        self._said: set[str] = set()

    def tell(self, turn: Turn) -> None:
        if self._as_json:
            emit_line(
                {"at": _now(), "whole": turn.paths is None, "paths": turn.paths or ()}
                | (asdict(turn.report) if turn.report else {"error": turn.error})
            )
        if turn.report:
            self._tell_report(turn.report)
        elif turn.error not in self._said:
            self._said = {turn.error}
            say(f"nescord: {turn.error}; tried again until it can be done")

    def _tell_report(self, report: IngestReport) -> None:
        if not self._as_json:
            screen = Screen()
            show_changes(screen, report)
            if not self._has_begun and not report.interrupted:
                notes = report.added + report.changed + report.renamed + report.revived + report.unchanged
                screen.line(f"{report.source}: {notes:,} notes; watching (Ctrl-C ends it)")
            if sys.stdout is not None:  # the shell may have closed it (>&-)
                sys.stdout.flush()
        self._has_begun = True
        wrong = {*report.messages, *report.degraded}
        news = wrong - self._said
        self._said = wrong
        report.messages = [message for message in report.messages if message in news]
        report.degraded = [reason for reason in report.degraded if reason in news]
        say_what_is_wrong(report)


def _now() -> str:
    return utc_text(datetime.now(UTC))
