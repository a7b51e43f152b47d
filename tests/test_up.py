"""`nescord up`: beginning, taking over, degraded starts and every ending, with real processes but for Prefect."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

import pytest
from cli_runs import NOTES, in_process, write_notes
from flow_world import processes_naming, wait_for
from services_world import Running, prefect_elsewhere, running

from nescord import service_state
from nescord.home import DataFolder
from nescord.index.seal import Folder
from nescord.locks import LockName, Locks
from nescord.service_state import SupervisorState
from nescord.settings import Settings
from tests.backup_world import small_disk
from tests.vaults import open_base
from tests.verified import raw, verified_base

WORKER = str(Path(__file__).with_name("up_worker.py"))
TOKEN = "the-token-of-the-page"


@pytest.fixture(scope="module")
def prefect() -> Iterator[str]:
    with prefect_elsewhere() as url:
        yield url


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_VECTOR", "exact")
    monkeypatch.setenv("PORT", "0")


def up(data: Path, prefect: str, *arguments: str, **environment: str) -> AbstractContextManager[Running]:
    return running(data, [WORKER, str(data), *arguments], PREFECT_API_URL=prefect, **environment)


def state(data: Path) -> SupervisorState:
    found = service_state.read(DataFolder.at(Settings(data_dir=data)))
    assert found is not None
    return found


def _get(url: str) -> int:
    host, _, port = url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        connection.request("GET", "/")
        return connection.getresponse().status


def test_it_begins_a_knowledge_base_and_the_commands_work_beside_it(tmp_path: Path, prefect: str) -> None:
    data = tmp_path / "data"
    with up(data, prefect, NESCORD_STATUS_TOKEN=TOKEN) as started:
        started.hears("all services are ready")
        assert f"nescord| new knowledge base at {data}" in started.said
        assert started.said.count("no bot: DISCORD_TOKEN is not set") == 1
        assert (started.said.index("http: ready")) < started.said.index("serve: ready")
        # The output of its children, and no secret in it.
        wait_for("the page's log", lambda: "http| token ***" in started.said)
        assert TOKEN not in started.said + (data / "run" / "logs" / "http.log").read_text()
        assert _get(started.addresses["http_url"] or "") == 503
        found = state(data)
        assert (found.phase, found.pid, found.ready_at is not None) == ("running", started.process.pid, True)
        assert [(each.name, each.state, each.is_required) for each in found.services] == [
            ("http", "ready", True),
            ("serve", "ready", False),
        ]
        assert {each.status for each in found.findings} == {"warn"}
        taken = in_process("--data-dir", data, "ingest", write_notes(tmp_path / "vault", NOTES), "--json")
        assert taken.document["added"] == len(NOTES)
        assert in_process("--data-dir", data, "backup", "create").code == 0
        assert in_process("--data-dir", data, "search", "--json", "coffee").document[0]["path"] == "Kitchen/Scales.md"
        assert started.stop() == 0
    assert not processes_naming(str(data))
    assert state(data).phase == "stopping"
    assert started.addresses["http_url"] is None


def test_the_second_waits_for_the_first_and_takes_over(tmp_path: Path, prefect: str) -> None:
    data = tmp_path / "data"
    with up(data, prefect) as first:
        first.hears("all services are ready")
        link = tmp_path / "second"
        link.symlink_to(data)
        with up(link, prefect) as second:
            second.hears("waiting up to 60 s for the services that run here already: pid")
            assert f"pid {first.process.pid} (" in second.said
            assert "http" not in second.said, "it has begun while the other runs"
            assert first.stop() == 0
            second.hears("all services are ready")
            assert "new knowledge base" not in second.said
            assert second.stop() == 0


def test_the_second_does_not_wait_for_ever_and_says_who_runs(tmp_path: Path, prefect: str) -> None:
    data = tmp_path / "data"
    with up(data, prefect) as first:
        first.hears("all services are ready")
        with running(tmp_path / "second", [WORKER, str(data), "0.5"], PREFECT_API_URL=prefect) as second:
            assert second.process.wait(20) == 69
            assert "have not ended within 0.5 s: pid" in second.said
        assert state(data).phase == "running"
        assert first.stop() == 0


def test_told_to_stop_while_it_waits_it_ends_at_once(tmp_path: Path, prefect: str) -> None:
    data = tmp_path / "data"
    with up(data, prefect) as first:
        first.hears("all services are ready")
        with running(tmp_path / "second", [WORKER, str(data)], PREFECT_API_URL=prefect) as second:
            second.hears("waiting up to")
            begun = time.monotonic()
            assert second.stop() == 0
            assert time.monotonic() - begun < 5
            assert "stopped before the services were started" in second.said
        assert state(data).phase == "running"
        assert first.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_it_looks_it_ends_at_once(tmp_path: Path, prefect: str, number: signal.Signals) -> None:
    verified_base(tmp_path).close()
    data = tmp_path / "kb"
    # A restore that is under way has the database.
    with Locks(data / "run", timeout=5).exclusive(LockName.CATALOG), up(data, prefect) as started:
        wait_for("the look", lambda: any("nescord.gate" in _command(pid) for pid in _children(started)))
        begun = time.monotonic()
        assert started.stop(number) == 0
        assert time.monotonic() - begun < 5
        assert "http" not in started.said
    assert not processes_naming(str(data))
    assert not list(data.rglob(".probe-*"))


def test_told_to_stop_while_it_starts_it_stops_what_it_has_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with prefect_elsewhere(polled=False) as nobody, up(data, nobody) as started:
        started.hears("http: ready")
        assert state(data).phase == "starting"
        begun = time.monotonic()
        assert started.stop() == 0
        assert time.monotonic() - begun < 20
        assert "all services" not in started.said
    assert not processes_naming(str(data))


def test_killed_it_leaves_nothing_and_the_next_goes_on(tmp_path: Path, prefect: str) -> None:
    data = tmp_path / "data"
    with up(data, prefect) as killed:
        killed.hears("all services are ready")
        killed.stop(signal.SIGKILL)
        wait_for("the end of everything", lambda: not processes_naming(str(data)))
    # As a version without a page has left it: the password of the Prefect server stays.
    known = killed.addresses
    assert known.pop("http_url")
    (data / "run" / "services.json").write_text(json.dumps(known))
    with up(data, prefect) as started:
        started.hears("all services are ready")
        assert started.addresses["prefect_auth"] == known["prefect_auth"]
        assert "new knowledge base" not in started.said
        assert started.stop() == 0


def test_without_its_page_it_ends_with_1(tmp_path: Path, prefect: str) -> None:
    with up(tmp_path / "data", prefect, TOY_WEB_ENDS="1") as started:
        assert started.process.wait(30) == 1
        assert started.said.count("http: ended with exit code 3") >= 4
    assert not processes_naming(str(tmp_path / "data"))


def test_a_taken_port_is_told_and_nothing_is_started(tmp_path: Path, prefect: str) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with up(tmp_path / "data", prefect, PORT=str(port)) as started:
            assert started.process.wait(30) == 2
            assert f"PORT is {port}, where nothing can listen (Address already in use)" in started.said
            assert "services are ready" not in started.said


def test_the_page_answers_on_every_address(tmp_path: Path, prefect: str) -> None:
    with up(tmp_path / "data", prefect) as started:
        started.hears("http: ready")
        port = int((started.addresses["http_url"] or "").rpartition(":")[2])
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
                connection.request("GET", "/", headers={"Host": "healthcheck.railway.app"})
                assert connection.getresponse().status == 503
        assert started.stop() == 0


def test_what_is_made_anew_from_the_notes_is_mended_beside_the_services(tmp_path: Path, prefect: str) -> None:
    with verified_base(tmp_path) as km:
        raw(km, "DELETE FROM chunk_fts WHERE rowid IN (1, 2)")
        assert not km.verify().ok
    data = tmp_path / "kb"
    with up(data, prefect) as started:
        started.hears("degraded: database.word_rows: ")
        started.hears("all services are ready")
        started.hears("repair: the full-text index was written anew")
        started.hears("repair: no check fails any more")
        wait_for("the state", lambda: "fail" not in {each.status for each in state(data).findings}, 10)
        assert started.stop() == 0
    assert in_process("--data-dir", data, "verify").code == 0


def test_an_index_that_has_lost_rows_is_found_and_built_anew_beside_the_services(
    tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")
    monkeypatch.setenv("NESCORD_VECTOR", "auto")
    data = tmp_path / "data"
    taken = in_process("--data-dir", data, "ingest", write_notes(tmp_path / "vault", NOTES), "--json").document
    place = Folder(data / "chroma", data / "run")
    store, doubt, _ = place.open()
    assert not doubt
    for name in store.collections():
        store.delete(name, store.ids(name, limit=1, offset=0))
    place.close(store, seal=True)  # nobody has any doubt about it
    with up(data, prefect) as started:
        started.hears("all services are ready")
        started.hears(f"repair: the vector index was built anew: {taken['indexed']} vectors")
        assert not any(each.status == "fail" for each in state(data).findings)
        assert started.stop() == 0


def test_a_full_disk_keeps_nobody_from_searching_and_is_over_when_there_is_room(tmp_path: Path, prefect: str) -> None:
    with small_disk(tmp_path / "disk", 90) as disk:
        data = disk / "kb"
        verified_base(disk).close()
        with running(tmp_path / "before", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            wait_for("the room that is put by", (data / "run" / "reserve").exists)
            assert started.stop() == 0
        _fill(disk / "filler")
        with running(tmp_path / "said", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            started.hears("the disk is full: the room that was put by is used")
            started.hears("degraded: volume.space: ")
            started.hears("all services are ready")
            with open_base(data):  # as the status page has it
                _fill(disk / "more")
                found = in_process("--data-dir", data, "search", "--json", "green leaf")
                assert (found.code, bool(found.document)) == (0, True)
                refused = in_process("--data-dir", data, "capture", "more " * 5000)
                assert (refused.code, "full" in refused.err) == (1, True), refused.err
            (disk / "more").unlink()
            (disk / "filler").unlink()
            kept = in_process("--data-dir", data, "capture", "there is room again")
            assert kept.code == 0, kept.err
            started.hears("repair: no check fails any more")
            assert started.stop() == 0


def test_a_disk_without_room_for_another_file_keeps_nobody_from_searching(tmp_path: Path, prefect: str) -> None:
    with small_disk(tmp_path / "disk", 90) as disk:
        subprocess.run(["mount", "-o", "remount,nr_inodes=150", str(disk)], check=True)
        data = disk / "kb"
        verified_base(disk).close()
        with running(tmp_path / "before", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            wait_for("the room that is put by", (data / "run" / "reserve").exists)
            started.hears("all services are ready")
            assert started.stop() == 0
        _fill_with_files(disk / "small")
        with running(tmp_path / "said", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            started.hears("the disk is full: the room that was put by is used")
            started.hears("degraded: volume.inodes: ")
            started.hears("all services are ready")
            found = in_process("--data-dir", data, "search", "--json", "green leaf")
            assert (found.code, bool(found.document)) == (0, True)
            for path in (disk / "small").iterdir():
                path.unlink()
            started.hears("repair: no check fails any more")
            wait_for("the room that is put by again", (data / "run" / "reserve").exists)
            assert started.stop() == 0


def test_without_a_place_for_a_single_file_it_starts_and_recovers(tmp_path: Path, prefect: str) -> None:
    with small_disk(tmp_path / "disk", 90) as disk:
        subprocess.run(["mount", "-o", "remount,nr_inodes=150", str(disk)], check=True)
        data = disk / "kb"
        verified_base(disk).close()
        with running(tmp_path / "before", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            started.hears("all services are ready")
            assert started.stop() == 0
        for path in (data / "run").glob("reserve*"):
            path.unlink()
        _fill_with_files(disk / "small")
        with running(tmp_path / "said", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            started.hears("degraded: volume.inodes: ")
            started.hears("degraded: database.open: ")
            started.hears("all services are ready")
            for path in (disk / "small").iterdir():
                path.unlink()
            started.hears("repair: no check fails any more")
            assert started.stop() == 0


def test_without_a_single_byte_it_starts_and_recovers(tmp_path: Path, prefect: str) -> None:
    with small_disk(tmp_path / "disk", 80) as disk:
        data = disk / "kb"
        verified_base(disk).close()
        _fill(disk / "filler")
        with running(tmp_path / "said", [WORKER, str(data)], PREFECT_API_URL=prefect) as started:
            started.hears("degraded: database.open: ")
            started.hears("all services are ready")
            assert not (data / "run" / "services.json").exists()
            (disk / "filler").unlink()
            started.hears("repair: no check fails any more")
            wait_for("the addresses", (data / "run" / "services.json").exists, 15)
            assert json.loads((data / "run" / "services.json").read_text())["http_url"]
            assert started.stop() == 0


def _fill(path: Path) -> None:
    """Until there is no room."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def _fill_with_files(folder: Path) -> None:
    """Until there is no place for another."""
    folder.mkdir()
    with suppress(OSError):
        for number in range(10_000):
            (folder / str(number)).touch()
    assert os.statvfs(folder).f_favail == 0


def _children(started: Running) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(started.process.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
