"""`run/state.json`: how the services of a data folder are, for whoever looks: the status page, `nescord doctor`.

Written by the supervisor at every change and every now and then, and only believed while it runs, as run/services.json
is. It holds no secret, and of a log only the last word of a service that a person must mend.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from nescord import durable
from nescord.home import DataFolder, boot_id
from nescord.locks import LockName, Locks

State = Literal["waiting", "starting", "ready", "pausing", "degraded", "stopped"]
Phase = Literal["starting", "running", "stopping"]

_NAME = "state.json"
# It is written anew every 30 s (lives.Policy.beat). What is so old was left by one that hangs, or whose disk does.
_OLD = 120.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service. `since` is when it came into this state (ISO, UTC), `reason` why, where that is not plain.

    `waiting` for what it needs, `pausing` before it is tried again, `degraded`: tried again after a long rest only.
    `restarts` counts the lives after the first.
    """

    name: str
    state: State
    pid: int | None
    since: str
    restarts: int
    reason: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A check of the verification at the start that did not pass: what it measured, and what to do about it."""

    name: str
    status: str
    value: str
    mend: str


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """The supervisor and all that it keeps running. `ready_at` is None until everything was ready or tried.

    `told_at` is when it was written, by the monotonic clock of the boot: nobody sets that one.
    """

    boot_id: str
    pid: int
    phase: Phase
    started_at: str
    ready_at: str | None
    services: tuple[ServiceState, ...]
    findings: tuple[Finding, ...]
    told_at: float = field(default=0.0, compare=False)

    @property
    def is_old(self) -> bool:
        """Whether the supervisor was not heard of for so long that nothing of this needs to be so any more."""
        return time.monotonic() - self.told_at > _OLD


_STORED = TypeAdapter(SupervisorState)


def write(folder: DataFolder, state: SupervisorState) -> None:
    """Say how things are.

    Raises:
        OSError: it cannot be written; a full disk must not stop what is told about.
    """
    durable.make_folder(folder.run)
    now = asdict(replace(state, told_at=time.monotonic()))
    durable.tell(_file(folder), json.dumps(now, ensure_ascii=False, indent=2).encode("utf-8"))


def read(folder: DataFolder) -> SupervisorState | None:
    """What the file says, whether or not it still counts; None where there is none that can be understood."""
    return durable.told(_file(folder), lambda content: _STORED.validate_json(content, strict=True))


def running(folder: DataFolder, locks: Locks) -> SupervisorState | None:
    """The state of the supervisor that runs now, which may be `is_old`; None while there is none."""
    state = read(folder)
    if state is None or state.boot_id != boot_id() or not locks.is_held(LockName.SERVICE):
        return None
    return state


def _file(folder: DataFolder) -> Path:
    return folder.run / _NAME
