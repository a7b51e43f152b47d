"""Trying again what may work later, less and less often, and telling of each attempt that did not."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.health import Health
from nescord.errors import UsageError

_log = logging.getLogger(__name__)
_FIRST, _LONGEST = 1.0, 60.0

T = TypeVar("T")


async def patiently(
    what_fails: str, work: Callable[[], Awaitable[T]], passing: tuple[type[Exception], ...], health: Health
) -> T:
    """What `work` gives at last. Of errors it repeats those that are `passing`, but no UsageError.

    `what_fails` is said in the log with the reason, and by `health` without it.
    """
    longest = _FIRST
    while True:
        try:
            return await work()
        except UsageError:
            raise
        except passing as error:
            # Many clients lose a server at the same moment: they should not all come back at the same one.
            pause = longest * random.uniform(0.5, 1.0)
            longest = min(2 * longest, _LONGEST)
            _log.warning("%s: %s; tried again in %.1f s", what_fails, described(error), pause)
            if health.gateway != "ready":
                health.enter(health.gateway, what_fails)
            health.settle()
        await asyncio.sleep(pause)


def described(error: BaseException) -> str:
    """An error in one line; many of asyncio's and aiohttp's have no text."""
    return f"{type(error).__name__}: {error}".removesuffix(": ").replace("\n", " ")
