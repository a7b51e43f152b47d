"""What a handler is given: who asks for what, a view that shows no more than they may see, and ways to work with it.

Nothing here blocks the event loop: all that reads or writes the store goes through `Visit.call`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import aiohttp

from bot.knowledge import Base
from bot.render import Reply
from bot.request import Language, Request
from bot.scope import scope_of
from bot.texts import text
from bot.turns import Places, Turns
from nescord.errors import NescordError
from nescord.scoped import ScopedKnowledge
from nescord.search_events import asked_by

P = ParamSpec("P")
T = TypeVar("T")

# Where Discord keeps what people attach.
_CDN = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
_FETCH_SECONDS = 30
# An answer that takes long is to be there before Discord takes none any more.
_LAST_SECONDS = 60


class Refused(Exception):  # noqa: N818 - a handler's "no" is an answer, not a mistake
    """Raised by a handler to answer with a catalogued text and nothing else: a "no" that needs no reference."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


class FetchError(NescordError):
    """A file that somebody attached could not be got; `too_large` tells whether it was for its size."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class Visit:
    """One interaction being answered. Made by the desk."""

    def __init__(
        self,
        request: Request,
        base: Base,
        language: Language,
        *,
        threads: Executor,
        show: Callable[[Reply], Awaitable[None]],
        places: Places | None = None,
    ) -> None:
        self.request = request
        self.base = base
        self.language: Language = language or "en"
        self._threads = threads
        self._show = show
        self._places = places or Places()
        self._until_over = AsyncExitStack()
        self._is_sending_files = False

    @property
    def view(self) -> ScopedKnowledge:
        """The knowledge base as far as this interaction may see it. Its verbs block: `await visit.call(…)`."""
        return self.base.view(self.spaces)

    @property
    def spaces(self) -> frozenset[str]:
        """The spaces of `view`."""
        return scope_of(self.request, self.base.settings.owner_ids)

    @property
    def who(self) -> str:
        """`user:42`."""
        return self.request.who

    @property
    def guild_space(self) -> str:
        """`guild:7`, or "" outside of a guild."""
        return self.request.guild_space

    @property
    def is_owner(self) -> bool:
        """Whether the knowledge base is theirs (NESCORD_OWNER_IDS)."""
        return self.request.user in self.base.settings.owner_ids

    @property
    def is_manager(self) -> bool:
        """Whether they may decide for the guild: Manage Server there, or an owner."""
        return self.request.is_manager or self.is_owner

    def text(self, key: str, **values: object) -> str:
        """A text of the catalogue in the language of the person; `values` must be escaped where they are not ours."""
        return text(key, self.language, **values)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns, called in a thread; searches in it are those of this person. Raises as it does."""
        with asked_by(self.who):
            context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(context.run, partial(function, *args, **kwargs)))

    async def progress(self, reply: Reply) -> None:
        """Show how far it is, in the place of the answer. Failing to is not an error."""
        await self._show(reply)

    @asynccontextmanager
    async def keeping_files(self) -> AsyncIterator[None]:
        """A block that fetches files and keeps them. It waits until few others have theirs in memory."""
        async with self._places.keeping_files.of(self.who):
            before, self._threads = self._threads, self._places.file_threads
            try:
                yield
            finally:
                self._threads = before

    async def before_sending_files(self) -> None:
        """To be awaited before files are read which the answer is to hold: few may have theirs in memory until theirs
        is sent. Refused: the turn of this visit does not come in time."""
        if self._is_sending_files:
            return
        self._is_sending_files = True
        await self._until_over.enter_async_context(self._turn(self._places.sending_files))
        self._threads = self._places.file_threads

    @asynccontextmanager
    async def asking_a_model(self) -> AsyncIterator[None]:
        """A block that takes as long as a model does. Refused: its turn does not come in time."""
        async with self._turn(self._places.answering):
            yield

    async def over(self) -> None:
        """It is answered: the turns that it had are those of others."""
        await self._until_over.aclose()

    @asynccontextmanager
    async def _turn(self, turns: Turns) -> AsyncIterator[None]:
        left = self.request.seconds_left - _LAST_SECONDS
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(turns.of(self.who, max(1.0, left)))
            except TimeoutError:
                raise Refused("frame.too_slow") from None
            yield

    async def fetch(self, url: str, limit: int) -> bytes:
        """The bytes of an attachment, from Discord's own hosts only.

        Raises:
            FetchError: it is longer than `limit` bytes, lies elsewhere, or did not come.
        """
        if not self._is_discords(url):
            raise FetchError(f"{urlsplit(url).hostname} is no place where Discord keeps attachments")
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise FetchError(f"the attachment did not come: status {answer.status}")
                content = bytearray()
                async for part in answer.content.iter_chunked(65_536):
                    content += part
                    if len(content) > limit:
                        raise FetchError(f"the attachment is longer than {limit:,} bytes", too_large=True)
                return bytes(content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise FetchError(f"the attachment did not come: {type(error).__name__}") from error

    def _is_discords(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            if parts.scheme == "https" and parts.hostname in _CDN and parts.port in (None, 443):
                return True
            # A stand-in for Discord has its files beside its API.
            api = self.base.settings.discord_api_base
            return bool(api) and parts[:2] == urlsplit(str(api))[:2]
        except ValueError:
            return False
