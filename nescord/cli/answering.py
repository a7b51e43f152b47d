"""`nescord ask`: a question answered from the notes, by a model that cites them or by the best passages themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.finding import say_degraded, say_nothing_found, say_weak
from nescord.cli.output import Part, Screen, emit, marked_lines
from nescord.errors import UsageError

if TYPE_CHECKING:
    from nescord.answering import Answer, Citation
    from nescord.answering.pack import Context, Passage

_CITATION_KEYS = ("number", "note_id", "path", "title", "heading", "start", "end", "text", "link", "score")
_PASSAGE_KEYS = ("number", "note_id", "path", "title", "heading", "start", "end", "text")


def ask(
    context: typer.Context,
    question: Annotated[
        list[str] | None, typer.Argument(metavar="QUESTION", help="A question, in words of any language.")
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Print each sentence as soon as it is written and checked (unset: in a terminal).",
            show_default=False,
        ),
    ] = None,
    show_context: Annotated[
        bool, typer.Option("--show-context", help="Show the passages that the model is given.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Answer a question from the notes, with the passages that it is from."""
    call = Call.of(context, data_dir, as_json)
    text = " ".join(question or ())
    if not text.strip():
        raise UsageError("nothing is asked: give a question")
    screen = Screen()
    with call.open() as knowledge:
        given = knowledge.context(text) if show_context else None
        if given and not call.as_json:
            _show_context(screen, given)
        is_streamed = screen.is_terminal if stream is None else stream
        answer, is_shown = _answered(knowledge.answer_stream(text), screen, is_streamed and not call.as_json)
    say_degraded(answer.missing)
    if answer.citations and answer.weak:
        say_weak()
    if call.as_json:
        emit(_document(answer, given))
    else:
        _show(screen, answer, is_shown)
    if not answer.citations:
        say_nothing_found()


def _answered(parts: Iterator[str | Answer], screen: Screen, is_streamed: bool) -> tuple[Answer, bool]:
    """The answer, and whether its text was shown as it came.

    One piece is held back: passages come in a single one, and are shown with their marks instead.
    """
    held, is_shown = "", False
    for part in parts:
        if not isinstance(part, str):
            if is_streamed and part.mode == "generated":
                screen.piece(f"{held}\n\n")
                is_shown = True
            return part, is_shown
        if is_streamed and held:
            screen.piece(held)
        held = part
    raise AssertionError("a stream of an answer ends with the answer")


def _document(answer: Answer, given: Context | None) -> dict[str, object]:
    citations = [{key: getattr(citation, key) for key in _CITATION_KEYS} for citation in answer.citations]
    document: dict[str, object] = {
        "text": answer.text, "citations": citations, "mode": answer.mode, "missing": answer.missing,
        "weak": answer.weak, "model": answer.model, "tokens": answer.tokens,
    }  # fmt: skip
    if given is not None:
        passages = [{key: getattr(passage, key) for key in _PASSAGE_KEYS} for passage in given.passages]
        document["context"] = {"tokens": given.tokens, "passages": passages}
    return document


def _show(screen: Screen, answer: Answer, is_shown: bool) -> None:
    if answer.mode == "generated":
        if not is_shown:
            screen.text(f"{answer.text}\n")
        for citation in answer.citations:
            _show_heads(screen, citation)
        return
    for citation in answer.citations:
        _show_heads(screen, citation)
        for line in marked_lines(citation.text, citation.marks):
            screen.line("    ", *line)
        screen.line()


def _show_context(screen: Screen, given: Context) -> None:
    for passage in given.passages:
        _show_heads(screen, passage)
        for line in passage.text.split("\n"):
            screen.line("    ", Part(line, "dim"))
        screen.line()
    screen.line(Part(f"context: {len(given.passages)} passages, about {given.tokens:,} tokens", "dim"))
    screen.line()


def _show_heads(screen: Screen, cited: Citation | Passage) -> None:
    heading = (Part(" › ", "dim"), Part(cited.heading)) if cited.heading else ()
    screen.line(Part(f"[{cited.number}] ", "dim"), Part(cited.title, "bold"), *heading)
    screen.line("    ", Part(cited.path, "cyan", cited.link))
