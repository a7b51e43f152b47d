"""`nescord search`, `related` and `show`: from words or a note to notes, from a note's name to its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nescord.cli.call import Call, DataDir, Json, Vector
from nescord.cli.output import Part, Screen, emit, marked, say
from nescord.errors import UsageError
from nescord.notes import NoteKind

if TYPE_CHECKING:
    from nescord.notes import Note, SearchHit

_NOTHING_FOUND = 1
_HIT_KEYS = (
    *("note_id", "path", "title", "heading", "snippet", "score"),
    *("link", "source", "lang", "created_at", "updated_at", "marks"),
    *("keyword_score", "vector_score", "weak"),
)


def search(
    context: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help='Words; "phrase", -word, tag: source: path: after: before: narrow it.'),
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar="MODE", help="By what: keyword (words), vector (meaning), hybrid (both).")
    ] = "hybrid",
    vector: Annotated[
        Vector | None, typer.Option(help="What answers by meaning (unset: NESCORD_VECTOR).", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many notes (unset: PKM_MAX_RESULTS).")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Only notes with this tag (repeat it: with all of them).")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only notes of this vault.")] = None,
    kind: Annotated[NoteKind | None, typer.Option(help="Only notes of this kind.")] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only notes written from then on: 2026, 2026-11, 2026-11-24, today."),
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="DATE", help="Only notes written before that date.")] = None,
    same_language: Annotated[
        bool, typer.Option("--same-language", help="Only notes in the language of the question (Japanese or not).")
    ] = False,
    minimum: Annotated[
        float | None, typer.Option(metavar="COSINE", help="Only notes at least so near in meaning: -1 to 1.")
    ] = None,
    weak: Annotated[bool, typer.Option("--weak", help="Show hits that are hardly an answer below good ones.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Find notes by their words and their meaning, best first.

    A query that begins with a minus goes after "--": nescord search -- -draft tag:idea
    """
    call = Call.of(context, data_dir, as_json)
    text = " ".join(query or ())
    if not text.strip() and not any((tag, source, kind, after, before)):
        raise UsageError("nothing to search for: give words, or a filter such as --tag")
    with call.open(vector=vector) as knowledge:
        hits = knowledge.search(
            text,
            mode=mode,
            limit=limit,
            tags=tag or (),
            source=source,
            kind=kind,
            after=after,
            before=before,
            same_language=same_language,
            minimum=minimum,
        )
    say_degraded(hits.degraded)
    if hits and all(hit.weak for hit in hits):
        say_weak()
    good = [hit for hit in hits if not hit.weak]
    # There is always a nearest note: below good hits the others would only be in the way.
    hidden = len(hits) - len(good) if good and not (weak or call.as_json) else 0
    _show_hits(good if hidden else hits, call)
    if hidden:
        say(f"{hidden} more that hardly answer this: --weak shows them")


def related(
    context: typer.Context,
    note: Annotated[str, typer.Argument(metavar="NOTE", help="Its id, its path, or its title as in a [[link]].")],
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="At most so many notes (unset: PKM_MAX_RESULTS).")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the notes whose meaning is nearest to that of a note."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        hits = knowledge.related(note, limit=limit)
    say_degraded(hits.degraded)
    _show_hits(hits, call)


def say_degraded(reasons: Sequence[str]) -> None:
    """What could not be asked and why: on stderr, also with --json."""
    for reason in reasons:
        say(f"note: {reason}")


def say_weak() -> None:
    """That what follows is hardly an answer."""
    say("nothing seems to answer this; the nearest:")


def say_nothing_found() -> NoReturn:
    """That there is no answer at all, and leave."""
    say("nothing found")
    raise typer.Exit(_NOTHING_FOUND)


def _show_hits(hits: Sequence[SearchHit], call: Call) -> None:
    if call.as_json:
        emit([{key: getattr(hit, key) for key in _HIT_KEYS} for hit in hits])
    else:
        screen = Screen()
        for hit in hits:
            _show_hit(screen, hit)
    if not hits:
        say_nothing_found()


def _show_hit(screen: Screen, hit: SearchHit) -> None:
    screen.line(Part(hit.title, "bold"), Part(f"  {hit.score:.2f}{' (weak)' if hit.weak else ''}", "dim"))
    heading = (Part("  › ", "dim"), Part(hit.heading)) if hit.heading else ()
    screen.line("  ", Part(hit.path, "cyan", hit.link), *heading)
    screen.line("  ", *marked(hit.snippet, hit.marks))
    screen.line()


def show(
    context: typer.Context,
    note: Annotated[str, typer.Argument(metavar="NOTE", help="Its id, its path, or its title as in a [[link]].")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show one note: what is known about it, then its text."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.note(note)
    if call.as_json:
        emit(asdict(found))
        return
    screen = Screen()
    screen.line(Part(found.title, "bold"))
    for name, value in _facts(found):
        screen.line(Part(f"{name}: ", "dim"), value)
    screen.line()
    screen.text(found.body.rstrip())


def _facts(note: Note) -> list[tuple[str, str]]:
    dangling = [link.target for link in note.links if not link.note_id]
    facts = [
        ("path", note.path),
        ("source", note.source),
        ("id", note.id),
        ("tags", " ".join(f"#{tag}" for tag in note.tags)),
        ("author", note.author),
        ("space", "" if note.space == "personal" else note.space),
        ("created", note.created_at),
        ("updated", "" if note.updated_at == note.created_at else note.updated_at),
        ("in the trash since", note.trashed_at),
        ("links to", ", ".join(dict.fromkeys(link.target for link in note.links if link.note_id))),
        ("links to no note", ", ".join(dict.fromkeys(dangling))),
    ]
    return [(name, value) for name, value in facts if value]
