"""How dulwich reaches a host: with nobody's settings, no longer than it may take, and with nothing left open."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from subprocess import Popen
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from dulwich.client import (
    GitClient,
    HTTPProxyUnauthorized,
    HTTPUnauthorized,
    LocalGitClient,
    SSHGitClient,
    SubprocessSSHVendor,
    SubprocessWrapper,
    Urllib3HttpGitClient,
    default_urllib3_manager,
    parse_rsync_url,
)
from dulwich.config import StackedConfig
from dulwich.errors import GitProtocolError, NotGitRepository
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager, ProxyManager
from urllib3.exceptions import HTTPError

from nescord.errors import ServiceUnavailableError
from nescord.sources.git_remote import Access, DamagedMirrorError, explain

_QUIET_SECONDS = 60


@contextmanager
def client_of(access: Access, seconds: float) -> Iterator[tuple[GitClient, str]]:
    """A client and the path to ask it for. What goes wrong on the way is told in our words."""
    with _Deadline(seconds, access.remote.url) as deadline, ExitStack() as ends:
        client, path = _made_client(access, ends, deadline)
        try:
            yield client, path
        except (HTTPUnauthorized, HTTPProxyUnauthorized):
            raise _told(access, "error: 401") from None
        except NotGitRepository:
            raise _told(access, "not a git repository") from None
        except (GitProtocolError, HTTPError, OSError) as error:
            raise _told(access, str(error)) from error


def _told(access: Access, said: str) -> Exception:
    return explain(access.remote, said) or DamagedMirrorError(said)


class _Deadline:
    """Cuts the lines to the host when the time is over, however steadily something comes in by them."""

    def __init__(self, seconds: float, url: str) -> None:
        self._seconds = seconds
        self._url = url
        self._cuts: list[Callable[[], object]] = []
        self._lines: list[socket.socket] = []
        self._done = Event()
        self._is_over = False
        self._watch = Thread(target=self._cut, daemon=True)

    def holds_for(self, process: Popen[bytes]) -> None:
        self._cuts.append(process.kill)

    def holds_for_line(self, line: socket.socket) -> None:
        # A handle of our own: the other one changes hands, to TLS and to the answer.
        handle = line.dup()
        self._lines.append(handle)
        self._cuts.append(lambda: handle.shutdown(socket.SHUT_RDWR))

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._done.set()
        self._watch.join()
        for line in self._lines:
            line.close()
        if self._is_over and isinstance(error, Exception):
            raise ServiceUnavailableError(
                f"git took longer than {self._seconds:g} s on {self._url}; the notes stay"
            ) from error

    def _cut(self) -> None:
        if self._done.wait(self._seconds):
            return
        self._is_over = True
        # Again and again: another line may be opened after the first was cut.
        while True:
            for cut in tuple(self._cuts):
                with suppress(OSError):
                    cut()
            if self._done.wait(0.2):
                return


def _made_client(access: Access, ends: ExitStack, deadline: _Deadline) -> tuple[GitClient, str]:
    """None of the user's settings are read: those handed over are empty."""
    remote, config = access.remote, StackedConfig([])
    parts = urlsplit(remote.url)
    if remote.scheme == "file":
        return LocalGitClient(), unquote(parts.path)
    if remote.scheme == "ssh":
        user, host, path = (
            parse_rsync_url(remote.url) if not parts.scheme else (parts.username, parts.hostname, parts.path)
        )
        port = parts.port if parts.scheme else None
        vendor = _Ssh(ends, deadline)
        client = _SshClient(host or "", port, user, vendor=vendor, ssh_command=access.ssh_command)
        client.ends = ends
        return client, path
    pool = default_urllib3_manager(config, _Pool, _ProxyPool, remote.url, timeout=_QUIET_SECONDS)
    assert isinstance(pool, _Pool)
    pool.deadline = deadline
    # No redirections: a token goes to the named host only.
    pool.connection_pool_kw["retries"] = False
    ends.callback(pool.clear)
    user, _, password = remote.basic.partition(":")
    base = f"{parts.scheme}://{parts.netloc}"
    return Urllib3HttpGitClient(
        base, pool_manager=pool, config=config, username=user or None, password=password or None
    ), parts.path


class _Pool(PoolManager):
    """Closes its answers with itself: dulwich leaves open those that tell of an error."""

    deadline: _Deadline

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answers: list[BaseHTTPResponse] = []

    def request(self, *arguments: Any, **options: Any) -> BaseHTTPResponse:
        self._answers.append(super().request(*arguments, **options))
        return self._answers[-1]

    def _new_pool(self, *arguments: Any, **options: Any) -> HTTPConnectionPool:
        pool = super()._new_pool(*arguments, **options)
        make = pool.ConnectionCls

        def made(*arguments: Any, **options: Any) -> Any:
            connection: Any = make(*arguments, **options)
            connection._new_conn = _watched(connection._new_conn, self.deadline)
            return connection

        pool.ConnectionCls = made  # type: ignore[assignment]
        return pool

    def clear(self) -> None:
        for answer in self._answers:
            answer.close()
        super().clear()


def _watched(connect: Callable[[], socket.socket], deadline: _Deadline) -> Callable[[], socket.socket]:
    def connected() -> socket.socket:
        line = connect()
        deadline.holds_for_line(line)
        return line

    return connected


class _ProxyPool(_Pool, ProxyManager):
    """The same through a proxy."""


class _SshClient(SSHGitClient):
    """Closes also a conversation that ended with an error, which dulwich leaves open."""

    ends: ExitStack

    def _connect(self, *arguments: Any, **options: Any) -> Any:
        made = super()._connect(*arguments, **options)
        self.ends.callback(made[0].close)
        return made


class _Ssh(SubprocessSSHVendor):
    """Runs ssh, and ends it when it takes too long or is of no more use."""

    def __init__(self, ends: ExitStack, deadline: _Deadline) -> None:
        self._ends = ends
        self._deadline = deadline

    def run_command(self, *arguments: Any, **options: Any) -> SubprocessWrapper:
        wrapper = super().run_command(*arguments, **options)
        process = wrapper.proc
        self._deadline.holds_for(process)
        self._ends.callback(process.kill)
        return wrapper
