"""The flow `report` at a real server: a task for the marts and each notebook, and a table of what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_world import artifacts_of, ask, called, runs_of, wait_for
from report_world import FAILS, settings_with, write_notebook

from flows.server import PrefectServer, prefect_server
from nescord.reports import retention

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


def test_a_run_keeps_the_pages_and_fails_with_the_name_of_what_failed(server: PrefectServer, tmp_path: Path) -> None:
    notebooks = tmp_path / "notebooks"
    write_notebook(notebooks, "01_good", ["print('good')"])
    write_notebook(notebooks, "02_fails", FAILS)
    write_notebook(notebooks, "03_good", ["print('good, too')"])
    data = settings_with(tmp_path, notebooks).data_dir
    assert data is not None
    call = ("report", {"data_dir": str(data), "language": "ja"})
    (state,) = called(server, call, settings={"NESCORD_NOTEBOOKS": str(notebooks)})
    assert state["type"] == "FAILED"
    assert "02_fails: cell 4: ValueError: <b>no</b> rows" in state["message"]
    report = retention.latest(data / "reports")
    assert report is not None
    assert [page.failure is None for page in report.pages] == [True, False, True]

    (run,) = runs_of(server, data)
    table = artifacts_of(server, run)["report-pages"]
    assert table["description"].startswith("1 of 3 notebooks failed; ")
    assert report.stamp in table["description"]
    assert [row["notebook"] for row in table["data"]] == ["01_good", "02_fails", "03_good"]
    assert table["data"][1]["failed"] == "`cell 4: ValueError: <b>no</b> rows`"
    assert table["data"][0]["page"] == f"`{report.folder / '01_good.html'}`"
    wanted = dict.fromkeys(("marts", "golden_queries", "01_good", "02_fails", "03_good"), "COMPLETED")
    wanted["02_fails"] = "FAILED"
    wait_for("the records of the tasks", lambda: _states(server, run) == wanted)

    # Mended, and two at once.
    write_notebook(notebooks, "02_fails", ["print('mended')"])
    (state,) = called(server, call, settings={"NESCORD_NOTEBOOKS": str(notebooks), "NESCORD_REPORT_PARALLEL": "2"})
    assert state["type"] == "COMPLETED", state
    newer = retention.latest(data / "reports")
    assert newer is not None
    assert newer
    assert newer.stamp > report.stamp
    wanted["02_fails"] = "COMPLETED"
    wait_for("the records of the tasks", lambda: _states(server, runs_of(server, data)[1]) == wanted)


def _states(server: PrefectServer, run: dict[str, Any]) -> dict[str, str]:
    """The state of each task of a run; those that the flow has named, and `marts-abc`."""
    found = ask(server, "POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    return {task["name"].partition("-")[0]: task["state_type"] for task in found}
