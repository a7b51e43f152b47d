"""`nescord up` as a container runs it: with the real page, Chroma, Prefect and flows."""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import NOTES, in_process, write_notes
from flow_world import processes_naming, wait_for
from services_world import running

QUERY = "weighing coffee"
# What the smallest machines that are rented have, less what the system and a run need.
MOST_MEMORY = 750 * 2**20


def _ask(port: int, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Host": "healthcheck.railway.app"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8")


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def test_everything_runs_on_an_empty_volume_and_stops_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")
    data = tmp_path / "data"
    command = ["-m", "nescord.cli", "--data-dir", str(data), "up", "--port", "0", "--no-ui"]
    with running(data, command, PORT="0") as up:
        up.hears("http: ready")
        port = int((up.addresses["http_url"] or "").rpartition(":")[2])
        assert _ask(port, "/healthz")[0] == 503
        up.hears("all services are ready")
        wait_for("health", lambda: _ask(port, "/healthz") == (200, "ok\n"), 10)
        assert _ask(port, "/readyz")[0] == 200
        lines = up.said.splitlines()
        assert all(line[:4].isdigit() and " | " in line for line in lines), lines
        assert {line.split()[1] for line in lines} <= {"nescord", "http", "chroma", "prefect", "serve"}
        names = ("nescord.web", "nescord.index.server", "flows.server", "flows.serve")
        memory = {name: _memory(up.pid(name)) for name in names} | {"nescord": _memory(up.process.pid)}
        assert sum(memory.values()) < MOST_MEMORY, memory

        taken = in_process("--data-dir", data, "ingest", write_notes(tmp_path / "vault", NOTES), "--json")
        assert (taken.document["added"], taken.document["degraded"]) == (len(NOTES), [])
        found = in_process("--data-dir", data, "search", "--mode", "vector", "--json", QUERY)
        assert (found.document[0]["path"], found.err) == ("Kitchen/Scales.md", "")
        assert in_process("--data-dir", data, "backup", "create").code == 0
        begun = time.monotonic()
        assert up.stop() == 0
        assert time.monotonic() - begun < 40
    assert not processes_naming(str(data))
