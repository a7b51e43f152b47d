"""What is done every night: a backup, a deep verification, and on Sundays a drill and the upkeep.

Why: one run to look at in the morning. When: daily at 03:30, see prefect.yaml. Needs: what its sub-flows need. One that
fails does not keep the others from running; the run then fails and names it, and what it failed with is said by its own
state and its own message to Discord.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.client.schemas.objects import State

from flows.backup import backup
from flows.common import NIGHTLY_LIMIT, PartsFailedError, settings_of
from flows.drill import drill
from flows.maintain import maintain
from flows.notify import on_completion, on_crashed, on_failure
from flows.verify import verify

_SUNDAY = 6

Part = Callable[[], State[Any]]  # Any: whatever the sub-flow returns


@flow(
    name="nightly",
    timeout_seconds=NIGHTLY_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def nightly(data_dir: str | None = None) -> dict[str, str]:
    """Back up and verify; on Sundays (by NESCORD_TZ) also rehearse a restore and tidy up.

    Args:
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    now = datetime.now(ZoneInfo(settings_of(data_dir).timezone))
    states = {name: part() for name, part in parts_of(now, data_dir).items()}
    failed = [name for name, state in states.items() if not state.is_completed()]
    if failed:
        raise PartsFailedError(f"{', '.join(failed)} failed: see the message of each; the others are done")
    return {name: state.name or "" for name, state in states.items()}


def parts_of(now: datetime, data_dir: str | None) -> dict[str, Part]:
    """The sub-flows of that night, in order: first a backup, for what the others do."""
    parts: dict[str, Part] = {
        "backup": lambda: backup(trigger="nightly", data_dir=data_dir, return_state=True),
        "verify": lambda: verify(deep=True, data_dir=data_dir, return_state=True),
    }
    if now.weekday() == _SUNDAY:
        parts["drill"] = lambda: drill(data_dir=data_dir, return_state=True)
        parts["maintain"] = lambda: maintain(data_dir=data_dir, return_state=True)
    return parts
