"""What the bot says about itself: one stream, no secret on it and nothing that people wrote.

discord.py logs interaction tokens and whole messages at DEBUG, and addresses with tokens in them above that. So its
loggers never go below INFO, and whatever comes out of the handler, tracebacks included, goes through the redactor.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from nescord.logs import Redact

QUIETED = ("discord", "aiohttp", "asyncio", "httpx", "httpcore")
_PLAIN = "%(levelname)s %(name)s: %(message)s"


class RedactingFormatter(logging.Formatter):
    """Formats a record, with its traceback, without secrets."""

    def __init__(self, form: str, redact: Redact) -> None:
        super().__init__(form)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


class _InOneLine(logging.Filter):
    """An outage is told in a line for each attempt, not by the traceback of discord.py's reconnect."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and str(record.msg).startswith("Attempting a reconnect"):
            error = record.exc_info[1]
            record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}: {error}", None
            record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
        return True


def begin(redact: Redact, *, with_time: bool, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """From now on everything that is logged goes to `stream` (stderr), and nowhere else.

    `with_time` is for who runs the bot by hand; `nescord up` puts the time to each line itself.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter(f"%(asctime)s {_PLAIN}" if with_time else _PLAIN, redact))
    handler.addFilter(_InOneLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIETED:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    # Every address that is asked, with the token in it, at INFO.
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
