"""`nescord services` as it is: the real servers and flows, everything that people do beside them, and every ending."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cli_runs import NOTES, in_process, write_notes
from flow_world import processes_naming, wait_for
from services_world import PATIENCE, Running, prefect_elsewhere, running

from nescord.prefect_api import PrefectApi, Run, find_server, patiently
from nescord.settings import Settings

SERVICES = ("-m", "nescord.cli", "--data-dir")
QUERY = "Sourdough with rye flour"
RYE = {"bread.md": "# Rye bread\n\nSourdough with rye flour, baked on Sunday morning.\n"}


@pytest.fixture(scope="module", autouse=True)
def _with_model() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NESCORD_EMBEDDER", "local")
        yield


def _base(folder: Path) -> Path:
    """A knowledge base with a few notes."""
    write_notes(folder / "vault", NOTES)
    done = in_process("--data-dir", folder / "data", "ingest", folder / "vault")
    assert done.code == 0, done.err
    return folder / "data"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """All of them, ready. The tests of this module use them in turn."""
    data = _base(tmp_path_factory.mktemp("services"))
    with running(data, [*SERVICES, str(data), "services", "--port", "0"]) as started:
        started.hears("all services are ready")
        yield started


def _run(data: Path, flow: str, **parameters: object) -> Run:
    """A run of a flow, at its end."""
    with PrefectApi(find_server(Settings(data_dir=data))) as api:
        deployment = patiently(lambda: api.deployment(flow))
        key = str(uuid.uuid4())
        run, _ = patiently(lambda: api.start(deployment, parameters, key))
        deadline = time.monotonic() + PATIENCE
        while not run.has_ended and time.monotonic() < deadline:
            time.sleep(0.5)
            run = patiently(partial(api.run, run.id))
    return run


def test_the_commands_work_beside_it(services: Running) -> None:
    data = services.data
    assert services.addresses["chroma_url"]
    taken = in_process("--data-dir", data, "ingest", write_notes(data.parent / "more", RYE), "--json")
    assert (taken.document["indexed"], taken.document["degraded"]) == (1, [])
    found = in_process("--data-dir", data, "search", "--mode", "vector", "--json", QUERY)
    assert (found.document[0]["path"], found.err) == ("bread.md", "")
    created = in_process("--data-dir", data, "backup", "create", "--json")
    assert created.code == 0, created.err
    # It was told over HTTP: nobody else may have the folder open.
    busy = in_process("--data-dir", data, "verify", "--json")
    index = {check["name"]: check for check in busy.document["checks"] if check["name"].startswith("index.")}
    assert index["index.store"]["value"].startswith("chroma-server: ")
    assert {check["status"] for check in index.values()} == {"pass"}


def test_a_flow_runs_and_its_page_is_there(services: Running) -> None:
    assert (_run(services.data, "verify").state) == "COMPLETED"
    server = find_server(Settings(data_dir=services.data))
    pages = in_process("--data-dir", services.data, "flows", "list", "--json")
    assert pages.code == 0, pages.err
    assert "nescord" in server.auth


def test_a_restore_while_it_runs_and_the_index_follows(services: Running) -> None:
    data = services.data
    snapshot = in_process("--data-dir", data, "backup", "create", "--json").document["id"]
    lost = write_notes(data.parent / "later", {"later.md": "# Later\n\nA note after the snapshot.\n"})
    assert in_process("--data-dir", data, "ingest", lost, "--json").document["indexed"] == 1
    restored = in_process("--data-dir", data, "backup", "restore", snapshot, "--yes", "--json")
    assert restored.code == 0, restored.err

    def answers() -> bool:
        found = in_process("--data-dir", data, "search", "--mode", "vector", "--json", QUERY)
        assert found.document[0]["path"] == "bread.md"  # right, whoever answers
        return found.err == ""  # nothing is degraded: the rebuilt index does

    wait_for("the rebuilt index", answers, PATIENCE)
    checks = in_process("--data-dir", data, "verify", "--json").document["checks"]
    assert {check["status"] for check in checks if check["name"].startswith("index.")} == {"pass"}


def test_a_killed_prefect_server_comes_back_and_serve_with_it(services: Running) -> None:
    before = services.pid("flows.server"), services.pid("nescord.parent")
    ready = services.said.count("serve: ready")
    os.kill(before[0], signal.SIGKILL)
    services.hears("prefect: was killed by SIGKILL")
    services.hears("serve: ready", ready + 1)
    after = services.pid("flows.server"), services.pid("nescord.parent")
    assert not set(before) & set(after)
    assert _run(services.data, "verify").state == "COMPLETED"


def test_it_stops_in_time_in_the_middle_of_a_run_and_leaves_nothing(services: Running) -> None:
    with PrefectApi(find_server(Settings(data_dir=services.data))) as api:
        deployment = patiently(lambda: api.deployment("verify"))
        run, _ = patiently(lambda: api.start(deployment, {"deep": True}, str(uuid.uuid4())))
        wait_for("the run", lambda: patiently(lambda: api.run(run.id)).state == "RUNNING", PATIENCE)
    begun = time.monotonic()
    assert services.stop() == 0
    assert time.monotonic() - begun < 40
    assert not processes_naming(str(services.data))
    assert services.addresses["chroma_url"] is services.addresses["prefect_api_url"] is None
    found = in_process("--data-dir", services.data, "search", "--json", QUERY)
    assert (found.document[0]["path"], found.err) == ("bread.md", "")


def test_killed_during_the_start_it_leaves_nothing_and_the_next_runs_a_flow_once(tmp_path: Path) -> None:
    data = _base(tmp_path)
    command = [*SERVICES, str(data), "services", "--port", "0", "--no-ui"]
    with running(data, command) as killed:
        wait_for("the Prefect server", lambda: "flows.server" in _commands(data), PATIENCE)
        killed.stop(signal.SIGKILL)
        wait_for("the end of everything", lambda: not processes_naming(str(data)))
    write_notes(tmp_path / "vault", RYE)
    vault = f"vault={tmp_path / 'vault'}"
    with running(data, [*command, "--once", "ingest", "--param", vault, "--json"]) as once:
        assert once.process.wait(PATIENCE) == 0, once.said
    document = json.loads(once.said[once.said.index("{") : once.said.rindex("}") + 1])
    assert (document["flow"], document["state"]) == ("ingest", "Completed")
    assert not processes_naming(str(data))
    found = in_process("--data-dir", data, "search", "--json", QUERY)
    assert found.document[0]["path"] == "bread.md"


def test_it_stops_at_once_while_it_starts(tmp_path: Path) -> None:
    data = _base(tmp_path)
    with running(data, [*SERVICES, str(data), "services", "--port", "0", "--no-ui"]) as stopped:
        wait_for("the Prefect server", lambda: "flows.server" in _commands(data), PATIENCE)
        assert stopped.stop() == 0
        assert not processes_naming(str(data))


def test_no_secret_is_kept_in_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_VECTOR", "exact")
    data = _base(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from nescord.serving import serve; from nescord.settings import Settings\n"
        "serve(Settings(data_dir=Path(sys.argv[1])), lambda text: print(text, flush=True), module='toy_web')"
    )
    secrets = {"NESCORD_STATUS_TOKEN": "the-token-of-the-page", "TOY_WEB_ENDS": "1"}
    with (
        prefect_elsewhere(polled=False) as prefect,
        running(data, ["-c", code, str(data)], PREFECT_API_URL=prefect, **secrets) as started,
    ):
        started.hears("serve: ended with exit code 3")
        assert started.stop() == 0
    logged = (data / "run" / "logs" / "serve.log").read_text()
    assert logged.startswith("token ***\n")
    assert secrets["NESCORD_STATUS_TOKEN"] not in logged + started.said


def test_without_a_knowledge_base_it_says_how_to_begin(tmp_path: Path) -> None:
    done = in_process("--data-dir", tmp_path / "none", "services")
    assert done.code == 2
    assert "no knowledge base at" in done.err


def test_options_of_a_run_need_one(tmp_path: Path) -> None:
    done = in_process("--data-dir", tmp_path, "services", "--param", "a=b")
    assert (done.code, done.err) == (2, "nescord: --param and --json go with --once FLOW\n")


def _commands(data: Path) -> str:
    """The command lines of whatever works on the data folder."""
    found = []
    for pid in processes_naming(str(data)):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return "\n".join(found)
