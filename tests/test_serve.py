"""Serving for real: a Prefect server, `flows.serve` as a process, runs as processes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from flow_world import ROOT, processes_naming, wait_for
from serve_world import (
    definitions,
    deployment_of,
    insist,
    is_served,
    kill_group,
    runs_of_deployment,
    serving,
    state_of,
    triggered,
    unfinished,
    until_state,
)

from flows.server import PrefectServer, prefect_server

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def client(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(server.api_url, auth_string=server.env["PREFECT_API_AUTH_STRING"]) as connected:
        yield connected


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def test_what_is_declared_is_served_and_a_scheduled_run_completes(
    server: PrefectServer, tmp_path: Path, marks: Path
) -> None:
    file = definitions(
        tmp_path / "here",
        {
            "name": "often",
            "entrypoint": "toys.py:quick",
            "parameters": {"marks": str(marks)},
            "schedules": [{"slug": "often", "interval": 8}, {"slug": "new-year", "cron": "0 0 1 1 *"}],
        },
        {
            "name": "often",
            "entrypoint": "toys.py:slow",
            "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        },
    )
    log = tmp_path / "serve.log"
    for start in range(2):  # the second time after everything was stopped
        before = len(runs_of_deployment(server, "quick/often", "COMPLETED"))
        with serving(server, file, log=log, settings={"NESCORD_TZ": "Europe/Berlin"}) as serve:

            def completed(before: int = before, serve: Any = serve) -> bool:
                assert serve.poll() is None, log.read_text(encoding="utf-8")
                runs = runs_of_deployment(server, "quick/often", "COMPLETED")
                return len(runs) > before and all(run["auto_scheduled"] for run in runs)

            wait_for("a scheduled run to complete", completed, seconds=120)
            quick, slow = deployment_of(server, "quick/often"), deployment_of(server, "slow/often")
            assert {each["slug"]: each["active"] for each in quick["schedules"]} == {"often": True, "new-year": True}
            zones = {each["slug"]: each["schedule"].get("timezone") for each in quick["schedules"]}
            assert zones["new-year"] == "Europe/Berlin"
            assert (quick["paused"], quick["entrypoint"], quick["work_pool_name"]) == (False, "toys.py:quick", None)
            assert slow["global_concurrency_limit"]["limit"] == 1
            assert slow["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
            serve.terminate()
            assert serve.wait(60) == 0, (start, log.read_text(encoding="utf-8"))
        quick = deployment_of(server, "quick/often")
        assert not quick["paused"]
        assert all(each["active"] for each in quick["schedules"])
    assert "Traceback" not in log.read_text(encoding="utf-8")
    insist(server, "POST", f"/deployments/{quick['id']}/pause_deployment")


def test_what_was_paused_in_the_ui_stays_so_and_a_deployment_leaves_its_pool(
    server: PrefectServer, tmp_path: Path, marks: Path
) -> None:
    scheduled = {
        "name": "paused",
        "parameters": {"marks": str(marks)},
        "schedules": [{"slug": "x", "cron": "0 0 1 1 *"}],
    }
    file = definitions(tmp_path / "here", {**scheduled, "entrypoint": "toys.py:quick"})
    log = tmp_path / "serve.log"
    with serving(server, file, log=log) as serve:
        wait_for("it to serve", lambda: is_served(server, serve, log, "quick/paused"), 120)
    before = deployment_of(server, "quick/paused")
    (schedule,) = before["schedules"]
    place = f"/deployments/{before['id']}"
    insist(server, "PATCH", f"{place}/schedules/{schedule['id']}", {"active": False})
    insist(server, "POST", f"{place}/pause_deployment")
    insist(server, "POST", "/work_pools/", {"name": "some-pool", "type": "process"})
    insist(server, "PATCH", place, {"work_pool_name": "some-pool"})
    assert deployment_of(server, "quick/paused")["work_pool_name"] == "some-pool"
    with serving(server, file, log=log) as serve:
        polled = deployment_of(server, "quick/paused")["last_polled"]
        wait_for("it to serve", lambda: deployment_of(server, "quick/paused")["last_polled"] > polled, 120)
    after = deployment_of(server, "quick/paused")
    assert (after["id"], after["paused"], after["work_pool_name"]) == (before["id"], True, None)
    assert [each["active"] for each in after["schedules"]] == [False]


def test_runs_that_go_on_when_it_is_told_to_stop_are_cancelled_with_their_sub_flows(
    server: PrefectServer, tmp_path: Path, marks: Path
) -> None:
    parameters = {"parameters": {"marks": str(marks)}, "name": "stopped"}
    file = definitions(tmp_path / "here", {**parameters, "entrypoint": "toys.py:outer"})
    log = tmp_path / "serve.log"
    with serving(server, file, log=log) as serve:
        wait_for("it to serve", lambda: is_served(server, serve, log, "outer/stopped"), 120)
        run = triggered(server, "outer/stopped")
        wait_for("the sub-flow to run", lambda: list(marks.glob("inner-*")))
        began = time.monotonic()
        serve.terminate()
        assert serve.wait(60) == 0
        assert time.monotonic() - began < 20
    assert state_of(server, run) == "CANCELLED"
    assert unfinished(server) == []
    assert processes_naming(str(tmp_path)) == []


def test_of_slots_that_were_missed_only_the_newest_is_run(server: PrefectServer, tmp_path: Path, marks: Path) -> None:
    scheduled = {"name": "missed", "parameters": {"marks": str(marks)}, "schedules": [{"slug": "each", "interval": 3}]}
    file = definitions(tmp_path / "here", {**scheduled, "entrypoint": "toys.py:quick"})
    log = tmp_path / "serve.log"
    with serving(server, file, log=log) as serve:
        wait_for("it to serve", lambda: is_served(server, serve, log, "quick/missed"), 120)
    wait_for("five late runs", lambda: len(runs_of_deployment(server, "quick/missed", "SCHEDULED", late=True)) >= 5)
    late = {run["id"] for run in runs_of_deployment(server, "quick/missed", "SCHEDULED", late=True)}
    with serving(server, file, log=log):
        wait_for("the late ones to be gone", lambda: not late & _waiting(server, "quick/missed"), 120)
    runs = [run for run in runs_of_deployment(server, "quick/missed") if run["id"] in late]
    skipped = [run for run in runs if run["state"]["name"] == "Skipped"]
    assert len(skipped) >= len(late) - 1
    assert {run["state"]["type"] for run in skipped} == {"CANCELLED"}
    assert all("Missed, since nothing was there to run it" in run["state"]["message"] for run in skipped)
    assert [run["run_count"] for run in skipped] == [0] * len(skipped)
    insist(server, "POST", f"/deployments/{deployment_of(server, 'quick/missed')['id']}/pause_deployment")


def test_a_cancellation_reaches_a_run_whose_parent_was_killed(
    server: PrefectServer, client: SyncPrefectClient, tmp_path: Path, marks: Path
) -> None:
    from flows.sweep import sweep

    parameters = {"parameters": {"marks": str(marks)}, "name": "orphan"}
    file = definitions(tmp_path / "here", {**parameters, "entrypoint": "toys.py:slow"})
    log = tmp_path / "serve.log"
    with serving(server, file, log=log) as serve:
        wait_for("it to serve", lambda: is_served(server, serve, log, "slow/orphan"), 120)
        run = triggered(server, "slow/orphan")
        (mark,) = wait_for("it to run", lambda: list(marks.glob("slow-*")))
        orphan = int(mark.name.partition("-")[2])
        serve.kill()
        serve.wait()
        flows = {"slow/orphan": _toy(file, "slow")}
        assert str(sweep(client, flows, grace=timedelta(0))) == "nothing"  # it lives
        assert state_of(server, run) == "RUNNING"
        insist(server, "POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        swept = sweep(client, flows, grace=timedelta(0))
        assert not swept.crashed
        wait_for("its process to end", lambda: not Path(f"/proc/{orphan}").exists() or _is_zombie(orphan))
        wait_for(
            "it to be cancelled",
            lambda: sweep(client, flows, grace=timedelta(0)) and state_of(server, run) == "CANCELLED",
        )


def test_a_change_starts_a_verification_at_most_once_in_six_hours_for_each_knowledge_base(
    server: PrefectServer, tmp_path: Path, marks: Path
) -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    (triggers,) = [each["triggers"] for each in declared if "triggers" in each]
    changed = {"name": "changed", "parameters": {"marks": str(marks)}, "triggers": triggers}
    file = definitions(tmp_path / "here", {**changed, "entrypoint": "toys.py:quick"})
    log = tmp_path / "serve.log"
    with serving(server, file, log=log) as serve:
        wait_for("it to serve", lambda: is_served(server, serve, log, "quick/changed"), 120)
        for _ in range(3):
            _emit(server, "nescord.ingest.changed", "nescord.knowledge-base.one")
        _emit(server, "nescord.backup.created", "nescord.knowledge-base.two")
        _emit(server, "nescord.ingest.changed", "nescord.knowledge-base.three")
        began = time.monotonic()
        wait_for("both runs", lambda: len(runs_of_deployment(server, "quick/changed", "COMPLETED")) >= 2, 60)
        print(f"from the event to the end of the run: {time.monotonic() - began:.1f} s")
        _emit(server, "nescord.ingest.changed", "nescord.knowledge-base.one")
        _emit(server, "nescord.ingest.changed", "nescord.knowledge-base.four")  # seen after the one before
        wait_for("the run of the last", lambda: len(runs_of_deployment(server, "quick/changed")) >= 3)
        assert len(runs_of_deployment(server, "quick/changed")) == 3


def test_automations_are_applied_any_number_of_times(server: PrefectServer, client: SyncPrefectClient) -> None:
    from prefect.automations import AutomationCore, DoNothing

    from flows.automations import DECLARED, Applied, apply

    (zombies,) = DECLARED
    foreign = AutomationCore(name="somebody-else", trigger=zombies.trigger, actions=[DoNothing()])
    client.create_automation(foreign)
    extra = AutomationCore(name="nescord-of-old", trigger=zombies.trigger, actions=[DoNothing()])
    apply(client, (zombies, extra))
    ids = {each.name: each.id for each in client.read_automations()}
    assert {"somebody-else", "nescord-of-old", zombies.name} <= set(ids)

    assert apply(client) == Applied(removed=["nescord-of-old"])
    assert apply(client) == Applied()
    client.pause_automation(ids[zombies.name])
    changed = zombies.model_copy(update={"description": "another one"})
    assert apply(client, (changed,)) == Applied(updated=[zombies.name])
    assert apply(client, (changed,)) == Applied()
    found = {each.name: each for each in client.read_automations()}
    assert found[zombies.name].id == ids[zombies.name]
    assert (found[zombies.name].description, found[zombies.name].enabled) == ("another one", False)
    assert set(found) >= {"somebody-else"}
    client.resume_automation(ids[zombies.name])
    assert apply(client) == Applied(updated=[zombies.name])


def test_a_run_that_stops_beating_is_marked_as_crashed_by_the_server(
    server: PrefectServer, client: SyncPrefectClient, tmp_path: Path, marks: Path
) -> None:
    from flows.automations import DECLARED, apply

    (zombies,) = DECLARED
    impatient = zombies.model_copy(
        update={"trigger": zombies.trigger.model_copy(update={"within": timedelta(seconds=10)})}
    )
    parameters = {"parameters": {"marks": str(marks)}, "name": "beating"}
    file = definitions(
        tmp_path / "here", {**parameters, "entrypoint": "toys.py:slow"}, {**parameters, "entrypoint": "toys.py:quick"}
    )
    log = tmp_path / "serve.log"
    with serving(server, file, log=log) as serve:
        wait_for("it to serve", lambda: is_served(server, serve, log, "slow/beating"), 120)
        apply(client, (impatient,))
        done = triggered(server, "quick/beating")
        until_state(server, done, "COMPLETED")
        run = triggered(server, "slow/beating")
        wait_for("it to run", lambda: list(marks.glob("slow-*")))
        wait_for("its first beat", lambda: _beats(server, run))
        kill_group(serve)
        assert state_of(server, run) == "RUNNING"
        until_state(server, run, "CRASHED", seconds=60)
    assert "No heartbeat" in insist(server, "GET", f"/flow_runs/{run}")["state"]["message"]
    assert state_of(server, done) == "COMPLETED"
    apply(client)


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "NESCORD_DATA_DIR": str(tmp_path / "kb")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.serve"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 69
    assert "start everything with nescord services, or set PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr


def _toy(file: Path, name: str) -> Any:
    from prefect.flows import load_flow_from_entrypoint

    return load_flow_from_entrypoint(f"{file.parent / 'toys.py'}:{name}")


def _waiting(server: PrefectServer, name: str) -> set[str]:
    return {run["id"] for run in runs_of_deployment(server, name, "SCHEDULED", "PENDING", "RUNNING")}


def _beats(server: PrefectServer, run: str) -> list[Any]:
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    found: list[Any] = insist(server, "POST", "/events/filter", {"filter": wanted})["events"]
    return found


def _emit(server: PrefectServer, name: str, resource: str) -> None:
    """As `emit_event` does it, without starting Prefect for each."""
    event = {"id": str(uuid.uuid4()), "event": name, "resource": {"prefect.resource.id": resource}}
    insist(server, "POST", "/events", [event | {"occurred": datetime.now(UTC).isoformat()}])


def _is_zombie(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
