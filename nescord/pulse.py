"""A sign of life through a pipe: a byte every few seconds from a child whose end must not hang on a disk or a network.

What a child answers, or writes down, may be late for reasons that a new life of it mends no more than waiting does.
That its loop goes round is its own business, and this tells nothing but that.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

# Longer than a busy machine keeps a loop from going round, shorter than the supervisor waits for one that hangs.
_FRESH = 30.0
_READ = 4096


class Pulse:
    """The parent's end. `writing` is the descriptor for the child."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        for fd in (self._reading, self.writing):
            os.set_blocking(fd, False)
        self._felt: float | None = None

    async def is_felt(self) -> bool:
        """Whether the child gave a sign of life lately."""
        with suppress(BlockingIOError):
            while os.read(self._reading, _READ):
                self._felt = time.monotonic()
        return self._felt is not None and time.monotonic() - self._felt < _FRESH

    def hand_over(self) -> None:
        """The child has its end: ours of it is closed."""
        os.close(self.writing)

    def close(self) -> None:
        """The child is gone."""
        os.close(self._reading)


def beat(writing: int) -> None:
    """The child's sign of life. Whether anybody feels it is not for the child to care about."""
    with suppress(OSError):  # it is full, or nobody reads any more
        os.write(writing, b".")
