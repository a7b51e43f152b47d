"""The tools: each is one verb of the view, and its answer twice, as JSON and as a text that quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from nescord.agents import shapes
from nescord.agents.desk import URI, Desk
from nescord.agents.pool import AbandonedError, Stop
from nescord.agents.quoting import Reply, placeless, visible
from nescord.answering import Answer, Citation
from nescord.errors import NotFoundError, UsageError
from nescord.notes import Note, SearchHit, SearchHits

# More links or files of one note than this are for its page, not for an agent.
_MOST_LINKS = 100
_MOST_TAGS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer as JSON, and the same for who reads text only. `kept` is the id of a note that was stored."""

    answer: shapes.Answer
    text: str
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as agents see it, and what it does."""

    name: str
    title: str
    description: str
    takes: type[shapes.Arguments]
    gives: type[shapes.Answer]
    # Is given what `takes` describes.
    call: Callable[[Desk, Any, Stop], Outcome]
    is_reading: bool = True


def _search(desk: Desk, wanted: shapes.SearchArguments, _: Stop) -> Outcome:
    if not any((wanted.query.strip(), wanted.tags, wanted.source, wanted.after, wanted.before)):
        raise UsageError(
            "there is nothing to search for: give a query, or narrow it with tags, source, after or before"
        )
    hits = desk.notes.search(
        wanted.query,
        mode=wanted.mode,
        limit=wanted.limit,
        tags=wanted.tags,
        source=wanted.source or None,
        after=wanted.after or None,
        before=wanted.before or None,
    )
    return _found(desk, hits)


def _related(desk: Desk, wanted: shapes.RelatedArguments, _: Stop) -> Outcome:
    return _found(desk, desk.notes.related(desk.note(wanted.note).id, limit=wanted.limit))


def _found(desk: Desk, hits: SearchHits) -> Outcome:
    notes = [found for hit in hits if (found := _found_note(desk, hit)) is not None]
    answer = shapes.FoundNotes(notes=notes, degraded=_reasons(hits.degraded))
    reply = Reply()
    reply.say(f"{len(notes)} notes, best first:" if notes else "Nothing found.")
    if notes and all(note.weak for note in notes):
        reply.say("Nothing seems to answer this; these are the nearest.")
    for number, note in enumerate(notes, 1):
        reply.say(f"{number}. {note.uri} (score {note.score:.2f}{', weak' if note.weak else ''})")
        facts = [("title", note.title), ("path", note.path), ("source", note.source), ("heading", note.heading)]
        reply.quote([*facts, ("updated", note.updated_at), ("link", note.link)], note.snippet)
    _say_missing(reply, answer.degraded)
    return Outcome(answer, reply.render())


def _found_note(desk: Desk, hit: SearchHit) -> shapes.Found | None:
    """A hit as it is shown; None for one that was deleted since."""
    line = desk.cleaner.line
    snippet = hit.snippet
    if desk.cleaner.is_masking:
        try:
            snippet = desk.cleaner.snippet(snippet, desk.notes.note(hit.note_id).body)
        except NotFoundError:
            return None
    return shapes.Found(
        note_id=hit.note_id,
        uri=URI + hit.note_id,
        title=line(hit.title),
        path=line(hit.path),
        source=line(hit.source),
        heading=line(hit.heading),
        snippet=line(snippet),
        score=round(hit.score, 4),
        weak=hit.weak,
        lang=hit.lang,
        created_at=hit.created_at,
        updated_at=hit.updated_at,
        link=desk.link(hit.link),
    )


def _show(desk: Desk, wanted: shapes.ShowArguments, _: Stop) -> Outcome:
    note = desk.note(wanted.note)
    if wanted.offset > len(note.body):
        raise UsageError(f"offset {wanted.offset} is beyond the end: the note has {len(note.body)} characters")
    return shown(desk, note, wanted.offset, wanted.length)


def shown(desk: Desk, note: Note, offset: int, length: int) -> Outcome:
    """A note, with `length` characters of its text from `offset` on."""
    line = desk.cleaner.line
    end = _end_of_page(note.body, offset, length)
    links = {link.target: link.note_id for link in note.links[:_MOST_LINKS]}
    files = desk.notes.attachments(note.id)[:_MOST_LINKS]
    answer = shapes.ShownNote(
        note_id=note.id,
        uri=URI + note.id,
        title=line(note.title),
        path=line(note.path),
        source=line(note.source),
        space=note.space,
        author=line(note.author),
        kind=note.kind,
        lang=note.lang,
        created_at=note.created_at,
        updated_at=note.updated_at,
        tags=[line(tag) for tag in note.tags[:_MOST_LINKS]],
        links=[shapes.LinkTo(target=line(target), note_id=note_id) for target, note_id in links.items()],
        files=[shapes.File(name=line(one.name), media_type=line(one.media_type), size=one.size) for one in files],
        text=desk.cleaner.part(note.body, offset, end),
        offset=offset,
        next_offset=end if end < len(note.body) else None,
        characters=len(note.body),
    )
    reply = Reply()
    reply.say(f"{answer.uri} in the space {note.space}, {answer.characters} characters:")
    reply.quote(_facts(answer), answer.text)
    if answer.next_offset is not None:
        reply.say(f"It goes on: call show with offset {answer.next_offset}.")
    return Outcome(answer, reply.render())


def _end_of_page(body: str, offset: int, length: int) -> int:
    """Where a page ends: with a line, if one ends not long before."""
    end = min(len(body), offset + length)
    if end == len(body):
        return end
    return body.rfind("\n", end - length // 5, end) + 1 or end


def _facts(note: shapes.ShownNote) -> list[tuple[str, str]]:
    known = [link.target for link in note.links if link.note_id]
    unknown = [link.target for link in note.links if not link.note_id]
    return [
        ("title", note.title),
        ("path", note.path),
        ("source", note.source),
        ("author", note.author),
        ("created", note.created_at),
        ("updated", note.updated_at),
        ("tags", " ".join(f"#{tag}" for tag in note.tags)),
        ("links to", ", ".join(known)),
        ("links to no note", ", ".join(unknown)),
        ("files", ", ".join(file.name for file in note.files)),
    ]


def _ask(desk: Desk, wanted: shapes.AskArguments, stop: Stop) -> Outcome:
    answer = Answer("", ())
    with closing(desk.notes.answer_stream(wanted.question)) as parts:  # type: ignore[type-var]  # it is a generator
        for part in parts:
            if isinstance(part, Answer):
                answer = part
            elif stop():  # what a model would go on to write is paid for
                raise AbandonedError("nobody waits for the answer any more")
    citations = [_cited(desk, citation) for citation in answer.citations]
    found = shapes.Answered(
        text=desk.cleaner.text(answer.text),
        mode=answer.mode,
        model=answer.model,
        weak=answer.weak,
        citations=citations,
        missing=_reasons(answer.missing),
    )
    reply = Reply()
    if answer.mode == "generated":
        reply.say("Written by a model from the notes below; [n] is the passage that a sentence was taken from:")
        reply.quote((), found.text)
    elif answer.mode == "not_found" or answer.weak or not citations:
        reply.say("The notes do not seem to answer this." + (" The nearest passages:" if citations else ""))
    else:
        reply.say("The passages that answer this best, word for word:")
    for citation in citations:
        reply.say(f"[{citation.number}] {citation.uri}")
        facts = [("title", citation.title), ("path", citation.path), ("heading", citation.heading)]
        reply.quote([*facts, ("link", citation.link)], citation.text)
    _say_missing(reply, found.missing)
    return Outcome(found, reply.render())


def _cited(desk: Desk, citation: Citation) -> shapes.Cited:
    line = desk.cleaner.line
    return shapes.Cited(
        number=citation.number,
        note_id=citation.note_id,
        uri=URI + citation.note_id,
        title=line(citation.title),
        path=line(citation.path),
        heading=line(citation.heading),
        text=desk.cleaner.text(citation.text),
        link=desk.link(citation.link),
    )


def _status(desk: Desk, _: shapes.StatusArguments, __: Stop) -> Outcome:
    newest = desk.notes.recent_notes(limit=1)
    answer = shapes.Condition(
        notes=desk.notes.count_notes(),
        waiting=desk.notes.count_pending(),
        last_change=newest[0].updated_at if newest else "",
        spaces=None if desk.view.spaces is None else sorted(desk.view.spaces),
        can_capture=desk.can_capture,
        is_masked=desk.cleaner.is_masking,
        tags=[
            shapes.TagCount(tag=desk.cleaner.line(tag), notes=count)
            for tag, count in desk.notes.tag_choices("", limit=_MOST_TAGS)
        ],
        version=desk.version,
    )
    spaces = "every space" if answer.spaces is None else ", ".join(answer.spaces)
    reply = Reply()
    reply.say(f"{answer.notes} notes in {spaces}; the last change was at {answer.last_change or '(never)'}.")
    if answer.waiting:
        reply.say(f"{answer.waiting} passages are found by their words only until they are embedded.")
    reply.say(f"capture: {'allowed' if answer.can_capture else 'not allowed'}.")
    if answer.tags:
        reply.say("The tags that most notes have:")
        reply.quote((), "\n".join(f"#{each.tag} {each.notes}" for each in answer.tags))
    return Outcome(answer, reply.render())


def _capture(desk: Desk, wanted: shapes.CaptureArguments, _: Stop) -> Outcome:
    space = wanted.space or desk.view.space_of_captures
    if not space:
        raise UsageError(f"which space is it for? Name one of {', '.join(sorted(desk.view.spaces or ()))} in space")
    note = desk.notes.add_note(
        wanted.text, title=wanted.title, tags=wanted.tags, space=space, author="agent", note_id=wanted.note_id
    )
    answer = shapes.Kept(
        note_id=note.id, uri=URI + note.id, space=note.space, tags=list(note.tags), created_at=note.created_at
    )
    return Outcome(answer, f"Kept as {answer.uri} in the space {answer.space}.", kept=note.id)


def _reasons(reasons: Iterable[str]) -> list[str]:
    return [visible(placeless(reason)) for reason in reasons]


def _say_missing(reply: Reply, reasons: list[str]) -> None:
    for reason in reasons:
        reply.say(f"Note: {reason}")


READING = (
    Tool(
        "search",
        "Search notes / ノートを検索",
        "Find notes by their words and their meaning, best first, each with the passage that fits. Notes are in "
        "Japanese and English; a question in either finds notes in both.",
        shapes.SearchArguments,
        shapes.FoundNotes,
        _search,
    ),
    Tool(
        "show",
        "Show a note / ノートを表示",
        "Show one note: what is known about it, and its text, page by page where it is long.",
        shapes.ShowArguments,
        shapes.ShownNote,
        _show,
    ),
    Tool(
        "related",
        "Related notes / 関連ノート",
        "List the notes whose meaning is nearest to that of a note.",
        shapes.RelatedArguments,
        shapes.FoundNotes,
        _related,
    ),
    Tool(
        "ask",
        "Ask the notes / ノートに質問",
        "Answer a question from the notes, with the passages it was taken from. Where no model can write an answer, "
        "the passages themselves are it.",
        shapes.AskArguments,
        shapes.Answered,
        _ask,
    ),
    Tool(
        "status",
        "What is stored / 保存状況",
        "Say how many notes can be seen from here, in which spaces, their most used tags, and whether capture is "
        "allowed.",
        shapes.StatusArguments,
        shapes.Condition,
        _status,
    ),
)
CAPTURE = Tool(
    "capture",
    "Keep a note / ノートを保存",
    "Keep a text as a new note. It is found by search as soon as this returns. Only keep what your user wants to have "
    "kept; no note is changed or deleted.",
    shapes.CaptureArguments,
    shapes.Kept,
    _capture,
    is_reading=False,
)
