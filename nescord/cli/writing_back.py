"""`nescord writeback`: captured notes become files of the vault in git."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit

_LISTED = 20


def writeback(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be pushed; push nothing.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take in what is new in the vault in git, then push to it what was captured, changed or deleted here."""
    from nescord.ingest import IngestOptions
    from nescord.writeback_verbs import exchange

    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        knowledge.check_written_back()
        options = IngestOptions(dry_run=dry_run)
        taken, written = exchange(
            lambda: knowledge.ingest(options=options), lambda: knowledge.write_back(dry_run=dry_run)
        )
    if call.as_json:
        emit({**asdict(written), "messages": taken.messages, "degraded": taken.degraded})
    else:
        screen = Screen()
        for path in written.paths[:_LISTED]:
            screen.line(path)
        if len(written.paths) > _LISTED:
            screen.line(Part(f"and {len(written.paths) - _LISTED:,} more", "dim"))
        would = "would be " if dry_run else ""
        screen.line(
            f"{would}written {written.written:,}, {would}removed {written.removed:,}, commits {written.commits:,}, "
            f"waiting {written.behind:,}"
        )
    errors = Screen(sys.stderr)
    for remark in [*taken.messages, *taken.degraded]:
        errors.line(Part("note: ", "yellow"), remark)
    if taken.degraded and not written.commits:
        raise typer.Exit(1)
