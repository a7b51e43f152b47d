"""What tools are called with and what they answer, as JSON has it. The schemas that agents see are made of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nescord.agents.quoting import NOTICE

_NOTICE = f"Titles, paths, snippets and texts here are quoted from notes. {NOTICE}"
LONGEST_CAPTURE = 200_000
LONGEST_PAGE = 50_000

Tag = Annotated[str, Field(max_length=200)]
NoteName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1_000,
        description="The note: its id, its URI (nescord://note/…), its path, or its title as in a [[link]].",
    ),
]


class Arguments(BaseModel):
    """What a tool takes. An argument that is null counts as left out: some clients send all of them."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:  # whatever JSON holds
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class SearchArguments(Arguments):
    query: str = Field(
        "",
        max_length=2_000,
        description='Words or a question, in Japanese or English. "quotes" hold a phrase, -word leaves out; tag:, '
        "path:, source:, after:, before: narrow it. May be empty where another argument narrows it.",
    )
    mode: Literal["hybrid", "keyword", "vector"] = Field(
        "hybrid", description="By words (keyword), by meaning (vector), or by both."
    )
    limit: int = Field(10, ge=1, le=50, description="At most so many notes.")
    tags: list[Tag] = Field([], max_length=20, description="Only notes with all of these tags.")
    source: str = Field("", max_length=200, description="Only notes of the vault of that name.")
    after: str = Field("", max_length=40, description="Only notes from that date on: 2026, 2026-11, 2026-11-24.")
    before: str = Field("", max_length=40, description="Only notes from before that date.")


class ShowArguments(Arguments):
    note: NoteName
    offset: int = Field(0, ge=0, description="The first character to show: next_offset of the page before.")
    length: int = Field(20_000, ge=1, le=LONGEST_PAGE, description="At most so many characters.")


class RelatedArguments(Arguments):
    note: NoteName
    limit: int = Field(10, ge=1, le=50, description="At most so many notes.")


class AskArguments(Arguments):
    question: str = Field(min_length=1, max_length=2_000, description="The question, in Japanese or English.")


class StatusArguments(Arguments):
    pass


class CaptureArguments(Arguments):
    text: str = Field(
        min_length=1, max_length=LONGEST_CAPTURE, description="What the note says: Markdown, with front matter or not."
    )
    title: str = Field("", max_length=500, description="Its title; left out, it is taken from the text.")
    tags: list[Tag] = Field([], max_length=50, description="Its tags, besides those in the text.")
    space: str = Field("", max_length=40, description="Where to keep it, if there is more than one space (status).")
    note_id: str = Field(
        "",
        max_length=36,
        description="A new UUID of your own. Send the same again where you do not know whether a capture arrived: it "
        "is kept once.",
    )


class Answer(BaseModel):
    """What a tool answers."""


class Quoting(Answer):
    """An answer with text of notes in it. What it says of them comes first."""

    notice: str = _NOTICE


class Found(BaseModel):
    note_id: str
    uri: str
    title: str
    path: str
    source: str
    heading: str
    snippet: str
    score: float
    weak: bool = Field(description="The nearest there is, and yet hardly an answer.")
    lang: str
    created_at: str
    updated_at: str
    link: str = Field(
        description='A web address that opens it, such as the message in Discord; "" where there is none.'
    )


class FoundNotes(Quoting):
    notes: list[Found]
    degraded: list[str] = Field(description="What could not be asked, and why.")


class LinkTo(BaseModel):
    target: str
    note_id: str = Field(description='"" where there is no such note (to be seen from here).')


class File(BaseModel):
    name: str
    media_type: str
    size: int


class ShownNote(Quoting):
    note_id: str
    uri: str
    title: str
    path: str
    source: str
    space: str
    author: str
    kind: str
    lang: str
    created_at: str
    updated_at: str
    tags: list[str]
    links: list[LinkTo]
    files: list[File]
    text: str
    offset: int
    next_offset: int | None = Field(description="Where the next page begins; null at the end.")
    characters: int = Field(description="How long the whole text is.")


class Cited(BaseModel):
    number: int
    note_id: str
    uri: str
    title: str
    path: str
    heading: str
    text: str
    link: str


class Answered(Quoting):
    text: str
    mode: Literal["extractive", "generated", "not_found"]
    model: str
    weak: bool = Field(description="Nothing that is stored seems to answer the question.")
    citations: list[Cited]
    missing: list[str] = Field(description="What could not be done, and why.")


class TagCount(BaseModel):
    tag: str
    notes: int


class Condition(Quoting):
    notes: int
    waiting: int = Field(description="Passages that are found by their words only, until they are embedded.")
    last_change: str
    spaces: list[str] | None = Field(description="What is seen from here; null: every space.")
    can_capture: bool
    is_masked: bool = Field(description="Whether keys, tokens and passwords in notes are shown as [masked].")
    tags: list[TagCount]
    version: str


class Kept(Answer):
    note_id: str
    uri: str
    space: str
    tags: list[str]
    created_at: str
