"""One at a time, in turn: for a model that two threads must not use at once, and that none should wait long for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
