"""What one open knowledge base owns: its folder, its locks and the connections to its database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from nescord.catalog.database import Catalog
from nescord.errors import CatalogError, NescordError
from nescord.home import DataFolder, note_deployment
from nescord.locks import LockName, Locks
from nescord.settings import Settings

if TYPE_CHECKING:
    from nescord.budget import Budget
    from nescord.drafting import Drafting
    from nescord.generation.service import GenerationService
    from nescord.meaning import Meaning


class OpenBase:
    """The resources behind every verb. Each verb holds the shared catalog lock for its own length only, so that a
    restore can come between two verbs of a long-lived process."""

    def __init__(self, folder: DataFolder, settings: Settings, *, is_new: bool, vfs: str | None = None) -> None:
        self.folder = folder
        self._vfs = vfs
        self.settings = settings
        self.is_new = is_new
        self.locks = Locks(folder.run, timeout=settings.lock_timeout)
        self._reopening = threading.Lock()
        with self._in_peace():
            self._catalog = self._open_catalog()
        note_deployment(folder, settings)
        try:
            if self._catalog.is_empty:
                raise CatalogError(
                    f"the database of this knowledge base is empty ({folder.database}): restore it "
                    "(nescord backup restore …) or move it away and start anew (nescord init --new)"
                )
            if self._catalog.is_behind:
                with self.locks.exclusive(LockName.CATALOG):
                    self._catalog.bring_up_to_date(folder.backups)
        except BaseException:
            self.close()
            raise

    @cached_property
    def drafting(self) -> Drafting:
        # Imported by the verbs that write: a search should not pay for Markdown, YAML and character sets.
        from nescord.drafting import Drafting

        return Drafting.from_settings(self.settings)

    @cached_property
    def meaning(self) -> Meaning:
        """Model, matrix and Chroma, each made when it is first used."""
        from nescord.meaning import Meaning

        return Meaning(self.settings, self.folder, self.locks, lambda: self.budget)

    @cached_property
    def budget(self) -> Budget:
        """What calls to models elsewhere may cost."""
        from nescord.budget import Budget

        return Budget(self.verb, self.folder.backups, self.settings)

    @cached_property
    def generation(self) -> GenerationService:
        """The model that writes; AnswerUnavailableError where there is none."""
        from nescord.generation.service import GenerationService

        return GenerationService.of(self.settings, lambda: self.budget)

    @contextmanager
    def verb(self) -> Iterator[Catalog]:
        """The catalog for the length of one verb, reopened first if a restore has put another file in its place.

        A restore that was cut short is finished first, whoever comes first.
        """
        with self._in_peace():
            if not self._catalog.is_current():
                with self._reopening:
                    if not self._catalog.is_current():
                        self._catalog.close()
                        self._catalog = self._open_catalog()
            yield self._catalog

    @contextmanager
    def _in_peace(self) -> Iterator[None]:
        """catalog.lock shared, and no restore half done: whoever decided on one may be killed while we wait."""
        while True:
            self.folder.finish_restore(self.settings)
            with self.locks.shared(LockName.CATALOG):
                if self.folder.restore_journal.exists():
                    continue
                yield
                return

    def close(self) -> None:
        """Close the database; without a checkpoint where a restore may be replacing it right now."""
        try:
            with self.locks.shared(LockName.CATALOG, timeout=0):
                self._catalog.close()
        except NescordError:
            self._catalog.close(checkpoint=False)

    def _open_catalog(self) -> Catalog:
        if not self.folder.database.exists():
            raise CatalogError(
                f"the database of this knowledge base is missing ({self.folder.database}): restore it "
                "(nescord backup restore …) or start anew (nescord init --new)"
            )
        return Catalog(self.folder.database, vfs=self._vfs)
