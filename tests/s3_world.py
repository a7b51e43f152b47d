"""S3 servers for tests, on free ports of the loopback, and a proxy that makes them fail.

`moto_server` enforces create-only puts but takes any secret; `rclone_server` checks secrets and keeps each object as a
plain file, which can be rotted, but overwrites what was to be created only. Requests through a `FaultyProxy` fail as
told; it counts them, so that a test can assert that its fault happened.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from obstore.store import S3Store

BUCKET = "nescord"
KEY, SECRET = "test-key", "test-secret"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server with an empty bucket `BUCKET`."""

    url: str
    folder: Path | None = None
    """Where the bucket's objects lie as files, each under its key; None with moto, which keeps them in memory."""

    def file(self, key: str) -> Path:
        """The file of an object, to be rotted or removed behind the server's back."""
        assert self.folder is not None, "only rclone keeps objects as files"
        return self.folder / BUCKET / key


@contextmanager
def moto_server() -> Iterator[S3Server]:
    with _server([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p"]) as url:
        httpx.put(f"{url}/{BUCKET}", trust_env=False).raise_for_status()
        yield S3Server(url)


@contextmanager
def rclone_server(folder: Path) -> Iterator[S3Server]:
    """Serves the folders in `folder` as buckets. A change of its files shows after 10 ms."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("rclone")
    # A removed file would be listed for 5 minutes; with 0 rclone expires its cache without a pause, and stalls.
    how = ["--config", "", "--dir-cache-time", "10ms", "--auth-key", f"{KEY},{SECRET}"]
    with _server([str(program), "serve", "s3", str(folder), *how, "--addr"], "127.0.0.1:") as url:
        yield S3Server(url, folder)


def store(url: str, *, prefix: str | None = None, retries: int = 2, secret: str = SECRET) -> S3Store:
    """`BUCKET` at this server or proxy, impatient enough for tests; after `retries` and at most 5 s it gives up."""
    return S3Store(
        BUCKET,
        prefix=prefix,
        endpoint=url,
        region=REGION,
        access_key_id=KEY,
        secret_access_key=secret,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "connect_timeout": "1s", "timeout": "2s"},
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=5),
            "backoff": {
                "init_backoff": timedelta(milliseconds=10),
                "max_backoff": timedelta(milliseconds=50),
                "base": 2,
            },
        },
    )


@contextmanager
def _server(command: list[str], address: str = "") -> Iterator[str]:
    """Runs the command with a free port as its last word until the block ends; gives its URL once it answers."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [*command, f"{address}{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_quiet()
    ) as server:
        try:
            _wait_for(url, server)
            yield url
        finally:
            server.kill()


def _quiet() -> dict[str, str]:
    """Nothing that whoever runs the tests has set up for S3 or rclone counts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            httpx.get(url, trust_env=False)
            return
        assert server.poll() is None, f"{server.args!r} ended with {server.returncode}"
        time.sleep(0.05)
    raise TimeoutError(f"{server.args!r} does not answer")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
