"""`nescord report build` and `nescord report open`: what the knowledge base knows and how it lives, as pages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit, one_line, say

if TYPE_CHECKING:
    from nescord.reports.retention import Report, ReportPage

_FAILED = 1
_OPENER = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_OPEN_PATIENCE = 20.0


def build(
    context: typer.Context,
    language: Annotated[
        Literal["ja", "en"] | None, typer.Option("--language", help="The language of the report, not NESCORD_LANG.")
    ] = None,
    space: Annotated[
        str, typer.Option("--space", metavar="SPACE", help="Only notes of this space, such as guild:7.")
    ] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run the notebooks over new marts and keep what they show as pages; leaves with 1 if one of them failed."""
    from nescord.reports.build import build

    call = Call.of(context, data_dir, as_json)
    say("builds the marts, then runs each notebook: a minute or more")
    report = build(call.settings(), language=language, space=space, tell=_tell)
    if call.as_json:
        emit(report.document() | {"path": str(report.index)})
    else:
        _show(report)
    if not report:
        raise typer.Exit(_FAILED)


def open_(
    context: typer.Context,
    space: Annotated[
        str, typer.Option("--space", metavar="SPACE", help="The latest report of this space alone, such as guild:7.")
    ] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Open the latest report in a browser and print where it is; with --json only say where."""
    from nescord.errors import NotFoundError
    from nescord.home import DataFolder
    from nescord.reports import retention

    call = Call.of(context, data_dir, as_json)
    room = DataFolder.find(call.settings()).reports
    report = retention.latest_of(room, space) if space else retention.latest(room)
    if report is None:
        which, how = (f" of {space}", f" --space {space}") if space else ("", "")
        raise NotFoundError(f"there is no report{which} yet: make one with nescord report build{how}")
    if call.as_json:
        emit(report.document() | {"path": str(report.index)})
        return
    Screen().line(str(report.index))
    if not _opened(report.index.as_uri()):
        say("no browser could be started: open that file in one")


def _opened(url: str) -> bool:
    """Whether a browser took it. In a process of its own: some browsers print into the terminal, or never return."""
    import subprocess

    try:
        done = subprocess.run(
            [sys.executable, "-c", _OPENER, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_OPEN_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _tell(page: ReportPage) -> None:
    ended = f"FAILED: {page.failure}" if page.failure else f"{page.seconds:.0f} s"
    say(one_line(f"{page.notebook}: {ended}"))


def _show(report: Report) -> None:
    screen = Screen()
    rows = [
        (
            page.notebook,
            page.title,
            f"{page.bytes / 1e6:,.2f} MB",
            f"{page.seconds:.1f} s",
            f"{page.cpu_seconds:.1f} CPU s",
            f"{page.rss_bytes / 1e6:,.0f} MB",
            str(page.failure or ""),
        )
        for page in report.pages
    ]
    screen.table(("notebook", "title", "size", "took", "", "memory", "failed"), rows)
    screen.line("report ", Part(report.stamp, "bold"), ": ", str(report.index))
