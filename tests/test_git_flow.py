"""The ingest flow over a vault in git: fetched by a task of its own, and a host that is away is tried again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flow_world import runs_of, started, tasks_of, wait_for
from git_world import Repository, git_host, needs_git

from flows.server import prefect_server

pytestmark = [pytest.mark.slow, needs_git]


def test_a_run_fetches_first_and_waits_for_a_host_that_is_away(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.push({"a.md": "one", "b.md": "two"})
    with prefect_server(tmp_path / "prefect") as server, git_host(tmp_path) as host:
        settings = {"NESCORD_VAULT_GIT_URL": f"{host.url}/notes.git"}
        host.status = 503
        with started("flow_once.py", server, [{"data_dir": str(tmp_path / "kb")}], settings) as process:

            def tasks() -> dict[str, dict[str, str]]:
                (run,) = runs_of(server, tmp_path / "kb") or [None]
                return tasks_of(server, run) if run else {}

            wait_for("the fetch to be put off", lambda: tasks().get("sync", {}).get("state_name") == "AwaitingRetry")
            host.status = 0
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        (summary,) = json.loads(output.splitlines()[0])
        assert (summary["source"], summary["added"]) == ("notes", 2)
        wait_for("the records of the tasks", lambda: {"sync", "scan", "commit"} <= set(tasks()))
