"""The owner's verb that writes notes back to the vault in git, and how it takes turns with ingests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nescord import registry
from nescord.catalog import sources as sources_sql
from nescord.catalog import writeback as sql
from nescord.errors import NescordError, UsageError, VaultError
from nescord.locks import LockName
from nescord.notes import IngestReport, WritebackReport

if TYPE_CHECKING:
    from nescord.opened import OpenBase

# Somebody may push all the time; what is left waits for the next run.
MOST_ROUNDS = 3
_ADDED = (
    "added",
    "changed",
    "renamed",
    "deleted",
    "revived",
    "files_read",
    "chunks_added",
    "chunks_deleted",
    "seconds",
)


class WritebackVerbs:
    """What `KnowledgeManager` has of it."""

    _base: OpenBase

    @property
    def is_written_back(self) -> bool:
        """Whether the settings ask for it."""
        return self._base.settings.writeback and self._base.settings.vault_git_url is not None

    def check_written_back(self) -> None:
        """UsageError, with the mend, if the settings do not ask for it."""
        if not self._base.settings.writeback:
            raise UsageError("nothing is written back: set NESCORD_WRITEBACK=true")
        if not self.is_written_back:
            raise UsageError("notes are written back to a vault in git only: set NESCORD_VAULT_GIT_URL")
        # Whoever is in a guild reads all that its vault holds: a copied file, and after a restore every file, is a note
        # of the vault.
        readers, spaces = self._base.settings.vault_space, self._base.settings.writeback_spaces
        others = sorted(spaces - {readers})
        if readers.startswith("guild:") and others:
            raise UsageError(
                f"what is written to the vault can be read by all of {readers} (NESCORD_VAULT_SPACE), so that no notes "
                f"of {', '.join(others)} may be: set NESCORD_WRITEBACK_SPACES={readers}"
            )

    def remark_on_erased(self) -> str:
        """What is left in the vault in git of notes that were erased, and how that goes; "" where nothing is."""
        with self._base.verb() as catalog, catalog.read() as connection:
            count = sql.count_erased(connection)
        if not count:
            return ""
        how = "the next write-back removes them" if self.is_written_back else "remove them there (write-back is off)"
        return (
            f"files of erased notes in the vault in git: {count}; {how}, and the history of git keeps them all the same"
        )

    def write_back(self, *, dry_run: bool = False) -> WritebackReport:
        """Push what differs between the captured notes and their files in the vault, which was ingested just before.

        Raises:
            UsageError: the settings do not ask for it. ServiceUnavailableError: the host is away; it waits.
            VaultError: the host takes nothing from us, or nothing was fetched yet.
        """
        from nescord.sources import git, writeback
        from nescord.sources.git_remote import Remote

        self.check_written_back()
        settings = self._base.settings
        remote = Remote.of(settings)
        assert remote is not None
        with self._base.verb() as catalog, self._base.locks.exclusive(LockName.INGEST):
            registry.refuse_while_paused(catalog)
            root = git.notes_in(remote, self._base.folder.git_mirrors)
            with catalog.read() as connection:
                source = sources_sql.by_root(connection, str(root))
            if source is None:
                raise VaultError(f"the vault {remote.url} was not taken in yet: nescord ingest does it")
            return writeback.write_back(
                catalog, settings, remote, self._base.folder.git_mirrors, source.id, dry_run=dry_run
            )


def exchange(
    take_in: Callable[[], IngestReport], write: Callable[[], WritebackReport]
) -> tuple[IngestReport, WritebackReport]:
    """Take in what was changed in git, then push what differs, until neither has anything for the other.

    What fails from the first push on is in the ingest's report as `degraded`: what was taken in is.
    """
    taken, written = take_in(), WritebackReport()
    if taken.interrupted:
        return taken, written
    for _ in range(MOST_ROUNDS):
        try:
            done = write()
            _add_written(written, done)
            if not done.is_to_be_taken_in or done.dry_run:
                break
            _add_taken(taken, take_in())
        except NescordError as error:
            taken.degraded.append(f"write-back: {error}")
            break
    return taken, written


def _add_written(written: WritebackReport, done: WritebackReport) -> None:
    for name in ("written", "removed", "commits", "seconds"):
        setattr(written, name, getattr(written, name) + getattr(done, name))
    written.behind, written.dry_run = done.behind, done.dry_run
    written.paths += done.paths


def _add_taken(taken: IngestReport, more: IngestReport) -> None:
    for name in _ADDED:
        setattr(taken, name, getattr(taken, name) + getattr(more, name))
    for name in ("unchanged", "failed", "warned", "withheld", "interrupted"):
        setattr(taken, name, getattr(more, name))
    for name in ("messages", "degraded", "changes"):
        known = getattr(taken, name)
        known += [each for each in getattr(more, name) if each not in known]
