"""The ingest flow over a vault in git: fetched by a task of its own, and a host that is away is tried again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flow_world import runs_of, started, tasks_of, wait_for
from git_world import Repository, git_host, needs_git
from vaults import open_base
from writeback_world import files_of

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


def test_a_run_writes_back_what_was_captured_and_says_so_when_it_may_not(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.push({"a.md": "one"})
    with open_base(tmp_path / "kb") as km:
        note = km.capture("captured in Discord")
    with prefect_server(tmp_path / "prefect") as server, git_host(tmp_path) as host:
        settings = {"NESCORD_VAULT_GIT_URL": f"{host.url}/notes.git", "NESCORD_WRITEBACK": "true"}
        settings["NESCORD_EMBEDDER"] = "none"

        def run() -> dict[str, object]:
            with started("flow_once.py", server, [{"data_dir": str(tmp_path / "kb")}], settings) as process:
                output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            (summary,) = json.loads(output.splitlines()[0])
            return dict(summary)

        host.takes_pushes = False
        first = run()
        assert first["added"] == 1
        assert "lets us read and not write" in str(first["degraded"])
        assert files_of(repository) == {}
        host.takes_pushes = True
        second = run()
        assert "write-back" not in str(second["degraded"])
        assert [note.id in text for text in files_of(repository).values()] == [True]
        (run_, *_) = runs_of(server, tmp_path / "kb")
        wait_for("the records of the tasks", lambda: "write_back" in tasks_of(server, run_))
    with open_base(tmp_path / "kb") as km:
        assert km.note(note.id).path.startswith("inbox/")
