"""A toy bot as a process, which ends by SIGKILL at a named point of the first interaction (tests only).

`python -m tests.desk_worker DATA_DIR API_BASE GATEWAY TOKEN POINT`; POINT "" is nowhere. It prints READY.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.desk import Desk
from bot.finishing import Finisher
from bot.intake import Intake
from bot.knowledge import Base
from bot.render import Reply
from bot.request import Request
from bot.showing import Shower
from nescord.settings import Settings
from tests.desk_toys import ToyBot, registered

POINTS = ("before-commit", "before-defer", "after-defer", "before-answer", "before-done")


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingShower(Shower):
    async def show(self, request: Request, reply: Reply, *_: object, **__: object) -> bool:
        end()
        return False


class DyingIntake(Intake):
    def done(self, request_id: str) -> None:
        end()


class DyingDesk(Desk):
    """Ends at the point `at`."""

    at = ""

    def __init__(self, base: Base, client: discord.Client) -> None:
        super().__init__(base, client)
        intake = DyingIntake(lambda: base.inbox) if self.at == "before-done" else self._intake
        shower = DyingShower(client) if self.at == "before-answer" else self._shower
        self._finisher = Finisher(base, intake, shower, threads=self._work, closing=self._closing)

    async def _accept(self, *args: Any) -> None:
        if self.at == "before-commit":
            end()
        await super()._accept(*args)

    async def _defer(self, *args: Any) -> bool:
        if self.at == "before-defer":
            end()
        is_there = await super()._defer(*args)
        if self.at == "after-defer":
            end()
        return is_there


async def main(folder: str, api: str, gateway: str, token: str, point: str) -> None:
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = api, yarl.URL(gateway)
    DyingDesk.at = point
    opening = Base.open(Settings(data_dir=Path(folder), embedder="none", quota_notes="1000/1000"))
    with registered(), opening as base:
        async with ToyBot(base, DyingDesk) as client:
            starting = asyncio.create_task(client.start(token))
            await asyncio.sleep(0)
            print("READY", flush=True)
            await starting


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
