"""`nescord duplicates`, `merge` and `graph`: the notes as a whole, and two notes that should be one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json, ask
from nescord.cli.finding import say_degraded, say_nothing_found
from nescord.cli.keeping import embed, naming
from nescord.cli.knowing import Limit
from nescord.cli.output import Part, Screen, emit
from nescord.errors import UsageError

if TYPE_CHECKING:
    from nescord.knowing.graph import GraphReport


def duplicates(
    context: typer.Context,
    minimum: Annotated[
        float, typer.Option(metavar="SHARE", min=0.5, max=1, help="Which share of two texts must agree.")
    ] = 0.8,
    limit: Limit = 100,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List pairs of notes that say the same, or nearly, the likest first."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.duplicates(minimum=minimum, limit=limit)
    say_degraded(found.degraded)
    if call.as_json:
        emit([asdict(pair) for pair in found.pairs])
    else:
        screen = Screen()
        for pair in found.pairs:
            screen.line(Part(f"{pair.similarity:6.1%}  ", "bold"), Part(pair.first.path, "cyan"))
            screen.line("        ", Part(pair.second.path, "cyan"))
    if not found.pairs:
        say_nothing_found()


def merge(
    context: typer.Context,
    notes: Annotated[
        list[str], typer.Argument(metavar="NOTE…", help="The note that is to stay, then those that go into it.")
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last merge into NOTE.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make one note of several that were captured; links to the others lead to it. Notes of vaults stay apart.

    What each of them said is kept: --undo puts all back.
    """
    call = Call.of(context, data_dir, as_json)
    if undo and len(notes) != 1:
        raise UsageError("--undo takes one note: that which others were merged into")
    if not undo and not yes:
        ask(f"Merge {len(notes) - 1} notes into {notes[0]}?", call)
    with call.open() as knowledge, naming():
        if undo:
            undone = knowledge.undo_merge(notes[0])
            changed, document = [undone.note_id, *undone.restored], asdict(undone)
            line = f"taken back: {len(undone.restored)} notes are notes of their own again"
        else:
            merged = knowledge.merge(notes)
            changed, document = [merged.note_id], asdict(merged)
            line = f"merged {len(merged.merged)} notes into {merged.note_id}; {merged.links} links lead to it now"
        if call.as_json:
            emit(document)
        else:
            Screen().line(line)
        for note_id in changed:
            embed(knowledge, note_id)


def graph(
    context: typer.Context,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="NOTE NOTE", help="Show how these two notes are connected instead."),
    ] = None,
    limit: Limit = 10,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show how the notes are linked: hubs, clusters, notes without links, links to notes that are not there."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        if between is None:
            report = knowledge.graph(limit=limit)
        else:
            way = knowledge.link_path(*between)
    if between is None:
        if call.as_json:
            emit(asdict(report))
        else:
            _show_graph(Screen(), report)
        return
    if call.as_json:
        emit([asdict(note) for note in way])
    else:
        screen = Screen()
        for step, note in enumerate(way):
            screen.line("  " * step, Part(note.title, "bold"), Part(f"  {note.path}", "cyan"))
    if not way:
        say_nothing_found()


def _show_graph(screen: Screen, report: GraphReport) -> None:
    screen.line(
        f"{report.notes} notes, {report.links} links between them in {report.parts} parts; "
        f"{report.orphan_count} notes without links; {report.dangling} links to notes that are not there"
    )
    if report.hubs:
        screen.line(Part("hubs, by the notes that lead to them:", "dim"))
        for hub in report.hubs:
            screen.line(f"  {hub.links_in:4}  ", Part(hub.note.title, "bold"), Part(f"  {hub.note.path}", "cyan"))
    if report.clusters:
        screen.line(Part(f"clusters ({report.cluster_count}), by their most linked notes:", "dim"))
        for cluster in report.clusters:
            names = ", ".join(note.title for note in cluster.notes[:3])
            screen.line(f"  {cluster.size:4}  ", names)
    if report.wanted:
        screen.line(Part("wanted, by the notes that name them:", "dim"))
        for target, count in report.wanted:
            screen.line(f"  {count:4}  [[{target}]]")
    if report.orphans:
        screen.line(Part("without links:", "dim"))
        for note in report.orphans:
            screen.line("  ", Part(note.path, "cyan"))
