"""A note, or what was written in a period, in a few sentences: those of the notes themselves, or of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nescord.catalog import knowing as sql
from nescord.catalog.knowing import SeenText
from nescord.knowing.extract import Passage, extract
from nescord.knowing.period import Period
from nescord.knowing.review import read
from nescord.language import detect
from nescord.notes import Note, Scope
from nescord.opened import OpenBase

# Who writes: a model where there is one, or nobody.
By = Literal["auto", "extract"]
_OF_A_NOTE, _OF_A_PERIOD, _OF_EACH = 3, 8, 2


@dataclass(frozen=True, slots=True)
class Summary:
    """`mode` is `extractive` (sentences of the notes as they stand, which are `passages`) or `generated`: `text` was
    written by `model`, and `passages` are what it cites as [1], [2], … `missing` says what could not be done and why;
    `tokens` is what was spent."""

    text: str
    passages: tuple[Passage, ...]
    mode: Literal["extractive", "generated"] = "extractive"
    model: str = ""
    tokens: int = 0
    missing: tuple[str, ...] = ()


def of_note(base: OpenBase, scope: Scope, note: Note, by: By) -> Summary:
    """A note in a few sentences."""
    with base.verb() as catalog, catalog.read() as connection:
        texts = list(sql.texts(connection, scope, sql.keys_of(connection, scope, [note.id])))
    return _summed(base, scope, texts, _OF_A_NOTE, None, by)


def of_period(base: OpenBase, scope: Scope, period: Period, by: By) -> Summary:
    """What was written and changed in a period, in a few sentences."""
    with base.verb() as catalog, catalog.read() as connection:
        texts, missing = read(connection, scope, sql.written_between(connection, scope, period.begin, period.end))
    found = _summed(base, scope, texts, _OF_A_PERIOD, _OF_EACH, by)
    return replace(found, missing=(*missing, *found.missing))


def _summed(base: OpenBase, scope: Scope, texts: Sequence[SeenText], most: int, of_each: int | None, by: By) -> Summary:
    passages = tuple(extract(texts, most, of_each=of_each))
    as_they_stand = Summary("\n".join(passage.text for passage in passages), passages)
    if by == "extract" or not passages:
        return as_they_stand
    from nescord.knowing import writing

    tokens = 0
    try:
        writer = writing.writer_of(base, scope)
        try:
            written = writing.summary(base, writer, texts, _language(texts), most)
        finally:
            tokens = writer.tokens
    except writing.FAILURES as error:
        return replace(as_they_stand, tokens=tokens, missing=(f"summary: {error}",))
    if not written.text:
        reasons = written.missing or ("summary: nothing that the model wrote is in the notes",)
        return replace(as_they_stand, tokens=tokens, missing=reasons)
    cited = (Passage(one.note_id, one.path, one.title, one.start, one.end, one.text) for one in written.cited)
    return Summary(written.text, tuple(cited), "generated", written.model, tokens, written.missing)


def _language(texts: Sequence[SeenText]) -> str:
    """The language of most of the notes."""
    return Counter(detect(text.body) for text in texts).most_common(1)[0][0]
