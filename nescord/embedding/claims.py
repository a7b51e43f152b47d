"""Which texts are being embedded at this moment, by whatever process: what one pays for no other asks for meanwhile.

A claim is a lock on one byte of a file, whose place is a hash of the text and the model. The locks are those of an open
file (fcntl(2), "Open file description locks"): they end with their process, and threads of one process have each
their own.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

# Longer than a request takes with all its attempts. A text that is paid for twice is better than one that is never
# embedded.
_PATIENCE = 120.0
_PAUSE = 0.05
_IS_TAKEN = (BlockingIOError, PermissionError)  # EAGAIN, EACCES


@contextmanager
def claimed(file: Path, model: str, texts: Iterable[bytes]) -> Iterator[None]:
    """Claim the texts, by their hashes, for the length of the block; waits for whoever has one of them at hand.

    Whoever has waited looks again at what is still missing. Without claims where there are no such locks (macOS), or
    the file cannot be had.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + _PATIENCE
        # In one order, or two who claim the same texts would wait for each other.
        for place in sorted({_place(model, text) for text in texts}):
            if not _is_taken(descriptor, place, deadline):
                break
        yield
    finally:
        os.close(descriptor)


def _place(model: str, text: bytes) -> int:
    return int.from_bytes(blake2b(model.encode() + b"\0" + text, digest_size=7).digest())


def _is_taken(descriptor: int, place: int, deadline: float) -> bool:
    """Take one claim; False: it cannot be had."""
    command = getattr(fcntl, "F_OFD_SETLK", None)
    if command is None:
        return False
    wish = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    while True:
        try:
            fcntl.fcntl(descriptor, command, wish)
        except _IS_TAKEN:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        except OSError:  # a disk that knows no locks
            return False
        else:
            return True
