"""The way into the inbox: one thread that commits all interactions which wait at that moment in one transaction.

Of its own, so that slow searches never keep an acknowledgement waiting; together, since a commit is mostly waiting for
the disk, and 200 people at once must not wait for 200 of them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING

from nescord.errors import NescordError, is_transient

if TYPE_CHECKING:
    from nescord.inbox import Accepted, Inbox

_log = logging.getLogger(__name__)
# Between two attempts while another process has the store.
_REST_SECONDS = 0.1

_Waiting = tuple["Accepted", "Future[bool]"]


class Intake:
    """Commits rows to the inbox, and marks them done. `inbox` lends it; `close` ends the thread."""

    def __init__(self, inbox: Callable[[], Inbox]) -> None:
        self._inbox = inbox
        self._change = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._done: deque[str] = deque()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def accept(self, row: Accepted) -> Future[bool]:
        """Whether the row is new, as soon as it is on disk. Tried until it works; cancel the future to give it up.

        The future raises what can only be mended by somebody (a NescordError that does not pass).
        """
        future: Future[bool] = Future()
        with self._change:
            if self._is_closing:
                future.cancel()
            else:
                self._waiting.append((row, future))
                self._change.notify()
        return future

    def done(self, request_id: str) -> None:
        """Mark it done, after what waits to be accepted. If the process ends before, the next one does it again."""
        with self._change:
            self._done.append(request_id)
            self._change.notify()

    def close(self, patience: float = 5.0) -> None:
        """Give up what is not accepted, mark what is done, and end; after so many seconds in any case."""
        with self._change:
            self._is_closing = True
            for _, future in self._waiting:
                future.cancel()
            self._change.notify()
        self._thread.join(patience)

    def _run(self) -> None:
        while True:
            with self._change:
                while not (self._waiting or self._done or self._is_closing):
                    self._change.wait()
                rows, self._waiting = self._waiting, []
                done = list(self._done)
                self._done.clear()
                if not rows and not done:
                    return
            # The outermost loop of a thread that everything depends on.
            try:
                # First what somebody waits for. What is done comes between, or with many people it would never.
                is_held = not self._commit(rows)
                if is_held:
                    self._done.extendleft(reversed(done))
                elif done:
                    is_held = not self._finish(done)
            except Exception as error:
                is_held = False
                _log.exception("the inbox cannot be written to")
                _fail(rows, error)
            if is_held:
                with self._change:
                    if self._is_closing:
                        return
                    # Woken early by whoever comes: that costs an attempt and delays nobody.
                    self._change.wait(_REST_SECONDS)

    def _commit(self, rows: Sequence[_Waiting]) -> bool:
        """False if the store is held: they wait on."""
        rows = [row for row in rows if not row[1].cancelled()]
        if not rows:
            return True
        try:
            kept = self._inbox().accept([row for row, _ in rows])
        except NescordError as error:
            if is_transient(error):
                with self._change:
                    self._waiting = [*rows, *self._waiting]
                return False
            if len(rows) > 1:
                # One of them may be to blame, and it must not take the others with it.
                for one in rows:
                    self._commit([one])
                return True
            _fail(rows, error)
            return True
        for (row, future), is_new in zip(rows, kept, strict=True):
            try:
                future.set_result(is_new)
            except InvalidStateError:
                # It was given up while it was being committed, so nobody will say that it is done.
                self.done(row.id)
        return True

    def _finish(self, request_ids: Sequence[str]) -> bool:
        """Mark them done in one transaction. False if the store is held: they wait on."""
        try:
            self._inbox().done(*request_ids)
        except NescordError as error:
            if is_transient(error):
                self._done.extendleft(reversed(request_ids))
                return False
            ids = ", ".join(request_ids)
            _log.error("inbox: %s cannot be marked done (%s): the next start does it again", ids, error)
        return True


def _fail(rows: Sequence[_Waiting], error: Exception) -> None:
    for _, future in rows:
        if not future.done():
            try:
                future.set_exception(error)
            except InvalidStateError:
                continue
