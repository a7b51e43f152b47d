"""Triggers that come at once are answered by one run: who finds a run of the same vault going lets it look again.

A vault has a lock file, held by the run that follows it, and beside it a mark that asks for a look. The mark is set
before the lock is tried, taken away before anything is looked at, and looked for after the lock was given back:
whichever of two processes is the later one sees what the other did, so no wish is lost. Killed, a run leaves the mark,
and the next one takes it.

The lock only saves work. What protects the database is ingest.lock, which each step takes; who holds that for something
else (a rebuild, another vault, the command line) is waited for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from pathlib import Path

from nescord import durable
from nescord.locks import held_at_once

# A vault that changes all the time must not keep one run going for ever. The mark stays then for the next run.
MOST_TURNS = 10


def turns(run: Path, what: str, *, most: int = MOST_TURNS) -> Generator[int]:
    """Yield for each time that `what` is to be done here: never, when a run that is under way does it after us.

    A generator that holds a lock while its caller works: close it (`contextlib.closing`).
    """
    durable.make_folder(run)
    key = hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock, mark = run / f"turn-{key}.lock", run / f"turn-{key}.again"
    mark.touch(mode=0o600)  # not synced: after a power cut no run is under way, and the next one looks at everything
    for turn in range(most):
        with held_at_once(lock) as is_ours:
            if not is_ours:
                return
            mark.unlink(missing_ok=True)
            yield turn
        if not mark.exists():
            return
