"""prefect.yaml: what is refused, that it is documented, and that serving and deploying make the same of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flow_world import ROOT, VAULT, processes_naming, wait_for
from serve_world import deployment_of, insist, kill_group, serving, triggered, until_state

from flows.server import PrefectServer, prefect_server
from nescord.errors import UsageError

DECLARED: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
FLOWS = [each["entrypoint"].rpartition(":")[2] for each in DECLARED]
DOCUMENT = ROOT / "docs" / "flows.md"

# Where the code lies and who runs it is what the two ways are about; the rest are marks of the server. The version is
# the commit where a clean checkout is deployed, and a hash of the flow's file where it is served.
_DIFFERENT = {"version", "path", "pull_steps", "work_pool_name", "work_queue_name", "work_queue_id", "job_variables"}
_MARKS = {"id", "created", "updated", "last_polled", "status", "created_by", "updated_by", "deployment_id", "flow_id"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.mark.slow
def test_serving_and_deploying_make_the_same_deployments_and_a_worker_runs_them(
    server: PrefectServer, tmp_path: Path
) -> None:
    names = [f"{flow}/nescord" for flow in FLOWS]
    log = tmp_path / "log"
    with serving(server, ROOT / "prefect.yaml", log=log, settings={"NESCORD_DATA_DIR": str(tmp_path / "kb")}) as serve:

        def polled() -> bool:
            assert serve.poll() is None, log.read_text(encoding="utf-8")
            found = insist(server, "POST", "/deployments/filter")
            return len(found) == len(names) and all(each["last_polled"] for each in found)

        wait_for("all to be served", polled, 120)
        served = {name: _reported(server, name) for name in names}
        kill_group(serve)

    _prefect(server, "work-pool", "create", "nescord", "--type", "process")
    _prefect(server, "--no-prompt", "deploy", "--all")
    _run(server, "flows.automations")
    deployed = {name: _reported(server, name) for name in names}
    assert deployed == served
    automations = [each["name"] for each in insist(server, "POST", "/automations/filter")]
    assert sorted(automations) == ["nescord-crashed-without-heartbeat", "verify after a change"]
    assert {deployment_of(server, name)["work_pool_name"] for name in names} == {"nescord"}
    crons = {name: [each["schedule"]["cron"] for each in found["schedules"]] for name, found in deployed.items()}
    assert {name: found for name, found in crons.items() if found} == {
        "digest/nescord": ["5 * * * *"],
        "ingest/nescord": ["0 * * * *"],
        "nightly/nescord": ["30 3 * * *"],
        "report/nescord": ["0 6 * * 1"],
    }
    assert [name for name, found in deployed.items() if found["automations"]] == ["verify/nescord"]
    assert deployed["restore/nescord"]["global_concurrency_limit"] == 1

    parameters = {"vault": str(VAULT), "data_dir": str(tmp_path / "kb")}
    with log.open("ab") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "nescord", "--type", "process"],
            env={**server.env, "PREFECT_WORKER_QUERY_SECONDS": "1"},
            cwd=tmp_path,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        run = triggered(server, "ingest/nescord", parameters)
        assert until_state(server, run, "COMPLETED", "FAILED", "CRASHED") == "COMPLETED", log.read_text("utf-8")
        worker.send_signal(signal.SIGINT)
        worker.wait(60)
    finally:
        kill_group(worker)
    assert (tmp_path / "kb" / "nescordbot.db").is_file()
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.parametrize("flow", FLOWS)
def test_every_flow_is_documented_with_its_parameters_and_schedules(flow: str) -> None:
    from flows.deployments import read_definitions

    (declared,) = [each for each in read_definitions() if each.entrypoint.endswith(f":{flow}")]
    text = DOCUMENT.read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{flow}` |")]
    for name in declared.flow(ROOT).parameters.properties:
        assert f"`{name}`" in row
    for schedule in declared.schedules:
        assert f"`{schedule.cron}`" in row
    for trigger in declared.triggers:
        assert all(f"`{event}`" in row for event in trigger["expect"])
        assert f"`{trigger['name']}`" in text
    assert declared.description is None  # the docstring is it
    for parameter in declared.flow(ROOT).parameters.properties.values():
        assert parameter["description"]


def test_every_event_automation_and_tag_is_documented() -> None:
    from flows import common
    from flows.automations import DECLARED as AUTOMATIONS

    text = DOCUMENT.read_text(encoding="utf-8")
    for name in (common.CHANGED, common.BACKED_UP, common.FAILED, *(each.name for each in AUTOMATIONS)):
        assert f"`{name}`" in text
    # The heartbeat automation knows our runs by it.
    assert all(each["tags"] == ["nescord"] for each in DECLARED)
    assert "prefect.tag.nescord" in repr(AUTOMATIONS[0].trigger)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colour": "red"}, r"deployments\.0\.colour: Extra inputs are not permitted"),
        ({"tags": ["{{ $TAG }}"]}, r"deployments\.0\.tags\.0: templates such as '\{\{ \$TAG \}\}' are not understood"),
        ({"schedules": [{"slug": "x", "cron": "0 * * * *", "interval": 5}]}, "exactly one of cron, interval and rrule"),
        ({"schedules": [{"cron": "0 * * * *"}]}, r"schedules\.0\.slug: Field required"),
        ({"schedules": [{"slug": "x", "cron": "0 * * * *", "zone": "UTC"}]}, r"schedules\.0\.zone: Extra inputs"),
        ({"schedules": [{"slug": "x", "cron": "0 25 * * *"}]}, "Invalid cron"),
        ({"schedules": [{"slug": "x", "cron": "0 * * * *", "timezone": "Mars/Olympus"}]}, "Mars/Olympus"),
        ({"concurrency_limit": {"limit": 1, "collision_strategy": "SHRUG"}}, "collision_strategy"),
        ({"concurrency_limit": {"limit": 1, "strategy": "ENQUEUE"}}, "strategy"),
        ({"triggers": [{"name": "x", "expect": ["a"], "whithin": 5}]}, "a trigger of type event has no whithin"),
        ({"triggers": [{"expect": ["a"]}]}, "a trigger needs a name"),
        ({"parameters": {"wings": 2}}, "has no parameter wings; it has marks"),
        ({"triggers": [{"name": "x", "expect": ["a"], "parameters": {"fins": 2}}]}, "has no parameter fins"),
        ({"entrypoint": "nowhere.py:quick"}, r"there is no file .*nowhere\.py"),
        ({"entrypoint": "toys.py:fly"}, r"there is no flow 'fly' in .*toys\.py"),
        ({"entrypoint": "toys.py:_wait"}, r"there is no flow '_wait' in .*toys\.py"),
        ({"entrypoint": "broken.py:quick"}, r"'broken\.py:quick' cannot be imported: .*no_such_module"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        _served(tmp_path, {"name": "toy", "entrypoint": "toys.py:quick"} | change)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    from flows.deployments import read_definitions

    for content in ("", "- a\n", "a: [", "name: x\n", "name: x\ndeployments: []\npull: []\n"):
        (tmp_path / "prefect.yaml").write_text(content, encoding="utf-8")
        with pytest.raises(UsageError, match=r"prefect\.yaml cannot be used: "):
            read_definitions(tmp_path / "prefect.yaml")
    with pytest.raises(UsageError, match="No such file"):
        read_definitions(tmp_path / "missing.yaml")


def test_the_same_deployment_twice_is_refused(tmp_path: Path) -> None:
    twice = {"name": "toy", "entrypoint": "toys.py:quick"}
    with pytest.raises(UsageError, match="is deployed twice"):
        _served(tmp_path, twice, twice)


def test_the_time_zone_of_the_settings_wins_where_the_clock_on_the_wall_matters(tmp_path: Path) -> None:
    schedules = [
        {"slug": "tokyo", "cron": "30 3 * * *", "timezone": "Asia/Tokyo"},
        {"slug": "often", "interval": 60},
    ]
    for zone, expected in ((None, "Asia/Tokyo"), ("Europe/Berlin", "Europe/Berlin")):
        (deployment,) = _served(
            tmp_path, {"name": "toy", "entrypoint": "toys.py:quick", "schedules": schedules}, timezone=zone
        )
        cron, interval = deployment.schedules
        assert cron.schedule.timezone == expected
        assert interval.schedule.interval.total_seconds() == 60


def _served(folder: Path, *deployments: dict[str, Any], timezone: str | None = None) -> list[Any]:
    from serve_world import definitions

    from flows.deployments import read_definitions

    file = definitions(folder, *deployments)
    (folder / "broken.py").write_text(
        textwrap.dedent(
            """
            from prefect import flow
            import no_such_module

            @flow
            def quick():
                pass
            """
        ),
        encoding="utf-8",
    )
    return [each.served(each.flow(folder), timezone) for each in read_definitions(file)]


def _reported(server: PrefectServer, name: str) -> dict[str, Any]:
    """What the server says of a deployment and its triggers, without what must differ."""
    found = deployment_of(server, name)
    related = insist(server, "GET", f"/automations/related-to/prefect.deployment.{found['id']}")
    found["automations"] = [_plain(each) for each in related]
    found["schedules"] = sorted((_plain(each) for each in found["schedules"]), key=lambda each: str(each["slug"]))
    limit = found["global_concurrency_limit"]
    found["global_concurrency_limit"] = limit and limit["limit"]
    return {key: value for key, value in _plain(found).items() if key not in _DIFFERENT}


def _plain(value: Any) -> Any:
    """Without ids and dates, lists that are sets sorted."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key not in _MARKS}
    if isinstance(value, list):
        return sorted((_plain(each) for each in value), key=str)
    return value


def _prefect(server: PrefectServer, *arguments: str) -> None:
    _run(server, "prefect", *arguments)


def _run(server: PrefectServer, module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **server.env},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
