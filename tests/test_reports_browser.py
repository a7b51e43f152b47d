"""Reports in a real browser: nothing fails, nothing runs, plots are drawn, links lead on, and a telephone shows all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chromium import CHROMIUM, NONE, Tab, chromium
from report_world import FAILS, SHOWS, settings_with, write_notebook

from nescord import KnowledgeManager
from nescord.reports import build
from nescord.reports.build import NOTEBOOKS
from nescord.reports.retention import Report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NONE)]

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample" / "vault"
WIDTHS = (400, 1400)
LARGEST = 5_000_000
WIDE = "print('wide ' * 200)\nraise KeyError('a_very_long_word_without_an_end_' * 20)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of notebooks that show the title of a hostile note in every way that there is."""
    folder = tmp_path_factory.mktemp("toys")
    write_notebook(folder / "notebooks", "01_shows", SHOWS)
    write_notebook(folder / "notebooks", "02_fails", [*FAILS[:1], WIDE])
    return build.build(settings_with(folder, folder / "notebooks", language="ja"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of the notebooks that come with Nescord, on the sample vault with a hostile note and the built-in model."""
    folder = tmp_path_factory.mktemp("real")
    base = settings_with(folder, NOTEBOOKS, embedder="local", language="ja")
    with KnowledgeManager.open_existing(base) as km:
        km.ingest(SAMPLE, name="sample")
    return build.build(base)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_hostile_note_does_nothing_and_the_rest_is_shown(tab: Tab, toys: Report, width: int) -> None:
    _looked_at(tab, toys, width)
    tab.open((toys.folder / "01_shows.html").as_uri(), width=width)
    assert tab.evaluate("document.title") == "01_shows"
    assert tab.evaluate("document.querySelectorAll('img').length") == 1
    assert tab.evaluate("document.body.innerText.split('<img src=').length") == 3
    tab.open((toys.folder / "02_fails.html").as_uri(), width=width)
    assert "このレポートは途中までです。" in tab.evaluate("document.body.innerText")


def test_the_policy_stops_what_the_sanitizer_would_let_through(tab: Tab, toys: Report, tmp_path: Path) -> None:
    """Were a script to get into a page, it would not run: the second lock of the door."""
    html = (toys.folder / "01_shows.html").read_text(encoding="utf-8")
    bad = "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"
    for policy, title in (("Content-Security-Policy", "01_shows"), ("No-Policy", "run")):
        written = html.replace("</main>", f"{bad}</main>").replace("Content-Security-Policy", policy)
        (tmp_path / "bad.html").write_text(written, encoding="utf-8")
        look = tab.open((tmp_path / "bad.html").as_uri())
        assert tab.evaluate("document.title") == title
        assert any("Content Security Policy" in error for error in look.errors) == (title == "01_shows")


def test_links_lead_from_the_list_to_a_page_and_back(tab: Tab, toys: Report) -> None:
    tab.open((toys.folder.parent / "index.html").as_uri())
    tab.click("document.querySelector('td a')")
    assert _place(tab) == toys.index
    tab.click("document.querySelector('td a')")
    assert _place(tab) == toys.folder / "01_shows.html"
    tab.click("document.querySelector('nav a')")
    assert _place(tab) == toys.index
    tab.click("document.querySelector('nav a')")
    assert _place(tab) == toys.folder.parent / "index.html"


def test_the_six_reports_of_the_sample_vault_are_whole(tab: Tab, real: Report) -> None:
    assert [page.failure for page in real.pages] == [None] * 6
    assert [page.notebook[:2] for page in real.pages] == ["01", "02", "03", "04", "05", "06"]
    for page in real.pages:
        assert 0 < page.bytes < LARGEST, page
        assert page.title != page.notebook, page
    for width in WIDTHS:
        _looked_at(tab, real, width)
    plots = 0
    for page in real.pages:
        tab.open((real.folder / page.file).as_uri())
        plots += tab.evaluate("document.images.length")
        assert tab.evaluate("document.querySelectorAll('h1').length") == 1, page.notebook
    assert plots >= 6


def _looked_at(tab: Tab, report: Report, width: int) -> None:
    """Every page of it: no error, no dialog, nothing asked for elsewhere, all pictures drawn, nothing too wide."""
    for file in (report.folder.parent / "index.html", *sorted(report.folder.glob("*.html"))):
        look = tab.open(file.as_uri(), width=width)
        assert (look.errors, look.dialogs) == ([], []), file
        assert look.requests == [file.as_uri()]
        drawn = tab.evaluate("[...document.images].map(each => each.naturalWidth)")
        assert all(size > 0 for size in drawn), (file, drawn)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, file
        assert tab.evaluate("document.title") != "run"
        for link in tab.evaluate("[...document.querySelectorAll('a[href]')].map(each => each.href)"):
            if link.startswith("file:"):
                assert Path(urlsplit(link).path).is_file(), (file, link)


def _place(tab: Tab) -> Path:
    return Path(urlsplit(tab.evaluate("location.href")).path)
