"""Embedding by threads and workers of its own against Dask: the stage in real runs of the ingest flow.

`python -m benchmarks.dask [--notes N …]`. Each run is a process of its own on a fresh knowledge base, with a real
Prefect server. Seconds are those from the end of the task `commit` to the beginning of `drain`, as recorded there;
CPU seconds are those of the whole run with all its processes, the cluster's included, less those of a run that embeds
nothing. `dask+tcp` is a cluster of two workers that runs already; `dask:2` starts its own in each run.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks import vault as vaults
from flows.server import PrefectServer, prefect_server

_ROOT = Path(__file__).resolve().parent.parent
_ONCE = """
import json, sys
from flows.ingest import ingest
if __name__ == "__main__":  # `dask:N` starts processes that import this again
    print(json.dumps(ingest(**json.loads(sys.argv[1]))))
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dask", description=__doc__)
    parser.add_argument("--notes", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nescord-dask-") as name:
        folder = Path(name)
        once = folder / "once.py"
        once.write_text(_ONCE, encoding="utf-8")
        with prefect_server(folder / "prefect") as server, _cluster(folder) as (address, pids):
            ways = {
                "one process": ("threads:1", "1"),
                "threads:1, 2 workers": ("threads:1", "2"),
                "dask:2": ("dask:2", "1"),
                "dask+tcp, 2 workers": (f"dask+{address}", "1"),
            }
            print("| notes | texts | " + " | ".join(f"{way}: s / CPU s" for way in ways) + " |", flush=True)
            for notes in arguments.notes:
                vault = folder / f"vault-{notes}"
                vaults.generate(vault, notes, arguments.seed)
                _, _, idle = _run(server, once, vault, folder / "kb", "threads:1", "none", ())
                cells, texts = [], 0
                for runner, workers in ways.values():
                    texts, seconds, cpu = _run(server, once, vault, folder / "kb", runner, workers, pids)
                    cells.append(f"{seconds:.1f} / {cpu - idle:.1f}")
                print(f"| {notes:,} | {texts:,} | " + " | ".join(cells) + " |", flush=True)


def _run(
    server: PrefectServer, once: Path, vault: Path, data: Path, runner: str, workers: str, cluster: Sequence[int]
) -> tuple[int, float, float]:
    """How many texts were embedded, in how many seconds, and the CPU seconds; workers "none": embeds nothing."""
    shutil.rmtree(data, ignore_errors=True)
    settings = {"NESCORD_TASK_RUNNER": runner, "PYTHONPATH": str(_ROOT), "PREFECT_LOGGING_LEVEL": "WARNING"}
    settings |= {"NESCORD_EMBEDDER": "none" if workers == "none" else "local"}
    settings |= {} if workers == "none" else {"NESCORD_EMBEDDING_WORKERS": workers}
    before = _cpu(cluster)
    done = subprocess.run(
        [sys.executable, str(once), json.dumps({"vault": str(vault), "data_dir": str(data)})],
        env={**server.env, **settings},
        cwd=once.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    cpu = _cpu(cluster) - before
    summary = json.loads(done.stdout.splitlines()[-1])
    (run,) = _asked(server, "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    deadline = time.monotonic() + 60
    while True:
        found = _asked(server, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
        tasks = {task["name"].rpartition("-")[0]: task for task in found}
        if "drain" in tasks and "commit" in tasks and tasks["commit"]["end_time"] and tasks["drain"]["start_time"]:
            break
        assert time.monotonic() < deadline, "the server has no record of the tasks"
        time.sleep(0.5)
    begin = datetime.fromisoformat(tasks["commit"]["end_time"])
    end = datetime.fromisoformat(tasks["drain"]["start_time"])
    return summary["embedded"], (end - begin).total_seconds(), cpu


def _cpu(cluster: Sequence[int]) -> float:
    """CPU seconds of all children that have ended, and of the processes of the cluster so far."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for pid in cluster:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def _asked(server: PrefectServer, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    secret = base64.b64encode(server.env["PREFECT_API_AUTH_STRING"].encode()).decode()
    answer = httpx.post(server.api_url + path, json=body, headers={"Authorization": f"Basic {secret}"}, trust_env=False)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and two workers of one thread each: its address and their processes."""
    known = folder / "scheduler.json"
    common = ["--scheduler-file", str(known), "--dashboard-address", "127.0.0.1:0"]
    worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    commands = [["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common]]
    commands += [[*worker, *common]] * 2
    environment = {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    }
    processes = []
    try:
        for command in commands:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
            )
        while not known.is_file():
            time.sleep(0.2)
        time.sleep(5)
        yield json.loads(known.read_text(encoding="utf-8"))["address"], [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
