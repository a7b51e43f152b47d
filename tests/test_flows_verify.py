"""The flows verify and nightly at a real server, and what their hooks tell a webhook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from flow_world import (
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
from nescord.backup.store import BackupStore
from nescord.home import read_identity, write_identity
from nescord.locks import LockName, Locks
from tests.vaults import write_notes
from tests.webhook import Webhook, webhook


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_notes(
        tmp_path / "vault", {f"{number}.md": f"# Note {number}\n\nTea and rice {number}." for number in range(5)}
    )
    with KnowledgeManager.open(Settings(data_dir=tmp_path / "kb")) as knowledge:
        knowledge.ingest(tmp_path / "vault")
    return tmp_path / "kb"


def lose_words(data: Path) -> None:
    """Damage the full-text index, in a way that can be repaired."""
    connection = apsw.Connection(str(data / "nescordbot.db"))
    try:
        connection.execute("DELETE FROM chunk_fts_docsize WHERE id IN (SELECT id FROM chunk_fts_docsize LIMIT 3)")
    finally:
        connection.close()


def statuses(table: dict[str, Any]) -> dict[str, str]:
    return {row["check"]: row["status"] for row in table["data"]}


def test_a_verification_that_fails_names_the_checks_and_one_that_repairs_is_well_again(
    server: PrefectServer, data: Path, hook: Webhook
) -> None:
    call = ("verify", {"data_dir": str(data)})
    lose_words(data)
    settings = {"NESCORD_DISCORD_WEBHOOK": hook.url}
    states = called(server, call, call, ("verify", {"repair": True, "data_dir": str(data)}), call, settings=settings)
    assert [state["type"] for state in states] == ["FAILED", "FAILED", "COMPLETED", "COMPLETED"], states
    assert "these checks failed: database.word_rows" in states[0]["message"]

    runs = runs_of(server, data)
    failed, repaired = (artifacts_of(server, runs[number])["verify-checks"] for number in (0, 2))
    assert next(iter(statuses(failed).values())) == "❌ fail", "what failed comes first"
    assert statuses(failed)["database.word_rows"] == "❌ fail"
    row = next(row for row in failed["data"] if row["check"] == "database.word_rows")
    assert row["value"].startswith("`")
    assert row["mend"]
    assert "Repair: `the full-text index was written anew`" in repaired["description"]
    assert "❌ fail" not in statuses(repaired).values()

    def ours() -> list[dict[str, Any]]:
        uuid = read_identity_of(data)
        events = events_of(server, "nescord.persistence.failed")
        return [event for event in events if event["resource"]["prefect.resource.id"].endswith(uuid)]

    wait_for("the events", lambda: len(ours()) == 2)
    assert "database.word_rows" in ours()[0]["payload"]["checks"]
    assert len(hook.texts) == 2, hook.texts
    assert "**verify** fails" in hook.texts[0]
    assert "database.word_rows" in hook.texts[0]
    assert runs[0]["name"] in hook.texts[0]
    assert "**verify** works again" in hook.texts[1]


def test_a_webhook_that_fails_fails_no_run(server: PrefectServer, data: Path) -> None:
    call = ("verify", {"data_dir": str(data)})
    nowhere = {"NESCORD_DISCORD_WEBHOOK": "http://127.0.0.1:9/api/webhooks/1/s3cret"}
    (state,) = called(server, call, settings=nowhere)
    assert state["type"] == "COMPLETED"
    lose_words(data)
    with started("flow_calls.py", server, [call], nowhere) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "these checks failed: database.word_rows" in output
    assert "Discord was not told: the webhook cannot be reached (ConnectionRefusedError)" in errors
    assert "s3cret" not in output + errors


def test_a_night_is_a_backup_and_a_deep_verification(server: PrefectServer, data: Path, hook: Webhook) -> None:
    ago = datetime.now(UTC) - timedelta(hours=50)
    with KnowledgeManager.open_existing(Settings(data_dir=data)) as knowledge:
        folder = knowledge.folder
        write_identity(folder, replace(read_identity(folder), first_seen=ago.isoformat(timespec="seconds")))
    settings = {"NESCORD_DISCORD_WEBHOOK": hook.url, "NESCORD_LANG": "ja"}
    verify, nightly = ("verify", {"data_dir": str(data)}), ("nightly", {"data_dir": str(data)})
    states = called(server, verify, nightly, settings=settings)
    assert [state["type"] for state in states] == ["COMPLETED"] * 2, states
    assert len(hook.texts) == 2
    assert "50 時間" in hook.texts[0]
    assert "新しい正常なバックアップ" in hook.texts[1]
    runs = runs_of(server, data)
    night, parts = runs[1], runs[2:]
    wait_for("the sub-flows", lambda: {"backup", "verify"} <= set(tasks_of(server, night)))
    assert all(part["parent_task_run_id"] and part["state"]["type"] == "COMPLETED" for part in parts)
    (snapshot,) = BackupStore(folder.backups).snapshots()
    assert snapshot.manifest is not None
    assert snapshot.manifest.trigger == "nightly"
    assert "backup-snapshot" in artifacts_of(server, parts[0])
    assert parts[1]["parameters"]["deep"] is True


def test_a_part_of_the_night_that_fails_stops_no_other_and_is_told_once(
    server: PrefectServer, data: Path, hook: Webhook, tmp_path: Path
) -> None:
    settings = {"NESCORD_DISCORD_WEBHOOK": hook.url, "NESCORD_OFF_SITE": str(tmp_path / "gone")}
    (state,) = called(server, ("nightly", {"data_dir": str(data)}), settings=settings)
    assert state["type"] == "FAILED"
    assert "backup failed: see the message of each" in state["message"]
    _, backup, verify, *_ = runs_of(server, data)
    assert (backup["state"]["type"], verify["state"]["type"]) == ("FAILED", "COMPLETED")
    assert [text.split("**")[1] for text in hook.texts] == ["backup"]
    assert "gone" not in hook.texts[0]


def test_a_run_that_is_killed_in_its_midst_is_told(server: PrefectServer, data: Path, hook: Webhook) -> None:
    call = ("nightly", {"data_dir": str(data)})
    settings = {"NESCORD_DISCORD_WEBHOOK": hook.url, "NESCORD_LOCK_TIMEOUT": "600"}
    with (
        Locks(data / "run", timeout=1).exclusive(LockName.CREATE),
        started("flow_calls.py", server, [call], settings) as process,
    ):
        wait_for("the backup to wait", lambda: [run for run in runs_of(server, data) if tasks_of(server, run)][1:])
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert {run["state"]["type"] for run in runs_of(server, data)} == {"CRASHED"}, "it ends with its part"
    assert {text.split("**")[1] for text in hook.texts} == {"backup", "nightly"}
    assert "was ended in its midst" in hook.texts[0]


def test_a_night_that_is_cancelled_ends_soon_and_so_do_its_parts(
    server: PrefectServer, data: Path, hook: Webhook, tmp_path: Path
) -> None:
    settings = {
        "NESCORD_DISCORD_WEBHOOK": hook.url,
        "NESCORD_LOCK_TIMEOUT": "600",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
    }
    log = tmp_path / "serve.log"
    with (
        log.open("w", encoding="utf-8") as output,
        Locks(data / "run", timeout=1).exclusive(LockName.CREATE),
        started("flow_deployed.py", server, "nightly", settings, output) as serve,
    ):
        night = triggered(server, "nightly", {"data_dir": str(data)})
        wait_for("the backup to wait", lambda: [run for run in runs_of(server, data) if tasks_of(server, run)][1:])
        took = cancelled(server, night)
        serve.terminate()
        serve.wait(timeout=60)
    wait_for("its runs to end", lambda: processes_naming(server.env["PREFECT_HOME"]) == [server.pid])
    assert took < 10
    runs = runs_of(server, data)
    assert [run["parent_task_run_id"] is None for run in runs] == [True, False]
    assert {run["state"]["type"] for run in runs} == {"CANCELLED"}
    assert hook.texts == [], "somebody wanted it so"


def read_identity_of(data: Path) -> str:
    with KnowledgeManager.open_existing(Settings(data_dir=data)) as knowledge:
        return read_identity(knowledge.folder).uuid
