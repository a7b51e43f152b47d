"""An answer as people read it: its text made harmless, its citations as links or buttons, and how it came about.

A note may have told the model what to write, and passages are notes: so nothing in the text acts but what is put in
here, which are bold words, lists, and links to the messages that were cited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bot.hits import missing, shown_path
from bot.render import Button, Field, Reply, ReplyFile, clip, escape, link, marked, units
from bot.visit import Visit
from nescord.answering import Answer, Citation
from nescord.notes import Note

# Of an embed's 4,096 characters and 6,000 in all.
_TEXT, _SOURCES, _PASSAGES = 2800, 700, 5000
_TITLE, _HEADING = 80, 60
_MOST_BUTTONS = 15
_CITED = re.compile(r"\[(\d{1,4})\]")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*")
_BULLET = re.compile(r"^[ \t]{0,3}[-*+][ \t]+(?=\S)")


def answer_reply(visit: Visit, question: str, answer: Answer, wanted: str) -> Reply:
    """The answer to `question`, with buttons for the conversation `wanted` ("": it is not kept)."""
    text, is_whole = _text(answer)
    notices = missing(visit, answer.missing, "hybrid")
    if answer.weak and answer.mode == "extractive" and answer.citations:
        notices = [visit.text("ask.weak"), *notices]
    files = []
    if not is_whole:
        notices = [visit.text("ask.whole"), *notices]
        files = [ReplyFile("answer.md", answer.text.encode("utf-8", "replace"))]
    return Reply(
        title=escape(" ".join(question.split()), 250),
        body="\n\n".join(part for part in (text, _sources(answer.citations), f"-# {_mode(visit, answer)}") if part),
        buttons=[*_notes(answer.citations), *(_about(visit, answer, wanted) if wanted else ())],
        notices=notices,
        files=files,
    )


def sources_reply(visit: Visit, citations: Sequence[Citation], notes: Mapping[str, Note]) -> Reply:
    """The passages of citations; only of `notes`, which are those that may still be seen, and as they still stand."""
    room = _PASSAGES // max(1, len(citations))
    fields, whole, is_clipped = [], [], False
    for citation in citations:
        note = notes.get(citation.note_id)
        if note is None:
            fields.append(Field(f"[{citation.number}]", visit.text("ask.source_gone")))
            continue
        head = " · ".join(part for part in (note.title, citation.heading) if part)
        name = f"[{citation.number}] {escape(' '.join(head.split()), _TITLE + _HEADING)}"
        if citation.text not in note.body:
            fields.append(Field(name, visit.text("ask.source_changed")))
            continue
        limit = max(100, min(1000, room - units(name)))
        shown = marked(citation.text, citation.marks, limit)
        is_clipped = is_clipped or units(marked(citation.text, citation.marks)) > limit
        fields.append(Field(name, shown))
        whole.append(f"## [{citation.number}] {head}\n\n{citation.text}\n")
    return Reply(
        title=visit.text("ask.sources_title"),
        fields=fields,
        buttons=_notes([citation for citation in citations if citation.note_id in notes]),
        notices=[visit.text("ask.sources_whole")] if is_clipped else [],
        files=[ReplyFile("sources.md", "\n".join(whole).encode("utf-8", "replace"))] if is_clipped else [],
    )


def _text(answer: Answer) -> tuple[str, bool]:
    """The text, and whether it is all of it. Links are left out where they would take the place of words."""
    links = {citation.number: link(f"[{citation.number}]", citation.link) for citation in answer.citations}
    plain = {number: escape(f"[{number}]") for number in links}
    for marks in (links, plain):
        text = _rendered(answer.text, marks)
        if units(text) <= _TEXT:
            return text, True
    # Cut before it is rendered, so that no link and no bold word is torn.
    most = _TEXT
    while units(text) > _TEXT:
        most = most * 9 // 10
        text = _rendered(clip(answer.text, most), plain)
    return text, False


def _rendered(text: str, marks: Mapping[int, str]) -> str:
    lines = []
    for line in text.splitlines():
        bullet = _BULLET.match(line)
        rest = line[bullet.end() :] if bullet else line
        lines.append(("- " if bullet else "") + _inline(rest, marks))
    return "\n".join(lines).strip()


def _inline(line: str, marks: Mapping[int, str]) -> str:
    parts: list[str] = []
    at = 0
    for bold in _BOLD.finditer(line):
        parts += [_with_marks(line[at : bold.start()], marks), f"**{_with_marks(bold[1], marks)}**"]
        at = bold.end()
    return "".join([*parts, _with_marks(line[at:], marks)])


def _with_marks(text: str, marks: Mapping[int, str]) -> str:
    """The text escaped, with what stands for its citations. A number that is none of them stays as it is."""
    parts: list[str] = []
    at = 0
    for cited in _CITED.finditer(text):
        mark = marks.get(int(cited[1]))
        if mark is not None:
            parts += [escape(text[at : cited.start()]), mark]
            at = cited.end()
    return "".join([*parts, escape(text[at:])])


def _sources(citations: Sequence[Citation]) -> str:
    """One line for each citation: what it is called and where it lies."""
    lines: list[str] = []
    left = _SOURCES
    for citation in citations:
        title = link(clip(" ".join(citation.title.split()), _TITLE), citation.link)
        path = escape(shown_path(citation.path, citation.note_id), _HEADING)
        line = f"-# {escape(f'[{citation.number}]')} {title} · {path}".removesuffix(" · ")
        left -= units(line) + 1
        if left < 0:
            break
        lines.append(line)
    return "\n".join(lines)


def _mode(visit: Visit, answer: Answer) -> str:
    if answer.mode == "generated":
        return visit.text("ask.generated", model=escape(answer.model, 60))
    if answer.mode == "not_found":
        return visit.text("ask.not_found")
    return visit.text("ask.passages") if answer.citations else visit.text("ask.nothing")


def _notes(citations: Sequence[Citation]) -> list[Button]:
    """A button for each note that is cited, with the numbers under which it is."""
    numbers: dict[str, list[str]] = {}
    for citation in citations:
        numbers.setdefault(citation.note_id, []).append(f"[{citation.number}]")
    return [Button("".join(each), "note", note_id) for note_id, each in list(numbers.items())[:_MOST_BUTTONS]]


def _about(visit: Visit, answer: Answer, wanted: str) -> list[Button]:
    return [
        Button(visit.text("ask.useful"), "ask_useful", wanted, style="success"),
        Button(visit.text("ask.not_useful"), "ask_useless", wanted),
        Button(visit.text("ask.sources"), "ask_sources", wanted, disabled=not answer.citations),
        Button(visit.text("ask.follow_up"), "ask_more", wanted, style="primary"),
    ]
