"""What is at which address, and for whom."""

from __future__ import annotations

import json
import os
import re
from urllib.parse import parse_qs

from nescord import bot_state, service_state
from nescord.bot_state import BotState
from nescord.home import DataFolder
from nescord.locks import Locks
from nescord.reports import retention
from nescord.reports.page import POLICY as REPORT_POLICY
from nescord.service_state import SupervisorState
from nescord.settings import Settings
from nescord.web.access import Access, access
from nescord.web.condition import BOT, Condition, Database, condition_of
from nescord.web.figures import Figures, Reader
from nescord.web.lookout import Lookout
from nescord.web.page import Page, Private
from nescord.web.runs import FlowRun, latest_runs
from nescord.web.server import Answer, Request
from nescord.web.style import POLICY
from nescord.web.texts import Texts, chosen

_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
_NO_TOKEN = Answer(403, "set NESCORD_STATUS_TOKEN for the service: without a token nothing more is shown\n")
_ASK = Answer(
    401,
    "this needs NESCORD_STATUS_TOKEN: as a bearer token, or as the password with any user name\n",
    headers={"WWW-Authenticate": 'Basic realm="nescord", charset="UTF-8"'},
)
# The only names that are looked for below reports/.
_REPORT_PAGE = re.compile(
    rf"/reports/(?:(?P<stamp>{retention.STAMP})/)?(?P<page>index\.html|[0-9]{{2}}_[a-z0-9_]+\.html)?"
)


class Site:
    """All pages of one knowledge base. `answer` may be called by many threads."""

    def __init__(self, settings: Settings) -> None:
        """Touches nothing yet.

        Raises:
            SettingsError: DATABASE_URL leads out of the data folder.
        """
        self._settings = settings
        self._folder = DataFolder.at(settings)
        self._locks = Locks(self._folder.run, timeout=0)
        reader = Reader(settings, self._folder)
        self._database = Lookout("database", reader.database, keep=1.0, patience=2.0)
        self._figures: Lookout[Figures] = Lookout("figures", reader.figures, keep=15.0, patience=5.0)
        self._runs: Lookout[tuple[FlowRun, ...] | None] = Lookout(
            "runs", lambda: latest_runs(settings), keep=15.0, patience=3.0
        )

    def answer(self, request: Request) -> Answer:
        """What is at that address."""
        match request.url.path:
            case "/alive":
                return Answer(200, "alive\n")  # of nothing but this process, for the supervisor
            case "/healthz":
                return self._healthz()
            case "/readyz":
                return self._readyz()
            case "/metrics":
                return self._refusal(request) or self._metrics()
            case "/":
                allowed = access(request.authorization, self._settings.status_token)
                return _ASK if allowed is Access.REFUSED and self._settings.status_token else self._page(request)
            case "/details":
                return self._refusal(request) or self._page(request)
            case path if path.startswith("/reports"):
                return self._refusal(request) or self._report(path)
            case _:
                return Answer(404, "nothing here: /, /healthz, /readyz and /metrics are\n")

    def _refusal(self, request: Request) -> Answer | None:
        """Why this request may not see more."""
        if self._settings.status_token is None:
            return _NO_TOKEN
        return None if access(request.authorization, self._settings.status_token) is Access.GRANTED else _ASK

    def _condition(self) -> Condition:
        state = service_state.running(self._folder, self._locks)
        return condition_of(state, self._database.latest() or Database.SILENT, self._bot(state))

    def _bot(self, state: SupervisorState | None) -> BotState | None:
        """What the bot says that the supervisor runs."""
        pid = next((each.pid for each in state.services if each.name == BOT), None) if state else None
        return bot_state.of_process(self._folder.run, pid)

    def _state(self) -> SupervisorState | None:
        """What the supervisor says, unless that is long ago."""
        state = service_state.running(self._folder, self._locks)
        return None if state is None or state.is_old else state

    def _healthz(self) -> Answer:
        condition = self._condition()
        return Answer(200, "ok\n") if condition.is_ready else Answer(503, f"{condition.problem}\n")

    def _readyz(self) -> Answer:
        condition = self._condition()
        parts = [
            {"name": part.name, "state": part.state, "required": part.is_required, "reason": part.reason}
            | ({"last_ack": part.last_ack} if part.last_ack else {})
            for part in condition.parts
        ]
        body = json.dumps({"ready": condition.is_ready, "parts": parts}, indent=2)
        return Answer(200 if condition.is_ready else 503, f"{body}\n", _JSON)

    def _report(self, path: str) -> Answer:
        """A page of a report. Only names that reports have are looked for, so no path leads elsewhere."""
        if path == "/reports":
            return Answer(308, "reports/\n", headers={"Location": "reports/"})
        named = _REPORT_PAGE.fullmatch(path)
        room = self._folder.reports
        try:
            if named is None or (named["stamp"] and retention.read(room, named["stamp"]) is None):
                raise FileNotFoundError
            file = room.joinpath(named["stamp"] or "", named["page"] or retention.INDEX)
            with open(file, "rb", opener=_no_link) as stream:
                body = stream.read().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return Answer(404, "there is no such report (any more): / leads to the latest one\n")
        policy = f"{REPORT_POLICY}; frame-ancestors 'none'"
        return Answer(200, body, _HTML, {"Content-Security-Policy": policy, "Vary": "Authorization"})

    def _metrics(self) -> Answer:
        from nescord.web import metrics  # not paid for where nobody asks

        state = self._state()
        body = metrics.metrics(state, self._figures.latest(), self._bot(state))
        return Answer(200, body, metrics.CONTENT_TYPE)

    def _page(self, request: Request) -> Answer:
        settings = self._settings
        asked = parse_qs(request.url.query).get("lang", [""])[-1]
        language = chosen(asked, request.languages, settings.language)
        private = None
        if access(request.authorization, settings.status_token) is Access.GRANTED:
            private = Private(self._state(), self._figures.latest(), self._runs.latest())
        body = Page(Texts(language), settings).html(self._condition(), private)
        headers = {
            "Content-Security-Policy": POLICY,
            "Content-Language": language,
            "Vary": "Accept-Language, Authorization",
        }
        return Answer(200, body, _HTML, headers)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
