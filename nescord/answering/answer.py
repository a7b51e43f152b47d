"""A question answered from the notes of some spaces: found, packed, written by a model where there is one, checked.

Without a model, with the budget spent, or when the model fails, the answer is made of the passages themselves and says
why. What has been given out is never taken back: it was checked before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from nescord.answering import UNSUPPORTED, Answer, Citation, Turn
from nescord.answering.citations import CheckedText
from nescord.answering.extractive import LONGEST, PASSAGES, extract
from nescord.answering.pack import NOTES, Context, Passage, pack, stripped
from nescord.answering.prompt import answer_prompt, rewrite_prompt
from nescord.answering.support import Words, local_cosine
from nescord.answering.writing import Writer
from nescord.backup.erasures import erased_people
from nescord.catalog import context as context_sql
from nescord.catalog import queries as queries_sql
from nescord.catalog.queries import Question
from nescord.errors import CatalogError, EmbeddingError, LockTimeoutError, ServiceUnavailableError
from nescord.language import detect, language_group
from nescord.notes import Scope, SearchHits
from nescord.opened import OpenBase
from nescord.query import Query, parse_query
from nescord.search import marker_of
from nescord.snippets import Marker
from nescord.times import utc_text

# What a model may fail with, or the budget that each call is entered in: it costs no more than the written answer.
_FAILURES = (EmbeddingError, ServiceUnavailableError, CatalogError, LockTimeoutError)
_LONGEST_QUESTION = 300
_NOT_FOUND = {"ja": "ノートには答えが見つかりませんでした。", "other": "Your notes do not answer this."}
_NEAREST = {"ja": "近いところ:", "other": "The nearest:"}
# What search would take for a filter, an exclusion or a phrase.
_SYNTAX = re.compile(r'["“”:：]|(?<!\S)-')


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a question: as `standalone` understands it, packed for a model, and as passages for people."""

    standalone: str
    query: Query
    context: Context
    passages: Answer


@dataclass(frozen=True, slots=True)
class Asking:
    """The verb. `search` is that of the same scope."""

    base: OpenBase
    scope: Scope
    search: Callable[..., SearchHits]

    def stream(self, question: str, history: Sequence[Turn]) -> Iterator[str | Answer]:
        """The answer's text in pieces, each checked, and then the answer; the pieces together are its text."""
        begun = datetime.now(UTC)
        question = question.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair is no text
        writer, missing = self._writer()
        found = self._found(question, history, writer, missing)
        if writer is None or not found.context.passages:
            answer = found.passages
            if answer.text:
                yield answer.text
        else:
            answer = yield from self._written(question, history, found, writer)
        yield self._recorded(question, answer, begun)

    def context(self, question: str) -> Context:
        """What a model would be given."""
        return self._found(question, (), None, ()).context

    def _writer(self) -> tuple[Writer | None, tuple[str, ...]]:
        try:
            return Writer(self.base.generation, self.scope), ()
        except ServiceUnavailableError as error:
            return None, (f"answer: {error}",)

    def _found(self, question: str, history: Sequence[Turn], writer: Writer | None, missing: Sequence[str]) -> Found:
        standalone, reasons = self._standalone(question, history, writer)
        hits = self.search(standalone, limit=NOTES)
        zone, limit = ZoneInfo(self.base.settings.timezone), self.base.settings.context_tokens
        query = parse_query(standalone, zone)
        with self.base.verb() as catalog:
            nearness = partial(self.base.meaning.nearness, catalog, hits.asked) if hits.asked else _no_nearness
            context = pack(catalog, hits, query, self.scope, nearness, limit=limit, zone=zone)
            with catalog.read() as connection:
                visible = context_sql.visible(connection, [hit.note_id for hit in hits], self.scope)
                passages = extract(
                    connection,
                    [hit for hit in hits[: 2 * PASSAGES] if hit.note_id in visible],
                    marker_of(query),
                    missing=(*hits.degraded, *missing, *reasons),
                )
        return Found(standalone, query, context, passages)

    def _standalone(self, question: str, history: Sequence[Turn], writer: Writer | None) -> tuple[str, tuple[str, ...]]:
        """A follow-up question with what it refers to, and what could not be done about that."""
        if not history:
            return question, ()
        together = _SYNTAX.sub(" ", f"{history[-1].question} {question}")
        if writer is None:
            return together, ()
        try:
            line = writer.line(rewrite_prompt(question, history))
        except _FAILURES as error:
            return together, (f"follow-up: searched together with the question before it ({error})",)
        rewritten = " ".join(_SYNTAX.sub(" ", line).split())
        return (rewritten if 0 < len(rewritten) <= _LONGEST_QUESTION else together), ()

    def _written(
        self, question: str, history: Sequence[Turn], found: Found, writer: Writer
    ) -> Generator[str, None, Answer]:
        """A written answer; the passages, where the model failed before anything it wrote could be shown."""
        passages = found.context.passages
        asked = " ".join([question, *(turn.question for turn in history)])
        check = CheckedText(passages, asked, cosine=local_cosine(self.base))
        shown, missing, is_empty = [], list(found.passages.missing), True
        try:
            with closing(writer.stream(answer_prompt(found.standalone, detect(question), passages))) as pieces:
                for piece in pieces:
                    is_empty = is_empty and not piece.strip()
                    if ready := check.feed(piece):
                        shown.append(ready)
                        yield ready
        except _FAILURES as error:
            if not shown:
                answer = _not_written(found.passages, writer, str(error))
                yield answer.text
                return answer
            missing.append(f"answer: it was cut off before its end: {error}")
        else:
            # The end of a text that was cut is no whole sentence.
            if writer.is_cut:
                missing.append("answer: it is as long as it may be, and was cut there")
            elif ready := check.finish():
                shown.append(ready)
                yield ready
        if not check.cited:
            if writer.is_cut:
                reason = "it was cut at the greatest length before any sentence that your notes support"
                answer = _not_written(found.passages, writer, reason)
            elif is_empty:
                answer = _not_written(found.passages, writer, "the model wrote nothing")
            else:
                answer = _not_found(question, found.passages, writer)
            yield answer.text
            return answer
        if check.unsupported:
            missing.append(
                f"answer: sentences that your notes do not support, marked {UNSUPPORTED}: {check.unsupported}"
            )
        return Answer(
            "".join(shown), tuple(_citations(check, passages, marker_of(found.query))), "generated", writer.model,
            writer.tokens, tuple(missing),
        )  # fmt: skip

    def _recorded(self, question: str, answer: Answer, begun: datetime) -> Answer:
        """Remembered for the report, unless who asked was erased since; an answer is not lost because that fails."""
        is_answered = answer.mode != "not_found" and not answer.weak
        asked = Question(utc_text(datetime.now(UTC)), self.scope.spaces, question, answer.mode, is_answered)
        try:
            with self.base.verb() as catalog, catalog.write() as connection:
                gone = erased_people(self.base.folder.backups)
                if not any(gone.get(space, "") > utc_text(begun) for space in self.scope.spaces or ()):
                    queries_sql.note_question(connection, asked)
        except (CatalogError, LockTimeoutError) as error:
            return replace(answer, missing=(*answer.missing, f"question: not recorded: {error}"))
        return answer


def _no_nearness(_: Sequence[int]) -> dict[int, float]:
    return {}


def _not_written(passages: Answer, writer: Writer, reason: str) -> Answer:
    """The passages: what the notes say to it, the model has not told."""
    return replace(passages, tokens=writer.tokens, missing=(*passages.missing, f"answer: {reason}"))


def _not_found(question: str, nearest: Answer, writer: Writer) -> Answer:
    group = language_group(detect(question))
    text = f"{_NOT_FOUND[group]} {_NEAREST[group]}\n\n{nearest.text}" if nearest.citations else _NOT_FOUND[group]
    return replace(nearest, text=text, mode="not_found", model=writer.model, tokens=writer.tokens, weak=True)


def _citations(check: CheckedText, passages: Sequence[Passage], marker: Marker) -> Iterator[Citation]:
    """The cited passages under their new numbers, long ones narrowed to where the sentence that cites them stands."""
    by_number = {passage.number: passage for passage in passages}
    for place, (number, sentence) in enumerate(check.cited.items(), 1):
        passage = by_number[number]
        start, end = 0, len(passage.text)
        if end > LONGEST:
            words = Words.of_claim(sentence).telling
            start, end = Marker((not word.isascii(), word) for word in words).densest(passage.text, LONGEST)
            start, end = stripped(passage.text, start, end)
        text = passage.text[start:end]
        yield Citation(
            place, passage.note_id, passage.path, passage.title, passage.heading, passage.link, passage.start + start,
            passage.start + end, text, marker.marks(text), passage.score,
        )  # fmt: skip
