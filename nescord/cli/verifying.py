"""`nescord verify`: whether what was stored is still there, whole, on a disk that keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit, say

if TYPE_CHECKING:
    from nescord.persistence import PersistenceReport

_FAILED = 1
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def verify(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every page and index entry of the database, and sample more.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without loss, then verify again.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Verify disk, identity, database, index and backups. Nothing is changed; leaves with 1 if a check failed."""
    from nescord.persistence.verb import repaired, verified

    call = Call.of(context, data_dir, as_json)
    settings = call.settings()
    report = verified(settings, deep=deep)
    if repair:
        for sentence in repaired(settings, report):
            say(f"repair: {sentence}")
        report = verified(settings, deep=deep)
    if call.as_json:
        emit(report.document())
    else:
        _show(report)
    if not report:
        raise typer.Exit(_FAILED)


def _show(report: PersistenceReport) -> None:
    screen = Screen()
    width = max(len(check.name) for check in report.checks)
    for check in report.checks:
        screen.line(Part(check.status, _STYLES[check.status]), f"  {check.name:<{width}}  ", check.value)
        if check.mend:
            screen.line(Part(f"{'':<{width + 8}}-> {check.mend}", "dim"))
    failed = sum(check.status == "fail" for check in report.checks)
    warned = sum(check.status == "warn" for check in report.checks)
    screen.line(f"{len(report.checks)} checks: {failed} failed, {warned} warned")
