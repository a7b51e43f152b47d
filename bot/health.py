"""How the bot tells that it lives, and how it is connected.

To the supervisor by a pulse that needs neither disk nor network (nescord/pulse.py), to everybody else by run/bot.json.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import discord

from nescord import bot_state, durable, pulse
from nescord.bot_state import BotState, Gateway
from nescord.home import boot_id
from nescord.times import utc_text

_BEAT = 5.0
# A bot that Discord refuses learns it at once. What takes longer is an outage, and no reason to be taken for dead.
_SETTLED = 30.0
_WRITE_AGAIN, _WRITE_LAST = 5.0, 1.0


class Health:
    """The state of one bot process. Used from its event loop only."""

    def __init__(self, run: Path, pulse_fd: int | None = None, *, is_told: bool = True) -> None:
        """`run` is the folder of run/bot.json, `pulse_fd` the supervisor's pipe, if there is one. Where it is not
        `is_told`, nobody hears anything."""
        self._pulse = pulse_fd
        self._client: discord.Client | None = None
        self._begun = time.monotonic()
        self._is_settled = False
        self._boot = boot_id()
        self._gateway: Gateway = "connecting"
        self._since = utc_text(datetime.now(UTC))
        self._reason = ""
        self._write = durable.Teller(partial(bot_state.write, run), again=_WRITE_AGAIN) if is_told else None

    @property
    def gateway(self) -> Gateway:
        """How the connection is now."""
        return self._gateway

    def watch(self, client: discord.Client) -> None:
        """Tell of the heartbeats of this client."""
        self._client = client

    def enter(self, gateway: Gateway, reason: str = "") -> None:
        """The connection has changed, or the reason why it is not there."""
        if gateway != self._gateway:
            self._gateway, self._since = gateway, utc_text(datetime.now(UTC))
        self._reason = reason
        if gateway == "ready":
            self.settle()
        self._tell()

    def settle(self) -> None:
        """It is known that Discord does not refuse us: from now on the supervisor feels the pulse."""
        if not self._is_settled:
            self._is_settled = True
            self._beat()

    async def keep_beating(self) -> None:
        """For ever."""
        while True:
            self._tell()
            self._beat()
            await asyncio.sleep(_BEAT)
            if time.monotonic() - self._begun > _SETTLED:
                self.settle()

    def close(self) -> None:
        """It ends: say so for the last time."""
        self._client = None
        self.enter("closed")
        if self._write is not None:
            self._write.close(_WRITE_LAST)

    def _beat(self) -> None:
        if self._is_settled and self._pulse is not None:
            pulse.beat(self._pulse)

    def _tell(self) -> None:
        if self._write is None:
            return
        ack, latency = _heartbeat(self._client)
        self._write(BotState(self._boot, os.getpid(), self._gateway, self._since, ack, latency, self._reason))


def _heartbeat(client: discord.Client | None) -> tuple[str, int | None]:
    """When Discord last answered a heartbeat (ISO; "" for never) and after how many milliseconds."""
    # discord.py publishes the latency and keeps the moment to itself.
    keep_alive = client.ws._keep_alive if client is not None and client.ws is not None else None
    if keep_alive is None or not math.isfinite(keep_alive.latency):
        return "", None
    ago = timedelta(seconds=time.perf_counter() - keep_alive._last_ack)
    return utc_text(datetime.now(UTC) - ago), round(keep_alive.latency * 1000)
