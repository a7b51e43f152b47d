"""The flow `maintain` at a real server: its table says before and after, and a step that failed fails the run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from flow_world import artifacts_of, called, runs_of, tasks_of, wait_for
from survival import DATABASE, stored

from flows.server import PrefectServer, prefect_server
from nescord.locks import LockName, Locks
from tests.vaults import open_base, write_notes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine notes; another is in the trash for two months."""
    vault = tmp_path / "vault"
    write_notes(vault, {f"note {number}.md": f"# Note {number}\n\nas ever\n" for number in range(10)})
    with open_base(tmp_path / "data") as km:
        km.ingest(vault)
        (vault / "note 0.md").unlink()
        assert km.ingest(vault).deleted == 1
    connection = apsw.Connection(str(tmp_path / "data" / DATABASE))
    then = (datetime.now(UTC) - timedelta(days=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    connection.execute("UPDATE note SET trashed_at = ? WHERE trashed_at IS NOT NULL", (then,))
    connection.close()
    return tmp_path / "data"


def test_a_run_tidies_up_and_says_what_went(server: PrefectServer, data: Path) -> None:
    living = stored(data / DATABASE).notes
    nowhere = data.parent / "nowhere"
    state, none = called(server, *(("maintain", {"data_dir": str(folder)}) for folder in (data, nowhere)))
    assert state["type"] == "COMPLETED", state
    assert none["type"] == "FAILED"
    assert "no knowledge base" in none["message"]
    assert not (nowhere / "identity.json").exists()  # none is begun for it
    (run,) = runs_of(server, data)
    table = artifacts_of(server, run)["maintain-steps"]
    rows = {row["step"]: row for row in table["data"]}
    assert (rows["trash"]["before"], rows["trash"]["after"]) == ("1 notes", "0 notes")
    assert rows["write-ahead log"]["after"] == "0.0 MB"
    assert table["description"].startswith("Every step is done; ")
    after = stored(data / DATABASE)
    assert (after.notes, after.trashed) == (living, set())


def test_a_failed_step_fails_the_run_and_the_others_are_done(server: PrefectServer, data: Path) -> None:
    (data / "backups" / "snapshots").mkdir(parents=True)
    (data / "backups" / "store.json").write_text('{"format": 1, "knowledge_base": "<b>somebody else"}')
    (state,) = called(server, ("maintain", {"data_dir": str(data)}))
    assert state["type"] == "FAILED"
    assert "rests of backups: BackupError" in state["message"]
    (run,) = runs_of(server, data)
    wait_for("the record of the task", lambda: "tidy" in tasks_of(server, run))
    assert tasks_of(server, run)["tidy"]["run_count"] == 1
    table = artifacts_of(server, run)["maintain-steps"]
    assert table["description"].startswith("1 of 21 steps failed; ")
    (failed,) = [row["remark"] for row in table["data"] if "FAILED" in row["remark"]]
    assert failed.startswith("`FAILED: BackupError")  # a code span: no markup in it
    assert not stored(data / DATABASE).trashed


def test_an_ingest_under_way_is_waited_for(server: PrefectServer, data: Path) -> None:
    """Longer than a lock is waited for: the task is tried again."""
    locks = Locks(data / "run", timeout=5)
    states = []
    with locks.exclusive(LockName.INGEST):
        thread = threading.Thread(
            target=lambda: states.extend(
                called(server, ("maintain", {"data_dir": str(data)}), settings={"NESCORD_LOCK_TIMEOUT": "0.2"})
            )
        )
        thread.start()
        run = wait_for("the run", lambda: next(iter(runs_of(server, data)), None))
        wait_for("a retry", lambda: tasks_of(server, run).get("tidy", {}).get("state_name") == "AwaitingRetry")
    thread.join()
    assert [state["type"] for state in states] == ["COMPLETED"]
    assert not stored(data / DATABASE).trashed


def test_an_ingest_that_finds_one_under_way_hands_over_to_it(server: PrefectServer, data: Path) -> None:
    vault = data.parent / "vault"
    (vault / "new.md").write_text("# New\n\nsince a moment\n", encoding="utf-8")
    parameters = {"vault": str(vault), "data_dir": str(data)}
    with open_base(data) as km, km.ingest_turns(vault) as turns:
        assert next(turns) == 0
        handed_over = called(server, ("ingest", parameters))
        assert "new.md" not in stored(data / DATABASE).notes
        assert next(turns) == 1  # it has asked for another look
    own = called(server, ("ingest", parameters))
    assert [state["type"] for state in (*handed_over, *own)] == ["COMPLETED"] * 2
    tables = [artifacts_of(server, run)["ingest-changes"]["data"] for run in runs_of(server, data)]
    assert [[row["what"] for row in table] for table in tables] == [["handed over"], ["added"]]
    assert "new.md" in stored(data / DATABASE).notes
