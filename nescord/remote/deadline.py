"""A limit to a call as a clock on the wall sees it. The libraries' own time-outs begin anew with each byte that comes.

A call that has not ended by then is left to its thread, which ends with its connection: no library can break one off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

from nescord.remote import failures

Result = TypeVar("Result")
Piece = TypeVar("Piece")
# The libraries' own time-outs come first: they know whether anything was sent.
_GRACE = 0.5


def within(seconds: float, model: str, ask: Callable[[], Result]) -> Result:
    """The result of `ask`, which is called in a thread of its own.

    Raises:
        RemoteError: it took longer. What `ask` raises.
    """
    return next(pieces_within(seconds, model, (ask() for _ in range(1))))


def pieces_within(seconds: float, model: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces of a stream, which is read in a thread of its own: who takes them slowly is not hurried.

    Raises:
        RemoteError: the stream took longer. What the stream raises.
    """
    came: SimpleQueue[tuple[Piece] | BaseException | None] = SimpleQueue()
    is_left = threading.Event()

    def read() -> None:
        try:
            for piece in pieces:
                came.put((piece,))
                if is_left.is_set():
                    break
            came.put(None)
        except BaseException as error:  # it is raised where the pieces are taken
            came.put(error)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    ends_at = time.monotonic() + seconds + _GRACE
    threading.Thread(target=read, name=f"asking {model}", daemon=True).start()
    try:
        while True:
            try:
                # What has come by then is given, however late it is asked for.
                piece = came.get(timeout=max(0.0, ends_at - time.monotonic()))
            except Empty:
                raise failures.too_slow(model, seconds) from None
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece[0]
    finally:
        is_left.set()
