"""The life of the bot: open, log in, connect, however long that takes; stay connected; end in order when told to.

discord.py reconnects by itself once it was connected, and gives up before. So the first connection has a loop of its
own here. What only a person can mend ends the process with an exit code that says so (refusals.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial

import aiohttp
import discord
from discord.utils import MISSING

from bot import refusals
from bot.client import NescordBot, point_elsewhere
from bot.health import Health
from bot.knowledge import Base
from bot.patience import described, patiently
from bot.sync import sync
from nescord.errors import LockTimeoutError, NescordError, ServiceUnavailableError, UsageError
from nescord.home import DataFolder, drop_privileges
from nescord.locks import LockName, Locks
from nescord.settings import Settings

_log = logging.getLogger(__name__)

_LOCK_PAUSE = 0.5
# For so long what is under way may go on once we are told to stop. The inbox has what is not finished then.
_LAST_WORK = 8.0
# For so long more a store that hangs is waited for; the gateway is to be left in order all the same.
_LAST_WORDS = 1.0
# What was accepted before the start is kept before the login, which may never come about. It takes no time unless the
# store is held, and then it goes on meanwhile.
_KEEPING_PATIENCE = 3.0
# The commands are to be there when the bot comes online; but an outage of that part must not keep it offline.
_SYNC_PATIENCE = 10.0
# What a request raises when Discord, or the way to it, is away.
AWAY: tuple[type[Exception], ...] = (
    OSError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    discord.HTTPException,
    discord.RateLimited,
)


class _NoGatewayError(Exception):
    """The first handshake did not come about."""


def run(settings: Settings, *, pulse_fd: int | None = None, when_told: Callable[[], None] = lambda: None) -> int:
    """Be the bot until SIGTERM, SIGINT or SIGHUP: 0. Else the exit code of what is wrong, said in the log's last line.

    77: the token is refused. 78: the bot is refused as it is set up. 69: the bot of this data folder runs already. 2: a
    setting is missing or wrong. `pulse_fd` is the supervisor's pipe; `when_told` is called when it is told to stop.
    """
    try:
        token = token_of(settings)
        folder = DataFolder.at(settings)
        drop_privileges(folder.path)
        asyncio.run(_live(_Life(settings, folder, token, pulse_fd), when_told))
    except NescordError as error:
        _log.error("%s", error)
        return error.exit_code
    return 0


def token_of(settings: Settings) -> str:
    """The token of the settings; from now on discord.py speaks to whom they name.

    Raises:
        UsageError: there is none.
    """
    if settings.discord_token is None:
        raise UsageError(
            f"DISCORD_TOKEN is not set: copy the token that {refusals.PORTAL} shows (Bot, Reset Token) into it"
        )
    point_elsewhere(settings)
    return settings.discord_token.get_secret_value()


async def logged_in(bot: NescordBot, token: str) -> None:
    """Log in once. Raises what discord.py raises, and then may be called again."""
    try:
        await bot.login(token)
    except BaseException:
        # The next login makes a session of its own, and would leave this one open.
        await bot.http.close()
        bot.http.connector = MISSING
        raise


class _Life:
    """What is there while the bot lives."""

    def __init__(self, settings: Settings, folder: DataFolder, token: str, pulse_fd: int | None) -> None:
        self.health = Health(folder.run, pulse_fd)
        self._settings = settings
        self._folder = folder
        self._token = token
        self._is_supervised = pulse_fd is not None
        self._bot: NescordBot | None = None

    async def serve(self) -> None:
        """Until it is cancelled.

        Raises:
            NescordError: it cannot go on, and says why.
        """
        health = self.health
        opening = partial(asyncio.to_thread, Base.open, self._settings)
        base = await patiently("the knowledge base cannot be opened", opening, (NescordError,), health)
        _log.info("knowledge base at %s", self._folder.path)
        try:
            async with self._alone(), NescordBot(base, health) as bot, self._at_work(bot):
                bot.finish_what_was_accepted()
                await bot.desk.has_kept(_KEEPING_PATIENCE)
                with refusals.told():
                    await patiently("Discord cannot be reached", partial(logged_in, bot, self._token), AWAY, health)
                    _log.info("logged in as %s, application %s", bot.user, bot.application_id)
                    async with self._syncing(bot):
                        connecting = partial(_connect, bot)
                        await patiently("Discord's gateway cannot be reached", connecting, (_NoGatewayError,), health)
        finally:
            await asyncio.to_thread(base.close)

    async def finish(self) -> None:
        """Take nothing more on, and let what is under way end, for a while."""
        if self._bot is not None:
            await _closed(self._bot, _LAST_WORK)

    @contextlib.asynccontextmanager
    async def _at_work(self, bot: NescordBot) -> AsyncIterator[None]:
        self._bot = bot
        self.health.watch(bot)
        try:
            yield
        finally:
            await _closed(bot, 0)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Hold bot.lock: two that have the same token would both answer. Where we are a service, we wait for it."""
        locks = Locks(self._folder.run, timeout=0)
        deadline = math.inf if self._is_supervised else time.monotonic() + self._settings.lock_timeout
        with contextlib.ExitStack() as held:
            is_said = False
            while True:
                try:
                    held.enter_context(locks.exclusive(LockName.BOT))
                    break
                except LockTimeoutError:
                    holder = locks.holder(LockName.BOT)
                    if time.monotonic() > deadline:
                        raise LockTimeoutError(
                            f"the bot of {self._folder.path} runs already: {holder}; stop it, then start again"
                        ) from None
                    if not is_said:
                        _log.warning("waiting for the bot that runs here already: %s", holder)
                        self.health.enter("connecting", "another bot of this data folder runs")
                        self.health.settle()
                    is_said = True
                await asyncio.sleep(_LOCK_PAUSE)
            yield

    @contextlib.asynccontextmanager
    async def _syncing(self, bot: NescordBot) -> AsyncIterator[None]:
        """Discord is told of the commands: before the bot comes online if it can be, else soon."""
        telling = partial(self._sync, bot)
        task = asyncio.create_task(
            patiently("Discord could not be told of the commands", telling, (*AWAY, NescordError), self.health)
        )
        try:
            await asyncio.wait({task}, timeout=_SYNC_PATIENCE)
            if task.done():
                task.result()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _sync(self, bot: NescordBot) -> None:
        try:
            done = await sync(bot, self._settings)
        except discord.HTTPException as error:
            if error.status >= 500 or error.status == 429:
                raise
            _log.exception("Discord refuses the commands, and keeps those that it has")
        else:
            _log.info("%d commands, %s", done.commands, "registered" if done.is_changed else "as Discord has them")


async def _closed(bot: NescordBot, patience: float) -> None:
    """Close the desk, which may have been done before."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(bot.desk.close(patience), patience + _LAST_WORDS)


async def _connect(bot: NescordBot) -> None:
    """Connect, and stay connected for as long as Discord lets us.

    Raises:
        _NoGatewayError: not even the first handshake came about. discord.ConnectionClosed: Discord refuses us for good.
    """
    try:
        await bot.connect(reconnect=True)
    except AttributeError as error:
        # Where it would reconnect, discord.py looks for the sequence of a socket that it never had, and so the reason
        # is behind this error.
        if bot.ws is not None or error.__context__ is None:
            raise
        raise _NoGatewayError(described(error.__context__)) from None
    raise ServiceUnavailableError("the connection to Discord has ended, and nobody has told it to")


async def _live(life: _Life, when_told: Callable[[], None]) -> None:
    """From the start to the end."""
    told, hurried = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        if told.is_set():
            hurried.set()
        told.set()

    with _signals(stop):
        tasks = [asyncio.create_task(each) for each in (life.serve(), life.health.keep_beating(), _waited_for(told))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if told.is_set():
                _log.info("told to stop")
                when_told()
                await _unless(hurried, life.finish())
        finally:
            # Cancelled, and not Client.close() while it listens: that closes with 4000, and the bot looks online for
            # minutes.
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            life.health.close()
        for each in ended:
            if isinstance(each, BaseException) and not isinstance(each, asyncio.CancelledError):
                raise each
    _log.info("stopped")


async def _waited_for(event: asyncio.Event) -> None:
    await event.wait()


async def _unless(event: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Do it, or leave it when the event comes first."""
    tasks = [asyncio.create_task(work), asyncio.create_task(_waited_for(event))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
