"""The verb that imports what was said in Discord. Light: who only searches pays nothing for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nescord.opened import OpenBase

if TYPE_CHECKING:
    from nescord.importing import ImportReport
    from nescord.importing_discord import DiscordImports
    from nescord.ingest import IngestOptions
    from nescord.sources.discord_history import DiscordHistory
    from nescord.sources.entries import NoteSource


class DiscordVerbs(ABC):
    """What `KnowledgeManager` has of them."""

    _base: OpenBase

    @abstractmethod
    def take_in(
        self,
        source: NoteSource,
        *,
        space: str,
        owner: Literal["source", "us"] = "source",
        moves_space: bool = False,
        options: IngestOptions | None = None,
    ) -> ImportReport:
        """Store what is new or changed in a source."""

    def import_discord(
        self,
        paths: Sequence[Path],
        *,
        space: str = "",
        gap_minutes: int = 60,
        options: IngestOptions | None = None,
    ) -> DiscordImports:
        """Store what was said in Discord as notes: JSON of DiscordChatExporter, Discord's data package, or folders of
        either. Done twice, the second time changes nothing; a later export adds to what there is.

        What was said in a guild goes to its space; private threads, direct messages and a package go to the personal
        one; with `space` all goes there. A conversation ends after `gap_minutes` without a message.

        Raises:
            UsageError: none of the files can be used, or there is no such space. LockTimeoutError: an ingest runs.
        """
        from nescord.importing_discord import import_discord
        from nescord.ingest import IngestOptions, Progress

        given = options or IngestOptions()

        def take_in(source: DiscordHistory, where: str) -> ImportReport:
            def progress(so_far: Progress) -> None:
                given.progress(replace(so_far, total=source.total))

            return self.take_in(source, space=where, options=replace(given, progress=progress))

        return import_discord(self._base, take_in, paths, space=space, gap_minutes=gap_minutes)
