"""The knowledge base as agents get it: the one place of this room that names `KnowledgeManager`.

Which spaces that are is decided once, when the server starts, by whoever starts it; nothing an agent says can add one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from nescord.errors import NescordError, UsageError
from nescord.knowledge import KnowledgeManager
from nescord.scoped import ScopedKnowledge
from nescord.setting_rules import is_space
from nescord.settings import Settings

_PERSONAL = "personal"
_log = logging.getLogger(__name__)


def scope_of(added: Iterable[str], *, with_personal: bool = True, everything: bool = False) -> frozenset[str] | None:
    """The spaces that agents see: the owner's own, and those that were added; None for all there are.

    Raises:
        UsageError: one is no space, none is left, or spaces are named beside all of them.
    """
    named = frozenset(added)
    for space in sorted(named):
        if not is_space(space):
            raise UsageError(
                f'"{space}" is no space: --space takes personal, guild:<id> or user:<id>, where <id> is a number of '
                "Discord"
            )
    if everything:
        if named or not with_personal:
            raise UsageError("--all-spaces is every space: leave out --space and --no-personal")
        return None
    spaces = named | {_PERSONAL} if with_personal else named
    if not spaces:
        raise UsageError("agents would see nothing: name a space with --space, or leave out --no-personal")
    return spaces


class View:
    """The notes of some spaces (None: of all), and what is to be done after a capture."""

    def __init__(self, km: KnowledgeManager, spaces: frozenset[str] | None) -> None:
        self._km = km
        self.spaces = spaces
        self.notes: ScopedKnowledge = km if spaces is None else km.scoped(spaces)

    @classmethod
    def open(cls, settings: Settings, spaces: frozenset[str] | None) -> Self:
        """Open the knowledge base that there is. Raises as `KnowledgeManager.open_existing`."""
        return cls(KnowledgeManager.open_existing(settings), spaces)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._km.folder.path

    @property
    def space_of_captures(self) -> str:
        """Where a capture goes that names no space; "" where that cannot be told."""
        if self.spaces is None or _PERSONAL in self.spaces:
            return _PERSONAL
        return next(iter(self.spaces)) if len(self.spaces) == 1 else ""

    def embed(self, note_id: str) -> None:
        """Let a note that was captured be found by its meaning, too. What fails is done by the next ingest."""
        try:
            self._km.embed_note(note_id)
        except NescordError as error:
            _log.warning("the note %s is found by its words only until the next ingest: %s", note_id, error)

    def close(self) -> None:
        """Close the database."""
        self._km.close()
