"""`run/bot.json`: how the Discord bot is connected, for whoever looks: the status page, `nescord doctor`.

Told by the bot every few seconds and at every change, and only believed of the process that runs now. It is not what
the supervisor goes by (pulse.py): neither a disk that is full nor an outage of Discord is a reason to end a bot.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from nescord import durable
from nescord.home import boot_id

Gateway = Literal["connecting", "ready", "resuming", "closed"]

_NAME = "bot.json"
# It is written anew every 5 s (bot/health.py). What is so old was left by one that hangs, or whose disk does.
_OLD = 60.0


@dataclass(frozen=True, slots=True)
class BotState:
    """The connection to Discord's gateway. `since` is when it came into this state (ISO, UTC).

    `last_ack` is when a heartbeat was last answered (ISO, UTC; "" for never) and `latency` how long that took, in
    milliseconds. `reason` says why it is not `ready`, where that is not plain. `told_at` is by the monotonic clock of
    the boot.
    """

    boot_id: str
    pid: int
    gateway: Gateway
    since: str
    last_ack: str = ""
    latency: int | None = None
    reason: str = ""
    told_at: float = field(default=0.0, compare=False)

    @property
    def is_old(self) -> bool:
        """Whether the bot was not heard of for so long that nothing of this needs to be so any more."""
        return time.monotonic() - self.told_at > _OLD


_STORED = TypeAdapter(BotState)


def write(run: Path, state: BotState) -> None:
    """Say how it is, in the folder `run`.

    Raises:
        OSError: it cannot be written.
    """
    durable.make_folder(run)
    now = asdict(replace(state, told_at=time.monotonic()))
    durable.tell(run / _NAME, json.dumps(now, ensure_ascii=False, indent=2).encode("utf-8"))


def read(run: Path) -> BotState | None:
    """What the file says, whether or not it still counts; None where there is none that can be understood."""
    return durable.told(run / _NAME, lambda content: _STORED.validate_json(content, strict=True))


def of_process(run: Path, pid: int | None) -> BotState | None:
    """What the bot that runs now as `pid` says; None when it has not said anything, or not for long."""
    state = read(run)
    if state is None or pid is None or state.pid != pid or state.boot_id != boot_id() or state.is_old:
        return None
    return state
