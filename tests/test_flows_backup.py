"""The flows backup, drill and restore at a real server: what they leave there, and what becomes of them in trouble."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from flow_world import artifacts_of, called, events_of, runs_of, started, tasks_of, wait_for

from flows.server import PrefectServer, prefect_server
from nescord import KnowledgeManager, Settings
from nescord.backup.store import BackupStore
from nescord.locks import LockName, Locks
from tests.backup_world import flip
from tests.survival import SOAK, new_rng
from tests.vaults import write_notes

MEGABYTES = 400 if SOAK else 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small knowledge base, of which there is no backup yet."""
    write_notes(
        tmp_path / "vault", {f"{number}.md": f"# Note {number}\n\nTea and rice {number}." for number in range(8)}
    )
    with KnowledgeManager.open(Settings(data_dir=tmp_path / "kb")) as knowledge:
        knowledge.ingest(tmp_path / "vault")
    return tmp_path / "kb"


def store_of(data: Path) -> BackupStore:
    return BackupStore(data / "backups")


def run_of(server: PrefectServer, data: Path) -> dict[str, Any]:
    """The latest run into a data folder."""
    run: dict[str, Any] = runs_of(server, data)[-1]
    return run


def test_backups_leave_a_card_what_was_kept_and_why_and_an_event(server: PrefectServer, data: Path) -> None:
    nightly = {"trigger": "nightly", "data_dir": str(data)}
    states = called(
        server, ("backup", {"data_dir": str(data)}), ("backup", nightly), ("backup", nightly | {"prune": False})
    )
    assert [state["type"] for state in states] == ["COMPLETED"] * 3
    snapshots = store_of(data).snapshots()
    assert [each.manifest and each.manifest.trigger for each in snapshots] == ["manual", "nightly", "nightly"]
    assert all(each.is_good for each in snapshots)

    _, second, third = runs_of(server, data)
    artifacts = artifacts_of(server, second)
    assert set(artifacts) == {"backup-snapshot", "backup-retention"}
    card = artifacts["backup-snapshot"]["data"]
    assert f"# Snapshot {snapshots[1].id}" in card
    assert "| notes | 8 |" in card
    assert "Growth over the last 2 snapshots" in card
    assert "`██`" in card, "the second adds next to nothing to the first"
    kept = {row["snapshot"]: (row["became"], row["because"]) for row in artifacts["backup-retention"]["data"]}
    assert [kept[each.id][0] for each in snapshots[:2]] == ["kept"] * 2
    assert "newest good" in kept[snapshots[1].id][1]
    assert set(artifacts_of(server, third)) == {"backup-snapshot"}

    def announced() -> set[str]:
        return {event["payload"]["id"] for event in events_of(server, "nescord.backup.created")}

    wait_for("the events", lambda: announced() >= {each.id for each in snapshots})
    wait_for("the tasks", lambda: set(tasks_of(server, second)) == {"create", "check", "prune"})


def test_a_copy_that_cannot_be_made_fails_the_run_but_not_the_backup(
    server: PrefectServer, data: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    call = ("backup", {"data_dir": str(data)})
    (state,) = called(server, call, settings={"NESCORD_OFF_SITE": str(elsewhere)})
    assert state["type"] == "FAILED"
    assert str(elsewhere) in state["message"]
    assert [each.is_good for each in store_of(data).snapshots()] == [True]
    assert set(artifacts_of(server, run_of(server, data))) == {"backup-snapshot", "backup-retention"}

    elsewhere.mkdir()
    (state,) = called(server, call, settings={"NESCORD_OFF_SITE": str(elsewhere)})
    assert state["type"] == "COMPLETED", state["message"]
    assert "2 snapshots were copied" in artifacts_of(server, run_of(server, data))["backup-copies"]["data"]
    assert len(list(elsewhere.rglob("*.json.zst"))) == 2


def test_a_drill_shows_each_probe_before_and_after(server: PrefectServer, data: Path) -> None:
    calls: list[tuple[str, dict[str, str]]] = [
        ("ingest", {"vault": str(data.parent / "vault")}),
        ("backup", {}),
        ("drill", {}),
    ]
    with_data = [(name, parameters | {"data_dir": str(data)}) for name, parameters in calls]
    states = called(server, *with_data, settings={"NESCORD_EMBEDDER": "local"})
    assert [state["type"] for state in states] == ["COMPLETED"] * 3, states
    table = artifacts_of(server, run_of(server, data))["drill-probes"]
    assert "restores and answers as it did: 8 probes" in table["description"]
    assert "an index built from it finds 100%" in table["description"]
    rows = table["data"]
    assert [row["by"] for row in rows].count("vectors") == [row["by"] for row in rows].count("words") == 8
    assert all(row["agree"] == "yes" and row["chunks before"] == row["chunks now"] for row in rows)
    assert any(row["chunks before"] for row in rows)
    assert store_of(data).snapshots()[-1].status.drill_ok


def test_a_drill_of_a_rotten_snapshot_fails_at_once_and_says_so(server: PrefectServer, data: Path) -> None:
    (state,) = called(server, ("backup", {"data_dir": str(data)}))
    assert state["type"] == "COMPLETED"
    (snapshot,) = store_of(data).ids()
    flip(data / "backups" / "packs" / f"{snapshot}.pack", new_rng("flow"))
    states = called(
        server,
        ("drill", {"snapshot": snapshot, "data_dir": str(data)}),
        ("restore", {"snapshot": snapshot, "confirm": snapshot, "data_dir": str(data)}),
        ("drill", {"snapshot": "../x", "data_dir": str(data)}),
    )
    assert [state["type"] for state in states] == ["FAILED"] * 3
    assert f"the drill of {snapshot} has failed" in states[0]["message"]
    assert "nothing has changed" in states[1]["message"]
    assert "should match pattern" in states[2]["message"]
    _, drill, restore, _ = runs_of(server, data)
    assert "FAILED" in artifacts_of(server, drill)["drill-probes"]["description"]
    wait_for("the task of the restore", lambda: "check" in tasks_of(server, restore))
    assert tasks_of(server, restore)["check"]["run_count"] == 1


def test_a_restore_wants_the_id_twice_and_shows_before_and_after(server: PrefectServer, data: Path) -> None:
    (state,) = called(server, ("backup", {"data_dir": str(data)}))
    assert state["type"] == "COMPLETED"
    (snapshot,) = store_of(data).ids()
    with KnowledgeManager.open_existing(Settings(data_dir=data)) as knowledge:
        knowledge.remove_source("vault")
        assert knowledge.status().notes == 0
    parameters = {"snapshot": snapshot, "data_dir": str(data)}
    states = called(
        server, ("restore", parameters | {"confirm": "yes"}), ("restore", parameters | {"confirm": snapshot})
    )
    assert [state["type"] for state in states] == ["FAILED", "COMPLETED"], states
    assert f'"confirm" must repeat the id {snapshot}' in states[0]["message"]
    refused, done = runs_of(server, data)[-2:]
    assert artifacts_of(server, refused) == {}
    artifacts = artifacts_of(server, done)
    counts = {row[""]: (row["before"], row["after"]) for row in artifacts["restore-counts"]["data"]}
    assert counts["notes"] == ("0", "8")
    assert "nescord ingest --resume" in artifacts["restore-counts"]["description"]
    assert "0 failed" in artifacts["verify-checks"]["description"]
    with KnowledgeManager.open_existing(Settings(data_dir=data)) as knowledge:
        assert (knowledge.status().notes, knowledge.paused()) == (8, snapshot)


def test_a_backup_waits_for_who_makes_one_and_does_not_try_what_cannot_pass_again(
    server: PrefectServer, data: Path, tmp_path: Path
) -> None:
    free = threading.Event()

    def hold() -> None:
        with Locks(data / "run", timeout=1).exclusive(LockName.CREATE):
            free.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    nothing = tmp_path / "nothing"
    calls = [("backup", {"data_dir": str(nothing)}), ("backup", {"data_dir": str(data)})]
    try:
        with started("flow_calls.py", server, calls, {"NESCORD_LOCK_TIMEOUT": "0.2"}) as process:

            def is_put_off() -> bool:
                tasks = [task for run in runs_of(server, data) for task in tasks_of(server, run).values()]
                return any(task["state_name"] == "AwaitingRetry" for task in tasks)

            wait_for("the backup to be put off", is_put_off)
            free.set()
            output, errors = process.communicate(timeout=60)
    finally:
        free.set()
        holder.join()
    assert process.returncode == 0, errors
    assert output.count("COMPLETED") == 1
    assert "no knowledge base at" in output
    (run,) = runs_of(server, data)
    wait_for("the tasks", lambda: "create" in tasks_of(server, run))
    assert tasks_of(server, run)["create"]["run_count"] > 1
    (failed,) = runs_of(server, nothing)
    assert failed["state"]["type"] == "FAILED"
    assert tasks_of(server, failed)["create"]["run_count"] == 1


@pytest.mark.parametrize("name", ["backup", "drill"])
def test_a_run_that_is_stopped_in_its_midst_ends_soon_and_leaves_nothing_half_done(
    server: PrefectServer, data: Path, name: str
) -> None:
    _inflate(data)
    backups = data / "backups"
    if name == "drill":
        (state,) = called(server, ("backup", {"data_dir": str(data)}))
        assert state["type"] == "COMPLETED", state
    before = store_of(data).ids()
    with started("flow_calls.py", server, [(name, {"data_dir": str(data)})]) as process:
        copies = "staging/nescordbot.db" if name == "backup" else "scratch-*/.nescordbot.db.*"
        while not any(path.stat().st_size > 2**20 for path in backups.glob(copies)):
            assert process.poll() is None
            time.sleep(0.002)
        process.terminate()
        began = time.monotonic()
        process.communicate(timeout=60)
        assert time.monotonic() - began < 10
    assert process.returncode != 0
    run = run_of(server, data)
    assert run["state"]["type"] == "CRASHED"
    assert store_of(data).ids() == before
    assert not (backups / "staging").exists()
    assert not list(backups.glob("scratch-*"))
    with Locks(data / "run", timeout=0).exclusive(LockName.CREATE):
        pass
    (state,) = called(server, (name, {"data_dir": str(data)}))
    assert state["type"] == "COMPLETED", state
    assert all(each.is_good for each in store_of(data).snapshots())


def _inflate(data: Path) -> None:
    """Make the database large, with what cannot be compressed: work of some seconds."""
    connection = apsw.Connection(str(data / "nescordbot.db"))
    try:
        with connection:
            connection.execute("INSERT INTO model (key) VALUES ('test|large|1|similarity|1')")
            (model,) = connection.execute("SELECT id FROM model WHERE key LIKE 'test|large%'").fetchall()[0]
            rows = ((model, os.urandom(32), os.urandom(2**16)) for _ in range(MEGABYTES * 16))
            connection.executemany("INSERT INTO embedding (model, text_hash, vector) VALUES (?, ?, ?)", rows)
    finally:
        connection.close()
