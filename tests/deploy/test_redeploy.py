"""Deployment after deployment on one volume: whatever was acknowledged is there, and everything goes on by itself.

Each round boots, captures without a pause, begins a run, and then ends as containers end: by SIGTERM, by SIGKILL of
everything at once, or of the supervisor alone; some while they still start. In some the next one boots while the old
one lives. Between some of them the vector store is garbled.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_world import Container, Volume, Writer, checks, container, missing
from flow_world import processes_naming, wait_for
from services_world import PATIENCE
from survival import SOAK, new_rng

from nescord.prefect_api import PrefectApi, find_server, patiently
from nescord.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if SOAK else 900)]

ENDINGS = ("garbled", "old one lives on", "killed", "terminated", "supervisor killed", "killed early")
ROUNDS = 30 if SOAK else 3
QUERY = "the word that was said"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    folder = tmp_path / "volume"
    (folder / "lost+found").mkdir(parents=True)
    yield Volume(folder)
    assert not processes_naming(str(folder))


def test_no_deployment_loses_a_note(volume: Volume) -> None:
    rng = new_rng("redeploy")
    acknowledged: list[str] = []
    stops, boots = [], []
    for round_ in range(ROUNDS):
        ending = ENDINGS[round_ % len(ENDINGS)]
        begun = time.monotonic()
        with container(volume) as current:
            with Writer(volume, f"{round_}") as writer:
                if ending == "killed early":  # also before there is a database
                    time.sleep(rng.uniform(0, 5))
                    current.kill()
                else:
                    current.until_healthy()
                    boots.append(time.monotonic() - begun)
                    _look(volume, acknowledged)
                    _begin_run(volume)
                    time.sleep(rng.uniform(0, 3))
                    stops += _end(volume, current, ending, rng)
            assert writer.acknowledged or ending == "killed early", writer.refused
            acknowledged += writer.acknowledged
            assert missing(volume, acknowledged) == []
        if ending == "garbled":
            _garble(volume, rng)
        print(f"round {round_}, {ending}: {len(writer.acknowledged)} notes acknowledged, {len(writer.refused)} refused")
    with container(volume) as last:
        last.until_healthy()
        _look(volume, acknowledged)
        code, seconds = last.stop()
        stops.append(seconds)
    assert code == 0
    assert max(stops) < 40
    print(f"{ROUNDS} deployments, {len(acknowledged)} notes, none lost; ready after {max(boots):.1f} s at most")
    print(f"stopped after {max(stops):.1f} s at most ({len(stops)} times)")


def _begin_run(volume: Volume) -> None:
    """A run that may be in its middle when the end comes."""
    with _api(volume) as api:
        deployment = patiently(lambda: api.deployment("verify"))
        patiently(lambda: api.start(deployment, {"deep": True}, str(uuid.uuid4())))


def _look(volume: Volume, acknowledged: list[str]) -> None:
    """In a running deployment: notes, index, schedules, and nothing that is stuck."""
    assert missing(volume, acknowledged) == []
    wait_for("the index to be right", lambda: _is_index_right(volume), PATIENCE)
    found = volume.nescord("search", "--json", QUERY)
    assert found.code == 0, found.err
    assert found.document or not acknowledged
    wait_for("all flows to be served", lambda: _served(volume) >= {"ingest", "nightly"}, PATIENCE)
    wait_for("the runs of earlier deployments to be over", lambda: not _unfinished(volume), PATIENCE)


def _served(volume: Volume) -> set[str]:
    """The flows with a schedule that is on."""
    with _api(volume) as api:
        return {each.flow for each in patiently(api.deployments) if each.is_scheduled}


def _unfinished(volume: Volume) -> list[str]:
    wanted = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    with _api(volume) as api:
        return [run.id for run in patiently(lambda: api.runs(wanted, sort="START_TIME_ASC", limit=50))]


def _api(volume: Volume) -> PrefectApi:
    return PrefectApi(find_server(Settings(data_dir=volume.data)))


def _is_index_right(volume: Volume) -> bool:
    found = [status for name, status in checks(volume).items() if name.startswith("index.")]
    return bool(found) and set(found) == {"pass"}


def _end(volume: Volume, current: Container, ending: str, rng: random.Random) -> list[float]:
    """The end of a deployment; how long it took to stop, where it was asked to."""
    if ending == "old one lives on":
        with container(volume) as successor:
            successor.hears("waiting up to")
            assert successor.get("/healthz") in (0, 200)  # the old one's
            code, seconds = current.stop()
            assert code == 0, current.said
            successor.until_healthy()
            successor.kill()
        return [seconds]
    if ending == "terminated":
        code, seconds = current.stop()
        assert code == 0, current.said
        return [seconds]
    if ending == "supervisor killed":
        current.process.kill()
        current.process.wait()
        wait_for("the end of its children", lambda: not current.processes(), 60)
        return []
    current.kill()
    return []


def _garble(volume: Volume, rng: random.Random) -> None:
    """Overwrite the middle of Chroma's largest files with noise."""
    files = sorted((volume.data / "chroma").rglob("*.*"), key=lambda file: file.stat().st_size)
    assert files
    for file in files[-2:]:
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(size // 4)
            opened.write(rng.randbytes(size // 2))
