"""`nescord flows` against a real Prefect server with served flows; and the same verbs without any server."""

from __future__ import annotations

import ast
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_runs import NESCORD, Done, in_process, ingested, nescord
from flow_world import ROOT, ask, served_by

from flows.server import PrefectServer
from nescord import local_flows, services_file
from nescord.errors import UsageError
from nescord.flow_parameters import parse
from nescord.home import DataFolder, boot_id
from nescord.locks import LockName, Locks
from nescord.settings import Settings

pytestmark = pytest.mark.slow

PREFECT = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


@pytest.fixture(autouse=True)
def _no_server_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PREFECT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server, and a process that serves the toy flows and runs them."""
    with served_by("cli_flow_serve.py", tmp_path_factory.mktemp("served"), deployments=4) as server:
        yield server


@pytest.fixture
def here(served: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> PrefectServer:
    """The settings name the server."""
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, served.env[name])
    return served


def document(done: Done) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out)


def begun(*parameters: str) -> dict[str, Any]:
    """A run of the slow flow, asked for."""
    options = [word for parameter in parameters for word in ("--param", parameter)]
    run: dict[str, Any] = document(nescord("flows", "run", "slow", *options, "--json"))
    return run


def test_the_list_shows_flows_parameters_and_schedules_without_prefect(here: PrefectServer) -> None:
    flows = {each["deployment"]: each for each in document(nescord("flows", "list", "--json"))}
    assert set(flows) == {"slow/nescord", "parent/nescord", "paused/nescord", "paused/other"}
    slow = flows["slow/nescord"]
    assert list(slow["parameters"]) == ["seconds", "mode", "loudly", "times", "word"]
    assert (slow["description"], slow["schedule"], slow["paused"]) == (
        "Count the seconds.",
        "every 1 d",
        False,
    )
    assert (flows["paused/nescord"]["schedule"], flows["paused/nescord"]["paused"]) == ("paused", True)
    assert (flows["parent/nescord"]["schedule"], flows["parent/nescord"]["paused"]) == ("by hand or trigger", False)
    code = (
        "import sys\nfrom nescord.cli import run\ncode = run(['flows', 'list'])\n"
        "print(code, [name for name in ('prefect', 'apsw', 'numpy', 'chromadb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "slow/nescord\tevery 1 d\tseconds, mode, loudly, times, word\tCount the seconds." in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fast"], 'there is no flow "fast"; there are parent, paused, paused/other, slow'),
        (["slow"], "slow needs --param seconds=…"),
        (["slow", "--param", "second=1"], 'slow has no parameter "second"; it has seconds, mode, loudly, times, word'),
        (["slow", "--param", "seconds"], '--param seconds: write it as "name=value"'),
        (["slow", "--param", "seconds=x"], 'the parameter seconds is "x": it must be a number'),
        (["slow", "--param", "seconds=1", "--param", "loudly=2"], 'loudly is "2": it must be true or false'),
        (["slow", "--param", "seconds=1", "--param", "times=1.5"], 'times is "1.5": it must be a whole number'),
        (["slow", "--param", "seconds=1", "--param", "mode=run"], 'mode is "run": it must be count or fail'),
        (["slow", "--param", "seconds=1", "--param", "seconds=2"], 'the parameter "seconds" is given twice'),
        (["slow", "--local"], 'there is no flow "slow" to run without a server; there are ingest, verify, backup'),
        (["ingest", "--local", "--watch"], "--local runs it here and now"),
    ],
)
def test_what_is_not_known_is_refused_and_nothing_is_run(here: PrefectServer, words: list[str], said: str) -> None:
    where = {"flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
    before = ask(here, "POST", "/flow_runs/count", where)
    done = nescord("flows", "run", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert ask(here, "POST", "/flow_runs/count", where) == before


def test_a_flow_of_several_deployments_is_run_by_ours_unless_one_is_named(here: PrefectServer) -> None:
    ours = document(nescord("flows", "run", "paused", "--json"))
    other = document(nescord("flows", "run", "paused/other", "--json"))
    deployments = [ask(here, "GET", f"/flow_runs/{run['id']}")["deployment_id"] for run in (ours, other)]
    names = [ask(here, "GET", f"/deployments/{one}")["name"] for one in deployments]
    assert names == ["nescord", "other"]


def test_watching_shows_states_and_logs_until_the_end(here: PrefectServer) -> None:
    parameters = ["seconds=2", "loudly=yes", "times=3", "word=null"]
    options = [word for parameter in parameters for word in ("--param", parameter)]
    done = nescord("flows", "run", "slow", *options, "--watch")
    assert done.code == 0, done.err
    assert "given 'count' True 3 None" in done.out
    assert done.out.count("second 0") == done.out.count("second 1") == 1
    name = re.findall(r"^Completed  (\S+)  \d", done.out, re.MULTILINE)
    assert len(name) == 1
    assert re.search(rf"^Running  {name[0]}$", done.out, re.MULTILINE)

    failed = nescord("flows", "run", "slow", "--param", "seconds=0", "--param", "mode=fail", "--watch", "--json")
    assert failed.code == 1
    run = json.loads(failed.out)
    assert (run["state"], run["new"]) == ("FAILED", True)
    assert "the toy is broken" in run["message"]
    assert "the toy is broken" in failed.err


def test_logs_are_those_of_a_run_and_of_what_it_has_begun(here: PrefectServer) -> None:
    run = document(nescord("flows", "run", "parent", "--watch", "--json"))
    by_id, by_name = (document(nescord("flows", "logs", run[key], "--json")) for key in ("id", "name"))
    assert by_id == by_name
    said = [line["message"] for line in by_id["logs"]]
    assert any("given 'count' False 1 'below'" in line for line in said)
    assert f"Completed  {run['name']}" in nescord("flows", "logs", run["name"]).out
    for unknown in ("no-such-run", "00000000-0000-0000-0000-000000000000"):
        done = nescord("flows", "logs", unknown)
        assert (done.code, done.out) == (1, "")
        assert unknown in done.err


def test_the_same_key_gives_the_same_run(here: PrefectServer) -> None:
    words = ("flows", "run", "paused", "--json")
    first, second = (nescord(*words, "--key", "2026-11-27T21:00") for _ in range(2))
    assert document(first)["id"] == document(second)["id"]
    assert [document(done)["new"] for done in (first, second)] == [True, False]
    assert "the key was used before" in second.err
    assert len({document(first)["id"], *(document(nescord(*words))["id"] for _ in range(2))}) == 3


def test_ctrl_c_ends_the_watching_and_cancel_ends_the_run(here: PrefectServer) -> None:
    command = [*NESCORD, "flows", "run", "slow", "--param", "seconds=120", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = []
        for line in watching.stdout:
            lines.append(line)
            if "second 1" in line:
                break
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)
    assert watching.returncode == 130, errors
    assert "the run goes on" in errors
    name = lines[0].split()[1]
    assert document(nescord("flows", "logs", name, "--json"))["state"] == "RUNNING"
    (shown,) = [each for each in document(nescord("flows", "status", "--json")) if each["flow"] == "slow"]
    assert shown["runs"][0]["name"] == name
    assert shown["next"] is not None

    began = time.monotonic()
    stopped = document(nescord("flows", "cancel", name, "--json"))
    assert time.monotonic() - began < 15
    assert stopped["state"] == "CANCELLED"
    again = nescord("flows", "cancel", name)
    assert (again.code, again.out) == (2, "")
    assert "has ended already (Cancelled)" in again.err


def test_a_run_that_waits_is_cancelled_at_once(here: PrefectServer) -> None:
    (deployment,) = [each for each in document(nescord("flows", "status", "--json")) if each["flow"] == "slow"]
    where = {"flow_runs": {"expected_start_time": {"after_": deployment["next"]}}, "sort": "EXPECTED_START_TIME_DESC"}
    last = ask(here, "POST", "/flow_runs/filter", where)[0]
    assert last["state_type"] == "SCHEDULED"
    assert document(nescord("flows", "cancel", last["id"], "--json"))["state"] == "CANCELLED"


def test_the_status_says_what_is_due_and_what_is_paused(here: PrefectServer) -> None:
    status = {each["deployment"]: each for each in document(nescord("flows", "status", "--json"))}
    assert status["slow/nescord"]["next"] is not None
    assert (status["paused/nescord"]["next"], status["paused/nescord"]["paused"]) == (None, True)
    rows = [line.split("\t") for line in nescord("flows", "status").out.splitlines()]
    shown = {row[0]: row[1] for row in rows if row[0]}
    assert re.fullmatch(r"in \d+ (h|d|min|s)", shown["slow/nescord"])
    assert shown["paused/nescord"] == "paused"
    assert shown["parent/nescord"] == "by hand or trigger"


def test_without_a_server_it_says_how_to_have_one(tmp_path: Path) -> None:
    done = nescord("--data-dir", tmp_path / "kb", "flows", "list", "--json")
    assert done.code == 69
    assert f"there is no Prefect server for {tmp_path / 'kb'}: start it with nescord services" in done.document["error"]  # type: ignore[index]
    assert not (tmp_path / "kb").exists()


def test_a_server_that_does_not_answer_or_refuses_the_password_is_told_apart(
    here: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "nescord:wrong")
    refused = nescord("flows", "list")
    assert (refused.code, refused.out) == (2, "")
    assert "refuses the password or key" in refused.err
    assert "wrong" not in refused.err
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/api")
    nobody = nescord("flows", "status")
    assert (nobody.code, nobody.out) == (69, "")
    assert "does not answer" in nobody.err


def test_the_services_of_the_data_folder_are_found_while_they_run(served: PrefectServer, tmp_path: Path) -> None:
    folder = DataFolder.at(Settings(data_dir=tmp_path / "kb"))
    folder.run.mkdir(parents=True)
    services_file.write(
        folder,
        services_file.RunningServices(
            boot_id=boot_id(), prefect_api_url=served.api_url, prefect_auth=served.env["PREFECT_API_AUTH_STRING"]
        ),
    )
    words = ("--data-dir", tmp_path / "kb", "flows", "list")
    with Locks(folder.run, timeout=1).exclusive(LockName.SERVICE):
        done = in_process(*map(str, words))
        assert done.code == 0, done.err
        assert "slow/nescord" in done.out
    assert nescord(*words).code == 69


def test_without_a_server_the_verbs_run_here(tmp_path: Path) -> None:
    state = ingested(tmp_path)

    def local(name: str, *parameters: str) -> Done:
        options = [word for parameter in parameters for word in ("--param", parameter)]
        return nescord("--data-dir", state, "flows", "run", name, "--local", "--json", *options)

    assert document(local("ingest", f"vault={tmp_path / 'vault'}"))["unchanged"] == 4
    made = document(local("backup"))
    assert made["dropped"] == []
    assert document(local("verify", "deep=true"))["ok"]
    assert document(local("drill", f"snapshot={made['id']}"))["id"] == made["id"]
    assert document(local("maintain"))["ok"]
    (tmp_path / "vault" / "new.md").write_text("# New\n\nAfter the backup.\n", encoding="utf-8")
    assert document(local("ingest", f"vault={tmp_path / 'vault'}"))["added"] == 1
    refused = local("restore", f"snapshot={made['id']}", "confirm=yes")
    assert (refused.code, "must repeat the id" in refused.err) == (2, True)
    restored = document(local("restore", f"snapshot={made['id']}", f"confirm={made['id']}"))
    assert (restored["restored"], restored["notes"]) == (made["id"], 4)
    assert local("ingest").code == 2
    shown = nescord("--data-dir", tmp_path, "flows", "run", "verify", "--local", "--param", f"data_dir={state}")
    assert "ok: True" in shown.out, shown.err


def test_the_verbs_have_the_parameters_of_the_flows() -> None:
    for name, flow in local_flows.LOCAL.items():
        tree = ast.parse((ROOT / "flows" / f"{name}.py").read_text(encoding="utf-8"))
        (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        parameters = [argument.arg for argument in function.args.args]
        required = parameters[: len(parameters) - len(function.args.defaults)]
        assert list(flow.schema["properties"]) == parameters, name  # type: ignore[call-overload]
        assert list(flow.required) == required, name


def test_references_lists_and_unions_of_a_schema_are_followed() -> None:
    schema = {
        "properties": {
            "when": {"$ref": "#/definitions/When"},
            "days": {"anyOf": [{"items": {"type": "integer"}, "type": "array"}, {"type": "null"}]},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "folder": {"format": "path", "type": "string"},
        },
        "definitions": {"When": {"enum": ["now", "later"], "type": "string"}},
    }
    given = ["when=later", "days=[1, 2]", "limit=12", "folder=null"]
    assert parse(given, schema, {}, "toy") == {"when": "later", "days": [1, 2], "limit": 12, "folder": "null"}
    assert parse(["days=", "limit=a dozen", "folder=a=b"], schema, {}, "toy") == {
        "days": None,
        "limit": "a dozen",
        "folder": "a=b",
    }
    with pytest.raises(UsageError, match='when is "soon": it must be now or later'):
        parse(["when=soon"], schema, {}, "toy")
    with pytest.raises(UsageError, match="it must be JSON"):
        parse(["days=[1"], schema, {}, "toy")
