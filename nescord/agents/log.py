"""What the server logs: on stderr, no secret, and nothing that a note says.

What an exception says may quote a note (one of pydantic does), so of those only the kind and the place are told.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable


def begin(redact: Callable[[str], str]) -> None:
    """From now on whatever is logged goes to stderr, and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("nescord: %(levelname)s %(name)s: %(message)s", redact))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("nescord").setLevel(logging.INFO)
    # A line for every request that is under way at the end says no more than the end.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def place_of(error: BaseException) -> str:
    """The kind of an error and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames[-3:]))
    return f"{type(error).__name__} at {place}" if place else type(error).__name__


class _Formatter(logging.Formatter):
    def __init__(self, form: str, redact: Callable[[str], str]) -> None:
        super().__init__(form)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        # Formatted before by another handler, it would be with what the exception says.
        record.exc_text = None
        return self._redact(super().format(record))

    def formatException(self, ei: object) -> str:  # noqa: N802  # as logging has it
        error = ei[1] if isinstance(ei, tuple) else None
        return place_of(error) if isinstance(error, BaseException) else ""
