"""Threads that want the same: one at a time and in turn, or one for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, TypeVar

from nescord.errors import NescordError

Found = TypeVar("Found")


class OneByOne:
    """A lock in turns: who waits at the door is next, however fast the one inside comes back."""

    def __init__(self) -> None:
        self._door = threading.Lock()
        self._inside = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        with self._door:
            self._inside.acquire()
        try:
            yield
        finally:
            self._inside.release()


class OnceForAll(Generic[Found]):
    """What one thread asks for already, others wait for instead of asking, and paying, as well.

    With `is_error_shared` they fail with it; without, what it could not get they ask for themselves.
    """

    def __init__(self, *, is_error_shared: bool) -> None:
        self._is_error_shared = is_error_shared
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Found]] = {}

    def find(self, wanted: Sequence[str], ask: Callable[[list[str]], Sequence[Found]]) -> list[Found]:
        """What was found for each; `ask` gives one for each that it is asked for. Raises as `ask`."""
        with self._lock:
            theirs = {one: self._under_way[one] for one in wanted if one in self._under_way}
            mine: dict[str, Future[Found]] = {one: Future() for one in wanted if one not in theirs}
            self._under_way |= mine
        found: dict[str, Found] = {}
        try:
            # Own work first: whoever waits for another has nothing left that the other may wait for.
            found |= zip(mine, ask(list(mine)) if mine else (), strict=True)
        except BaseException as error:
            self._end(mine)
            for future in mine.values():
                future.set_exception(error)
            raise
        self._end(mine)
        for one, future in mine.items():
            future.set_result(found[one])
        failed: list[str] = []
        for one, future in theirs.items():
            problem = future.exception()
            if problem is None:
                found[one] = future.result()
            elif self._is_error_shared and isinstance(problem, NescordError):
                raise problem
            else:
                failed.append(one)
        if failed:
            found |= zip(failed, self.find(failed, ask), strict=True)
        return [found[one] for one in wanted]

    def _end(self, mine: Iterable[str]) -> None:
        with self._lock:
            for one in mine:
                del self._under_way[one]
