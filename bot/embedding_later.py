"""What was kept is embedded soon: an ingest run is asked for where flows are served, at most once a minute.

Nobody waits for it, and nothing comes of its failing: words find a note at once, and the hourly ingest embeds it, too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from bot.knowledge import Base
from nescord.errors import NescordError
from nescord.settings import Settings

_log = logging.getLogger(__name__)
_FLOW = "ingest"
_MINUTE = 60.0

_of_base: WeakKeyDictionary[Base, EmbeddingLater] = WeakKeyDictionary()
_making = threading.Lock()


def embed_soon(base: Base) -> None:
    """Ask for a run, or have one asked for as soon as the minute is over in which one was. Returns at once."""
    with _making:
        later = _of_base.get(base)
        if later is None:
            later = _of_base[base] = EmbeddingLater(base.settings)
    later.soon()


class EmbeddingLater:
    """Asks for runs, one thread at a time. `ask` and `rest` (seconds) are what it does; `now` is the clock."""

    def __init__(
        self,
        settings: Settings,
        *,
        ask: Callable[[Settings, str], None] | None = None,
        rest: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._ask = ask or asked
        self._rest = rest
        self._now = now
        self._lock = threading.Lock()
        self._is_wanted = False
        self._is_running = False

    def soon(self) -> None:
        """As `embed_soon`."""
        with self._lock:
            self._is_wanted = True
            if self._is_running:
                return
            self._is_running = True
        # A daemon: a server that does not answer must not keep the bot from leaving.
        threading.Thread(target=self._work, name="embed-soon", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._is_wanted:
                    self._is_running = False
                    return
                self._is_wanted = False
            now = self._now()
            try:
                self._ask(self._settings, now.strftime("%Y-%m-%dT%H:%MZ"))
            except (NescordError, OSError) as error:
                _log.info("no run was asked for that embeds what was kept: %s", error)
            # What is kept from here on may be too late for that run: the next minute has one of its own.
            self._rest(_MINUTE - self._now().timestamp() % _MINUTE)


def asked(settings: Settings, minute: str) -> None:
    """Ask for the run of that minute; asked for twice, it is one run.

    Raises:
        NescordError: there is no server, it does not answer, or it does not serve that flow.
    """
    from nescord.prefect_api import PrefectApi, find_server

    server = find_server(settings)
    with PrefectApi(server) as api:
        api.start(api.deployment(_FLOW), {}, f"discord-{_FLOW}-{minute}")
