"""`nescord services` killed with -9 while a real ingest is in its middle: what was committed is kept, and it goes on.

Nothing is left of the killed ones; the next services begin by themselves, no run is stuck, and the same run once more
does the rest.
"""

from __future__ import annotations

import signal
import time
import uuid
from functools import partial
from pathlib import Path

import pytest
from cli_runs import NOTES, in_process, write_notes
from flow_world import processes_naming, wait_for
from services_world import PATIENCE, running
from survival import SOAK, new_rng

from nescord.prefect_api import PrefectApi, Run, find_server, patiently
from nescord.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if SOAK else 600)]

ROUNDS = 20 if SOAK else 1
# More than a flow embeds before it stores the first vectors.
MANY = 1500


def test_killed_in_the_middle_of_an_ingest_it_keeps_what_was_committed_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")
    data, vault = tmp_path / "data", write_notes(tmp_path / "vault", NOTES)
    assert in_process("--data-dir", data, "ingest", vault).code == 0
    command = ("-m", "nescord.cli", "--data-dir", str(data), "services", "--port", "0", "--no-ui")
    notes = len(NOTES)
    interrupted = ""
    rng = new_rng("services-kills")
    for round_ in range(ROUNDS):
        write_notes(vault, {f"{round_}/{n}.md": _note(round_, n) for n in range(MANY)})
        with running(data, command) as services:
            services.hears("all services are ready")
            if interrupted:
                _until_over(data, interrupted)
            start = _status(data)
            run = _triggered(data, vault)
            # In every other round notes are being stored or embedding begins; in the others vectors were stored, too.
            kind = "notes" if round_ % 2 else "embeddings"
            before = wait_for(f"new {kind}", lambda kind=kind, start=start: _is_in_the_middle(data, kind, start), 120)
            time.sleep(rng.uniform(0, 0.5))
            assert _run(data, run).state == "RUNNING"
            services.process.kill()
            services.process.wait()
            killed = time.monotonic()
            wait_for("the end of everything", lambda: not processes_naming(str(data)), 40)
            took = time.monotonic() - killed
        kept = _status(data)
        assert kept["notes"] >= before["notes"] > notes
        assert kept["embeddings"] >= before["embeddings"]
        assert kept["pending"]
        notes = notes + MANY
        interrupted = run
        print(f"round {round_}: nothing ran {took:.1f} s after the kill, {kept['pending']} chunks were pending")
    with running(data, command) as services:
        services.hears("all services are ready")
        _until_over(data, interrupted)
        again = _triggered(data, vault)
        wait_for("the run once more", lambda: _run(data, again).has_ended, PATIENCE * ROUNDS)
        assert _run(data, again).state == "COMPLETED"
        assert _has_active_schedules(data)
        assert services.stop(signal.SIGTERM) == 0
    done = _status(data)
    assert (done["notes"], done["pending"], done["behind"]) == (notes, 0, 0)


def _note(round_: int, number: int) -> str:
    lines = [
        f"Line {line} of number {number * 7919 + round_}; 番号{number}の控えの{line}行目です。" for line in range(4)
    ]
    return "\n".join([f"# 記録 {round_}-{number}", "", *lines, ""])


def _status(data: Path) -> dict[str, int]:
    document: dict[str, int] = in_process("--data-dir", data, "status", "--json").document  # type: ignore[assignment]
    return document


def _is_in_the_middle(data: Path, kind: str, start: dict[str, int]) -> dict[str, int] | None:
    status = _status(data)
    return status if status[kind] > start[kind] and status["pending"] else None


def _triggered(data: Path, vault: Path) -> str:
    with PrefectApi(find_server(Settings(data_dir=data))) as api:
        deployment = patiently(lambda: api.deployment("ingest"))
        run, _ = patiently(lambda: api.start(deployment, {"vault": str(vault)}, str(uuid.uuid4())))
    return str(run.id)


def _run(data: Path, run: str) -> Run:
    with PrefectApi(find_server(Settings(data_dir=data))) as api:
        return patiently(partial(api.run, run))


def _has_active_schedules(data: Path) -> bool:
    with PrefectApi(find_server(Settings(data_dir=data))) as api:
        schedules = [each for deployment in patiently(api.deployments) for each in deployment.schedules]
    return bool(schedules) and all(each["active"] for each in schedules)


def _until_over(data: Path, run: str) -> None:
    """The run that was killed must not stay Running; it may be ended by the sweep or by its missing heartbeat."""
    wait_for("the end of the run that was killed", lambda: _run(data, run).has_ended, PATIENCE)
    assert _run(data, run).state == "CRASHED"
