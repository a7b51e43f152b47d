"""Which services a knowledge base has: the status page, the Chroma and the Prefect server, the flows, the Discord bot.

What each runs, how it is known to be ready, and what is written down for whoever works beside them. Where CHROMA_URL or
PREFECT_API_URL names a server, that one is used as it is and none is started.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import http.client
import json
import os
import secrets
import socket
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from nescord import durable, prefect_env, services_file
from nescord.errors import UsageError
from nescord.home import DataFolder, boot_id
from nescord.pulse import Pulse
from nescord.services_file import RunningServices
from nescord.settings import Settings
from nescord.supervise import Child, Service

# A damaged folder is looked into for so long at most (index/probe.py), and may be in use for a while.
_CHROMA_READY = 1000.0
# 12 s on a quiet machine, 70 s were seen on a busy one.
_PREFECT_READY = 180.0
_SERVE_READY = 180.0
_HTTP_READY = 60.0
_BOT_READY = 120.0
# Together with what SIGKILL takes, less than the 40 s after which a container is killed as a whole.
_CHROMA_GRACE, _PREFECT_GRACE, _SERVE_GRACE, _HTTP_GRACE, _BOT_GRACE = 8.0, 10.0, 15.0, 3.0, 12.0
_PROBE_TIMEOUT = 5.0
# While the page is not there its socket accepts and nobody answers, and meanwhile its death is not noticed. It is asked
# what needs nothing but itself: a database that hangs is told at its other addresses, and mended by no new life of it.
_PAGE_TIMEOUT = 1.0
_PAGE_LIVES = "/alive"
_PAGE = 200
_DEPLOYMENT = "nescord"
# How soon what could not be written, since the disk was full, is tried again; and how long the last is waited for.
_PUBLISH_AGAIN, _PUBLISH_LAST = 5.0, 1.0


class Services:
    """The services of one data folder, and what is known about them while they run."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        *,
        port: int = 0,
        with_ui: bool = True,
        serve: str = "flows.serve",
        listener: socket.socket | None = None,
        web: str = "nescord.web",
        bot: str = "",
    ) -> None:
        """`port` is where the Prefect server should be (0: anywhere), `serve` the module that serves the flows, `web`
        the one that answers on the socket `listener`; without that there is no status page. `bot` is the module of the
        Discord bot, "" for none."""
        self._settings = settings
        self._folder = folder
        self._listener = listener
        self._web_module = web
        self._bot_module = bot
        self._pulse: Pulse | None = None
        self._port = port
        self._with_ui = with_ui
        self._serve_module = serve
        before = services_file.read(folder)
        self._auth = (before and before.prefect_auth) or f"nescord:{secrets.token_urlsafe(24)}"
        self._known = RunningServices(boot_id(), prefect_auth=self._auth)
        # A disk that is full, or hangs: the commands beside it go without these services, and they themselves go on.
        self._write = durable.Teller(partial(services_file.write, folder), again=_PUBLISH_AGAIN)
        self._publish(self._known)

    def all(self) -> list[Service]:
        """In the order in which they are started."""
        found = []
        if self._listener is not None:
            # First, so that it can say that the others are not ready.
            found.append(Service("http", self._http, _HTTP_READY, _HTTP_GRACE, required=True))
        if self.has_chroma:
            found.append(Service("chroma", self._chroma, _CHROMA_READY, _CHROMA_GRACE))
        if self._bot_module:
            # Before the flows, which take their time: people are waiting. With the bot gone, who captures learns it
            # from Discord only; so the platform is told.
            found.append(Service("bot", self._bot, _BOT_READY, _BOT_GRACE, required=True))
        if self._settings.prefect_api_url is None:
            found.append(Service("prefect", self._prefect, _PREFECT_READY, _PREFECT_GRACE))
        needs = "prefect" if self._settings.prefect_api_url is None else ""
        found.append(Service("serve", self._serve, _SERVE_READY, _SERVE_GRACE, needs=needs))
        return found

    @property
    def has_chroma(self) -> bool:
        """Whether the Chroma server is one of them."""
        return self._settings.chroma_url is None and self._settings.vector != "exact"

    @property
    def running(self) -> RunningServices:
        """Where they answer now."""
        return self._known

    @property
    def auth(self) -> str:
        """The user:password of our own Prefect server."""
        return self._auth

    def close(self) -> None:
        """Say for the last time where they answer."""
        self._write.close(_PUBLISH_LAST)
        if self._pulse is not None:
            self._pulse.close()

    def _http(self) -> Child:
        assert self._listener is not None
        port: int = self._listener.getsockname()[1]
        url = f"http://{prefect_env.HOST}:{port}"

        def tell(is_ready: bool) -> None:
            self._publish(replace(self._known, http_url=url if is_ready else None))

        # Whoever asks between two lives of it waits, and is not turned away: the socket is ours.
        fd = self._listener.fileno()
        return Child(
            _python("nescord.parent", f"{_HTTP_GRACE:g}", self._web_module, str(fd)),
            {**os.environ, "NESCORD_DATA_DIR": str(self._folder.path), "MALLOC_ARENA_MAX": "2"},
            is_ready=_responds(port, _PAGE_LIVES),
            pass_fds=(fd,),
            tell=tell,
        )

    def _bot(self) -> Child:
        if self._pulse is not None:  # of the life before this one
            self._pulse.close()
        self._pulse = pulse = Pulse()
        return Child(
            _python("nescord.parent", f"{_BOT_GRACE:g}", self._bot_module, "run", "--pulse", str(pulse.writing)),
            {**os.environ, "NESCORD_DATA_DIR": str(self._folder.path), "MALLOC_ARENA_MAX": "2"},
            is_ready=pulse.is_felt,
            pass_fds=(pulse.writing,),
            close=pulse.hand_over,
        )

    def _chroma(self) -> Child:
        from nescord.index.server import HOST

        with socket.create_server((HOST, 0)) as free:
            port: int = free.getsockname()[1]
        url = f"http://{HOST}:{port}"

        def tell(is_ready: bool) -> None:
            self._publish(replace(self._known, chroma_url=url if is_ready else None))

        arguments = (str(self._folder.chroma), str(self._folder.run), str(port))
        return Child(
            _python("nescord.index.server", *arguments),
            {**os.environ, "MALLOC_ARENA_MAX": "2", "RUST_LOG": "warn", "NO_COLOR": "1"},
            is_ready=_answers(f"{url}/api/v2/heartbeat"),
            tell=tell,
        )

    def _prefect(self) -> Child:
        home = self._folder.prefect
        durable.make_folder(home)
        # The port is bound here and handed over open, so that no other program can take it in between.
        listener = _listen(self._port)
        self._port = listener.getsockname()[1]
        url = f"http://{prefect_env.HOST}:{self._port}/api"

        def tell(is_ready: bool) -> None:
            self._publish(replace(self._known, prefect_api_url=url if is_ready else None))

        return Child(
            _python("flows.server", str(listener.fileno()), str(home)),
            prefect_env.of_server(home, self._port, self._auth, with_ui=self._with_ui),
            is_ready=_answers(f"{url}/health"),
            cwd=home,  # Prefect reads .env, prefect.toml and pyproject.toml of the working directory
            pass_fds=(listener.fileno(),),
            close=listener.close,
            tell=tell,
        )

    def _serve(self) -> Child:
        settings = self._settings
        if settings.prefect_api_url is not None:
            url = settings.prefect_api_url
            auth = settings.prefect_api_auth_string.get_secret_value() if settings.prefect_api_auth_string else ""
            key = settings.prefect_api_key.get_secret_value() if settings.prefect_api_key else ""
            environment = prefect_env.of_client_elsewhere(url, auth, key)
        else:
            url, auth, key = self._known.prefect_api_url or "", self._auth, ""
            environment = prefect_env.of_client(self._folder.prefect, url, auth)
        return Child(
            _python("nescord.parent", f"{_SERVE_GRACE:g}", self._serve_module),
            {**environment, "NESCORD_DATA_DIR": str(self._folder.path)},
            is_ready=_polls(url, _authorization(auth, key), datetime.now(UTC)),
        )

    def _publish(self, known: RunningServices) -> None:
        self._known = known
        self._write(known)


def listen_everywhere(port: int) -> socket.socket:
    """A socket that listens at that port on all addresses, of IPv6 as well where there is that (0: any port).

    Raises:
        UsageError: the port is taken, or reserved for root.
    """
    places: list[tuple[str, socket.AddressFamily, bool]] = [("0.0.0.0", socket.AF_INET, False)]
    if socket.has_dualstack_ipv6():
        places.insert(0, ("::", socket.AF_INET6, True))
    for address, family, is_dual in places:
        try:
            return socket.create_server((address, port), family=family, dualstack_ipv6=is_dual)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES) and is_dual:
                continue  # the kernel knows IPv6, and this machine has none
            reason = os.strerror(error.errno or 0)  # the text of the exception has the address as a tuple
            raise UsageError(
                f"PORT is {port}, where nothing can listen ({reason}): stop what has it, or set PORT to another"
            ) from error
    raise AssertionError


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a folder in the working directory must not hide a module of that name.
    return [sys.executable, "-P", "-m", module, *arguments]


def _listen(port: int) -> socket.socket:
    """A bound socket at that port, or at any where it is taken."""
    try:
        return socket.create_server((prefect_env.HOST, port))
    except OSError:
        return socket.create_server((prefect_env.HOST, 0))


def _authorization(auth: str, key: str) -> Mapping[str, str]:
    if auth:
        return {"Authorization": "Basic " + base64.b64encode(auth.encode()).decode("ascii")}
    return {"Authorization": f"Bearer {key}"} if key else {}


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    """Whether a GET there is answered well."""
    return lambda: asyncio.to_thread(lambda: _asked(urllib.request.Request(url)) is not None)


def _responds(port: int, path: str) -> Callable[[], Awaitable[bool]]:
    """Whether a GET there is answered at all, be it by a refusal."""

    def look() -> bool:
        connection = http.client.HTTPConnection(prefect_env.HOST, port, timeout=_PAGE_TIMEOUT)
        with contextlib.closing(connection):
            try:
                connection.request("GET", path)
                connection.getresponse()
            except (OSError, http.client.HTTPException):
                return False
        return True

    return lambda: asyncio.to_thread(look)


def _polls(api_url: str, headers: Mapping[str, str], since: datetime) -> Callable[[], Awaitable[bool]]:
    """Whether somebody has asked for runs of our deployments since then: deployments alone outlive who served them."""
    ours = {"deployments": {"name": {"any_": [_DEPLOYMENT]}}, "limit": _PAGE}
    body = json.dumps(ours).encode("ascii")
    request = urllib.request.Request(
        f"{api_url}/deployments/filter", body, {**headers, "Content-Type": "application/json"}, method="POST"
    )

    def look() -> bool:
        found = _asked(request)
        times = [each.get("last_polled") for each in json.loads(found)] if found else []
        return any(datetime.fromisoformat(each) >= since for each in times if each)

    return lambda: asyncio.to_thread(look)


def _asked(request: urllib.request.Request) -> bytes | None:
    """The body of a good answer."""
    host = request.host.rpartition(":")[0] or request.host
    # A proxy for the world outside must not be asked for this machine.
    handlers = [urllib.request.ProxyHandler({})] if host == prefect_env.HOST else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_PROBE_TIMEOUT) as answer:
            content: bytes = answer.read()
            return content
    except (OSError, http.client.HTTPException):  # HTTPError and URLError are OSErrors
        return None
