"""Turns for what there is little of: models' answers and files in memory. So many at once, and of each person one.

Why of each person one: thirty questions of one person are thirty turns, and whoever asks one waits for one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

# A turn with a model takes up to a minute, nearly all of it waiting.
ANSWERS_AT_ONCE = 4
# The files of one note are 25 MiB at most, and are there twice while they are written or sent.
_FILES_AT_ONCE = 2


class Turns:
    """Lets `at_once` do something; the others wait: people in the order they came, each with the first they want."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._people: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, who: str, seconds: float | None = None) -> AsyncIterator[None]:
        """The turn of a person, for the length of the block.

        Raises:
            TimeoutError: it does not come within so many seconds.
        """
        own = self._people.get(who)
        if own is None:
            own = self._people[who] = asyncio.Lock()
        async with AsyncExitStack() as held:
            async with asyncio.timeout(seconds):
                await held.enter_async_context(own)
                await held.enter_async_context(self._places)
            yield


class Places:
    """All turns there are in one process; of one event loop."""

    def __init__(self) -> None:
        self.answering = Turns(ANSWERS_AT_ONCE)
        # Of their own, so that what cannot be sent for minutes keeps nothing from being kept.
        self.keeping_files = Turns(_FILES_AT_ONCE)
        self.sending_files = Turns(_FILES_AT_ONCE)
        # Of their own: the connection of each thread that has read or written large files keeps 16 MB of them.
        self.file_threads = ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="file")
        # Of their own, so that nobody's search or note stands behind what waits for a model.
        self.answer_threads = ThreadPoolExecutor(ANSWERS_AT_ONCE, thread_name_prefix="answer")

    def close(self) -> None:
        """Begin nothing more."""
        for threads in (self.file_threads, self.answer_threads):
            threads.shutdown(wait=False, cancel_futures=True)
