"""Verbs block, and the protocol must not: a few threads do them, and so many calls may wait and no more.

A call that is cancelled ends at once for who has made it. If its verb has begun, the thread goes on to the verb's end
(no transaction is torn), is told that nobody waits, and takes up its place until then: a hundred cancelled calls are
still a few threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from nescord.agents.log import place_of
from nescord.errors import NescordError, ServiceUnavailableError

T = TypeVar("T")
Stop = Callable[[], bool]

_THREADS = 4
_MOST = 256
_log = logging.getLogger(__name__)


class AbandonedError(NescordError):
    """Nobody waits for this answer any more."""


class Pool:
    """Threads for verbs."""

    def __init__(self, threads: int = _THREADS, most: int = _MOST) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="verb")
        self._most = most
        self._under_way: set[Future[object]] = set()
        self._lock = threading.Lock()

    async def run(self, verb: Callable[[Stop], T]) -> T:
        """What the verb returns; it may ask its argument whether anybody still waits.

        Raises:
            ServiceUnavailableError: too many calls wait already. Whatever the verb raises.
        """
        abandoned = threading.Event()
        future = self._begun(lambda: verb(abandoned.is_set))
        if future is None:
            raise ServiceUnavailableError(f"{self._most} calls wait already: ask again when some are answered")
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            abandoned.set()
            raise

    def later(self, work: Callable[[], None]) -> None:
        """Do it when there is time; not at all, where too much waits or the server ends before."""
        if self._begun(lambda: _logged(work)) is None:
            _log.info("something that can wait for the next ingest is left to it: too many calls wait")

    def close(self, patience: float) -> bool:
        """Begin nothing more and wait for what has begun, but not for long; whether all of it has ended."""
        with self._lock:
            under_way = set(self._under_way)
        self._executor.shutdown(wait=False, cancel_futures=True)
        return not wait(under_way, patience).not_done

    def _begun(self, work: Callable[[], T]) -> Future[T] | None:
        with self._lock:
            if len(self._under_way) >= self._most:
                return None
            future = self._executor.submit(work)
            self._under_way.add(future)  # type: ignore[arg-type]  # a Future is invariant, and here only counted
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[T]) -> None:
        with self._lock:
            self._under_way.discard(future)
        try:
            error = future.exception()
        except CancelledError:
            return
        if error is not None and not isinstance(error, Exception):
            _log.error("a thread ended with %s", type(error).__name__)


def _logged(work: Callable[[], None]) -> None:
    """Nobody asks what became of it."""
    try:
        work()
    except Exception as error:
        _log.error("something that was done later failed: %s", place_of(error))
