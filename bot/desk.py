"""The desk: what is asked of the bot is taken down, acknowledged, done and answered here, in that order.

Why the order: whoever saw the acknowledgement of a note finds the note, even if this process is killed in between:
the next one finishes what lies in the inbox (`resume`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import discord

from bot import modals
from bot.finishing import Finisher
from bot.intake import Intake
from bot.knowledge import Base
from bot.registry import Handler, Opener, handler_of, opener_of
from bot.render import Choice, Modal, Reply, choices
from bot.request import JSON, AnyInteraction, Language, Request
from bot.showing import CUT_OFF, Shower, new_message
from bot.texts import text
from bot.trouble import told
from bot.visit import Visit

_log = logging.getLogger(__name__)

# Discord waits three seconds for an acknowledgement; the way there and back takes a part of them.
_PATIENCE = 1.5
_QUICK = 2.0
# A second delivery comes with a RESUME, minutes later at most.
_REMEMBERED = 10_000
# Discord's code for an interaction that has its acknowledgement.
_ACKNOWLEDGED = 40060


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
        handler = handler_of(kind)
        if handler is not None and handler.updates and interaction.message is not None:
            # The answer takes the place of that message, whoever sees it.
            is_shared = not interaction.message.flags.ephemeral
        request = Request.of(interaction, kind, options, is_shared=is_shared)
        if handler is None:
            await self._respond(interaction, Reply(body=text("frame.unknown", request.language)))
        elif await self._may(interaction, request, handler):
            await self._attended(request, partial(self._accept, interaction, handler, request))

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
        opener = opener_of(kind)
        request = Request.of(interaction, kind, options, is_shared=is_shared)
        if opener is None:
            await self._respond(interaction, Reply(body=text("frame.unknown", request.language)))
        elif await self._may(interaction, request, opener):
            await self._attended(request, partial(self._open, interaction, opener, request))

    async def open_modal(self, interaction: AnyInteraction, modal: Modal) -> None:
        """Show a modal that needs nothing from the store. Never raises."""
        if await self._may(interaction, Request.of(interaction, modal.kind, {}), None):
            await _sent(interaction, lambda: interaction.response.send_modal(modals.to_discord(modal)))

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
        """Finish what the process before us accepted. To be called once, after login. Never raises."""
        await self._under_way(
            lambda: self._finisher.resume(self._seen.__contains__), "finishing what was accepted before the start"
        )

    async def close(self, patience: float = 10.0) -> None:
        """Take nothing more, wait for what is under way, as many seconds at most. Idempotent."""
        self._closing.set()
        if running := self._running - {asyncio.current_task()}:
            await asyncio.wait(running, timeout=patience)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(self._intake.close)
        for threads in (self._work, self._quick):
            threads.shutdown(wait=False, cancel_futures=True)

    async def failed(self, interaction: AnyInteraction, error: discord.app_commands.AppCommandError) -> None:
        """For `tree.error`: an interaction that did not come as far as `accept`."""
        request = Request.of(interaction, "command", {})
        if isinstance(error, discord.app_commands.CommandNotFound | discord.app_commands.CommandSignatureMismatch):
            _log.warning("%s used a command of another version: %s", request.id, error)
            reply = Reply(body=text("frame.unknown", request.language))
        else:
            reply = told(error, _speaking(request), kind="command", interaction=request.id)
        if interaction.type is not discord.InteractionType.autocomplete:
            await self._respond(interaction, reply)

    def _is_allowed(self, request: Request) -> bool:
        settings = self.base.settings
        allowed = settings.allow_ids
        return not allowed or request.user in settings.owner_ids or bool({request.user, request.guild} & allowed)

    async def _may(self, interaction: AnyInteraction, request: Request, asked: Handler | Opener | None) -> bool:
        """Whether this person may, on our side: what Discord hides from them is a courtesy only."""
        if self._closing.is_set():
            refusal = "frame.too_slow"
        elif not self._is_allowed(request):
            refusal = "frame.not_allowed"
        elif asked and asked.managers_only and not self._visit(request, request.language).is_manager:
            refusal = "frame.managers_only"
        else:
            return True
        await self._respond(interaction, Reply(body=text(refusal, request.language)))
        return False

    async def _attended(self, request: Request, work: Callable[[], Awaitable[None]]) -> None:
        """Done once for an interaction, however often Discord tells it."""
        if request.id in self._seen:
            return
        self._seen[request.id] = None
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        await self._under_way(work, f"{request.kind} by {request.who}")

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
        kept = self._intake.accept(request.to_accepted())
        await _settled(kept, _PATIENCE)
        if not kept.done() and handler.is_capture:
            await self._respond(interaction, Reply(body=text("frame.not_kept_yet", request.language)))
            if await self._kept_late(request, kept):
                await self._finisher.finish(handler, request)
            return
        if kept.done() and (error := kept.exception()):
            await self._respond(interaction, told(error, _speaking(request), kind=request.kind, interaction=request.id))
            return
        if kept.done() and not kept.result():
            return  # told twice: whoever took it down answers it
        if await self._defer(interaction, handler, request) or handler.is_capture:
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
        await self._shower.show(request, reply)
        return False

    async def _defer(self, interaction: AnyInteraction, handler: Handler, request: Request) -> bool:
        """Whether an answer may follow: not when Discord has given up waiting."""
        is_update = handler.updates and interaction.message is not None
        return await _sent(
            interaction, lambda: interaction.response.defer(ephemeral=not request.is_shared, thinking=not is_update)
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
            shown = modals.to_discord(opened)
            await _sent(interaction, lambda: interaction.response.send_modal(shown))
        else:
            await self._respond(interaction, opened)

    async def _opened(self, opener: Opener, request: Request) -> Modal | Reply:
        language = await self._finisher.language(request, self._quick)
        return await opener.function(self._visit(request, language))

    async def _respond(self, interaction: AnyInteraction, reply: Reply) -> bool:
        """Answer at once, to the person alone; whether it arrived."""
        return await _sent(interaction, lambda: interaction.response.send_message(ephemeral=True, **new_message(reply)))

    def _visit(self, request: Request, language: Language) -> Visit:
        """A visit that is over within seconds, so that nothing is shown meanwhile."""
        return Visit(request, self.base, language, threads=self._quick, show=_nothing)


async def _settled(kept: Future[bool], seconds: float) -> None:
    """Wait for it, so many seconds at most. It is neither cancelled nor raised from."""
    waiting = asyncio.wrap_future(kept)
    # The wrapper of one that is cancelled or fails later is nobody's concern.
    waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
    await asyncio.wait({waiting}, timeout=seconds)


async def _sent(interaction: AnyInteraction, send: Callable[[], Awaitable[object]]) -> bool:
    """Whether Discord took the first answer to an interaction, or may have."""
    try:
        try:
            await send()
        except CUT_OFF as error:
            # A connection that was idle for long may be gone when it is used. Once more does no harm: what has arrived
            # is refused then.
            _log.warning("the answer to interaction %d was cut off and is sent again: %r", interaction.id, error)
            await send()
    except discord.InteractionResponded:
        return True
    except discord.HTTPException as error:
        _log.warning("Discord does not take the answer to interaction %d: %s", interaction.id, error)
        return error.code == _ACKNOWLEDGED or error.status >= 500
    except CUT_OFF as error:
        _log.warning("the answer to interaction %d was cut off: %r", interaction.id, error)
    return True


def _speaking(request: Request) -> Callable[..., str]:
    """Texts in the language of Discord, for where the store cannot be asked."""
    return lambda key, **values: text(key, request.language, **values)


async def _nothing(reply: Reply) -> None:
    return None
