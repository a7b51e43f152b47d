"""Follow a vault: what changes in its folders is taken in at once, without a walk through all the others.

An event of the kernel is only a hint where to look: what is done with a path is decided by what is there, as in any
other ingest (`ingest.plan` with `only`). Hints get lost (the kernel's queue is finite), come late (a new folder is
watched only after it was made) or cannot be told (names that are not UTF-8). So the whole vault is walked at the start,
after every change of the folders themselves, when very much happens at once, and every hour.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nescord.decoding import decode_name
from nescord.errors import NescordError, UsageError, VaultError, WatchError, is_transient
from nescord.knowledge import KnowledgeManager
from nescord.notes import IngestReport
from nescord.settings import Settings
from nescord.sources import folder_events, vault
from nescord.sources.vault import Layout

if TYPE_CHECKING:
    from watchfiles.main import FileChange

    from nescord.embed import EmbedProgress
    from nescord.ingest import IngestOptions

# In seconds. What vanished may be half of a rename, or the first of many that go: it is looked at when nothing more
# has vanished for _PAIRING, at the latest after _PAIRING_MOST.
_PAIRING, _PAIRING_MOST = 1.5, 20.0

# Notes that went within so many seconds count together for whether too many go at once.
_LATELY = 600.0

# A new vault, or a slow model, may take hours to embed: after so many seconds it is looked what has changed meanwhile.
_EMBEDDING = 5.0

_LONGEST_PAUSE = 60.0
_MOST_RESTARTS = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """One look at a vault: at `paths` and what is below them, or at the whole (None). Without any path it goes on with
    what was left to be embedded. `report` says what it did, or `error` why it could not be made; it is made again then.
    `is_routine`: nothing had asked for it and it found nothing, as nearly every time; nobody wants to be told.
    """

    paths: tuple[str, ...] | None
    report: IngestReport | None = None
    error: str = ""
    is_routine: bool = False

    @property
    def has_found_something(self) -> bool:
        return self.report is not None and bool(self.report.changes or self.report.interrupted)


def watched_vault(settings: Settings, path: Path | None) -> Path:
    """The folder to follow: `path`, or the vault of the settings.

    Raises:
        UsageError: none is named, or it is fetched from a git repository. VaultError: there is no such folder.
    """
    if path is None and settings.vault_git_url is not None:
        raise UsageError(
            "the vault is a git repository, in which nothing changes until it is fetched: nescord ingest does that "
            "(and so does the flow, every hour); to watch a folder, name it"
        )
    chosen = path or settings.vault
    if chosen is None:
        raise UsageError("no vault named: nescord watch VAULT, or set NESCORD_VAULT")
    return vault.real_root(chosen.expanduser())


def follow(
    knowledge: KnowledgeManager,
    root: Path,
    *,
    rescan: float,
    options: IngestOptions,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Generator[Turn]:
    """Take in what changes below `root` until `is_stopped` says so, and tell of each look. The first is at the whole.

    `rescan` are the seconds after which the whole is walked again. An error that passes, or that somebody can mend
    while this runs, is told and tried again.

    Raises:
        NescordError: what any ingest raises, before the first look; WatchError: the folders cannot be watched.
        VaultError: later, that the vault was removed from the knowledge base, or moved.
    """
    return _Follower(knowledge, root, rescan, options, is_stopped).turns()


class _Owed:
    """Paths that changed and were not looked at since. Where more went than came, something may be still to come."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._gone: set[str] = set()
        self._come: set[str] = set()
        self._first_gone = self._ripe_at = 0.0

    def add(self, path: str, note: str, *, is_new: bool) -> None:
        """`path` is how the system has it, `note` the same within the vault, as text."""
        self.paths.add(note)
        if os.path.lexists(path):
            self._gone.discard(path)
            if is_new:
                self._come.add(path)
            return
        self._come.discard(path)
        if path not in self._gone:
            self._gone.add(path)
            now = time.monotonic()
            self._first_gone = self._first_gone or now
            self._ripe_at = min(now + _PAIRING, self._first_gone + _PAIRING_MOST)

    def is_ripe(self, now: float) -> bool:
        """Whether there is something, and no use in waiting."""
        return bool(self.paths) and (len(self._gone) <= len(self._come) or now >= self._ripe_at)


class _Pace:
    """The options of one look, which leaves off embedding after a while; `has_left_off` says that it did."""

    def __init__(self, options: IngestOptions) -> None:
        self._options = options
        self._embeds_since: float | None = None
        self.has_left_off = False

    def stop(self) -> bool:
        if self._embeds_since is not None and time.monotonic() > self._embeds_since + _EMBEDDING:
            self.has_left_off = True
        return self._options.stop() or self.has_left_off

    def embedded(self, progress: EmbedProgress) -> None:
        """The notes are stored, or nothing would be embedded yet."""
        self._embeds_since = self._embeds_since or time.monotonic()
        self._options.embed_progress(progress)


class _Follower:
    """What is still to be looked at, and when."""

    def __init__(
        self,
        knowledge: KnowledgeManager,
        root: Path,
        rescan: float,
        options: IngestOptions,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._knowledge = knowledge
        self._root = root
        self._rescan = rescan
        self._options = options
        self._is_stopped = is_stopped
        self._many = folder_events.most_at_once()
        self._is_polled = folder_events.is_polled()
        self._has_looked = False
        self._database: tuple[int, int] | None = None
        self._failures = 0
        self._restarts = 0
        self._is_whole = True
        self._whole_at = 0.0
        self._retry_at = 0.0
        self._deleted: dict[str, float] = {}
        self._withheld: frozenset[str] = frozenset()
        self._owed = _Owed()
        self._is_left_off = False

    def turns(self) -> Generator[Turn]:
        pause = 1.0
        while not self._is_stopped():
            try:
                root = vault.real_root(self._root)
                yield from self._watch(vault.layout(root))
                pause = 1.0
            except (VaultError, WatchError) as error:
                if not self._has_looked or isinstance(error, _RemovedError):
                    raise
                yield Turn(None, error=str(error))
                if isinstance(error, WatchError):  # nobody tells of changes: look at all of it
                    self._is_whole = True
                    yield self._look()
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._pause(pause)

    def _watch(self, layout: Layout) -> Iterator[Turn]:
        """Follow the folders of `layout` until they are others, or the whole is to be walked again."""
        self._is_whole = is_first = True
        with closing(folder_events.events(layout, self._is_stopped)) as events:
            for changes in events:
                self._is_whole = self._is_whole or self._is_polled
                is_outdated = self._take(changes, layout)
                if is_first:
                    # What was made between the walk and the watch was told to nobody.
                    is_outdated, is_first = is_outdated or vault.layout(self._root) != layout, False
                # Begun again before anything is looked at: half of a moved folder would be taken for gone. Yet where
                # folders change all the time a look is due, too.
                if is_outdated and (not self._is_whole or self._restarts < _MOST_RESTARTS):
                    self._restarts += 1
                    return
                if self._is_due():
                    yield self._look_again() if self._is_polled else self._look()
                if is_outdated or self._is_stopped() or (not self._is_whole and time.monotonic() >= self._whole_at):
                    return
        # The watch has ended by itself, and may do so each time: a look is due all the same, yet less and less often.
        self._restarts += 1
        if self._restarts > _MOST_RESTARTS and not self._is_stopped() and self._is_due():
            yield self._look_again()
        self._pause(min(self._restarts, _MOST_RESTARTS) * folder_events.QUIET / 1000)

    def _take(self, changes: set[FileChange], layout: Layout) -> bool:
        """Note which paths are to be looked at; whether the folders themselves have changed."""
        from watchfiles import Change

        if len(changes) >= self._many:
            return True
        is_outdated = False
        for change, path in changes:
            raw = path[len(layout.root) + 1 :]
            if raw == vault.IGNORE_FILE or (not raw and change == Change.deleted):
                return True
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - a str is what there is
                is_readable = os.access(path, os.R_OK | os.X_OK)
                is_new = change == Change.added or (
                    change == Change.modified and is_readable != (path in layout.folders)
                )
                is_outdated = is_outdated or (is_new and layout.enters(raw))
            elif vault.is_alias(path, layout.root):
                is_outdated = True
            elif layout.has_aliases:
                self._is_whole = True
            elif raw.endswith(vault.NOTE_SUFFIXES) or path in layout.folders:
                self._owed.add(path, decode_name(os.fsencode(raw)), is_new=change == Change.added)
        return is_outdated

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        return self._is_whole or self._owed.is_ripe(now) or (self._is_left_off and not self._owed.paths)

    def _look_again(self) -> Turn:
        had_looked, turn = self._has_looked, self._look()
        return replace(turn, is_routine=had_looked and not turn.error and not turn.has_found_something)

    def _look(self) -> Turn:
        database = _file(self._knowledge.folder.database)
        if database != self._database:  # put back from a backup: nobody knows what it has missed
            self._is_whole = True
        paths = None if self._is_whole else tuple(sorted(self._owed.paths | self._withheld))
        since = time.monotonic() - _LATELY
        self._deleted = {path: when for path, when in self._deleted.items() if when > since}
        pace = _Pace(self._options)
        options = replace(
            self._options,
            only=paths,
            gone_lately=len(self._deleted),
            stop=pace.stop,
            embed_progress=pace.embedded,
        )
        try:
            self._refuse_removed()
            report = self._knowledge.ingest(self._root, options=options)
        except NescordError as error:
            if isinstance(error, _RemovedError) or not (self._has_looked or is_transient(error)):
                raise
            self._failures += 1
            self._retry_at = time.monotonic() + min(2.0 ** min(self._failures, 10), _LONGEST_PAUSE)
            self._is_whole = self._is_whole or not is_transient(error)
            return Turn(paths, error=str(error))
        if report.interrupted:
            return Turn(paths, report)
        if paths is None:
            self._whole_at = time.monotonic() + self._rescan
            self._is_whole, self._restarts, self._database = False, 0, database
        self._has_looked, self._failures, self._owed = True, 0, _Owed()
        self._is_left_off = pace.has_left_off and report.pending > 0
        # Still known, and gone: a new file may yet turn out to be one of them under another name.
        self._withheld = frozenset(change.path for change in report.changes if change.what == "withheld")
        for change in report.changes:
            if change.what == "deleted":
                self._deleted[change.path] = time.monotonic()
            elif change.what in ("added", "revived", "renamed"):
                self._deleted.pop(change.path, None)
        return Turn(paths, report)

    def _refuse_removed(self) -> None:
        if self._has_looked and not any(source.root == str(self._root) for source in self._knowledge.sources()):
            raise _RemovedError(
                f"{self._root} is no vault of this knowledge base any more (nescord source list): watching it ends"
            )

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_stopped() and time.monotonic() < end:
            time.sleep(folder_events.QUIET / 1000)


class _RemovedError(VaultError):
    """The vault is none of the knowledge base's any more."""


def _file(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino
