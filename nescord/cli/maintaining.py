"""`nescord maintain`: remove what is past its days and put the rest in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit

if TYPE_CHECKING:
    from nescord.maintain import MaintainReport

_FAILED = 1


def maintain(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Remove what is past its days, put database and index in order; leaves with 1 if a step failed."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        report = knowledge.maintain(dry_run=dry_run)
    if call.as_json:
        emit(report.document())
    else:
        _show(report)
    if not report:
        raise typer.Exit(_FAILED)


def _show(report: MaintainReport) -> None:
    screen = Screen()
    rows = []
    for step in report.steps:
        before, after = (_number(count, step.unit) for count in (step.before, step.after))
        rows.append((step.name, before, after, step.error or step.remark))
    screen.table(("", "before", "after", ""), rows)
    for step in report.failed:
        screen.line(Part(f"failed: {step.name}: {step.error}", "bold red"))


def _number(count: int | None, unit: str) -> str:
    if count is None:
        return "?"
    return f"{count / 1e6:,.1f} MB" if unit == "bytes" else f"{count:,} {unit}"
