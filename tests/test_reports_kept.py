"""Which reports are kept, which is the latest, and what of them the status page hands out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from web_world import TOKEN, Web, serving

from nescord import KnowledgeManager, Settings
from nescord.locks import held_at_once
from nescord.reports import retention
from nescord.reports.build import LOCK, tidy
from nescord.reports.kernel import Failure
from nescord.reports.retention import Report, ReportPage
from tests.vaults import open_base

NOW = datetime(2026, 11, 28, 6, 0, tzinfo=UTC)


def published(room: Path, now: datetime = NOW, *, failure: Failure | None = None, space: str = "") -> Report:
    """A report with one page, made by hand."""
    folder = retention.begin(room, now)
    (folder / "01_overview.html").write_text(f"<p>頁 of {folder.name}</p>", encoding="utf-8")
    (folder / "index.html").write_text(f"<p>index of {folder.name}</p>", encoding="utf-8")
    page = ReportPage("01_overview", "概要 <i>", "01_overview.html", 30, 1.5, 1.0, 2, failure)
    report = Report(folder.name, folder, f"{now:%Y-%m-%dT%H:%M:%SZ}", "ja", "G", space, 2.0, (page,))
    retention.publish(report)
    return report


def test_a_report_counts_when_it_is_whole(tmp_path: Path) -> None:
    room = tmp_path / "reports"
    assert retention.latest(room) is None
    first = published(room, failure=Failure(3, "x = 1", "KeyError: 'x'"))
    half = retention.begin(room, NOW + timedelta(hours=1))
    assert retention.latest(room) == first
    assert retention.complete(room) == [first]
    assert not first
    retention.prune(room)
    assert not half.exists()
    second = published(room, NOW + timedelta(hours=2))
    assert retention.latest(room) == second
    (room / "latest.json").unlink()
    assert retention.latest(room) == second
    retention.remove(second.folder)
    assert retention.latest(room) == first
    (first.folder / "report.json").write_text("{", encoding="utf-8")
    assert retention.latest(room) is None


def test_a_clock_that_goes_back_makes_no_report_older_than_the_last(tmp_path: Path) -> None:
    room = tmp_path / "reports"
    stamps = [published(room, NOW - timedelta(days=number)).stamp for number in range(12)]
    assert stamps[:3] == ["20261128T060000Z", "20261128T060000Z-2", "20261128T060000Z-3"]
    assert [report.stamp for report in retention.complete(room)] == stamps
    assert published(room, NOW + timedelta(seconds=1)).stamp == "20261128T060001Z"


def test_the_newest_eight_stay_and_the_list_leads_to_these(tmp_path: Path) -> None:
    room, settings = tmp_path / "reports", Settings(data_dir=tmp_path)
    reports = [published(room, NOW + timedelta(days=number)) for number in range(10)]
    (room / ".index.html.0123.tmp").write_text("torn")
    (room / "mine.txt").write_text("not ours")
    assert len(tidy(room, settings, dry_run=True)) == 3
    assert len(retention.complete(room)) == 10
    tidy(room, settings)
    assert retention.complete(room) == reports[2:]
    every = (room / "index.html").read_text(encoding="utf-8")
    assert [each.stamp in every for each in reports] == [False] * 2 + [True] * 8
    assert {path.name for path in room.iterdir() if path.is_file()} == {"index.html", "latest.json", "mine.txt"}


def test_the_latest_is_the_one_of_all_spaces(tmp_path: Path) -> None:
    room = tmp_path / "reports"
    alone = published(room, space="user:5")
    assert retention.latest(room) == alone  # better than none
    assert not (room / "latest.json").exists()
    whole = published(room, NOW + timedelta(hours=1))
    of_one = published(room, NOW + timedelta(hours=2), space="user:5")
    assert retention.latest(room) == whole
    assert retention.latest_of(room, "user:5") == of_one
    assert retention.latest_of(room, "guild:7") is None
    (room / "latest.json").write_text(f'{{"stamp": "{of_one.stamp}"}}')  # as an earlier version wrote it
    assert retention.latest(room) == whole
    (room / "latest.json").unlink()
    assert retention.latest(room) == whole


def test_reports_of_a_space_and_failed_ones_push_no_good_one_out(tmp_path: Path) -> None:
    room, failure = tmp_path / "reports", Failure(1, "", "x")
    older, good = published(room), published(room, NOW + timedelta(hours=1))
    failed = [published(room, NOW + timedelta(days=1 + number), failure=failure) for number in range(9)]
    of_one = [published(room, NOW + timedelta(days=20 + number), space="user:5") for number in range(9)]
    assert sorted(path.name for path in retention.prune(room)) == [older.stamp, failed[0].stamp, of_one[0].stamp]
    assert retention.complete(room) == [good, *failed[1:], *of_one[1:]]
    assert retention.latest(room) == failed[-1]


def test_a_report_without_a_page_is_no_whole_one(tmp_path: Path) -> None:
    assert not Report("G", tmp_path, "2026-11-28T06:00:00Z", "ja", "G", "", 2.0, ())


def test_maintenance_removes_old_reports_unless_one_is_made(tmp_path: Path) -> None:
    with open_base(tmp_path / "data") as km:
        room = km.folder.reports
        reports = [published(room, NOW + timedelta(days=number)) for number in range(9)]
        with held_at_once(km.folder.run / LOCK):
            assert _step(km).remark == "a report is being made: next time"
        assert reports[0].folder.exists()
        assert _step(km).remark == ""
        assert retention.complete(room) == reports[1:]


def _step(km: KnowledgeManager) -> object:
    return {step.name: step for step in km.maintain().steps}["old reports"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with open_base(tmp_path / "data"):
        pass
    return tmp_path / "data"


@pytest.fixture
def web(data: Path) -> Iterator[Web]:
    with serving(data, NESCORD_STATUS_TOKEN=TOKEN) as running:
        yield running


def test_the_status_page_leads_to_the_latest_report_with_the_token_only(data: Path, web: Web) -> None:
    report = published(data / "reports", failure=Failure(1, "", "x"))
    tidy(data / "reports", Settings(data_dir=data))
    page = web.ask_with_token("/?lang=en")
    assert f'href="reports/{report.stamp}/index.html"' in page.body
    assert "1 incomplete" in page.body
    assert "reports/" not in web.ask("/").body
    for path in (
        "/reports/",
        f"/reports/{report.stamp}/",
        f"/reports/{report.stamp}/01_overview.html",
        "/reports/nope",
    ):
        assert web.ask(path).status == 401, path
    assert web.ask_with_token("/reports").headers["Location"] == "reports/"
    assert f"{report.stamp}/index.html" in web.ask_with_token("/reports/").body
    assert f"{report.stamp}/index.html" in web.ask_with_token("/reports/index.html").body
    for name in ("", "index.html"):
        assert web.ask_with_token(f"/reports/{report.stamp}/{name}").body == f"<p>index of {report.stamp}</p>"
    shown = web.ask_with_token(f"/reports/{report.stamp}/01_overview.html")
    assert (shown.status, shown.body) == (200, f"<p>頁 of {report.stamp}</p>")
    policy = shown.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy
    assert "frame-ancestors 'none'" in policy


def test_the_status_page_says_of_which_space_a_report_is(data: Path) -> None:
    published(data / "reports", space="guild:7")
    with serving(data, NESCORD_STATUS_TOKEN=TOKEN) as web:
        assert "only of guild:7" in web.ask_with_token("/?lang=en").body
        assert "guild:7 のみ" in web.ask_with_token("/?lang=ja").body


def test_without_a_token_set_nobody_sees_a_report(data: Path) -> None:
    report = published(data / "reports")
    with serving(data) as web:
        assert web.ask(f"/reports/{report.stamp}/index.html").status == 403
        assert web.ask_with_token(f"/reports/{report.stamp}/index.html").status == 403


def test_no_address_leads_out_of_the_reports(data: Path, web: Web) -> None:
    report = published(data / "reports")
    retention.begin(data / "reports", NOW + timedelta(days=1)).joinpath("index.html").write_text("half")
    (data / "reports" / "01_secret.html").symlink_to(data / "identity.json")
    (report.folder / "02_link.html").symlink_to(data / "identity.json")
    (data / "01_outside.html").write_text("outside")
    at = f"/reports/{report.stamp}"
    for path in (
        *("/reports/../identity.json", "/reports/%2e%2e/identity.json", "/reports/..%2fidentity.json"),
        *(f"{at}/../../identity.json", f"{at}/..%2f..%2fidentity.json", f"{at}/report.json", f"{at}/.", f"{at}/.."),
        *(f"{at}/../../01_outside.html", f"{at}/02_link.html", "/reports/01_secret.html", "/reports/latest.json"),
        *(f"{at}/01_overview.html%00", f"{at}/01_overview.html/", f"{at}//01_overview.html", f"{at}/99_none.html"),
        *("/reports//etc/passwd", "/reportsx", "/reports/20261129T060000Z/index.html", "/reports/index.html"),
        *(f"/reports/{report.stamp}\n/index.html".replace("\n", "%0a"), f"/reports/{data}/01_outside.html"),
    ):
        assert web.ask_with_token(path).status == 404, path
    assert os.path.exists(data / "identity.json")


def test_the_page_says_when_there_is_no_report(web: Web) -> None:
    assert "No report yet" in web.ask_with_token("/?lang=en").body
    assert "レポートはまだありません" in web.ask_with_token("/?lang=ja").body
    assert web.ask_with_token("/reports/").status == 404
