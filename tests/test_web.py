"""The status page as it is: a process on a socket, beside a real knowledge base and a supervisor's word for it."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import NOTES, in_process, ingested, write_notes
from prometheus_client.parser import text_string_to_metric_families
from web_world import (
    HTTP,
    TOKEN,
    WELL,
    Answer,
    Supervised,
    Web,
    basic,
    prefect_with,
    service,
    serving,
    wait_until,
)

from nescord.locks import LockName
from nescord.service_state import Finding

RUN = {
    "id": "r1",
    "name": "shy-owl",
    "flow_id": "f1",
    "deployment_id": "d1",
    "state_type": "FAILED",
    "start_time": "2026-11-27T01:02:03.456789Z",
    "estimated_run_time": 75.0,
}
MOST_MEMORY = 80e6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ingested(tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="module")
def supervised(data: Path) -> Iterator[Supervised]:
    word = Supervised(data)
    with word.running():
        yield word


@pytest.fixture(scope="module")
def shared(supervised: Supervised, data: Path) -> Iterator[Web]:
    """One page for the tests that only ask."""
    with serving(data, NESCORD_STATUS_TOKEN=TOKEN) as web:
        supervised.says(*WELL)
        wait_until(web, "/healthz", 200)
        yield web


@pytest.fixture
def web(shared: Web, supervised: Supervised) -> Web:
    supervised.says(*WELL)
    return shared


def test_health_follows_the_supervisor(web: Web, supervised: Supervised) -> None:
    assert web.ask("/healthz").body == "ok\n"
    supervised.says(*WELL, phase="starting")
    assert (web.ask("/healthz").status, web.ask("/healthz").body) == (503, "the services are being started\n")
    supervised.says(*WELL, phase="stopping")
    assert (web.ask("/healthz").status, web.ask("/healthz").body) == (503, "the services are being stopped\n")
    supervised.says(HTTP, service("bot", "pausing", required=True))
    assert (web.ask("/healthz").status, web.ask("/healthz").body) == (503, "bot is not ready\n")
    supervised.says(HTTP, service("chroma", "degraded"))
    assert web.ask("/healthz").status == 200


def test_it_answers_any_host_and_trusts_none(web: Web) -> None:
    assert web.ask("/healthz", Host="healthcheck.railway.app").body == "ok\n"
    assert "evil.example" not in web.ask("/", Host="evil.example").body


def test_its_own_service_counts_as_well_while_it_answers(web: Web, supervised: Supervised) -> None:
    supervised.says(service("http", "starting", required=True))
    assert web.ask("/healthz").status == 200


def test_without_a_supervisor_it_is_not_in_service(data: Path, tmp_path: Path) -> None:
    other = ingested(tmp_path)
    Supervised(other).says(*WELL)  # the word of one that is gone: nobody holds the lock
    with serving(other) as web:
        answer = wait_until(web, "/healthz", 503)
        assert answer.body == "no supervisor runs\n"


def test_readiness_names_each_part_and_its_reason(web: Web, supervised: Supervised) -> None:
    supervised.says(
        HTTP,
        service("chroma", "degraded", reason="cannot be started: [Errno 2] No such file: '/data/nescord/chroma'"),
        service("serve", "pausing", reason="was killed by SIGKILL, probably because the machine ran out of memory"),
        findings=(
            Finding("volume.space", "fail", "12 MB are free at /data", "make room"),
            Finding("backups.newest", "warn", "no good backup", "nescord backup create"),
        ),
    )
    answer = web.ask("/readyz")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    parts = {part.pop("name"): part for part in answer.document["parts"]}
    assert answer.document["ready"]
    assert parts["chroma"] == {"state": "degraded", "required": False, "reason": "cannot be started"}
    assert parts["serve"]["reason"] == "was killed by SIGKILL, probably because the machine ran out of memory"
    assert parts["database"] == {"state": "ready", "required": True, "reason": ""}
    assert parts["volume.space"]["state"] == "failed"
    assert "backups.newest" not in parts
    supervised.says(HTTP, service("bot", "degraded", required=True, reason="ended with exit code 1"))
    answer = web.ask("/readyz")
    assert (answer.status, answer.document["ready"]) == (503, False)


def test_a_restore_under_way_is_told_and_not_waited_for(web: Web, supervised: Supervised) -> None:
    with supervised.locks.exclusive(LockName.CATALOG):
        assert wait_until(web, "/healthz", 503).body == "a restore is under way\n"
        database = next(part for part in web.ask("/readyz").document["parts"] if part["name"] == "database")
        assert database["reason"] == "a restore is under way"
        assert "a restore is under way" in web.ask("/?lang=en").body
        assert "復元中です" in web.ask("/?lang=ja").body
    wait_until(web, "/healthz", 200)


def test_a_restore_that_was_killed_is_not_finished_by_who_only_looks(web: Web, supervised: Supervised) -> None:
    journal = supervised.folder.restore_journal
    journal.parent.mkdir()
    journal.write_text("{}")
    try:
        assert wait_until(web, "/healthz", 503).body == "a restore is under way\n"
        assert journal.read_text() == "{}"
    finally:
        journal.unlink()
        journal.parent.rmdir()
    wait_until(web, "/healthz", 200)


def test_what_a_restore_put_in_the_place_of_the_database_is_read(tmp_path: Path) -> None:
    data = ingested(tmp_path)
    snapshot = in_process("--data-dir", data, "backup", "create", "--json").document["id"]
    write_notes(tmp_path / "vault", {"more.md": "# More\n\nAnother note.\n"})
    assert in_process("--data-dir", data, "ingest", tmp_path / "vault").code == 0
    word = Supervised(data)
    with word.running(), serving(data, NESCORD_STATUS_TOKEN=TOKEN) as web:
        word.says(*WELL)
        wait_until(web, "/healthz", 200)
        assert in_process("--data-dir", data, "backup", "restore", snapshot, "--yes").code == 0
        wait_until(web, "/healthz", 200)
        assert _metrics(web)["nescord_notes"] == len(NOTES)
        assert "nescord ingest --resume" in web.ask_with_token("/?lang=en").body


@pytest.mark.parametrize("damage", ["missing", "garbled"])
def test_a_database_that_cannot_be_read_is_told(damage: str, tmp_path: Path) -> None:
    data = ingested(tmp_path)
    database = data / "nescordbot.db"
    database.unlink()
    if damage == "garbled":
        database.write_bytes(b"no database" * 10_000)
    word = Supervised(data)
    with word.running(), serving(data, NESCORD_STATUS_TOKEN=TOKEN) as web:
        word.says(*WELL)
        assert wait_until(web, "/healthz", 503).body == "the database cannot be read\n"
        page = web.ask_with_token("/?lang=en")
        assert page.status == 200
        assert "The database cannot be read now." in page.body
        assert str(tmp_path) not in web.ask("/").body
        assert "nescord_notes" not in _metrics(web)
        assert _metrics(web)["nescord_volume_total_bytes"] > 0


def test_nothing_private_without_the_token(web: Web, supervised: Supervised, data: Path) -> None:
    supervised.says(*WELL, findings=(Finding("index.count", "fail", f"12 of 4 at {data}", "nescord ingest"),))
    private = [str(data), "12 of 4", "nescord ingest", "Memory", "Knowledge", "shy-owl", *(NOTES)]
    for answer in (web.ask("/?lang=en"), web.ask("/readyz"), web.ask("/healthz")):
        assert not [word for word in private if word in answer.body]
    open_to_us = web.ask_with_token("/?lang=en").body
    assert all(word in open_to_us for word in ("12 of 4", "nescord ingest", "Memory", "Knowledge"))
    assert open_to_us.count("index.count") == 2  # in the headline, and with what it measured


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN[:-1]}", basic("wrong"), "Basic ***", basic("", TOKEN), "Digest x"],
)
@pytest.mark.parametrize("path", ["/metrics", "/details"])
def test_the_wrong_token_opens_nothing(authorization: str, path: str, web: Web) -> None:
    wrong = authorization.encode().decode("latin-1")
    answer = web.ask(path, **({"Authorization": wrong} if wrong else {}))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert "nescord_" not in answer.body
    assert "<" not in answer.body


def test_a_wrong_token_at_the_page_is_told(web: Web) -> None:
    assert web.ask("/", Authorization=basic("wrong")).status == 401


def test_the_token_opens_as_bearer_and_as_a_password(web: Web) -> None:
    bearer = f"Bearer {TOKEN}".encode().decode("latin-1")
    for given in (bearer, basic(TOKEN), basic(TOKEN, user="")):
        for path in ("/metrics", "/details", "/"):
            assert web.ask(path, Authorization=given).status == 200
    assert "Memory" in web.ask("/details?lang=en", Authorization=bearer).body


def test_without_a_token_set_nobody_sees_more(data: Path, supervised: Supervised) -> None:
    with serving(data) as web:
        for path in ("/metrics", "/details"):
            answer = web.ask(path, Authorization=basic(""))
            assert answer.status == 403
            assert "NESCORD_STATUS_TOKEN" in answer.body
        page = web.ask("/?lang=en", Authorization=basic(""))
        assert (page.status, "Set NESCORD_STATUS_TOKEN" in page.body) == (200, True)
        assert "Memory" not in page.body


def test_metrics_say_what_is_known_and_leave_out_the_rest(web: Web, supervised: Supervised) -> None:
    supervised.says(
        service("http", required=True, pid=web.process.pid), service("chroma", "degraded", restarts=5), service("serve")
    )
    answer = web.ask_with_token("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = _metrics(web)
    assert found["nescord_notes"] == len(NOTES)
    assert found["nescord_service_up chroma"] == 0
    assert found["nescord_service_up serve"] == 1
    assert found["nescord_service_restarts_total chroma"] == 5
    assert 3 * 3600 - 60 < found["nescord_up_seconds"] < 3 * 3600 + 600
    assert 0 < found["nescord_last_ingest_age_seconds"] < 600
    assert 0 < found["nescord_volume_free_bytes"] <= found["nescord_volume_total_bytes"]
    # There never was one.
    assert not {"nescord_last_backup_age_seconds", "nescord_last_drill_age_seconds"} & set(found)


def test_memory_is_told_and_small(data: Path, supervised: Supervised) -> None:
    with prefect_with([RUN]) as url, serving(data, NESCORD_STATUS_TOKEN=TOKEN, PREFECT_API_URL=url) as web:
        supervised.says(service("http", required=True, pid=web.process.pid), service("serve"))
        web.ask_with_token("/")
        told = _metrics(web)["nescord_service_rss_bytes http"]
        now = _resident(web.process.pid)
        assert abs(told - now) < 20e6
        assert now < MOST_MEMORY
        assert _metrics(web)["nescord_service_rss_bytes supervisor"] > 1e6


def test_backups_drill_and_verification_are_told(tmp_path: Path) -> None:
    data = ingested(tmp_path)
    for words in (["backup", "create"], ["backup", "drill"], ["verify", "--deep"]):
        assert in_process("--data-dir", data, *words).code in (0, 1)
    word = Supervised(data)
    with word.running(), serving(data, NESCORD_STATUS_TOKEN=TOKEN) as web:
        word.says(*WELL)
        found = _metrics(web)
        for name in ("backup", "drill", "verify"):
            assert 0 <= found[f"nescord_last_{name}_age_seconds"] < 120
        page = _text(web.ask_with_token("/?lang=en"))
        assert "Good backups 1" in page
        assert "Last deep verification just now" in page
        assert "Last rehearsed restore just now" in page


def test_what_has_never_been_is_not_yet(web: Web) -> None:
    page = _text(web.ask_with_token("/?lang=en"))
    for name in ("Newest good backup", "Last rehearsed restore", "Last verification"):
        assert f"{name} not yet" in page


def test_the_last_runs_are_shown_and_escaped(data: Path, supervised: Supervised) -> None:
    hostile = RUN | {"deployment_id": None, "name": "<script>alert(1)</script>", "state_type": "RUNNING"}
    with prefect_with([RUN, hostile]) as url, serving(data, NESCORD_STATUS_TOKEN=TOKEN, PREFECT_API_URL=url) as web:
        supervised.says(*WELL, findings=(Finding("a", "warn", "<img src=x onerror=alert(1)>", "<b>&</b>"),))
        answer = web.ask_with_token("/?lang=en")
    assert "<script" not in answer.body
    assert "<img" not in answer.body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.body
    page = _text(answer)
    assert "ingest 11-27 10:02 75 s failed" in page  # on the clock of Asia/Tokyo


def test_a_prefect_server_that_is_away_or_hangs_is_told_in_time(data: Path, supervised: Supervised) -> None:
    supervised.says(*WELL)
    with serving(data, NESCORD_STATUS_TOKEN=TOKEN, PREFECT_API_URL="http://127.0.0.1:9/api") as web:
        assert "The scheduler does not answer now." in web.ask_with_token("/?lang=en").body
    with prefect_with([RUN], hang=6) as url, serving(data, NESCORD_STATUS_TOKEN=TOKEN, PREFECT_API_URL=url) as web:
        assert "The scheduler does not answer now." in web.ask_with_token("/?lang=en").body
        assert web.ask("/healthz").status == 200


def test_the_page_speaks_the_language_of_its_reader(web: Web, data: Path) -> None:
    assert 'lang="en"' in web.ask("/").body
    assert 'lang="ja"' in web.ask("/", Accept_Language="fr, ja-JP;q=0.8, en;q=0.5").body
    answer = web.ask("/?lang=en", Accept_Language="ja")
    assert ('<html lang="en">' in answer.body, answer.headers["Content-Language"]) == (True, "en")
    with serving(data, NESCORD_LANG="ja") as japanese:
        assert '<html lang="ja">' in japanese.ask("/").body


def test_nothing_is_cached_framed_or_told_of_the_program(web: Web) -> None:
    for path in ("/", "/healthz", "/nowhere"):
        headers = web.ask(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "nescord"
    policy = web.ask("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_no_other_address_is_there(web: Web) -> None:
    for path in ("/nowhere", "/../etc/passwd", "/run/state.json", "/healthz/", "//healthz/x", "/%2e%2e/"):
        assert web.ask(path).status == 404


def test_it_goes_with_its_parent_and_the_socket_stays_with_whoever_bound_it(data: Path) -> None:
    with serving(data) as web:
        assert web.ask("/").status == 200
        assert web.process.stdin is not None
        web.process.stdin.close()
        assert web.process.wait(10) == -signal.SIGTERM
        # Between two lives who connects waits.
        socket.create_connection(("127.0.0.1", web.port), 5).close()


def _metrics(web: Web) -> dict[str, float]:
    """Each sample by its name and label."""
    text = web.ask_with_token("/metrics").body
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _text(answer: Answer) -> str:
    """What is read on a page, in one line."""
    assert answer.status == 200
    plain = re.sub(r"<[^>]*>", " ", answer.body)
    return " ".join(plain.split())


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
