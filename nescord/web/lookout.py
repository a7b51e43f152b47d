"""Looks that are made in a thread of their own, remembered for a while, and waited for only so long.

A disk that hangs, or a server that does not answer, then holds up nobody who asks, and many who ask at once cause one
look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lookout(Generic[T]):
    """What `look` found last. Always the same thread looks: it may keep a connection."""

    def __init__(self, name: str, look: Callable[[], T], *, keep: float, patience: float) -> None:
        """What was found counts for `keep` seconds; a look is waited for until `patience` seconds after it was begun.

        So one that hangs costs whoever asked first that time, and nobody later.
        """
        self._name = name
        self._look = look
        self._keep = keep
        self._patience = patience
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_wanted = False
        self._found: T | None = None
        self._at = self._begun = float("-inf")

    def latest(self) -> T | None:
        """What was found; None when no look has come to an end in time."""
        with self._changed:
            young = time.monotonic() - self._keep
            if self._at < young:
                self._want()
                left = self._begun + self._patience - time.monotonic()
                self._changed.wait_for(lambda: self._at >= young, max(left, 0))
            return self._found if self._at >= young else None

    def _want(self) -> None:
        is_alive = self._thread is not None and self._thread.is_alive()
        if not (self._is_wanted and is_alive):
            self._is_wanted, self._begun = True, time.monotonic()
        # A look that raises is a bug: its thread ends with a traceback, and the next who asks begins another.
        if not is_alive:
            self._thread = threading.Thread(target=self._watch, name=self._name, daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted)
            found = self._look()
            with self._changed:
                self._found, self._at, self._is_wanted = found, time.monotonic(), False
                self._changed.notify_all()
