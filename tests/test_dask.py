"""Embedding by a real Dask cluster: a scheduler and workers as processes of their own, and one of them killed."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from distributed import Client
from fakes.gemini import FakeGemini
from flow_world import ROOT, ingest_once, runs_of, started, tasks_of, wait_for
from remote_world import environment_for, notes, sent_twice, settings_for
from survival import DATABASE, SOAK

from flows.server import PrefectServer, prefect_server
from nescord.embed import COARSE_TEXTS
from nescord.errors import SettingsError
from nescord.settings import Settings
from tests.vaults import open_base, write_notes

pytestmark = pytest.mark.slow

# Short notes of one chunk each, so that a batch takes about a second.
NOTES = 10_000 if SOAK else 1_600
BATCHES = -(-NOTES // COARSE_TEXTS)
WORDS = ["plum", "tea", "kombu", "stock", "roof", "garden", "meeting", "knife", "梅", "出汁", "屋根", "会議"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A scheduler's address; each worker's process and what it says, by name."""

    address: str
    workers: dict[str, subprocess.Popen[bytes]]
    logs: dict[str, Path]

    def finished(self) -> int:
        """How many batches the workers have embedded, the dead ones included."""
        texts = [log.read_text(encoding="utf-8", errors="replace") for log in self.logs.values()]
        return sum(text.count("Finished in state Completed") for text in texts)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("vault"), random.Random(7)
    for number in range(NOTES):
        text = f"# {rng.choice(WORDS)} {number}\n\n{' '.join(rng.choices(WORDS, k=8))}.\n"
        (folder / f"{number:05}.md").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler and two workers of one thread each, without nannies: who is killed stays dead."""
    folder.mkdir()
    known = folder / "scheduler.json"
    common = ("--scheduler-file", str(known), "--dashboard-address", "127.0.0.1:0")
    with ExitStack() as stack:
        _process(
            stack, folder, "scheduler", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common
        )
        wait_for("the scheduler", known.is_file)
        alone = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        workers = {
            name: _process(stack, folder, name, "distributed.cli.dask_worker", "--name", name, *alone, *common)
            for name in ("left", "right")
        }
        address = json.loads(wait_for("its address", known.read_text))["address"]
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield Cluster(address, workers, {name: folder / f"{name}.log" for name in workers})


def _process(stack: ExitStack, folder: Path, name: str, module: str, *options: str) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))},
        process_group=0,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def vectors_of(data_dir: Path) -> dict[bytes, bytes]:
    with closing(apsw.Connection(str(data_dir / DATABASE))) as connection:
        return dict(connection.execute("SELECT text_hash, vector FROM embedding"))


def ingested(server: PrefectServer, vault: Path, data_dir: Path, runner: str) -> dict[str, Any]:
    """What the flow returns with that task runner."""
    settings = {"NESCORD_EMBEDDER": "local", "NESCORD_TASK_RUNNER": runner}
    with started("dask_once.py", server, {"vault": str(vault), "data_dir": str(data_dir)}, settings) as process:
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    summary: dict[str, Any] = json.loads(output.splitlines()[-1])
    return summary


def test_a_worker_killed_mid_run_costs_what_it_had_and_the_vectors_are_those_of_the_threads(
    server: PrefectServer, vault: Path, tmp_path: Path
) -> None:
    threaded = ingested(server, vault, tmp_path / "threads", "threads:1")
    assert (threaded["embedded"], threaded["pending"]) == (NOTES, 0)

    settings = {"NESCORD_EMBEDDER": "local", "PREFECT_LOGGING_LEVEL": "INFO"}
    parameters = {"vault": str(vault), "data_dir": str(tmp_path / "dask")}
    with cluster(tmp_path / "cluster") as dask, Client(dask.address, timeout=60, set_as_default=False) as client:
        settings["NESCORD_TASK_RUNNER"] = f"dask+{dask.address}"
        with started("dask_once.py", server, parameters, settings) as process:
            names = {address: worker["name"] for address, worker in client.scheduler_info(-1)["workers"].items()}

            def both_are_at_work() -> bool:
                return len([keys for keys in client.processing().values() if keys]) == 2 and dask.finished() >= 1

            wait_for("both workers to be at work", both_are_at_work, seconds=120)
            # Stopped first, so that what it has is known when it dies: at hand, waiting, or done and not fetched yet.
            dask.workers["left"].send_signal(signal.SIGSTOP)
            (left,) = (address for address, name in names.items() if name == "left")
            had = {str(key) for key in (*client.processing()[left], *client.has_what()[left])}
            dask.workers["left"].kill()
            output, errors = process.communicate(timeout=240)
        assigned = Counter(
            client.run_on_scheduler(
                lambda dask_scheduler: [str(row[0]) for row in dask_scheduler.transition_log if row[2] == "processing"]
            )
        )
        assert process.returncode == 0, errors
        assert dask.workers["left"].wait() == -signal.SIGKILL
        # The fault has happened, in the midst; what that worker had was done again, and nothing else.
        again = {key for key, times in assigned.items() if times > 1}
        assert again
        assert again <= had
        assert len(had) < len(assigned) == BATCHES
        assert BATCHES <= dask.finished() <= BATCHES + len(again)

    summary = json.loads(output.splitlines()[-1])
    same = ("added", "embedded", "refused", "pending", "indexed", "degraded")
    assert [summary[name] for name in same] == [threaded[name] for name in same]
    vectors = vectors_of(tmp_path / "dask")
    assert len(vectors) == NOTES
    assert vectors == vectors_of(tmp_path / "threads")
    (run,) = runs_of(server, tmp_path / "dask")
    assert run["state"]["type"] == "COMPLETED"
    wait_for("the records of the tasks", lambda: {"embed", "drain"} <= tasks_of(server, run).keys())


def test_processes_of_its_own_end_with_a_run_that_is_killed(server: PrefectServer, vault: Path, tmp_path: Path) -> None:
    settings = {"NESCORD_EMBEDDER": "local", "NESCORD_TASK_RUNNER": "dask:2"}
    parameters = {"vault": str(vault), "data_dir": str(tmp_path / "kb")}
    with started("dask_once.py", server, parameters, settings) as process:
        wait_for("its workers", lambda: len(_children(process.pid)) >= 3, seconds=120)  # and what tracks them
        children = _children(process.pid)
        process.kill()
        process.communicate(timeout=60)
    wait_for("them to end", lambda: not any(_is_alive(pid) for pid in children), seconds=30)
    # What was stored is kept, and the next run does the rest, here with the processes that are its own.
    (tmp_path / "kb" / DATABASE).stat()
    summary = ingested(server, vault, tmp_path / "kb", "dask:2")
    assert (summary["pending"], summary["degraded"]) == (0, [])
    assert len(vectors_of(tmp_path / "kb")) == NOTES


def test_without_its_cluster_a_run_stores_the_notes_and_says_what_is_missing(
    server: PrefectServer, tmp_path: Path
) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "Tea.md").write_text("Green tea at 80 °C.", encoding="utf-8")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    summary = ingested(server, tmp_path / "vault", tmp_path / "kb", f"dask+{address}")
    assert (summary["added"], summary["embedded"], summary["pending"]) == (1, 0, 1)
    (reason,) = summary["degraded"]
    assert "the Dask cluster of NESCORD_TASK_RUNNER does not answer" in reason


@pytest.mark.parametrize("wanted", ["threads:1", "threads:8", "dask:2", "dask+tcp://10.0.0.5:8786", "dask+tls://d:1"])
def test_a_task_runner_is_threads_processes_or_a_scheduler(wanted: str) -> None:
    assert Settings(task_runner=wanted).task_runner == wanted


@pytest.mark.parametrize("wanted", ["threads", "threads:0", "dask", "dask:-1", "dask+tcp://host", "ray:2"])
def test_another_task_runner_is_refused(wanted: str) -> None:
    with pytest.raises(SettingsError, match=r"NESCORD_TASK_RUNNER .* must be threads:N or dask:N"):
        Settings(task_runner=wanted)


def _children(pid: int) -> list[int]:
    """The processes that `pid` has started, and what those have."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(entry.name), *_children(int(entry.name))]
    return found


def _is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_model_elsewhere_is_asked_by_the_run_alone_and_a_second_model_follows_the_first(
    server: PrefectServer, tmp_path: Path
) -> None:
    write_notes(tmp_path / "vault", notes(4))
    with FakeGemini() as gemini:
        settings = environment_for(settings_for(gemini))
        outcome = ingest_once(
            server,
            *[{"vault": str(tmp_path / "vault"), "data_dir": str(tmp_path / "remote")}] * 2,
            settings=settings | {"NESCORD_TASK_RUNNER": "dask:1"},
        )
        assert outcome.code == 0, outcome.errors
        first, second = outcome.summaries
        assert (first["embedded"], first["pending"], first["degraded"]) == (4, 0, [])
        assert (second["embedded"], second["pending"]) == (0, 0)
        assert len(gemini.texts_embedded) == 4
        assert sent_twice(gemini) == {}
    write_notes(tmp_path / "small", {"茶.md": "# 茶\n\n湯を冷ます。\n"})
    outcome = ingest_once(
        server,
        {"vault": str(tmp_path / "small"), "data_dir": str(tmp_path / "both")},
        settings={"NESCORD_EMBEDDER": "local+e5", "NESCORD_VECTOR": "exact"},
    )
    assert outcome.code == 0, outcome.errors
    (both,) = outcome.summaries
    assert (both["embedded"], both["pending"], both["degraded"]) == (2, 0, [])
    with open_base(tmp_path / "both", embedder="local+e5", vector="exact") as km:
        assert (km.meaning().pending, km.meaning().second_pending) == (0, 0)
