"""Prefect's REST interface, as far as starting, watching and stopping flows needs it.

Without importing prefect, which takes three seconds and 80 MB: a command line answers at once, and a bot stays small.
Where the server is: the setting PREFECT_API_URL, else what `nescord services` has written down while it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlsplit

from nescord.errors import NotFoundError, ServiceUnavailableError, SettingsError, UsageError

if TYPE_CHECKING:
    import httpx

    from nescord.settings import Settings

T = TypeVar("T")
Document = dict[str, Any]  # Any: JSON as the server sends it

# Where a flow has deployments of several names, this one is meant.
OURS = "nescord"
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
# The server may be restarting, or busy: longer than it takes, it is missed.
OUTAGE_SECONDS = 30.0
_TIMEOUT = 20.0
_CONNECT_TIMEOUT = 5.0
_PAGE = 200
# The server's database is locked for a moment (503), or a proxy or Prefect Cloud wants fewer requests. Each request can
# be repeated: a run is asked for with a key.
_BUSY = frozenset({429, 502, 503, 504})
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Server:
    """Where a Prefect server is, and what it asks for: `user:password`, or a key of Prefect Cloud."""

    url: str
    auth: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow that can be run. `schema` describes its parameters (JSON Schema), `defaults` are those it runs with."""

    id: str
    flow: str
    name: str
    description: str
    is_paused: bool
    is_served: bool
    schedules: Sequence[Document]
    schema: Mapping[str, Any]
    defaults: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"

    @property
    def is_scheduled(self) -> bool:
        """Whether it begins runs by itself."""
        return not self.is_paused and any(each["active"] for each in self.schedules)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a flow, as the server knows it. Times are as the server writes them, "" where there is none yet."""

    id: str
    name: str
    flow_id: str
    deployment_id: str
    state: str
    state_name: str
    message: str
    parameters: Mapping[str, Any]
    expected: str
    started: str
    ended: str
    seconds: float

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class PastRun:
    """What became of a run, for a history: times as ISO text, "" where there is none. `trigger` is `schedule`, `flow`
    (another flow began it), `event` (an automation did) or `person`."""

    run_id: str
    flow: str
    name: str
    state: str
    started: str
    ended: str
    seconds: float
    retries: int
    trigger: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a run said."""

    id: str
    at: str
    level: int
    message: str


def find_server(settings: Settings) -> Server:
    """The server to talk to.

    Raises:
        ServiceUnavailableError: none is configured, and `nescord services` does not run one here.
    """
    auth, key = settings.prefect_api_auth_string, settings.prefect_api_key
    if settings.prefect_api_url:
        return Server(
            settings.prefect_api_url, auth.get_secret_value() if auth else "", key.get_secret_value() if key else ""
        )
    from nescord.home import DataFolder
    from nescord.locks import Locks
    from nescord.services_file import running

    folder = DataFolder.at(settings)
    services = running(folder, Locks(folder.run, timeout=0))
    if services is None or services.prefect_api_url is None:
        raise ServiceUnavailableError(
            f"there is no Prefect server for {folder.path}: start it with nescord services, set PREFECT_API_URL, or "
            "run a flow without one (nescord flows run NAME --local)"
        )
    return Server(services.prefect_api_url, services.prefect_auth or "")


class PrefectApi:
    """A connection to a server. A context manager.

    Every call raises ServiceUnavailableError where the server cannot be reached, and SettingsError where it refuses
    the password or key.
    """

    def __init__(self, server: Server) -> None:
        import httpx

        self._server = server
        headers = {"Authorization": f"Bearer {server.key}"} if server.key and not server.auth else {}
        self._client = httpx.Client(
            base_url=server.url,
            headers=headers,
            auth=httpx.BasicAuth(*server.auth.split(":", 1)) if ":" in server.auth else None,
            timeout=httpx.Timeout(_TIMEOUT, connect=_CONNECT_TIMEOUT),
            # A proxy for the world outside must not be asked for this machine.
            trust_env=(urlsplit(server.url).hostname or "") not in _HERE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def deployments(self) -> list[Deployment]:
        """All that can be run, by name."""
        flows = {flow["id"]: flow["name"] for flow in self._all("/flows/filter", {})}
        found = [_deployment(each, flows) for each in self._all("/deployments/filter", {"sort": "NAME_ASC"})]
        return sorted(found, key=lambda each: each.full_name)

    def deployment(self, wanted: str) -> Deployment:
        """The deployment of that flow, or of that full name (`flow/deployment`).

        Raises:
            UsageError: there is none, or it cannot be told which; the message names those that there are.
        """
        known = self.deployments()
        found = [each for each in known if wanted in (each.full_name, each.flow)]
        found = [each for each in found if each.name == OURS] if len(found) > 1 else found
        if len(found) == 1:
            return found[0]
        names = ", ".join(each.full_name for each in known if wanted == each.flow)
        if names:
            raise UsageError(f'"{wanted}" has several deployments: name one of {names}')
        names = ", ".join(each.flow if each.name == OURS else each.full_name for each in known)
        raise UsageError(f'there is no flow "{wanted}"; ' + (f"there are {names}" if names else "none is served"))

    def start(self, deployment: Deployment, parameters: Mapping[str, object], key: str) -> tuple[Run, bool]:
        """Ask for a run; and whether it is a new one. The same key gives the same run of a flow for ever.

        Raises:
            UsageError: the server refuses the parameters.
        """
        answer = self._ask(
            "POST",
            f"/deployments/{deployment.id}/create_flow_run",
            {"parameters": dict(parameters), "idempotency_key": key},
        )
        run = _run(answer.json())
        return run, answer.status_code == 201

    def run(self, wanted: str) -> Run:
        """The run of that id, or the latest of that name.

        Raises:
            NotFoundError: there is none.
        """
        if _is_uuid(wanted):
            answer = self._client_answer("GET", f"/flow_runs/{quote(wanted)}", None)
            if answer.status_code == 404:
                raise NotFoundError(f"there is no run {wanted}: nescord flows status lists the latest")
            return _run(self._checked(answer).json())
        found = self.runs({"name": {"any_": [wanted]}}, sort="EXPECTED_START_TIME_DESC", limit=1)
        if not found:
            raise NotFoundError(f'there is no run "{wanted}": nescord flows status lists the latest')
        return found[0]

    def runs(self, where: Mapping[str, object], *, sort: str, limit: int) -> list[Run]:
        """Runs that pass Prefect's filter of flow runs."""
        body = {"flow_runs": where, "sort": sort, "limit": limit}
        return [_run(each) for each in self._ask("POST", "/flow_runs/filter", body).json()]

    def history(self, since: str, *, deadline: float, most: int) -> list[PastRun]:
        """The runs that began at `since` (ISO text; "": ever) or later, the newest `most` of them, newest first; fewer
        where the monotonic clock passes `deadline` before all are told."""
        flows = {flow["id"]: flow["name"] for flow in self._all("/flows/filter", {})}
        where: Document = {"start_time": {"after_": since} if since else {"is_null_": False}}
        body = {"flow_runs": where, "sort": "START_TIME_DESC", "limit": _PAGE}
        found: list[PastRun] = []
        while len(found) < most and time.monotonic() < deadline:
            page = self._ask("POST", "/flow_runs/filter", {**body, "offset": len(found)}).json()
            found += [_past_run(each, flows) for each in page]
            if len(page) < _PAGE:
                break
        return found[:most]

    def logs(self, runs: Sequence[str], after: str = "") -> list[LogLine]:
        """What these runs have said from then on, oldest first."""
        where: Document = {"flow_run_id": {"any_": list(runs)}}
        if after:
            where["timestamp"] = {"after_": after}
        found = self._all("/logs/filter", {"logs": where, "sort": "TIMESTAMP_ASC"})
        return [LogLine(each["id"], each["timestamp"], each["level"], each["message"]) for each in found]

    def family(self, run: Run) -> list[str]:
        """The ids of a run and of those that it has begun itself (sub-flows)."""
        below = self.runs({"parent_flow_run_id": {"any_": [run.id]}}, sort="EXPECTED_START_TIME_ASC", limit=_PAGE)
        return [run.id, *(each.id for each in below)]

    def cancel(self, run: Run) -> str:
        """Tell a run to stop; who runs it does so. Returns why the server would not, "" if it will."""
        state = {"type": "CANCELLING", "name": "Cancelling"}
        answer = self._ask("POST", f"/flow_runs/{run.id}/set_state", {"state": state, "force": False}).json()
        return "" if answer["status"] == "ACCEPT" else str((answer.get("details") or {}).get("reason") or "refused")

    def _all(self, path: str, body: Document) -> list[Document]:
        found: list[Document] = []
        while True:
            page = self._ask("POST", path, {**body, "limit": _PAGE, "offset": len(found)}).json()
            found += page
            if len(page) < _PAGE:
                return found

    def _ask(self, method: str, path: str, body: Document | None) -> httpx.Response:
        return self._checked(self._client_answer(method, path, body))

    def _client_answer(self, method: str, path: str, body: Document | None) -> httpx.Response:
        import httpx

        try:
            for pause in _PAUSES:
                answer = self._client.request(method, path, json=body)
                if answer.status_code not in _BUSY:
                    return answer
                time.sleep(pause)
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ServiceUnavailableError(
                f"the Prefect server at {self._server.url} does not answer: {reason} (is nescord services running?)"
            ) from error

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        if answer.status_code in (401, 403):
            raise SettingsError(
                f"the Prefect server at {self._server.url} refuses the password or key: see PREFECT_API_AUTH_STRING "
                "and PREFECT_API_KEY"
            )
        detail = _detail(answer)
        if answer.status_code in (400, 409, 422):
            raise UsageError(f"the Prefect server refuses it: {detail}")
        raise ServiceUnavailableError(
            f"the Prefect server at {self._server.url} answered {answer.status_code}: {detail} (is it Prefect's API?)"
        )


def patiently(look: Callable[[], T]) -> T:
    """The answer of `look`, asked again as long as an outage may last."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            return look()
        except ServiceUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _deployment(found: Document, flows: Mapping[str, str]) -> Deployment:
    return Deployment(
        id=found["id"],
        flow=flows.get(found["flow_id"], found["flow_id"]),
        name=found["name"],
        description=(found.get("description") or "").partition("\n")[0],
        is_paused=bool(found.get("paused")),
        is_served=found.get("status") != "NOT_READY",
        schedules=found.get("schedules") or [],
        schema=found.get("parameter_openapi_schema") or {},
        defaults=found.get("parameters") or {},
    )


def _run(found: Document) -> Run:
    state = found.get("state") or {}
    return Run(
        id=found["id"],
        name=found["name"],
        flow_id=found["flow_id"],
        deployment_id=found.get("deployment_id") or "",
        state=found.get("state_type") or "",
        state_name=found.get("state_name") or "",
        message=state.get("message") or "",
        parameters=found.get("parameters") or {},
        expected=found.get("expected_start_time") or "",
        started=found.get("start_time") or "",
        ended=found.get("end_time") or "",
        seconds=found.get("estimated_run_time") or 0.0,  # also while it runs
    )


def _past_run(found: Document, flows: Mapping[str, str]) -> PastRun:
    by = str((found.get("created_by") or {}).get("type") or "")
    trigger = "schedule" if found.get("auto_scheduled") else "event" if by == "AUTOMATION" else "person"
    return PastRun(
        run_id=found["id"],
        flow=flows.get(found["flow_id"], found["flow_id"]),
        name=found["name"],
        state=found.get("state_type") or "",
        started=found.get("start_time") or "",
        ended=found.get("end_time") or "",
        seconds=float(found.get("total_run_time") or 0.0),
        retries=max(int(found.get("run_count") or 0) - 1, 0),
        trigger="flow" if found.get("parent_task_run_id") else trigger,
    )


def _detail(answer: httpx.Response) -> str:
    try:
        found = answer.json()
    except ValueError:
        return answer.text[:200].strip() or answer.reason_phrase
    detail = found.get("detail", found.get("exception_detail", found)) if isinstance(found, dict) else found
    return str(detail)[:500]


def _is_uuid(text: str) -> bool:
    from uuid import UUID

    try:
        UUID(text)
    except ValueError:
        return False
    return True
