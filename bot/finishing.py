"""Doing what was accepted, and answering it: by the process that accepted it, or by the next one.

What keeps a note is tried until it is kept. Everything else is tried once, and what failed is said. Keeping needs no
Discord, so it does not wait for the login; answering does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
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
from bot.turns import Places
from bot.visit import Visit
from nescord.errors import NescordError, QuotaError, is_transient

if TYPE_CHECKING:
    from nescord.inbox import Accepted
    from nescord.quotas import QuotaLeft

_log = logging.getLogger(__name__)

_FIRST_REST, _LONGEST_REST = 0.5, 15.0
_LOGIN_LOOKED_AT = 0.5
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
        self._places = Places()
        self._resuming = asyncio.Semaphore(_RESUMED_AT_ONCE)
        self._to_keep: set[str] = set()
        self._has_kept = asyncio.Event()

    def close(self) -> None:
        """Begin nothing more in the threads that are its own."""
        self._places.close()

    async def finish(self, handler: Handler, request: Request, *, is_resumed: bool = False) -> None:
        """Do it, answer it, mark it done. What is resumed is not counted again."""
        is_asking = handler.quota == "answers"
        visit = Visit(
            request,
            self._base,
            request.language,
            threads=self._places.answer_threads if is_asking else self._threads,
            show=partial(self._shower.hint, request),
            places=self._places,
        )
        turn: AbstractAsyncContextManager[object] = nullcontext()
        if is_asking:
            turn = visit.asking_a_model()
        elif is_resumed:
            turn = self._resuming
        try:
            if await self._answered(handler, visit, turn, is_counted=not is_resumed):
                self._intake.done(request.id)
        finally:
            self._kept(request.id)
            await visit.over()

    async def _answered(
        self, handler: Handler, visit: Visit, turn: AbstractAsyncContextManager[object], *, is_counted: bool
    ) -> bool:
        """False if the process ends before: the next one is to answer."""
        request = visit.request
        try:
            async with turn:
                visit.language = await self.language(request, self._threads) or visit.language
                # Who had to wait for their turn may have waited for the end.
                has_to_end = handler.quota == "answers" and self._closing.is_set()
                reply = None if has_to_end else await self._reply(handler, visit, is_counted=is_counted)
            self._kept(request.id)
            if reply is None or not await self._logged_in(request):
                return False
            await self._shower.show(request, reply, visit.text, updates=handler.updates)
        except Exception as error:  # whatever it is, the person is told, and the others are answered
            self._kept(request.id)
            answer = told(error, visit.text, kind=request.kind, interaction=request.id)
            if handler.is_capture:
                answer = with_text(answer, request)
            if not await self._logged_in(request):
                return False
            # A message that a button is on is not replaced by what went wrong.
            await (self._shower.aside if handler.updates else self._shower.show)(request, answer, visit.text)
        return True

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

    async def has_kept(self, seconds: float) -> None:
        """Wait until `resume` has kept what can be kept without Discord; so many seconds at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_kept.wait(), seconds)

    async def resume(self, is_ours: Callable[[str], bool]) -> None:
        """Finish what the inbox holds; `is_ours` tells of an interaction that this process has accepted itself.

        What can be kept without Discord is kept at once; the rest is done, and all of it answered, after the login.
        """
        try:
            pending = await self._pending()
        except BaseException:
            self._has_kept.set()
            raise
        now = datetime.now(UTC)
        wanted: list[Awaitable[None]] = []
        for row in pending:
            handler = handler_of(row.kind)
            if is_ours(row.id):
                continue
            if handler is None:
                _log.error("inbox: nobody answers %s any more: %s is dropped", row.kind, row.id)
                self._intake.done(row.id)
            elif handler.is_capture or row.expires_at > now:
                if handler.is_capture and not _has_files(row):
                    self._to_keep.add(row.id)
                wanted.append(self._resumed(row, handler))
            else:
                self._intake.done(row.id)
        self._kept("")
        if wanted:
            _log.info("%d interactions were accepted before the start and are finished now", len(wanted))
        for outcome in await asyncio.gather(*wanted, return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.error("inbox: one of what was accepted before stays", exc_info=outcome)

    async def _resumed(self, row: Accepted, handler: Handler) -> None:
        try:
            request = Request.of_accepted(row)
        except (TypeError, KeyError) as error:
            self._kept(row.id)
            _log.error("inbox: %s is of another version and stays: %s", row.id, error)
            return
        if row.id not in self._to_keep and not await self._logged_in(request):
            return
        if not handler.is_capture and request.seconds_left <= 0:
            self._intake.done(row.id)
        elif not self._closing.is_set():
            await self.finish(handler, request, is_resumed=True)

    def _kept(self, request_id: str) -> None:
        """That one is kept, or cannot be: nobody need wait for it."""
        self._to_keep.discard(request_id)
        if not self._to_keep:
            self._has_kept.set()

    async def _logged_in(self, request: Request) -> bool:
        """Wait for the login for as long as an answer can be given. False if the process ends before."""
        while not self._shower.is_logged_in and request.seconds_left > 0:
            if self._closing.is_set():
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _LOGIN_LOOKED_AT)
        return True

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
                await visit.progress(Reply(body=visit.text("frame.not_kept_yet")))
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

    async def _rest(self, seconds: float) -> float:
        """Wait so long, or until the process ends. The time to wait next."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return min(seconds * 2, _LONGEST_REST)


def with_text(reply: Reply, request: Request) -> Reply:
    """With what somebody has typed as a file, where it would be nowhere else."""
    typed = request.string("text")
    if not typed:
        return reply
    return replace(reply, files=[*reply.files, ReplyFile("note.md", typed.encode("utf-8", "replace"))])


def _has_files(row: Accepted) -> bool:
    """Whether there are files to be fetched, which lie with Discord."""
    options = row.payload.get("options")
    return isinstance(options, dict) and bool(options.get("file") or options.get("files"))
