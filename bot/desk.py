"""The desk: what is asked of the bot is taken down, acknowledged, done and answered here, in that order.

Why the order: whoever saw the acknowledgement of a note finds the note, even if this process is killed in between:
the next one finishes what lies in the inbox (`resume`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import discord

from bot import modals
from bot.finishing import Finisher, with_text
from bot.intake import Intake
from bot.knowledge import Base
from bot.registry import Handler, Opener, handler_of, opener_of
from bot.render import Choice, Modal, Reply, choices
from bot.request import JSON, AnyInteraction, Language, Request
from bot.showing import Shower, acknowledged, new_message
from bot.texts import text
from bot.trouble import told
from bot.visit import Visit

_log = logging.getLogger(__name__)

# Discord waits three seconds for an acknowledgement; the way there and back takes a part of them.
_PATIENCE = 1.5
_QUICK = 2.0
# A second delivery comes with a RESUME, minutes later at most.
_REMEMBERED = 10_000


class Desk:
    """Answers interactions. One for a client; `close` it before the knowledge base."""

    def __init__(self, base: Base, client: discord.Client) -> None:
        self.base = base
        self._shower = Shower(client)
        self._intake = Intake(lambda: base.inbox)
        self._work = ThreadPoolExecutor(8, thread_name_prefix="work")
        # Of their own, so that what must be there in two seconds does not stand behind searches.
        self._quick = ThreadPoolExecutor(4, thread_name_prefix="quick")
        self._seen: dict[str, None] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Event()
        self._finisher = Finisher(base, self._intake, self._shower, threads=self._work, closing=self._closing)

    async def accept(
        self, interaction: AnyInteraction, kind: str, options: Mapping[str, JSON], *, is_shared: bool = False
    ) -> None:
        """Take it down, acknowledge, do and answer it: by the `@handles` function of that kind. Never raises."""
        if not self._is_new(interaction):
            return
        handler = handler_of(kind)
        if handler is not None and handler.updates and interaction.message is not None:
            # The answer takes the place of that message, whoever sees it.
            is_shared = not interaction.message.flags.ephemeral
        request = Request.of(interaction, kind, options, is_shared=is_shared)
        if handler is None:
            unknown = Reply(body=text("frame.unknown", request.language))
            await self._respond(interaction, request, with_text(unknown, request))
        elif await self._may(interaction, request, handler):
            await self._under_way(
                partial(self._accept, interaction, handler, request), f"{kind} of interaction {request.id}"
            )

    async def click(self, interaction: AnyInteraction, action: str, opaque: str, more: str) -> None:
        """A button: the modal that `@opens("button.<action>")` makes, else the answer of `@handles("button.<action>")`
        with the options `id` and `more`. Never raises."""
        kind = f"button.{action}"
        options: dict[str, JSON] = {"id": opaque, "more": more}
        if opener_of(kind):
            await self.open(interaction, kind, options)
        else:
            await self.accept(interaction, kind, options)

    async def open(
        self, interaction: AnyInteraction, kind: str, options: Mapping[str, JSON], *, is_shared: bool = False
    ) -> None:
        """Show the modal that the `@opens` function of that kind makes. Nothing is taken down. Never raises."""
        if not self._is_new(interaction):
            return
        opener = opener_of(kind)
        request = Request.of(interaction, kind, options, is_shared=is_shared)
        if opener is None:
            await self._respond(interaction, request, Reply(body=text("frame.unknown", request.language)))
        elif await self._may(interaction, request, opener):
            await self._under_way(
                partial(self._open, interaction, opener, request), f"{kind} of interaction {request.id}"
            )

    async def open_modal(self, interaction: AnyInteraction, modal: Modal) -> None:
        """Show a modal that needs nothing from the store. Never raises."""
        if not self._is_new(interaction):
            return
        request = Request.of(interaction, modal.kind, {})
        if await self._may(interaction, request, None):
            await self._show_modal(interaction, request, modal)

    async def autocomplete(
        self,
        interaction: AnyInteraction,
        function: Callable[[Visit], Iterable[Choice]],
        *,
        is_shared: bool | None = None,
    ) -> list[discord.app_commands.Choice[str]]:
        """The choices that `function` makes in a thread; none after two seconds or an error. Never raises.

        The scope is that of the answer to come: shared if the option `share` is already set, unless `is_shared` says.
        """
        if is_shared is None:
            is_shared = getattr(interaction.namespace, "share", None) is True
        request = Request.of(interaction, "autocomplete", {}, is_shared=is_shared)
        if self._closing.is_set() or not self._is_allowed(request):
            return []
        visit = self._visit(request, request.language)
        try:
            found = await asyncio.wait_for(visit.call(lambda: choices(function(visit))), _QUICK)
        except TimeoutError:
            _log.warning("choices for %s took longer than %g seconds", request.id, _QUICK)
            return []
        except Exception as error:  # a person is typing: there is no place to tell them
            told(error, visit.text, kind="choices", interaction=request.id)
            return []
        return [discord.app_commands.Choice(name=choice.name, value=choice.value) for choice in found]

    async def resume(self) -> None:
        """Finish what the process before us accepted. To be called once; before the login it keeps notes, and
        waits with the rest. Never raises."""
        await self._under_way(
            lambda: self._finisher.resume(self._seen.__contains__), "finishing what was accepted before the start"
        )

    async def has_kept(self, seconds: float) -> None:
        """Wait until `resume` has kept the notes of the process before us; so many seconds at most."""
        await self._finisher.has_kept(seconds)

    async def close(self, patience: float = 10.0) -> None:
        """Take nothing more but notes, which the next process keeps; wait for what is under way, as many seconds at
        most. Idempotent."""
        self._closing.set()
        end = time.monotonic() + patience
        # What comes meanwhile is only taken down, and waited for as well.
        while (running := self._running - {asyncio.current_task()}) and (left := end - time.monotonic()) > 0:
            await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(self._intake.close)
        self._finisher.close()
        for threads in (self._work, self._quick):
            threads.shutdown(wait=False, cancel_futures=True)

    async def failed(self, interaction: AnyInteraction, error: discord.app_commands.AppCommandError) -> None:
        """For `tree.error`: an interaction that did not come as far as `accept`."""
        if not self._is_new(interaction, "failed"):
            return
        request = Request.of(interaction, "command", {})
        if isinstance(error, discord.app_commands.CommandNotFound | discord.app_commands.CommandSignatureMismatch):
            _log.warning("%s used a command of another version: %s", request.id, error)
            reply = Reply(body=text("frame.unknown", request.language))
        else:
            reply = told(error, _speaking(request), kind="command", interaction=request.id)
        if interaction.type is not discord.InteractionType.autocomplete:
            await self._respond(interaction, request, reply)

    def _is_new(self, interaction: AnyInteraction, what: str = "") -> bool:
        """Once for an interaction, however often Discord tells it."""
        told_of = f"{what}{interaction.id}"
        if told_of in self._seen:
            return False
        self._seen[told_of] = None
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    def _is_allowed(self, request: Request) -> bool:
        settings = self.base.settings
        allowed = settings.allow_ids
        return not allowed or request.user in settings.owner_ids or bool({request.user, request.guild} & allowed)

    async def _may(self, interaction: AnyInteraction, request: Request, asked: Handler | Opener | None) -> bool:
        """Whether this person may, on our side: what Discord hides from them is a courtesy only."""
        is_capture = isinstance(asked, Handler) and asked.is_capture
        if self._closing.is_set() and not is_capture:
            refusal = "frame.too_slow"
        elif not self._is_allowed(request):
            refusal = "frame.not_allowed"
        elif asked and asked.managers_only and not self._visit(request, request.language).is_manager:
            refusal = "frame.managers_only"
        else:
            return True
        reply = Reply(body=text(refusal, request.language))
        await self._respond(interaction, request, with_text(reply, request) if is_capture else reply)
        return False

    async def _under_way(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        """Counted among what `close` waits for, and never raising."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await work()
        except Exception:  # the outermost loop of a task: the others must not suffer
            _log.exception("%s went wrong", what)
        finally:
            self._running.discard(task)

    async def _accept(self, interaction: AnyInteraction, handler: Handler, request: Request) -> None:
        is_late = self._closing.is_set()
        kept = self._intake.accept(request.to_accepted())
        await _settled(kept, _PATIENCE)
        speaking = _speaking(request)
        if not kept.done() and handler.is_capture:
            await self._respond(interaction, request, Reply(body=speaking("frame.not_kept_yet")))
            if await self._kept_late(request, kept):
                await self._finisher.finish(handler, request)
            return
        if kept.cancelled() or (kept.done() and kept.exception()):
            reply = Reply(body=speaking("frame.too_slow"))
            if not kept.cancelled() and (error := kept.exception()):
                reply = told(error, speaking, kind=request.kind, interaction=request.id)
            await self._respond(interaction, request, with_text(reply, request) if handler.is_capture else reply)
            return
        if kept.done() and not kept.result():
            return  # told twice: whoever took it down answers it
        is_deferred = await self._defer(interaction, handler, request)
        if is_late:
            return  # the next process does it
        if is_deferred or handler.is_capture:
            await self._finisher.finish(handler, request)
        else:
            self._intake.done(request.id)
        # If it is not on disk by now, it need not be any more.
        kept.cancel()

    async def _kept_late(self, request: Request, kept: Future[bool]) -> bool:
        """Wait until a note is kept for which somebody waits. Whether it is, and nobody else answers it."""
        while not (kept.done() or self._closing.is_set()):
            await _settled(kept, 0.5)
        if kept.cancel():
            _log.error("%s by %s was not kept, and they are told so", request.kind, request.id)
            reply = Reply(body=text("frame.not_kept", request.language))
        elif error := kept.exception():
            reply = told(error, _speaking(request), kind=request.kind, interaction=request.id)
        else:
            return kept.result()
        await self._shower.show(request, with_text(reply, request), _speaking(request))
        return False

    async def _defer(self, interaction: AnyInteraction, handler: Handler, request: Request) -> bool:
        """Whether an answer may follow: not when Discord has given up waiting."""
        is_update = handler.updates and interaction.message is not None
        return await acknowledged(
            interaction,
            request.accepted_at,
            lambda: interaction.response.defer(ephemeral=not request.is_shared, thinking=not is_update),
        )

    async def _open(self, interaction: AnyInteraction, opener: Opener, request: Request) -> None:
        speaking = _speaking(request)
        try:
            opened = await asyncio.wait_for(self._opened(opener, request), _QUICK)
        except TimeoutError:
            _log.warning("%s for %s took longer than %g seconds", opener.kind, request.id, _QUICK)
            opened = Reply(body=speaking("frame.too_slow"))
        except Exception as error:  # whatever it is, the person is told
            opened = told(error, speaking, kind=request.kind, interaction=request.id)
        if isinstance(opened, Modal):
            await self._show_modal(interaction, request, opened)
        else:
            await self._respond(interaction, request, opened)

    async def _opened(self, opener: Opener, request: Request) -> Modal | Reply:
        language = await self._finisher.language(request, self._quick)
        return await opener.function(self._visit(request, language))

    async def _respond(self, interaction: AnyInteraction, request: Request, reply: Reply) -> None:
        """Answer at once, to the person alone."""
        await acknowledged(
            interaction,
            request.accepted_at,
            lambda: interaction.response.send_message(ephemeral=True, **new_message(reply)),
        )

    async def _show_modal(self, interaction: AnyInteraction, request: Request, modal: Modal) -> None:
        shown = modals.to_discord(modal)
        await acknowledged(interaction, request.accepted_at, lambda: interaction.response.send_modal(shown))

    def _visit(self, request: Request, language: Language) -> Visit:
        """A visit that is over within seconds, so that nothing is shown meanwhile."""
        return Visit(request, self.base, language, threads=self._quick, show=_nothing)


async def _settled(kept: Future[bool], seconds: float) -> None:
    """Wait for it, so many seconds at most. It is neither cancelled nor raised from."""
    waiting = asyncio.wrap_future(kept)
    # The wrapper of one that is cancelled or fails later is nobody's concern.
    waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
    await asyncio.wait({waiting}, timeout=seconds)


def _speaking(request: Request) -> Callable[..., str]:
    """Texts in the language of Discord, for where the store cannot be asked."""
    return lambda key, **values: text(key, request.language, **values)


async def _nothing(reply: Reply) -> None:
    return None
