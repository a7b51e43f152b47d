"""Clients at the fake Discord: the real discord.py in a thread, and `nescord bot run` as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.fakes.discord import DiscordFake

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def pointed_at(fake: DiscordFake) -> Iterator[None]:
    """discord.py of this process talks to the fake for the length of the block."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = fake.api_base, yarl.URL(fake.gateway)
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


def run_client(fake: DiscordFake, make: Callable[[], discord.Client], *, timeout: float = 20) -> None:
    """A client that ends by itself, here; what ends it is raised."""

    async def main() -> None:
        async with make() as client:
            await asyncio.wait_for(client.start(fake.token), timeout)

    with pointed_at(fake):
        asyncio.run(main())


@contextmanager
def running_client(
    fake: DiscordFake, make: Callable[[], discord.Client], *, wait: bool = True
) -> Iterator[discord.Client]:
    """A client in a thread of its own, connected (unless not `wait`), closed at the end as a bot should be.

    What ends the client early is raised at the end of the block.
    """
    began, made, failed = threading.Event(), [], []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def connected(client: discord.Client) -> None:
        async with client:
            await client.start(fake.token)

    async def main() -> None:
        client = make()
        task = asyncio.create_task(connected(client))
        made.append(client)
        loops.append((asyncio.get_running_loop(), task))
        began.set()
        try:
            await task
        except asyncio.CancelledError:
            pass
        except (discord.DiscordException, OSError) as error:
            failed.append(error)

    with pointed_at(fake):
        thread = threading.Thread(target=lambda: asyncio.run(main()), name="discord-client")
        thread.start()
        assert began.wait(10)
        try:
            if wait:
                fake.wait_ready()
            yield made[0]
        finally:
            loop, task = loops[0]
            for _ in range(60):
                if not thread.is_alive():
                    break
                # Python 3.11 loses a cancellation that meets the end of asyncio.wait_for, which connect() lives in. One
                # that comes while the client closes would cut that short.
                with suppress(RuntimeError):  # the loop has just ended
                    if not made[0].is_closed():
                        loop.call_soon_threadsafe(task.cancel)
                thread.join(1)
            assert not thread.is_alive(), "the client did not end"
    if failed:
        raise failed[0]


@dataclass
class RunningBot:
    """`nescord bot run` as a process, its data folder, and what it has written."""

    fake: DiscordFake
    data: Path
    log: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def start(self, *, wait: bool = True, timeout: float = 60) -> None:
        """Start the process; `wait`: until it is READY and its commands are registered."""
        before = self.fake.connections
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nescord.cli", "bot", "run"],
                env=self.env,
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        if wait:
            self.fake.wait_until(lambda: self._is_ready(before), timeout, "READY of the bot")
            assert self.process.poll() is None, self.output

    def _is_ready(self, before: int) -> bool:
        if self.process.poll() is not None:
            return True
        fake = self.fake
        return fake.gateway_side.is_connected and fake.connections > before and bool(fake.commands.registered)

    def stop(self, *, timeout: float = 30) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def running_bot(
    folder: Path,
    fake: DiscordFake,
    *,
    wait: bool = True,
    check: bool = True,
    **settings: str,
) -> Iterator[RunningBot]:
    """`nescord bot run` with its data in `folder`/kb, READY and synced.

    It is stopped by SIGTERM at the end of the block; it must exit with 0 and close with 1000, and Discord must have
    found no fault (`check`). `settings`: more environment, such as NESCORD_OWNER_IDS="1".
    """
    bot = RunningBot(fake, folder / "kb", folder / "bot.log", environment(folder / "kb", fake, settings))
    bot.start(wait=wait)
    try:
        yield bot
        if bot.process.poll() is None:
            code = bot.stop()
            assert code == 0, f"exit {code}:\n{bot.output}"
            assert fake.close_code() == 1000, f"closed with {fake.client_closes}:\n{bot.output}"
        if check:
            fake.check()
    finally:
        if bot.process.poll() is None:
            bot.kill()


def environment(data: Path, fake: DiscordFake, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a bot at the fake, with exact search and no model."""
    return {
        **os.environ,
        "NESCORD_DATA_DIR": str(data),
        "NESCORD_EMBEDDER": "none",
        "DISCORD_TOKEN": fake.token,
        "DISCORD_API_BASE": fake.api_base,
        "DISCORD_GATEWAY": fake.gateway,
        **settings,
    }
