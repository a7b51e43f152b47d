"""`run/services.json`: where the services of a data folder answer, for whoever works beside them.

The file outlives a killed supervisor, so it counts only while somebody holds service.lock, and only in the boot that
it was written in: the loopback of another container is not ours. Whether a service answers is for its user to find out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nescord import durable
from nescord.home import DataFolder, boot_id
from nescord.locks import LockName, Locks

_NAME = "services.json"


@dataclass(frozen=True, slots=True)
class RunningServices:
    """Addresses of what is ready now; None for what is not. `prefect_auth` is the server's user:password."""

    boot_id: str
    chroma_url: str | None = None
    prefect_api_url: str | None = None
    prefect_auth: str | None = None
    http_url: str | None = None


def write(folder: DataFolder, services: RunningServices) -> None:
    """Say what is ready. The file is readable by its owner only: it holds a password."""
    durable.make_folder(folder.run)
    durable.tell(_file(folder), json.dumps(asdict(services), indent=2).encode("utf-8"))


def read(folder: DataFolder) -> RunningServices | None:
    """What the file says, whether or not it still counts; None where there is none that can be understood."""
    return durable.told(_file(folder), _understood)


def running(folder: DataFolder, locks: Locks) -> RunningServices | None:
    """The services that run beside this process; None while there are none."""
    services = read(folder)
    if services is None or services.boot_id != boot_id() or not locks.is_held(LockName.SERVICE):
        return None
    return services


def _file(folder: DataFolder) -> Path:
    return folder.run / _NAME


def _understood(content: bytes) -> RunningServices:
    stored = json.loads(content)
    if not isinstance(stored, dict):
        raise TypeError
    return RunningServices(**{name: _text(stored.get(name)) for name in RunningServices.__dataclass_fields__})


def _text(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value  # type: ignore[return-value]
