"""The status page as it is read: its texts, its markup, and how a browser takes it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import string
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import ingested
from web_world import HTTP, TOKEN, WELL, Supervised, Web, prefect_with, service, serving, wait_until

from nescord.web.lookout import Lookout
from nescord.web.markup import Markup, element, joined
from nescord.web.style import CSS, POLICY
from nescord.web.texts import TEXTS, Texts, chosen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt install chromium)")
GROUND, DARK_GROUND = bytes.fromhex("f6f5f2"), bytes.fromhex("16181c")


def test_both_languages_say_the_same_things() -> None:
    def fields(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    for key, (english, japanese) in TEXTS.items():
        assert fields(english) == fields(japanese), key
        assert japanese != english or not english.isalpha(), key


@pytest.mark.parametrize(
    ("said", "japanese"),
    [
        ("ended with exit code 3", "終了コード 3 で終了しました"),
        (
            "was killed by SIGKILL, probably because the machine ran out of memory",
            "強制終了されました（おそらくメモリー不足）",
        ),
        ("bot is not ready", "bot が動いていません"),
        ("something new", "something new"),
    ],
)
def test_reasons_are_translated_where_they_are_known(said: str, japanese: str) -> None:
    assert Texts("ja").reason(said) == japanese
    assert Texts("en").reason(said) == said


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("ja", "en", "ja"),
        ("xx", "ja", "ja"),
        ("", "", "en"),
        ("", "de, fr;q=0.9", "en"),
        ("", "en;q=0.4, ja;q=0.6", "ja"),
        ("", "en-GB, ja;q=0.9", "en"),
        ("", "ja;q=0, en;q=0.1", "en"),
        ("", "ja;q=x, ,;;, *", "en"),
        ("", "ja-JP-u-ca-japanese", "ja"),
    ],
)
def test_the_language_is_chosen(asked: str, accepted: str, language: str) -> None:
    assert chosen(asked, accepted, "en") == language


def test_markup_is_escaped_unless_it_was_made_here() -> None:
    made = element("p", "<b>&", element("i", "x"), title='"<', class_="a")
    assert made == '<p title="&quot;&lt;" class="a">&lt;b&gt;&amp;<i>x</i></p>'
    assert joined("<", Markup("<br>")) == "&lt;<br>"


def test_a_look_that_hangs_is_not_waited_for_and_one_look_serves_all() -> None:
    looks = []
    goes_on = threading.Event()

    def look() -> int:
        looks.append(1)
        goes_on.wait(20)
        return len(looks)

    lookout = Lookout("test", look, keep=0.2, patience=0.1)
    begun = time.monotonic()
    assert lookout.latest() is None
    assert time.monotonic() - begun < 2
    assert lookout.latest() is None
    assert len(looks) == 1
    goes_on.set()
    patient = Lookout("other", look, keep=60, patience=20)
    found: list[int | None] = []
    threads = [threading.Thread(target=lambda: found.append(patient.latest())) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [2] * 8


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    data = ingested(tmp_path_factory.mktemp("page"))
    word = Supervised(data)
    with (
        word.running(),
        prefect_with([]) as url,
        serving(data, NESCORD_STATUS_TOKEN=TOKEN, PREFECT_API_URL=url) as page,
    ):
        word.says(HTTP, *WELL[1:], service("bot", "degraded", reason="ended with exit code 1", restarts=5))
        wait_until(page, "/healthz", 200)
        yield page


def test_the_style_is_the_one_that_is_allowed_and_nothing_else_is_loaded(web: Web) -> None:
    answer = web.ask("/")
    style = re.search(r"<style>(.*?)</style>", answer.body, re.DOTALL)
    assert style is not None
    assert style[1] == CSS
    expected = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert f"'sha256-{expected}'" in POLICY
    assert not re.search(r"<(script|img|iframe|form|link|object)|\bstyle=|\bon\w+=|https?://", answer.body)


@needs_chromium
@pytest.mark.parametrize(
    ("options", "ground"), [((), GROUND), (("--force-dark-mode",), DARK_GROUND)], ids=["light", "dark"]
)
def test_a_browser_shows_it_with_its_style(options: tuple[str, ...], ground: bytes, web: Web, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    _browse(tmp_path, f"http://127.0.0.1:{web.port}/", f"--screenshot={picture}", "--window-size=400,800", *options)
    assert _first_pixel(picture.read_bytes()) == ground


@needs_chromium
@pytest.mark.parametrize(("language", "word"), [("ja", "ナレッジベース"), ("en", "Knowledge base")])
def test_a_browser_is_let_in_by_the_token_as_a_password(language: str, word: str, web: Web, tmp_path: Path) -> None:
    there = f"127.0.0.1:{web.port}/details?lang={language}"
    opened = _browse(tmp_path, f"http://me:{TOKEN}@{there}", "--dump-dom")
    assert word in opened
    assert "ended with exit code 1" in opened or "終了コード 1 で終了しました" in opened
    assert word not in _browse(tmp_path, f"http://me:wrong@{there}", "--dump-dom")


def _browse(tmp_path: Path, url: str, *options: str) -> str:
    assert CHROMIUM is not None
    profile = tmp_path / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *options, url]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).stdout.decode("utf-8", "replace")


def _first_pixel(png: bytes) -> bytes:
    """Red, green and blue of the upper left corner: every filter of PNG leaves the first pixel as it is."""
    place, content = 8, b""
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] == b"IDAT":
            content += png[place + 8 : place + 8 + length]
        place += length + 12
    return zlib.decompress(content)[1:4]
