"""Reports of toy notebooks, real kernels over real marts: what fails, what is killed, what is erased, what stays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_runs import NESCORD, in_process, nescord
from flow_world import wait_for
from report_world import ADA, FAILS, HOSTILE, SHOWS, settings_with, write_notebook

from nescord import KnowledgeManager, Settings
from nescord.errors import LockTimeoutError, ReportError, UsageError
from nescord.locks import held_at_once
from nescord.reports import build, golden, retention
from nescord.reports.kernel import Failure, run_notebook
from nescord.reports.retention import Report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("base")
    write_notebook(folder / "notebooks", "01_shows", SHOWS, heading="What is there")
    write_notebook(folder / "notebooks", "02_fails", FAILS, heading="What fails")
    write_notebook(folder / "notebooks", "03_last", ["print('the last')"])
    write_notebook(folder / "notebooks", "notes_of_mine", ["1 / 0"])  # no name of a notebook of a report
    made = settings_with(folder, folder / "notebooks")
    golden_file = folder / "state" / golden.NAME
    golden_file.write_text('{"query": "湯は九十度", "expected": ["珈琲.md"]}\n', encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def report(settings: Settings) -> Report:
    return build.build(settings, language="en")


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """A knowledge base with one notebook, for tests that change it."""
    write_notebook(tmp_path / "notebooks", "01_short", ["print('short')"])
    return settings_with(tmp_path, tmp_path / "notebooks", lock_timeout=1)


def room_of(settings: Settings) -> Path:
    assert settings.data_dir is not None
    return settings.data_dir / "reports"


def test_every_notebook_has_a_page_also_the_one_that_fails(report: Report) -> None:
    assert [page.notebook for page in report.pages] == ["01_shows", "02_fails", "03_last"]
    assert [page.title for page in report.pages] == ["What is there", "What fails", "03_last"]
    assert not report
    assert [page.failure for page in report.pages] == [
        None,
        Failure(4, "raise ValueError('<b>no</b> rows')", "ValueError: <b>no</b> rows"),
        None,
    ]
    shown = (report.folder / "02_fails.html").read_text(encoding="utf-8")
    assert "<pre>before\n</pre>" in shown
    assert "<pre>after" not in shown
    assert "Cell 4 failed:" in shown
    assert "<b>no</b>" not in shown
    assert "the last" in (report.folder / "03_last.html").read_text(encoding="utf-8")
    for page in report.pages:
        assert page.bytes == (report.folder / page.file).stat().st_size
        assert page.seconds > 0.5
        assert page.cpu_seconds > 0.5
        assert page.rss_bytes > 20e6


def test_a_page_needs_nothing_and_allows_nothing(report: Report) -> None:
    for file in sorted(report.folder.glob("*.html")):
        html = file.read_text(encoding="utf-8")
        assert "<script" not in html
        assert not re.search(r"<(img|link|iframe)[^>]+(src|href)=\"(?!data:)", html)
        assert HOSTILE not in html
        assert '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ' in html
        assert "import" not in html.partition("<body>")[2].replace("important", "")  # no code of the notebook
    shows = (report.folder / "01_shows.html").read_text(encoding="utf-8")
    assert shows.count("&lt;img src=x") == 2
    assert 'src="data:image/png;base64,' in shows
    assert f"en  {report.generation} 6" in shows


def test_the_index_leads_to_the_pages_and_says_what_failed(report: Report, settings: Settings) -> None:
    index = report.index.read_text(encoding="utf-8")
    assert re.findall(r'href="([^"#]+\.html)"', index) == [
        "../index.html",
        "01_shows.html",
        "02_fails.html",
        "03_last.html",
    ]
    assert "incomplete: cell 4: ValueError: &lt;b&gt;no&lt;/b&gt; rows" in index
    assert "1 of them failed" in index
    every = (room_of(settings) / "index.html").read_text(encoding="utf-8")
    assert f'href="{report.stamp}/index.html"' in every
    assert "1 of 3 incomplete" in every


def test_what_is_left_of_a_report_is_its_pages_alone_and_for_nobody_else(report: Report, settings: Settings) -> None:
    files = {path.name for path in report.folder.rglob("*")}
    assert files == {"index.html", "report.json", "01_shows.html", "02_fails.html", "03_last.html"}
    assert {path.stat().st_mode & 0o77 for path in (report.folder, *report.folder.iterdir())} == {0}
    assert json.loads((room_of(settings) / "latest.json").read_bytes())["stamp"] == report.stamp
    assert retention.latest(room_of(settings)) == report


def test_the_golden_queries_are_asked_for_a_report_of_all(report: Report, settings: Settings) -> None:
    assert not any("golden" in remark for remark in report.remarks)
    assert settings.data_dir is not None
    run = golden.history(settings.data_dir)[0]
    assert (run.problem, len(run.queries)) == ("", 1)
    assert run.queries[0].ranks["keyword"] == (1,)


def test_nothing_is_written_to_the_home_nor_read_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".ipython" / "profile_default" / "startup").mkdir(parents=True)
    (home / ".ipython" / "profile_default" / "startup" / "me.py").write_text("1 / 0; started = True")
    before = sorted(home.rglob("*"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    cell = "import os\nprint('started' in globals(), sorted(set(os.environ) & {'GEMINI_API_KEY', 'DISCORD_TOKEN'}))"
    notebook = write_notebook(tmp_path / "notebooks", "01_home", [cell, "import matplotlib.pyplot"])
    ran = run_notebook(notebook, {"language": "en"}, tmp_path / "out.ipynb", tmp_path / "out.html")
    assert ran, ran.failure
    assert "<pre>False []\n</pre>" in (tmp_path / "out.html").read_text(encoding="utf-8")
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "the kernel died"),
        ("import time\ntime.sleep(100)", "it took longer than 8 s and was ended"),
    ],
)
def test_a_notebook_that_dies_or_hangs_is_shown_up_to_there(tmp_path: Path, last: str, said: str) -> None:
    notebook = write_notebook(tmp_path / "notebooks", "01_ends", ["print('before')", last])
    ran = run_notebook(notebook, {"language": "ja"}, tmp_path / "out.ipynb", tmp_path / "out.html", limit=8)
    assert ran.failure is not None
    assert ran.failure.cell == 4
    assert said in ran.failure.error
    shown = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<pre>before\n</pre>" in shown
    assert "このレポートは途中までです。" in shown


def test_who_stops_it_waits_for_nothing(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "notebooks", "01_long", ["import time\ntime.sleep(100)"])
    stop = threading.Event()
    threading.Timer(4, stop.set).start()
    begun = time.monotonic()
    ran = run_notebook(notebook, {}, tmp_path / "out.ipynb", tmp_path / "out.html", stop=stop)
    assert ran.failure is not None
    assert "it was stopped" in ran.failure.error
    assert time.monotonic() - begun < 20


def test_two_at_once_are_in_order_all_the_same(settings: Settings, report: Report) -> None:
    two = Settings(data_dir=settings.data_dir, notebooks=settings.notebooks, report_parallel=2, language="ja")
    told: list[str] = []
    both = build.build(two, tell=lambda page: told.append(page.notebook))
    assert told == [page.notebook for page in both.pages] == [page.notebook for page in report.pages]
    assert 'lang="ja"' in both.index.read_text(encoding="utf-8")
    assert retention.latest(room_of(settings)) == both
    assert retention.read(room_of(settings), report.stamp) == report


def test_the_command_builds_shows_and_leaves_with_what_became_of_it(settings: Settings, tmp_path: Path) -> None:
    done = in_process(
        *("--data-dir", str(settings.data_dir), "report", "build", "--language", "en", "--space", "personal", "--json"),
        env={"NESCORD_NOTEBOOKS": str(settings.notebooks)},
    )
    assert done.code == 1, done.err
    document = done.document
    assert isinstance(document, dict)
    assert (document["ok"], document["space"], document["language"]) == (False, "personal", "en")
    assert [page["failure"] and page["failure"]["cell"] for page in document["pages"]] == [None, 4, None]
    assert "02_fails: FAILED: cell 4: ValueError" in done.err
    opener, asked = tmp_path / "opener.py", tmp_path / "asked"
    opener.write_text(f"#!{sys.executable}\nimport sys\nopen({str(asked)!r}, 'w').write(sys.argv[1])\n")
    opener.chmod(0o700)
    opened = in_process(
        *("--data-dir", str(settings.data_dir), "report", "open", "--space", "personal"),
        env={"BROWSER": f"{opener} %s"},
    )
    assert (opened.code, opened.out) == (0, f"{document['path']}\n")
    assert asked.read_text() == Path(document["path"]).as_uri()
    shown = nescord("--data-dir", str(settings.data_dir), "report", "open", "--space", "personal", "--json")
    assert shown.document == document
    none = nescord("--data-dir", str(settings.data_dir), "report", "open", "--space", "guild:7")
    assert (none.code, "nescord report build --space guild:7" in none.err) == (1, True)


def test_without_a_report_or_notebooks_it_is_said(own: Settings, tmp_path: Path) -> None:
    none = nescord("--data-dir", str(own.data_dir), "report", "open")
    assert (none.code, "nescord report build" in none.err) == (1, True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there are no notebooks in"):
        build.build(Settings(data_dir=own.data_dir, notebooks=tmp_path / "empty"))
    assert not room_of(own).exists()


def test_a_notebook_that_came_to_no_end_counts_as_failed(own: Settings, tmp_path: Path) -> None:
    write_notebook(tmp_path / "notebooks", "02_blocked", ["print('never kept')"])
    write_notebook(tmp_path / "notebooks", "03_not_run", ["print('never run')"])
    with build.building(own, language="en") as under_way:
        under_way.make_marts()
        first, second, _ = under_way.notebooks
        under_way.run(first)
        (home,) = room_of(own).glob("*/nescord-notebooks-*")
        shutil.rmtree(home)  # nothing can be written there
        with pytest.raises(ReportError, match="could not be written"):
            under_way.run(second)
        report = under_way.publish()
    assert not report
    assert [str(page.failure or "") for page in report.pages] == ["", *["it did not come to its end"] * 2]
    assert retention.latest(room_of(own)) == report
    assert "no page: it did not come to its end" in report.index.read_text(encoding="utf-8")
    assert "2 of 3 incomplete" in (room_of(own) / "index.html").read_text(encoding="utf-8")


def test_one_report_at_a_time(own: Settings) -> None:
    assert own.data_dir is not None
    with held_at_once(own.data_dir / "run" / build.LOCK), pytest.raises(LockTimeoutError, match="is being made"):
        build.build(own)


def test_what_is_erased_meanwhile_comes_to_light_no_more(own: Settings) -> None:
    with build.building(own) as under_way:
        under_way.make_marts()
        under_way.run(under_way.notebooks[0])
        with KnowledgeManager.open_existing(own) as km:
            assert km.privacy(ADA).erase().is_complete
        with pytest.raises(ReportError, match="removed the report"):
            under_way.run(under_way.notebooks[0])
        with pytest.raises(ReportError, match="removed the report"):
            under_way.publish()
    assert list(room_of(own).iterdir()) == []
    assert build.build(own)


def test_a_kill_leaves_the_last_report_and_the_next_one_clears_away(own: Settings, tmp_path: Path) -> None:
    first = build.build(own)
    assert first
    write_notebook(tmp_path / "notebooks", "02_long", ["print('begun')", "import time\ntime.sleep(300)"])
    room = room_of(own)
    command = [*NESCORD, "--data-dir", str(own.data_dir), "report", "build"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "NESCORD_NOTEBOOKS": str(own.notebooks)},
    )
    # papermill saves the notebook after each cell: by now the kernel sleeps.
    saved = "*/nescord-notebooks-*/02_long.ipynb"
    wait_for("the long one", lambda: any("begun\\n" in path.read_text() for path in room.glob(saved)), 60)
    (half,) = (path for path in room.iterdir() if path.is_dir() and path.name != first.stamp)
    started = _descendants(process.pid)
    assert len(started) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for("the end of what it started", lambda: not any(map(_is_alive, started)), 30)
    assert retention.latest(room) == first
    assert retention.complete(room) == [first]
    assert half.is_dir()
    with KnowledgeManager.open_existing(own) as km:
        step = {step.name: step for step in km.maintain(dry_run=True).steps}["old reports"]
        assert half.is_dir()
        assert step.before is not None
        assert step.after is not None
        assert step.before > step.after > 0
    (tmp_path / "notebooks" / "02_long.ipynb").unlink()
    second = build.build(own)
    assert not half.exists()
    assert [report.stamp for report in retention.complete(room)] == [first.stamp, second.stamp]


def _descendants(pid: int) -> list[int]:
    children = [
        int(word)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for word in (thread / "children").read_text().split()
    ]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
