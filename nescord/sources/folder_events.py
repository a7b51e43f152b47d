"""What changes in the folders of a vault, as the kernel tells it, batch by batch.

Each folder that the walk lists is watched by itself. Watching recursively would also watch `.git`, ignored folders and
whatever a link leads to, and would end at the first folder that cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nescord.errors import WatchError
from nescord.sources.vault import Layout

if TYPE_CHECKING:
    from watchfiles.main import FileChange

# In milliseconds. A batch ends when nothing more has changed for QUIET, at the latest after _LATEST: an editor's write,
# sync and rename are one. _TICK is how often we come back where nothing happens.
QUIET, _LATEST, _TICK = 200, 2000, 500
# How often the whole is walked where nothing tells of changes (network disks), unless WATCHFILES_POLL_DELAY_MS says so.
_POLL = 5000


def events(layout: Layout, is_stopped: Callable[[], bool]) -> Generator[set[FileChange]]:
    """What changes in the folders, batch by batch, and an empty set each _TICK. Ends where it has to be begun again.

    Raises:
        WatchError: the folders cannot be watched.
    """
    import watchfiles
    from watchfiles._rust_notify import WatchfilesRustInternalError

    if is_polled():
        yield from _ticks(is_stopped)
        return
    folders = sorted(folder for folder in layout.folders if _is_text(folder))
    try:
        yield from watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=_LATEST,
            step=QUIET,
            rust_timeout=_TICK,
            yield_on_timeout=True,
            stop_event=_Asked(is_stopped),
            force_polling=False,
            recursive=False,
            ignore_permission_denied=False,  # which would also hide that the limit is reached
        )
    except (FileNotFoundError, PermissionError):  # a folder that was there a moment ago
        return
    except (OSError, WatchfilesRustInternalError) as error:
        if "Unable to decode path" not in str(error):  # a file's name is not UTF-8: the walk will find it
            raise WatchError(_why_not(layout, len(folders), str(error))) from error


def is_polled() -> bool:
    """Whether WATCHFILES_FORCE_POLLING, or the system, says that nothing will tell of changes.

    The walk does it then. What watchfiles does itself compares times by the second: of two edits within one it misses
    the second.
    """
    from watchfiles.main import _default_force_polling

    return _default_force_polling(None)


def most_at_once() -> int:
    """From how many changes on the kernel's queue may have run over, which nobody is told of: a save is 4 to 8 events,
    and a full queue of them was a sixteenth of that in changes."""
    try:
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    except (OSError, ValueError):
        queue = 16_384
    return max(queue // 16, 16)


@dataclass(frozen=True, slots=True)
class _Asked:
    """`is_stopped` as watchfiles wants it."""

    is_set: Callable[[], bool]


def _ticks(is_stopped: Callable[[], bool]) -> Iterator[set[FileChange]]:
    from watchfiles.main import _default_poll_delay_ms

    pause = _default_poll_delay_ms(_POLL) / 1000
    while True:
        yield set()
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            if is_stopped():
                return
            time.sleep(min(left, QUIET / 1000))


def _why_not(layout: Layout, folders: int, reason: str) -> str:
    polled = "or have the folders polled instead (WATCHFILES_FORCE_POLLING=1)"
    if "watch limit reached" in reason:
        return (
            f"the {folders:,} folders of {layout.root} cannot be watched: all watches that a user may have are taken"
            f"{_limit('max_user_watches')}: raise fs.inotify.max_user_watches (sysctl; in a container on its host) "
            f"{polled}"
        )
    if "os error 24" in reason:
        return (
            f"{layout.root} cannot be watched: too many programs of this user watch files already"
            f"{_limit('max_user_instances')}: end some, raise fs.inotify.max_user_instances (sysctl; in a container on "
            f"its host) {polled}"
        )
    return f"{layout.root} cannot be watched: {reason}; mend that {polled}"


def _limit(name: str) -> str:
    try:
        return f" ({int(Path('/proc/sys/fs/inotify', name).read_text(encoding='ascii')):,})"
    except (OSError, ValueError):
        return ""


def _is_text(path: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in path)
