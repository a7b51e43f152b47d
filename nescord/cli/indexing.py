"""`nescord index …`: how far vectors and index are, the index built anew, and another model in place of the one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json, ask
from nescord.cli.finding import say_degraded
from nescord.cli.output import Screen, emit, say

if TYPE_CHECKING:
    from nescord.meaning import MeaningStatus
    from nescord.migrating import MigrationPlan


def index_status(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show how many vectors there are, how many are missing, and how far the index is."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        meaning = knowledge.meaning()
    if call.as_json:
        emit(
            {"kind": meaning.index_kind, "count": meaning.index_count, "model_key": meaning.model_key}
            | {"embeddings": meaning.embeddings, "pending": meaning.pending, "behind": meaning.behind}
            | {"refused": meaning.refused, "put_aside": meaning.put_aside}
            | {"second": {"model_key": meaning.second, "pending": meaning.second_pending}}
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


def index_retry(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Forget which texts a model refused, or no answer came for: the next ingest asks for them again."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        texts = knowledge.forget_refusals()
    if call.as_json:
        emit({"texts": texts})
    elif texts:
        Screen().line(f"the next ingest asks again for what had no vector: {texts:,} in all")
    else:
        Screen().line("no text was refused or put aside")


def index_migrate(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="MODEL", help="The model: local, e5, gemini (or genai).")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Embed all notes with another model, and let it answer when it is through.

    Until then the old one answers. Ctrl-C stores what is under way and stops; the same command goes on from there. The
    old model's vectors are kept: to go back embeds nothing.
    """
    from nescord.cli.ingesting import Stop, Watch

    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        plan = knowledge.plan_migration(to)
        if not call.as_json:
            Screen().table(("", ""), _plan_rows(plan))
        if not yes:
            ask(f"Embed {plan.texts:,} texts with {plan.model_key}?", call)
        with Stop() as stop, Watch(with_bar=sys.stderr.isatty() and not call.as_json) as watch:
            report = knowledge.migrate(to, stop=stop.is_asked, progress=watch.tell_embedding)
        degraded = knowledge.meaning().degraded if report.is_live else ()
    if call.as_json:
        emit({"plan": asdict(plan)} | asdict(report))
    elif report.is_live:
        Screen().line(f"{report.model_key} answers now: {report.embedded:,} texts embedded, {report.refused:,} refused")
    say_degraded((*report.degraded, *degraded))
    if not report.is_live:
        say(
            f"interrupted: {report.pending:,} chunks wait; {plan.live_key or 'search by words'} answers as before, and "
            "the same command goes on from there"
        )
        raise typer.Exit(stop.exit_code)


def meaning_rows(meaning: MeaningStatus) -> list[tuple[str, str]]:
    """The lines that people read in `index status`, `status` and `doctor`."""
    waiting = f", {meaning.pending:,} chunks wait for one" if meaning.pending else ""
    behind = f", behind by {meaning.behind:,}" if meaning.behind else ""
    rows = [
        ("model", meaning.model_key or "none: found by words only"),
        ("vectors", f"{meaning.embeddings:,}{waiting}"),
        ("index", f"{meaning.index_kind}, {meaning.index_count:,} chunks{behind}"),
    ]
    if meaning.refused or meaning.put_aside:
        rows.insert(2, ("texts without one", f"{meaning.refused:,} refused, {meaning.put_aside:,} put aside"))
    if meaning.second:
        follows = f"{meaning.second_pending:,} chunks wait for it" if meaning.second_pending else "nothing waits"
        rows.insert(1, ("second model", f"{meaning.second}, {follows}"))
    return rows


def _plan_rows(plan: MigrationPlan) -> list[tuple[str, str]]:
    rows = [
        ("model that answers", plan.live_key or "none yet"),
        ("model to come", plan.model_key + (" (it answers already)" if plan.live_key == plan.model_key else "")),
        ("texts to embed", f"{plan.texts:,}"),
    ]
    if plan.left is None:
        return [*rows, ("cost", "nothing: it is embedded on this machine")]
    enough = "" if plan.tokens <= plan.left else ": what does not fit waits for the next month"
    return [
        *rows,
        ("cost", f"about {plan.tokens:,} tokens, ${plan.usd:,.2f}"),
        ("budget", f"{plan.left:,} tokens of this month may go into it{enough}"),
    ]
