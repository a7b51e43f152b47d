"""`nescord ask`: a question answered by the best passages, each with where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.finding import say_degraded, say_nothing_found, say_weak
from nescord.cli.output import Part, Screen, emit, marked_lines
from nescord.errors import UsageError

if TYPE_CHECKING:
    from nescord.answer import Citation

_CITATION_KEYS = ("number", "note_id", "path", "title", "heading", "start", "end", "text", "link", "score")


def ask(
    context: typer.Context,
    question: Annotated[
        list[str] | None, typer.Argument(metavar="QUESTION", help="A question, in words of any language.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Answer a question with the passages that fit it best, each with the note it stands in."""
    call = Call.of(context, data_dir, as_json)
    text = " ".join(question or ())
    if not text.strip():
        raise UsageError("nothing is asked: give a question")
    with call.open() as knowledge:
        answer = knowledge.answer(text)
    say_degraded(answer.missing)
    if answer.citations and answer.weak:
        say_weak()
    if call.as_json:
        citations = [{key: getattr(citation, key) for key in _CITATION_KEYS} for citation in answer.citations]
        emit(
            {"text": answer.text, "citations": citations}
            | {"mode": answer.mode, "missing": answer.missing, "weak": answer.weak}
        )
    else:
        screen = Screen()
        for citation in answer.citations:
            _show(screen, citation)
    if not answer.citations:
        say_nothing_found()


def _show(screen: Screen, citation: Citation) -> None:
    heading = (Part(" › ", "dim"), Part(citation.heading)) if citation.heading else ()
    screen.line(Part(f"[{citation.number}] ", "dim"), Part(citation.title, "bold"), *heading)
    screen.line("    ", Part(citation.path, "cyan", citation.link))
    for line in marked_lines(citation.text, citation.marks):
        screen.line("    ", *line)
    screen.line()
