"""A real Prefect server for as long as a `with` block lasts: for `make demo`, the tests, and trying a flow out.

It runs Prefect's own application (API, scheduler and all services, without the UI, which nobody looks at in so short a
life) as a child process: on a loopback port, with its database in the folder it is given, behind a random password, and
without anything that calls home. It never outlives its parent, see nescord/parent.py.

The parent's own signal handling stays as it is: a signal that raises (Ctrl-C does) unwinds the block, one that kills
ends the server through the pipe.
"""

from __future__ import annotations

import http.client
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nescord import prefect_env
from nescord.errors import ServiceUnavailableError
from nescord.parent import end_with_parent

# 12 s on a quiet machine, 70 s were seen on a busy one.
START_TIMEOUT = 180.0
# The server stops in a fraction of a second; what waits longer is killed.
STOP_GRACE = 10.0

_HOST = prefect_env.HOST
_PROBE_TIMEOUT = 2.0
_PROBE_PAUSE = 0.1
_LOG_TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """A running server. `env` is a whole environment for its clients: set it before `prefect` is imported."""

    api_url: str
    pid: int
    log: Path
    env: Mapping[str, str] = field(repr=False)  # it holds the password


@contextmanager
def prefect_server(home: Path, *, start_timeout: float = START_TIMEOUT) -> Iterator[PrefectServer]:
    """Start a server whose state lies in `home`, yield it when it answers, and stop it when the block ends.

    Raises:
        ServiceUnavailableError: it died or did not answer in time; the message ends with the tail of its log.
    """
    home = home.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = home / "server.log"
    password = f"nescord:{secrets.token_urlsafe(24)}"
    # The port is bound here and handed over open, so that no other program can take it in between.
    with closing(socket.create_server((_HOST, 0))) as listener, log.open("wb") as output:
        port: int = listener.getsockname()[1]
        process = _spawn(listener, home, password, output)
    try:
        _wait_until_healthy(process, port, log, start_timeout)
        api_url = f"http://{_HOST}:{port}/api"
        yield PrefectServer(api_url, process.pid, log, prefect_env.of_client(home, api_url, password))
    finally:
        _stop(process)


def _spawn(listener: socket.socket, home: Path, password: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    port: int = listener.getsockname()[1]
    environment = prefect_env.of_server(home, port, password, with_ui=False)
    # -P: this file is run by its path, and its neighbours must not hide modules of the same name. The folder is named
    # only so that `ps` tells whose server this is.
    command = [sys.executable, "-P", str(Path(__file__).resolve()), str(listener.fileno()), str(home)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=home,  # Prefect reads .env, prefect.toml and pyproject.toml of the working directory
        pass_fds=[listener.fileno()],
        process_group=0,  # Ctrl-C in the terminal is the parent's to answer
    )


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _is_healthy(port):
        if process.poll() is not None:
            raise ServiceUnavailableError(f"the Prefect server ended with {process.returncode}{_tail(log)}")
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(f"the Prefect server did not answer within {timeout:g} s{_tail(log)}")
        time.sleep(_PROBE_PAUSE)


def _is_healthy(port: int) -> bool:
    # http.client knows no proxies. While the server starts, the open port takes the connection and the read times out.
    connection = http.client.HTTPConnection(_HOST, port, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "; the end of its log ({}):\n{}".format(log, "\n".join(lines) or "(nothing was logged)")


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        process.wait(STOP_GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also when a second Ctrl-C comes while waiting
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def _serve(listener: socket.socket) -> None:
    """The child process: what `prefect server start` runs, on a socket that is already bound."""
    end_with_parent(STOP_GRACE)
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app(final=True), log_level="warning", timeout_graceful_shutdown=int(STOP_GRACE / 2))
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
