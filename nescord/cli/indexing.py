"""`nescord index …`: how far vectors and index are, and the index built anew from what is stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.finding import say_degraded
from nescord.cli.output import Screen, emit

if TYPE_CHECKING:
    from nescord.meaning import MeaningStatus


def index_status(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show how many vectors there are, how many are missing, and how far the index is."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        meaning = knowledge.meaning()
    if call.as_json:
        emit(
            {"kind": meaning.index_kind, "count": meaning.index_count, "model_key": meaning.model_key}
            | {"embeddings": meaning.embeddings, "pending": meaning.pending, "behind": meaning.behind}
            | {"degraded": meaning.degraded}
        )
    else:
        Screen().table(("", ""), meaning_rows(meaning))
    say_degraded(meaning.degraded)


def index_rebuild(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Build Chroma's index anew from the stored vectors. Nothing is embedded."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        report = knowledge.rebuild_index()
    if call.as_json:
        emit(asdict(report))
    else:
        Screen().line(f"the index is built anew: {report.indexed:,} vectors, {report.embedded:,} embedded")


def meaning_rows(meaning: MeaningStatus) -> list[tuple[str, str]]:
    """The lines that people read in `index status`, `status` and `doctor`."""
    waiting = f", {meaning.pending:,} chunks wait for one" if meaning.pending else ""
    behind = f", behind by {meaning.behind:,}" if meaning.behind else ""
    return [
        ("model", meaning.model_key or "none: found by words only"),
        ("vectors", f"{meaning.embeddings:,}{waiting}"),
        ("index", f"{meaning.index_kind}, {meaning.index_count:,} chunks{behind}"),
    ]
