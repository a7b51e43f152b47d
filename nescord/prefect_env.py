"""The environment of every Prefect process of ours: on the loopback, with its state in the data folder, calling nobody.

Prefect reads its settings once, when it is imported, so they are handed to processes and not set in ours.
"""

from __future__ import annotations

import os
from pathlib import Path

HOST = "127.0.0.1"
_RETENTION_SECONDS = 14 * 24 * 3600
# A run begins within seconds; one whose process died is noticed within three heartbeats.
_POLL_SECONDS = 2
_HEARTBEAT_SECONDS = 30


def common(home: Path) -> dict[str, str]:
    """This process's environment with nothing in it that leads Prefect elsewhere (a profile, Prefect Cloud, a key)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return inherited | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def of_server(home: Path, port: int, auth: str, *, with_ui: bool) -> dict[str, str]:
    """For a server of our own. `auth` is user:password."""
    return common(home) | {
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_ENABLED": str(with_ui).lower(),
        # Not among the installed packages, which may belong to somebody else; an image has a place off its volume.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": os.environ.get("PREFECT_UI_STATIC_DIRECTORY") or str(home / "ui"),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_RETENTION_SECONDS),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{_RETENTION_SECONDS}S",
        # In memory by default: after a kill of the server a restore would keep its only slot for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # glibc gives each of a dozen threads a heap of its own, which is never given back.
        "MALLOC_ARENA_MAX": "2",
    }


def of_client(home: Path, api_url: str, auth: str) -> dict[str, str]:
    """For whoever talks to a server of our own, the served flows among them."""
    environment = common(home) | _runner() | {"PREFECT_API_URL": api_url, "PREFECT_API_AUTH_STRING": auth}
    # A proxy for the world outside must not be asked for this machine.
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, [environment.get(name), HOST]))
    return environment


def of_client_elsewhere(api_url: str, auth: str, key: str) -> dict[str, str]:
    """For the served flows where PREFECT_API_URL names a server: everything else as its owner has set it."""
    given = {"PREFECT_API_URL": api_url, "PREFECT_API_AUTH_STRING": auth, "PREFECT_API_KEY": key}
    return _runner() | {"DO_NOT_TRACK": "1"} | dict(os.environ) | {name: text for name, text in given.items() if text}


def _runner() -> dict[str, str]:
    return {
        "PREFECT_RUNNER_POLL_FREQUENCY": str(_POLL_SECONDS),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(_HEARTBEAT_SECONDS),
        "MALLOC_ARENA_MAX": "2",
    }
