"""`nescord export`: the notes as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit, say

if TYPE_CHECKING:
    from nescord.export import ExportReport

# Of files that were left alone or say less than their notes; scripts get all of them.
_MOST_TOLD = 20


def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder, or that of the last export.")],
    kind: Annotated[
        Literal["vault", "jsonl", "parquet"],
        typer.Option("--format", help="vault: a Markdown file for each note; jsonl: one file; parquet: tables."),
    ] = "vault",
    space: Annotated[
        list[str] | None, typer.Option("--space", metavar="SPACE", help="Only this space, such as guild:7; repeatable.")
    ] = None,
    revisions: Annotated[bool, typer.Option("--revisions", help="Also what notes said before.")] = False,
    into: Annotated[
        bool, typer.Option("--into", help="Put the notes beside what is in the folder; that stays as it is.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write all notes to files that other programs read. Again: only what is new, changed or gone since.

    A file that somebody has changed since is neither overwritten nor removed.
    """
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        report = knowledge.export(folder, kind=kind, spaces=space or (), revisions=revisions, into=into)
    if call.as_json:
        emit(_document(report))
        return
    filing = report.filing
    for what, told in (("kept", filing.kept), ("note", report.remarks)):
        for each in told[:_MOST_TOLD]:
            say(f"{what}: {each.path}: {each.reason}")
        if len(told) > _MOST_TOLD:
            say(f"{what}: … and {len(told) - _MOST_TOLD:,} more (--json names all)")
    Screen().line(
        Part(str(report.folder), "bold"), f": {report.notes:,} notes; {filing.written:,} files written, "
        f"{filing.unchanged:,} unchanged, {filing.removed:,} removed, {len(filing.kept):,} kept; "
        f"{filing.bytes / 1e6:,.1f} MB in {report.seconds:.1f} s"
    )  # fmt: skip


def _document(report: ExportReport) -> dict[str, object]:
    filing = report.filing
    return {
        "folder": str(report.folder),
        "format": report.format,
        "notes": report.notes,
        "written": filing.written,
        "unchanged": filing.unchanged,
        "removed": filing.removed,
        "kept": [{"path": each.path, "reason": each.reason} for each in filing.kept],
        "remarks": [{"path": each.path, "reason": each.reason} for each in report.remarks],
        "bytes": filing.bytes,
        "seconds": report.seconds,
    }
