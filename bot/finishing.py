"""Doing what was accepted, and answering it: by the process that accepted it, or by the next one.

What keeps a note is tried until it is kept. Everything else is tried once, and what failed is said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from bot.intake import Intake
from bot.knowledge import Base
from bot.registry import Handler, handler_of
from bot.render import Reply, ReplyFile
from bot.request import Language, Request
from bot.showing import Shower
from bot.trouble import told
from bot.visit import Visit
from nescord.errors import NescordError, QuotaError, is_transient

if TYPE_CHECKING:
    from nescord.inbox import Accepted
    from nescord.quotas import QuotaLeft

_log = logging.getLogger(__name__)

_FIRST_REST, _LONGEST_REST = 0.5, 15.0
_RESUMED_AT_ONCE = 4
_LEFT = {
    "searches": "frame.left_searches",
    "answers": "frame.left_answers",
    "notes": "frame.left_notes",
    "flows": "frame.left_flows",
}


class Finisher:
    """Finishes requests. `closing` is set when the process is about to end; the next one does what is left."""

    def __init__(
        self, base: Base, intake: Intake, shower: Shower, *, threads: Executor, closing: asyncio.Event
    ) -> None:
        self._base = base
        self._intake = intake
        self._shower = shower
        self._threads = threads
        self._closing = closing

    async def finish(self, handler: Handler, request: Request, *, is_resumed: bool = False) -> None:
        """Do it, answer it, mark it done. What is resumed is not counted again."""
        show = partial(self._progress, request)
        visit = Visit(request, self._base, request.language, threads=self._threads, show=show)
        try:
            visit.language = await self.language(request, self._threads) or visit.language
            reply = await self._reply(handler, visit, is_counted=not is_resumed)
            if reply is None:
                return
            await self._shower.show(request, reply)
        except Exception as error:  # whatever it is, the person is told, and the others are answered
            answer = told(error, visit.text, kind=request.kind, interaction=request.id)
            if handler.is_capture and (typed := request.string("text")):
                answer = replace(answer, files=[ReplyFile("note.md", typed.encode("utf-8", "replace"))])
            # A message that a button is on is not replaced by what went wrong.
            await (self._shower.aside if handler.updates else self._shower.show)(request, answer)
        self._intake.done(request.id)

    async def language(self, request: Request, threads: Executor) -> Language:
        """What the person has chosen; else what their Discord speaks, if we do; else what the guild has chosen."""
        preferences = self._base.preferences

        def chosen() -> Language:
            own = preferences.get(request.who).language or request.language
            return own or (preferences.get(request.guild_space).language if request.guild_space else "")

        try:
            return await asyncio.get_running_loop().run_in_executor(threads, chosen)
        except NescordError as error:
            _log.info("the language of %s cannot be looked up: %s", request.id, error)
            return request.language

    async def resume(self, is_ours: Callable[[str], bool]) -> None:
        """Finish what the inbox holds; `is_ours` tells of an interaction that this process has accepted itself."""
        pending = await self._pending()
        now = datetime.now(UTC)
        at_once = asyncio.Semaphore(_RESUMED_AT_ONCE)
        wanted: list[Awaitable[None]] = []
        for row in pending:
            handler = handler_of(row.kind)
            if is_ours(row.id):
                continue
            if handler is None:
                _log.error("inbox: nobody answers %s any more: %s is dropped", row.kind, row.id)
                self._intake.done(row.id)
            elif handler.is_capture or row.expires_at > now:
                wanted.append(self._resumed(row, handler, at_once))
            else:
                self._intake.done(row.id)
        if wanted:
            _log.info("%d interactions were accepted before the start and are finished now", len(wanted))
        for outcome in await asyncio.gather(*wanted, return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.error("inbox: one of what was accepted before stays", exc_info=outcome)

    async def _resumed(self, row: Accepted, handler: Handler, at_once: asyncio.Semaphore) -> None:
        try:
            request = Request.of_accepted(row)
        except (TypeError, KeyError) as error:
            _log.error("inbox: %s is of another version and stays: %s", row.id, error)
            return
        async with at_once:
            if not self._closing.is_set():
                await self.finish(handler, request, is_resumed=True)

    async def _pending(self) -> list[Accepted]:
        rest = _FIRST_REST
        while not self._closing.is_set():
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, lambda: self._base.inbox.pending()
                )
            except NescordError as error:
                if not is_transient(error):
                    raise
                rest = await self._rest(rest)
        return []

    async def _reply(self, handler: Handler, visit: Visit, *, is_counted: bool) -> Reply | None:
        """The answer; None if the process ends before there is one. Raises what the person must be told."""
        rest = _FIRST_REST
        left: QuotaLeft | None = None
        is_told = False
        while True:
            try:
                if is_counted and handler.quota and left is None:
                    left = await visit.call(self._base.quotas.take, handler.quota, visit.who, visit.guild_space)
                return self._with_rest(await handler.function(visit), handler, visit, left)
            except NescordError as error:
                if not handler.is_capture or isinstance(error, QuotaError) or not is_transient(error):
                    raise
                _log.warning("%s by %s is tried again: %s", handler.kind, visit.request.id, error)
            if not is_told:
                is_told = True
                await self._progress(visit.request, Reply(body=visit.text("frame.not_kept_yet")))
            if self._closing.is_set():
                return None
            rest = await self._rest(rest)

    def _with_rest(self, reply: Reply, handler: Handler, visit: Visit, left: QuotaLeft | None) -> Reply:
        """The answer with how often the person may ask again."""
        if left is None or visit.is_owner:
            return reply
        most = left.person if left.guild is None else min(left.person, left.guild)
        line = visit.text(_LEFT[handler.quota], left=max(0, most))
        return replace(reply, footer=f"{reply.footer} · {line}" if reply.footer else line)

    async def _progress(self, request: Request, reply: Reply) -> None:
        await self._shower.show(request, reply)

    async def _rest(self, seconds: float) -> float:
        """Wait so long, or until the process ends. The time to wait next."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return min(seconds * 2, _LONGEST_REST)
