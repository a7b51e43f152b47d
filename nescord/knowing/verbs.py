"""The verbs of the knowledge base that look at many notes at once, or at one among the others.

`ScopedKnowledge` and, with it, `KnowledgeManager` have them: a scope goes into every statement of SQL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord.errors import ServiceUnavailableError, UsageError
from nescord.notes import Note, Scope, SearchHits
from nescord.opened import OpenBase

if TYPE_CHECKING:
    from nescord.knowing import NoteRef
    from nescord.knowing.duplicates import DuplicateReport
    from nescord.knowing.graph import GraphReport
    from nescord.knowing.links import LinkSuggestions
    from nescord.knowing.merge import MergeReport, UnmergeReport
    from nescord.knowing.review import Review
    from nescord.knowing.secrets import NoteWithSecrets
    from nescord.knowing.summaries import By, Summary
    from nescord.knowing.tags import TagSuggestions

MOST = 1000
# Of the notes nearest in meaning so many are looked at: some are linked already, some have no tags.
_NEIGHBOURS = 30


class KnowingVerbs(ABC):
    """What is known about notes beyond finding them. `limit` is 1..1000 wherever there is one."""

    _base: OpenBase
    _scope: Scope

    @abstractmethod
    def note(self, wanted: str) -> Note:
        """The note with that id, path or name."""

    @abstractmethod
    def related(self, wanted: str, *, limit: int | None = None) -> SearchHits:
        """The notes whose meaning is nearest to that of a note."""

    def suggest_links(self, wanted: str, *, limit: int = 10) -> LinkSuggestions:
        """Notes that a note might link to and does not: those that its text names, then those near in meaning.

        No model is asked. Without vectors there are only those that are named, and `degraded` says so.

        Raises:
            NotFoundError, UsageError: as `note`. UsageError: the limit is out of range.
        """
        from nescord.knowing import links

        note, near = self._with_neighbours(wanted, limit)
        with self._base.verb() as catalog, catalog.read() as connection:
            return links.suggest(connection, self._scope, note, near, limit)

    def duplicates(self, *, minimum: float | None = None, limit: int = 100) -> DuplicateReport:
        """Pairs of notes whose texts agree to the share `minimum` (0.5 to 1; default 0.8), the likest first.

        No model is asked. Without vectors only notes with a whole passage in common are compared, and it is said.

        Raises:
            UsageError: the minimum or the limit is out of range.
        """
        from nescord.knowing import duplicates

        minimum = duplicates.MINIMUM if minimum is None else minimum
        if not 0.5 <= minimum <= 1:
            raise UsageError(f"minimum {minimum} is out of range: 0.5 to 1")
        _checked(limit)
        with self._base.verb() as catalog, catalog.read() as connection:
            try:
                model, reason = self._base.meaning.model(connection), "vector: nothing is embedded yet (nescord ingest)"
            except ServiceUnavailableError as error:
                model, reason = None, f"vector: {error}"
            report = duplicates.find(connection, self._scope, model, minimum, limit)
        if model is None:
            return duplicates.without_vectors(report, reason)
        return report

    def merge(self, wanted: Sequence[str]) -> MergeReport:
        """Merge notes of ours into the first of them; the others go to the trash, links to them lead to it.

        What each said is kept: `undo_merge` puts everything back.

        Raises:
            NotFoundError, UsageError: as `note`. UsageError: a note comes from a vault, is in the trash, or is in
                another space than the first; they are fewer than 2, more than 50, or too long together.
        """
        from nescord.knowing import merge

        note_ids = [self.note(one).id for one in wanted]
        with self._base.verb() as catalog, catalog.write() as connection:
            return merge.merge(connection, self._base.drafting, self._scope, note_ids)

    def undo_merge(self, wanted: str) -> UnmergeReport:
        """Take back the last merge into a note: all of them are as they were, those that the trash lost, too.

        Raises:
            NotFoundError: there is no such note, or nothing was merged into it. UsageError: as `note`; it is in the
                trash.
        """
        from nescord.knowing import merge

        note = self.note(wanted)
        with self._base.verb() as catalog, catalog.write() as connection:
            return merge.undo(connection, self._base.drafting, self._scope, note.id)

    def suggest_tags(self, wanted: str, *, limit: int = 10, by: By = "auto") -> TagSuggestions:
        """Tags that a note might have and has not: of its neighbours, named in it, new from its own words, and of a
        model, where there is one (`by="extract"`: ask none).

        Raises:
            NotFoundError, UsageError: as `note`. UsageError: the limit is out of range.
        """
        from nescord.knowing import tags

        note, near = self._with_neighbours(wanted, limit)
        with self._base.verb() as catalog, catalog.read() as connection:
            found = tags.suggest(connection, self._scope, note, near, limit)
        return tags.with_model(self._base, self._scope, note, found, limit) if by == "auto" else found

    def summarize(self, wanted: str, *, by: By = "auto") -> Summary:
        """A note in a few sentences: of a model, each checked against the note, where there is one; else, and with
        `by="extract"`, those of the note that say most.

        Raises:
            NotFoundError, UsageError: as `note`.
        """
        from nescord.knowing import summaries

        return summaries.of_note(self._base, self._scope, self.note(wanted), by)

    def summarize_period(self, period: str, *, by: By = "auto") -> Summary:
        """What was written and changed in a period (as of `review`) in a few sentences, as `summarize`.

        Raises:
            QueryError: it is no period.
        """
        from nescord.knowing import summaries
        from nescord.knowing.period import parse_period

        found = parse_period(period, ZoneInfo(self._base.settings.timezone))
        return summaries.of_period(self._base, self._scope, found, by)

    def review(self, period: str = "week", *, timezone: ZoneInfo | None = None) -> Review:
        """What was written in a period (today, week, 2026-11, 2026-11-01..2026-11-07), and what is still to do. Days
        are those of `timezone`, or else of the settings.

        Raises:
            QueryError: it is no period.
        """
        from nescord.knowing.period import parse_period
        from nescord.knowing.review import review

        timezone = timezone or ZoneInfo(self._base.settings.timezone)
        found = parse_period(period, timezone)
        with self._base.verb() as catalog, catalog.read() as connection:
            return review(connection, self._scope, found, timezone)

    def graph(self, *, limit: int = 10) -> GraphReport:
        """How the notes are linked: orphans, hubs, clusters, links to notes that are not there; lists up to `limit`.

        Raises:
            UsageError: the limit is out of range.
        """
        from nescord.knowing import graph

        _checked(limit)
        with self._base.verb() as catalog, catalog.read() as connection:
            return graph.figures(connection, self._scope, limit)

    def link_path(self, start: str, goal: str) -> list[NoteRef]:
        """The fewest links from one note to another, whichever way they lead; empty where there is no way.

        Raises:
            NotFoundError, UsageError: as `note`.
        """
        from nescord.knowing import graph

        first, last = self.note(start).id, self.note(goal).id
        with self._base.verb() as catalog, catalog.read() as connection:
            return graph.path(connection, self._scope, first, last)

    def count_notes(self) -> int:
        """How many notes there are."""
        from nescord.catalog import knowing as knowing_sql

        with self._base.verb() as catalog, catalog.read() as connection:
            return knowing_sql.count(connection, self._scope)

    def count_pending(self) -> int:
        """How many passages wait for a vector of the live model; 0 where there is none."""
        from nescord.catalog import knowing as knowing_sql

        with self._base.verb() as catalog, catalog.read() as connection:
            try:
                model = self._base.meaning.model(connection)
            except ServiceUnavailableError:
                return 0
            return 0 if model is None else knowing_sql.count_pending(connection, self._scope, model)

    def secrets(self) -> list[NoteWithSecrets]:
        """The notes that hold keys, tokens or passwords, with the kind and line of each, never the secret itself."""
        from nescord.knowing import secrets

        with self._base.verb() as catalog, catalog.read() as connection:
            return list(secrets.find(connection, self._scope))

    def _with_neighbours(self, wanted: str, limit: int) -> tuple[Note, SearchHits]:
        _checked(limit)
        note = self.note(wanted)
        return note, self.related(note.id, limit=min(MOST, limit + _NEIGHBOURS))


def _checked(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise UsageError(f"limit {limit} is out of range: 1 to {MOST}")
