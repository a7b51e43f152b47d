"""`nescord links`, `tags`, `review` and `secrets`: what is known about one note among the others, or about a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.finding import say_degraded, say_nothing_found
from nescord.cli.output import Part, Screen, emit, say
from nescord.errors import UsageError

if TYPE_CHECKING:
    from nescord.knowing import NoteRef
    from nescord.knowing.extract import Passage
    from nescord.knowing.review import Review
    from nescord.knowing.summaries import By, Summary

NoteName = Annotated[str, typer.Argument(metavar="NOTE", help="Its id, its path, or its title as in a [[link]].")]
Limit = Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="At most so many.")]
NoModel = Annotated[bool, typer.Option("--no-model", help="Ask no model that writes, even where there is one.")]
# A review on a screen shows so many of each; --json has them all.
_SHOWN = 10


def links(
    context: typer.Context, note: NoteName, limit: Limit = 10, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """List notes that a note might link to and does not yet: those that it names, then those near in meaning.

    Nothing is written.
    """
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.suggest_links(note, limit=limit)
    say_degraded(found.degraded)
    if call.as_json:
        emit([asdict(one) for one in found])
    else:
        screen = Screen()
        for one in found:
            why = f"named: {one.mentioned}" if one.reason == "mentioned" else f"near: {one.nearness:.2f}"
            screen.line(Part(f"[[{one.name}]]", "bold"), Part(f"  {why}", "dim"))
            screen.line("  ", Part(one.path, "cyan"))
    if not found:
        say_nothing_found()


def tags(
    context: typer.Context,
    note: NoteName,
    limit: Limit = 10,
    no_model: NoModel = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List tags that a note might have: of the notes near it, named in it, new ones from its own words, of a model.

    Nothing is written.
    """
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.suggest_tags(note, limit=limit, by="extract" if no_model else "auto")
    say_degraded(found.degraded)
    if call.as_json:
        emit([asdict(one) | {"is_new": one.is_new} for one in found])
    else:
        screen = Screen()
        for one in found:
            used = "new" if one.is_new else f"of {one.used_by} notes"
            screen.line(Part(f"#{one.tag}", "bold"), Part(f"  {_REASONS[one.reason]}, {used}", "dim"))
    if not found:
        say_nothing_found()


_REASONS = {
    "neighbours": "notes near it have it",
    "named": "it is named",
    "words": "a word of it",
    "model": "by a model",
}


def summarize(
    context: typer.Context,
    note: Annotated[
        str | None, typer.Argument(metavar="NOTE", help="Its id, its path, or its title as in a [[link]].")
    ] = None,
    period: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="What was written in a period instead, as of review.")
    ] = None,
    no_model: NoModel = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Sum up a note, or what was written in a period, in a few sentences. Nothing is stored.

    A model writes them where there is one, and each is checked; else they are sentences of the notes.
    """
    call = Call.of(context, data_dir, as_json)
    if (note is None) == (period is None):
        raise UsageError("name a note, or a period with --period")
    by: By = "extract" if no_model else "auto"
    with call.open() as knowledge:
        found = knowledge.summarize(note, by=by) if note else knowledge.summarize_period(period or "", by=by)
    say_degraded(found.missing)
    if call.as_json:
        emit(asdict(found))
    else:
        _show_summary(Screen(), found)
    if not found.text:
        say_nothing_found()


def _show_summary(screen: Screen, found: Summary) -> None:
    if found.mode == "extractive":
        show_passages(screen, found.passages)
        return
    screen.line(Part(f"written by {found.model} from:", "dim"))
    for number, path in enumerate((passage.path for passage in found.passages), 1):
        screen.line(f"  [{number}] ", Part(path, "cyan"))
    screen.line()
    screen.text(found.text)


def review(
    context: typer.Context,
    period: Annotated[
        str, typer.Argument(metavar="PERIOD", help="today, week, month, 2026-11, 2026-11-24, 2026-11-01..2026-11-07.")
    ] = "week",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Look back: what was written in a period, about what, and what is still to do."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.review(period)
    say_degraded(found.degraded)
    if call.as_json:
        emit(asdict(found))
    else:
        _show_review(Screen(), found)
    if not (found.written or found.changed or found.questions):
        say_nothing_found()


def secrets(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the notes that hold keys, tokens or passwords, and in which line; the secrets themselves are not shown."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.secrets()
    is_masked = call.settings().mask == "on"
    if call.as_json:
        emit([asdict(one) for one in found])
        return
    screen = Screen()
    for one in found:
        for place in one.found:
            screen.line(Part(one.note.path, "cyan"), f":{place.line}  {place.kind}")
    if found and not is_masked:
        say("warning: they are sent to models elsewhere as they are (NESCORD_MASK=off)")
    if not found:
        say("no secrets found")


def show_passages(screen: Screen, passages: Sequence[Passage]) -> None:
    """Sentences of notes, each with where it stands."""
    for one in passages:
        screen.line("  ", one.text)
        screen.line("    ", Part(one.path, "cyan"))


def _show_review(screen: Screen, found: Review) -> None:
    screen.line(
        Part(found.period.name, "bold"),
        f": {len(found.written)} notes written, {len(found.changed)} older ones changed",
    )
    if found.days:
        screen.line(Part("days: ", "dim"), ", ".join(f"{day} {count}" for day, count in found.days[-_SHOWN:]))
    if found.tags:
        screen.line(Part("tags: ", "dim"), " ".join(f"#{tag} {count}" for tag, count in found.tags[:_SHOWN]))
    _show_notes(screen, "written", found.written)
    _show_notes(screen, "changed", found.changed)
    if found.passages:
        screen.line(Part("what it was about, in words of the notes:", "dim"))
        show_passages(screen, found.passages)
    if found.questions:
        screen.line(Part("asked, and not answered by the notes:", "dim"))
        for question in found.questions[-_SHOWN:]:
            screen.line("  ", question)
        _say_more(screen, len(found.questions))
    if found.tasks:
        screen.line(Part("still to do:", "dim"))
        for task in found.tasks[:_SHOWN]:
            screen.line("  ", f"{task.text}  ", Part(task.note.path, "cyan"))
        _say_more(screen, len(found.tasks))


def _show_notes(screen: Screen, what: str, notes: Sequence[NoteRef]) -> None:
    if not notes:
        return
    screen.line(Part(f"{what}:", "dim"))
    for note in notes[-_SHOWN:]:
        screen.line("  ", Part(note.title, "bold"), Part(f"  {note.path}", "cyan"))
    _say_more(screen, len(notes))


def _say_more(screen: Screen, count: int) -> None:
    if count > _SHOWN:
        screen.line(f"  and {count - _SHOWN} more (--json lists all)")
