"""What a handler is given: who asks for what, a view that shows no more than they may see, and ways to work with it.

Nothing here blocks the event loop: all that reads or writes the store goes through `Visit.call`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import aiohttp

from bot.knowledge import Base
from bot.render import Reply
from bot.request import Language, Request
from bot.scope import scope_of
from bot.texts import text
from nescord.errors import NescordError
from nescord.scoped import ScopedKnowledge
from nescord.search_events import asked_by

P = ParamSpec("P")
T = TypeVar("T")

# Where Discord keeps what people attach.
_CDN = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
_FETCH_SECONDS = 30


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
    ) -> None:
        self.request = request
        self.base = base
        self.language: Language = language or "en"
        self._threads = threads
        self._show = show

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
