"""What the flows share, seen at a real server: retries, progress, events, and what an ingest leaves there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from flow_world import (
    ROOT,
    VAULT,
    artifacts_of,
    called,
    cancelled,
    events_of,
    processes_naming,
    runs_of,
    started,
    tasks_of,
    triggered,
    wait_for,
)

from flows.server import PrefectServer, prefect_server
from nescord import KnowledgeManager, Settings
from nescord.backup.manager import BackupManager
from nescord.errors import (
    BackupError,
    DiskError,
    EmbeddingUnavailableError,
    FailedChecksError,
    LockTimeoutError,
    ServiceUnavailableError,
    UsageError,
    is_transient,
)
from nescord.home import read_identity
from tests.survival import SOAK
from tests.vaults import write_notes

BATCH = 512
FLOWS = ("ingest", "verify", "backup", "drill", "maintain", "digest", "report", "restore", "nightly")
_DESCRIBED = """
import importlib, json, sys
found = []
for name in sys.argv[1:]:
    flow = getattr(importlib.import_module("flows." + name), name)
    assert flow.name == name
    hooks = [hook.__name__ for hook in flow.on_failure_hooks + flow.on_crashed_hooks + flow.on_completion_hooks]
    parameters = flow.parameters.model_dump()["properties"]
    found.append({"timeout": flow.timeout_seconds, "hooks": hooks, "parameters": parameters})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


def test_only_what_passes_by_itself_is_transient() -> None:
    passing = (LockTimeoutError, DiskError, ServiceUnavailableError)
    lasting = (UsageError, BackupError, EmbeddingUnavailableError, FailedChecksError, ZeroDivisionError, TimeoutError)
    assert all(is_transient(kind("x")) for kind in passing)
    assert not any(is_transient(kind("x")) for kind in lasting)
    assert not is_transient(None)


def test_every_flow_ends_some_day_tells_how_it_ended_and_describes_its_parameters() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DESCRIBED, *FLOWS], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for flow in json.loads(done.stdout):
        assert 0 < flow["timeout"] < 86_400, flow
        assert flow["hooks"] == ["on_failure", "on_crashed", "on_completion"], flow
        assert all(parameter.get("description") for parameter in flow["parameters"].values()), flow
        assert "data_dir" in flow["parameters"]


def test_the_pieces_of_flows_show_at_the_server(server: PrefectServer, tmp_path: Path) -> None:
    data = {"data_dir": str(tmp_path / "kb")}
    kinds = {"DiskError": 1, "EmbeddingUnavailableError": 1, "UsageError": 1, "ZeroDivisionError": 1}
    tries = [("flow_toys:trying", data | {"kind": kind, "times": times}) for kind, times in kinds.items()]
    others = [(f"flow_toys:{name}", data) for name in ("progressing", "planning", "emitting")]
    states = called(server, *tries, *others)
    assert [state["type"] for state in states] == ["COMPLETED", *["FAILED"] * 3, *["COMPLETED"] * 3]
    runs = runs_of(server, tmp_path / "kb")
    wait_for("the tasks", lambda: all("fails" in tasks_of(server, run) for run in runs[:4]))
    assert [tasks_of(server, run)["fails"]["run_count"] for run in runs[:4]] == [2, 1, 1, 1]

    (progress,) = artifacts_of(server, runs[4]).values()
    assert (progress["key"], progress["type"], progress["description"]) == ("toy-progress", "progress", "done")
    assert float(progress["data"]) == 100

    (week,) = artifacts_of(server, runs[5]).values()
    *weekdays, sunday = week["data"].split(";")
    assert weekdays == ["backup,verify"] * 6
    assert sunday == "backup,verify,drill,maintain"

    wait_for("both events", lambda: len(events_of(server, "nescord.toy")) == 2)
    names = {
        event["payload"]["whose"]: event["resource"]["prefect.resource.id"]
        for event in events_of(server, "nescord.toy")
    }
    assert names["unknown"] == "nescord.knowledge-base.unknown"
    assert names["known"].startswith("nescord.knowledge-base.")
    assert names["known"] != names["unknown"]


def test_an_ingest_that_changes_something_says_so_and_one_that_does_not_is_silent(
    server: PrefectServer, tmp_path: Path
) -> None:
    write_notes(tmp_path / "vault", {"Tea.md": "Green tea at 80 °C.", "Rice.md": "Rinse it thrice."})
    call = ("ingest", {"vault": str(tmp_path / "vault"), "data_dir": str(tmp_path / "kb")})
    assert [state["type"] for state in called(server, call, call)] == ["COMPLETED"] * 2
    with KnowledgeManager.open_existing(Settings(data_dir=tmp_path / "kb")) as knowledge:
        resource = f"nescord.knowledge-base.{read_identity(knowledge.folder).uuid}"

    def ours() -> list[dict[str, Any]]:
        events = events_of(server, "nescord.ingest.changed")
        return [event for event in events if event["resource"]["prefect.resource.id"] == resource]

    wait_for("the event", ours)
    (event,) = ours()
    assert (event["payload"]["added"], event["payload"]["deleted"]) == (2, 0)
    first, second = runs_of(server, tmp_path / "kb")
    assert {
        "prefect.resource.role": "flow-run",
        "prefect.resource.id": f"prefect.flow-run.{first['id']}",
    }.items() <= next(related for related in event["related"] if related["prefect.resource.role"] == "flow-run").items()
    assert [row["what"] for row in artifacts_of(server, second)["ingest-changes"]["data"]] == ["nothing changed"]


def test_an_ingest_after_a_restore_completes_and_says_that_it_waits(server: PrefectServer, tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"Tea.md": "Green tea at 80 °C."})
    settings = Settings(data_dir=tmp_path / "kb")
    with KnowledgeManager.open(settings) as knowledge:
        knowledge.ingest(tmp_path / "vault")
    manager = BackupManager(settings)
    snapshot = manager.create().id
    assert manager.restored(snapshot).paused
    (state,) = called(server, ("ingest", {"vault": str(tmp_path / "vault"), "data_dir": str(tmp_path / "kb")}))
    assert state["type"] == "COMPLETED"
    (run,) = runs_of(server, tmp_path / "kb")
    table = artifacts_of(server, run)["ingest-changes"]
    assert [row["what"] for row in table["data"]] == ["paused"]
    assert table["description"] == f"`paused since the restore of {snapshot}: nescord ingest --resume`"


def test_a_run_that_is_cancelled_while_it_embeds_ends_soon_and_keeps_its_batches(
    server: PrefectServer, tmp_path: Path
) -> None:
    notes = (6 if SOAK else 4) * BATCH
    lines = (VAULT / "家族" / "お年玉と贈答.md").read_text(encoding="utf-8")
    write_notes(
        tmp_path / "vault", {f"{number}.md": f"# {number}\n\n{number} {lines[:600]}" for number in range(notes)}
    )
    data = tmp_path / "kb"
    parameters = {"vault": str(tmp_path / "vault"), "data_dir": str(data)}
    settings = {"NESCORD_EMBEDDER": "local", "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    log = tmp_path / "serve.log"
    with (
        log.open("w", encoding="utf-8") as output,
        started("flow_deployed.py", server, "ingest", settings, output) as serve,
    ):
        run = triggered(server, "ingest", parameters)
        wait_for("a batch to be stored", lambda: _embedded(data) >= BATCH, seconds=120)
        took = cancelled(server, run)
        serve.terminate()
        serve.wait(timeout=60)
    wait_for("its runs to end", lambda: processes_naming(server.env["PREFECT_HOME"]) == [server.pid])
    assert took < 10
    embedded = _embedded(data)
    assert 0 < embedded < notes, "it was cancelled in its midst"
    assert embedded % BATCH == 0


def _embedded(data: Path) -> int:
    try:
        connection = apsw.Connection(str(data / "nescordbot.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return int(connection.execute("SELECT count(*) FROM embedding").get)
        finally:
            connection.close()
    except apsw.Error:  # not there yet
        return 0
