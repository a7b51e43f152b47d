"""The life of the server: from the command line to the last answer, until its client leaves or it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import version

import anyio

from nescord.agents import log
from nescord.agents.desk import Desk
from nescord.agents.pool import Pool
from nescord.agents.quoting import Cleaner
from nescord.agents.server import AgentServer
from nescord.agents.view import View
from nescord.agents.wire import connection, standard_streams
from nescord.errors import UsageError
from nescord.redaction import Redactor, secrets_of
from nescord.settings import Settings

# A verb that has begun may end: a capture takes milliseconds. Clients kill what has not ended after two seconds.
_LAST_WORK = 0.6
_log = logging.getLogger(__name__)


def serve(settings: Settings, spaces: frozenset[str] | None, *, can_capture: bool) -> None:
    """Serve one client on stdin and stdout until it closes them, or SIGTERM, SIGINT or SIGHUP.

    Raises:
        UsageError: one of the standard streams is closed. NescordError: there is no knowledge base, or it cannot be
            opened.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        # The database, or whatever is opened next, would get its number.
        raise UsageError("stdin, stdout and stderr must be open: an agent starts this command, and speaks to it there")
    redact = Redactor(secrets_of(settings))
    log.begin(redact)
    view = View.open(settings, spaces)
    desk = Desk(view, Cleaner(settings.mask == "on"), can_capture, version("nescordbot"))
    pool = Pool()
    seen = "every space" if spaces is None else ", ".join(sorted(spaces))
    _log.info("serving %s of %s; capture %s", seen, view.folder, "allowed" if can_capture else "not allowed")
    if sys.stdin.isatty():
        _log.info("waiting for an agent, which starts this command itself (docs/agents.md); Ctrl-C ends it")
    with standard_streams() as (reading, writing):
        asyncio.run(_live(AgentServer(desk, pool, redact), reading, writing))
    if not pool.close(_LAST_WORK):
        # A verb that waits for a model elsewhere. Nothing can stop its thread, Python would wait for it, and closing
        # the database under it is no better than what it is made for: the end of a process.
        _log.info("ended while a verb was under way")
        sys.stderr.flush()
        os._exit(0)
    view.close()


async def _live(server: AgentServer, reading: int, writing: int) -> None:
    serving = asyncio.create_task(_served(server, reading, writing))
    with _signals(serving), contextlib.suppress(asyncio.CancelledError):
        try:
            await serving
        except BaseExceptionGroup as errors:
            # What is told to stop while a message is passed on finds nobody at the other end.
            _, others = errors.split((anyio.BrokenResourceError, anyio.ClosedResourceError))
            if others is not None or not serving.cancelling():
                raise


async def _served(server: AgentServer, reading: int, writing: int) -> None:
    protocol = server.protocol()
    async with connection(reading, writing) as (incoming, outgoing):
        await protocol.run(incoming, outgoing, protocol.create_initialization_options())


@contextlib.contextmanager
def _signals(serving: asyncio.Task[None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, serving.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
