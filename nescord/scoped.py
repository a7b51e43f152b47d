"""The verbs of a knowledge base as far as some spaces go: what bots get, and what the owner's view builds on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord import search_events
from nescord.catalog import notes as notes_sql
from nescord.errors import NotFoundError, UsageError
from nescord.keeping_notes import NoteVerbs
from nescord.knowing.verbs import KnowingVerbs
from nescord.notes import Note, NoteKind, Scope, SearchHits
from nescord.opened import OpenBase
from nescord.query import parse_query
from nescord.search import keyword_search

if TYPE_CHECKING:
    from nescord.answering import Answer, Turn
    from nescord.answering.pack import Context
    from nescord.spaced import Spaced

MODES = ("keyword", "vector", "hybrid")


class ScopedKnowledge(NoteVerbs, KnowingVerbs):
    """The verbs of a knowledge base as far as some spaces go. Made by `KnowledgeManager.scoped`."""

    def __init__(self, base: OpenBase, scope: Scope) -> None:
        self._base = base
        self._scope = scope

    def search(
        self,
        query: str,
        *,
        mode: str = "hybrid",
        limit: int | None = None,
        tags: Iterable[str] = (),
        source: str | None = None,
        kind: NoteKind | None = None,
        after: str | date | None = None,
        before: str | date | None = None,
        same_language: bool = False,
        minimum: float | None = None,
    ) -> SearchHits:
        """The notes that answer `query`, best first; empty when nothing does.

        `mode` is `keyword`, `vector` or `hybrid`; where vectors cannot be asked, words are, and `degraded` of the
        answer says why. `limit` is 1..1000 (default: PKM_MAX_RESULTS). `same_language` leaves out notes in Japanese
        unless the query is, and all others if it is. `minimum` is the least cosine similarity of a hit found by meaning
        (-1..1). Query syntax: docs/guide.md.

        Raises:
            UsageError: an unknown mode, limit or minimum, a date that is none (QueryError).
        """
        if mode not in MODES:
            raise UsageError(f'mode "{mode}" is not known: the modes are {", ".join(MODES)}')
        if minimum is not None and (mode == "keyword" or not -1 <= minimum <= 1):
            raise UsageError(f"minimum {minimum} is not possible: it is a cosine, -1 to 1, which words alone have not")
        begun, wanted = time.perf_counter(), self._most(limit)
        timezone = ZoneInfo(self._base.settings.timezone)
        parsed = parse_query(
            query,
            timezone,
            tags=tags,
            source=source,
            kind=kind,
            after=after,
            before=before,
            same_language=same_language,
        )
        with self._base.verb() as catalog:
            if mode != "keyword" and parsed.text.strip():
                from nescord.budget import payer
                from nescord.remote.calls import on_behalf_of

                with on_behalf_of(payer(self._scope)):
                    hits = self._base.meaning.search(catalog, parsed, self._scope, wanted, mode, minimum)
            else:
                with catalog.read() as connection:
                    hits = SearchHits(keyword_search(connection, parsed, self._scope, wanted))
            if self._base.settings.search_events == "on":
                search_events.note(catalog, self._scope, query, hits, time.perf_counter() - begun)
        return hits

    def related(self, wanted: str, *, limit: int | None = None) -> SearchHits:
        """The notes whose meaning is nearest to that of a note (id, path or name).

        Raises:
            NotFoundError, UsageError: as `note`. UsageError: the limit is out of range.
        """
        most = self._most(limit)
        note = self.note(wanted)
        with self._base.verb() as catalog, catalog.read() as connection:
            return self._base.meaning.related(connection, note.id, self._scope, most)

    def answer(self, question: str, history: Sequence[Turn] = ()) -> Answer:
        """An answer from the notes, each sentence with the passages it was taken from; the passages themselves where no
        model can write it, and `missing` says why. `history` is what was asked before, the oldest first.

        Raises:
            UsageError: a date in the question is none (QueryError).
        """
        for part in self.answer_stream(question, history):
            last = part
        return last  # type: ignore[return-value]  # the stream ends with it

    def answer_stream(self, question: str, history: Sequence[Turn] = ()) -> Iterator[str | Answer]:
        """The text of `answer` as it is written, whole sentences that were checked, and then the answer.

        Raises:
            UsageError: as `answer`.
        """
        from nescord.answering.answer import Asking

        return Asking(self._base, self._scope, search_events.unrecorded(self.search)).stream(question, history)

    def context(self, question: str) -> Context:
        """The passages that a model would be given for that question, without asking it.

        Raises:
            UsageError: as `answer`.
        """
        from nescord.answering.answer import Asking

        return Asking(self._base, self._scope, search_events.unrecorded(self.search)).context(question)

    def note(self, wanted: str) -> Note:
        """The note with that id, path, or name as a link would use it.

        Raises:
            NotFoundError: there is none (in these spaces). UsageError: several fit.
        """
        with self._base.verb() as catalog, catalog.read() as connection:
            found = notes_sql.find(connection, wanted, self._scope)
        if not found:
            raise NotFoundError(f'no note "{wanted}": name its id, its path, its title or what a link calls it')
        if len(found) > 1:
            choices = ", ".join(f"{note.path} ({note.id})" for note in found[:5])
            raise UsageError(f'"{wanted}" fits {len(found)} notes: {choices}: name one by its id')
        return found[0]

    def spaced(self, who: str) -> Spaced:
        """The notes of these spaces that `who` (`user:42`) wants to see again, each when it would be forgotten."""
        from nescord.spaced import Spaced

        return Spaced(self._base, self._scope, who)

    def _most(self, limit: int | None) -> int:
        wanted = self._base.settings.max_results if limit is None else limit
        if not 1 <= wanted <= 1000:
            raise UsageError(f"limit {wanted} is out of range: 1 to 1000")
        return wanted
