"""What marts tell of the past: verifications, backups, the volume, and runs of flows for longer than Prefect does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from marts_world import begun, rows

from nescord import KnowledgeManager, marts
from nescord.home import DataFolder
from nescord.marts import flow_history
from nescord.persistence import record
from nescord.persistence.report import Check, PersistenceReport
from nescord.settings import Settings

REPORT = PersistenceReport((Check("volume.space", "fail", "half \ud800 a path", "mend"), Check("a", "warn", "1")))


def _lines(folder: DataFolder) -> list[bytes]:
    return [line for line in (folder.run / "verifications.jsonl").read_bytes().splitlines() if line]


def test_each_verification_is_remembered_with_what_it_found(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    with KnowledgeManager.open(settings) as km:
        assert km.verify().ok
        km.verify(deep=True)
    marts.build(settings)
    found = rows(settings, "SELECT deep, ok, checks > 10, failed, seconds > 0 FROM verifications ORDER BY happened_at")
    assert sorted(found) == [(False, True, True, 0, True), (True, True, True, 0, True)]
    names = "SELECT count(*) > 0 FROM verification_checks WHERE name = 'volume.space' AND status = 'pass'"
    assert rows(settings, names) == [(True,)]
    assert rows(settings, "SELECT sum(checks) = (SELECT count(*) FROM verification_checks) FROM verifications") == [
        (True,)
    ]


def test_the_history_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    folder = DataFolder.at(Settings(data_dir=tmp_path))
    folder.run.mkdir()
    old = json.dumps({"at": "2020-01-01T00:00:00Z", "deep": False, "ok": True, "checks": []}).encode()
    (folder.run / "verifications.jsonl").write_bytes(b"\n".join([old] * 2499) + b"\n")
    record.remember(folder, REPORT, deep=False)
    assert len(_lines(folder)) == 2500
    assert len(record.history(folder)) == 2000
    record.remember(folder, REPORT, deep=True, seconds=1.5)
    assert len(_lines(folder)) == 2000
    newest = record.history(folder)[-1]
    assert (newest["deep"], newest["ok"], newest["seconds"], len(newest["checks"])) == (True, False, 1.5, 2)
    assert newest["free_bytes"] > 0


def test_a_line_that_is_damaged_hides_no_other(tmp_path: Path) -> None:
    folder = DataFolder.at(Settings(data_dir=tmp_path))
    folder.run.mkdir()
    file = folder.run / "verifications.jsonl"
    record.remember(folder, REPORT, deep=False)
    with file.open("ab") as stream:
        stream.write(b'[]\n{"at": "never", "checks": []}\n{"at": "2026-01-01T00:00:00Z", "checks": [1]}\n{"at": "20')
    record.remember(folder, REPORT, deep=False)
    assert len(record.history(folder)) == 2


def test_a_history_that_cannot_be_written_fails_no_verification(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    (tmp_path / "data" / "run" / "verifications.jsonl").mkdir()
    with KnowledgeManager.open(settings) as km:
        assert km.verify().ok
    assert record.last(DataFolder.at(settings)) is not None
    assert record.history(DataFolder.at(settings)) == []
    assert marts.build(settings).counts["verifications"] == 0


def test_backups_are_told_with_their_sizes_and_the_volume_at_their_time(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    with KnowledgeManager.open(settings) as km:
        first = km.backups.create()
        km.capture("more")
        km.backups.create()
        km.verify()
    (tmp_path / "data" / "backups" / "snapshots" / f"{first.id}.json.zst").write_bytes(b"rotten")
    marts.build(settings)
    found = rows(settings, "SELECT id, status, bytes_added > 0, bytes_total > 0, off_site, drill_ok FROM backups")
    assert found[0] == (first.id, "bad", None, None, False, None)
    assert found[1][1:] == ("good", True, True, False, None)
    volume = rows(settings, "SELECT notes, database_bytes > 0, free_bytes > 0 FROM volume ORDER BY happened_at")
    assert len(volume) == 3  # the backup that can be read, the verification, now
    assert (2, True, None) in volume
    assert volume[-1] == (2, True, True)


class _Prefect(ThreadingHTTPServer):
    """Answers the two questions that are asked, as Prefect 3.8 does; `runs` is what it knows, `asked` what it was."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.runs: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Prefect)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found: list[dict[str, Any]] = [{"id": "f1", "name": "backup"}]
        if self.path.endswith("/flow_runs/filter"):
            self.server.asked.append(body)
            since = body["flow_runs"]["start_time"].get("after_", "").replace("+00:00", "Z")
            runs = sorted(self.server.runs, key=lambda run: run["start_time"], reverse=True)
            runs = [run for run in runs if run["start_time"] >= since]
            found = runs[body["offset"] : body["offset"] + body["limit"]]
        content = json.dumps(found[body["offset"] :] if "flows" in self.path else found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _prefect() -> Iterator[_Prefect]:
    with _Prefect() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _run(name: str, day: int, state: str = "COMPLETED", **more: object) -> dict[str, Any]:
    at = f"2026-11-{day:02d}T08:00:00.5Z"
    known: dict[str, Any] = {"id": name, "name": f"{name}-run", "flow_id": "f1", "state_type": state}
    known |= {"start_time": at, "end_time": at, "total_run_time": 2.5, "run_count": 1, "auto_scheduled": True}
    return known | {"created_by": None, "parent_task_run_id": None} | more


def _of(server: _Prefect, settings: Settings) -> Settings:
    url = f"http://127.0.0.1:{server.server_port}/api"
    return Settings(data_dir=settings.data_dir, embedder="none", prefect_api_url=url)


def test_runs_are_kept_for_longer_than_prefect_keeps_them(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    query = "SELECT run_id, flow, state, retries, trigger, seconds FROM events_flow ORDER BY run_id"
    with _prefect() as server:
        asking = _of(server, settings)
        server.runs = [
            _run("a", 1, run_count=3),
            _run("b", 20, "RUNNING", end_time=None),
            _run("c", 20, auto_scheduled=False, created_by={"type": "AUTOMATION"}),
            _run("d", 20, "FAILED", auto_scheduled=False, parent_task_run_id="t"),
            _run("e", 20, auto_scheduled=False),
        ]
        assert marts.build(asking).remarks == ()
        assert rows(settings, query) == [
            ("a", "backup", "COMPLETED", 2, "schedule", 2.5),
            ("b", "backup", "RUNNING", 0, "schedule", 2.5),
            ("c", "backup", "COMPLETED", 0, "event", 2.5),
            ("d", "backup", "FAILED", 0, "flow", 2.5),
            ("e", "backup", "COMPLETED", 0, "person", 2.5),
        ]
        # Prefect has forgotten the first ones; one has come to its end, another is new.
        server.runs = [_run("b", 20), _run("z", 25)]
        marts.build(asking)
        assert server.asked[-1]["flow_runs"]["start_time"]["after_"].startswith("2026-11-13")
        assert [row[::2] for row in rows(settings, query)][:2] == [
            ("a", "COMPLETED", "schedule"),
            ("b", "COMPLETED", "schedule"),
        ]
    assert marts.build(settings, spaces={"guild:7"}).counts["events_flow"] == 0
    (remark,) = marts.build(settings).remarks
    assert remark.startswith("runs of flows since 2026-11-25T08:00:00.5Z are missing: there is no Prefect server")
    assert len(rows(settings, query)) == 6


def test_what_somebody_wrote_among_the_runs_is_in_the_way_of_nothing(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    kept = tmp_path / "data" / "run" / "flow-runs.jsonl"
    kept.parent.mkdir(exist_ok=True)
    good = {"run_id": "good", "flow": "backup", "started": "2026-11-02T08:00:00Z", "retries": 1, "seconds": 2.5}
    others = [
        *({"run_id": f"bad{number}", "started": at} for number, at in enumerate(("yesterday", 7, "0001-01-01", [1]))),
        {"run_id": "ahead", "flow": 1, "started": "2999-01-01T00:00:00Z", "retries": "many", "seconds": "long"},
        {"run_id": "huge", "started": "", "retries": 10**30, "ended": 5},
        [1],
    ]
    kept.write_text("\n".join(json.dumps(each) for each in (*others, good)), encoding="utf-8")
    (remark,) = marts.build(settings).remarks
    assert remark.startswith("runs of flows since 2026-11-02T08:00:00Z are missing: there is no Prefect server")
    query = "SELECT run_id, flow, retries, seconds, started IS NULL FROM events_flow ORDER BY run_id"
    assert rows(settings, query) == [
        ("ahead", "1", None, None, False),
        ("good", "backup", 1, 2.5, False),
        ("huge", None, None, None, True),
    ]
    with _prefect() as server:
        server.runs = [_run("new", 20)]
        marts.build(_of(server, settings))
        assert server.asked[-1]["flow_runs"]["start_time"]["after_"].startswith("2026-10-26")
    assert [row["run_id"] for row in flow_history.read(kept.parent)] == ["good", "new", "ahead", "huge"]


@pytest.mark.parametrize("what", ["read", "written"])
def test_runs_that_cannot_be_kept_are_told_and_keep_no_marts_from_being(tmp_path: Path, what: str) -> None:
    settings = begun(tmp_path / "data", "one")
    run = tmp_path / "data" / "run"
    if what == "read":
        (run / "flow-runs.jsonl").mkdir()
    with _prefect() as server:
        server.runs = [_run("a", 1)]
        asking = _of(server, settings)
        if what == "read":
            built = marts.build(asking)
            (remark,) = built.remarks
            assert built.counts["events_flow"] == 0
        else:
            (tmp_path / "away").symlink_to(tmp_path / "nowhere")  # a disk that is not mounted
            remark = flow_history.update(asking, tmp_path / "away")
    assert f"flow-runs.jsonl cannot be {what} (" in remark


def test_many_runs_are_asked_for_page_by_page_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = begun(tmp_path / "data", "one")
    monkeypatch.setattr(flow_history, "MOST_RUNS", 300)
    with _prefect() as server:
        server.runs = [_run(f"r{number:04d}", 1 + number // 50) for number in range(450)]
        assert flow_history.update(_of(server, settings), tmp_path / "data" / "run") == ""
        assert [body["offset"] for body in server.asked] == [0, 200]
    kept = flow_history.read(tmp_path / "data" / "run")
    assert len(kept) == 300
    assert kept[-1]["started"].startswith("2026-11-09")
