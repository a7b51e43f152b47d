"""Notebooks 02, 05 and 06, executed over real marts: what they say is what is stored, on an empty base, with one note,
and after a hundred days of use; in both languages, without a word on stderr, and nothing that a note says runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from marts_world import begun, rows, written
from notebooks_world import run_plainly

from nescord import KnowledgeManager, Settings, marts
from nescord.reports import golden
from nescord.reports.kernel import jupyter_home, run_notebook
from nescord.times import utc_text
from tests.lived_world import HOSTILE, lived
from tests.maintain_world import raw
from tests.vaults import REPOSITORY

pytestmark = pytest.mark.slow

NAMES = ("02_search_quality", "05_operations", "06_budget")


@dataclass(frozen=True)
class Page:
    """What an executed notebook shows."""

    outputs: list[dict[str, object]]
    failure: str

    @property
    def html(self) -> str:
        return "\n".join("".join(data["text/html"]) for data in self._shown() if "text/html" in data)

    @property
    def text(self) -> str:
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())

    @property
    def pictures(self) -> list[str]:
        return ["".join(data["image/png"]) for data in self._shown() if "image/png" in data]

    @property
    def said_on_stderr(self) -> str:
        return "".join("".join(each["text"]) for each in self.outputs if each.get("name") == "stderr")

    def _shown(self) -> list[dict[str, list[str]]]:
        return [each["data"] for each in self.outputs if each["output_type"] in ("display_data", "execute_result")]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with jupyter_home() as made:
        yield made


def shown(
    home: Path, folder: Path, settings: Settings, language: str, names: tuple[str, ...] = NAMES
) -> dict[str, Page]:
    pages = {}
    for name in names:
        target = folder / f"{name}-{language}.ipynb"
        parameters = {"data_dir": str(settings.data_dir), "language": language}
        source = REPOSITORY / "notebooks" / f"{name}.ipynb"
        run = run_notebook(source, parameters, target, target.with_suffix(".html"), home=home)
        cells = json.loads(target.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        pages[name] = Page(outputs, str(run.failure or ""))
    return pages


def plainly(settings: Settings, language: str, name: str) -> str:
    """What a notebook says, without Jupyter."""
    seen = run_plainly([(settings, language, "")], (name,))[name][0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", " ".join(each.get("html", "") for each in seen))).split())


def assert_sound(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert not page.failure, f"{name}: {page.failure}"
        assert not page.said_on_stderr, f"{name}: {page.said_on_stderr}"
        assert "nan" not in page.text.casefold().split(), name


@dataclass(frozen=True)
class Lived:
    """A base with a past and what was asked of it: the notebooks in both languages."""

    settings: Settings
    folder: Path
    ja: dict[str, Page]
    en: dict[str, Page]

    def one(self, query: str) -> tuple[object, ...]:
        assert self.settings.data_dir is not None
        return raw(self.settings.data_dir, query)[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Lived:
    folder = tmp_path_factory.mktemp("lived")
    settings = lived(folder / "data", embedder="local")
    with KnowledgeManager.open(settings) as km:
        km.catch_up()
        notes = {hit.title: hit.note_id for query in ("coffee", "珈琲", "tea", "梅干し") for hit in km.search(query)}
    rows = [
        {"query": "twenty grams", "expected": [notes["Coffee"]]},
        {"query": "九十度", "expected": [notes["珈琲の淹れ方"]]},
        {"query": "How hot must water for green tea be?", "expected": [notes["Tea"]]},
        {"query": "三日三晩", "expected": [notes["梅干し"]]},
        {"id": HOSTILE, "query": HOSTILE, "expected": [notes["梅干し"], "gone.md"]},
        {"query": "quantum chromodynamics", "expected": []},
    ]
    golden_file = settings.data_dir / golden.NAME if settings.data_dir else Path()
    golden_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    golden.ask(settings)
    golden.ask(settings)
    marts.build(settings)
    return Lived(settings, folder, shown(home, folder, settings, "ja"), shown(home, folder, settings, "en"))


def test_an_empty_base_is_told_as_one(tmp_path: Path, home: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", vector="exact")
    KnowledgeManager.open(settings).close()
    marts.build(settings)
    pages = shown(home, tmp_path, settings, "en")
    assert_sound(pages)
    assert "No search is on record yet" in pages["02_search_quality"].text
    assert "There are no golden queries" in pages["02_search_quality"].text
    assert "There is no backup" in pages["05_operations"].text
    assert "too little for a forecast" in pages["05_operations"].text
    assert "nothing was spent" in pages["06_budget"].text
    assert [len(page.pictures) for page in pages.values()] == [0, 0, 0]


def test_a_base_of_one_note_searched_once_is_told_without_a_plot_that_misleads(tmp_path: Path, home: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", vector="exact")
    with KnowledgeManager.open(settings) as km:
        km.capture("# One\n\nthe only note")
        km.search("only", mode="keyword")
        km.backups.create()
    marts.build(settings)
    pages = shown(home, tmp_path, settings, "ja")
    assert_sound(pages)
    assert "検索は 1 回、うち 0 回（0%）" in pages["02_search_quality"].text
    assert "0%〜79%" in pages["02_search_quality"].text  # one search says next to nothing
    assert "1 世代あり" in pages["05_operations"].text
    assert "まだ見通せません" in pages["05_operations"].text


def test_a_lived_base_is_shown_in_both_languages_without_a_warning(base: Lived) -> None:
    assert_sound(base.ja)
    assert_sound(base.en)
    for name in NAMES:
        assert re.search("[ぁ-ん]", base.ja[name].text)
        # What people wrote stays as it is; all else is in English.
        ours = base.en[name].text.replace("梅干し", "").replace("珈琲の淹れ方", "")
        assert not re.search("[ぁ-んァ-ヶ]", ours)
        assert len(base.ja[name].pictures) == len(base.en[name].pictures) >= 3
        assert set(base.ja[name].pictures).isdisjoint(base.en[name].pictures)  # labels are translated, too


def test_what_is_said_of_searches_is_what_is_stored(base: Lived) -> None:
    page = base.en["02_search_quality"].text
    searches, vain, slow = base.one("SELECT count(*), sum(hits = 0), sum(milliseconds >= 1000) FROM search_event")
    assert f"there were {searches} searches; {vain} of them" in page
    assert re.search(rf"{slow} search(es)? \(\d\.\d%\) took a second or more", page)
    asked, unanswered = base.one("SELECT count(*), sum(NOT is_answered) FROM question")
    assert f"Of {asked} questions, {unanswered} (" in page
    lacking = base.one("SELECT count(*) FROM search_event WHERE degraded <> ''")[0]
    assert f"{lacking} searches (" in page
    assert "some notes wait to be embedded" in page


def test_golden_queries_are_told_by_mode_over_time_and_by_weight(base: Lived) -> None:
    page = base.en["02_search_quality"].text
    assert "5 queries were asked of 4 notes" in page
    assert "recall@5" in page
    assert "there is no clear change" in page  # asked twice, answered the same
    assert "Which weight would be best?" in page
    assert "For 1 query the right note was not among the first ten" in page or "among the first ten for every" in page
    assert "a note that it expects is not there" in page
    assert "Of 1 query that no note answers" in page


def test_what_is_said_of_operations_is_what_was_recorded(base: Lived) -> None:
    page = base.en["05_operations"].text
    assert base.settings.data_dir is not None
    lines = (base.settings.data_dir / "run" / "flow-runs.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [json.loads(line) for line in lines]
    failed = sum(run["state"] in ("FAILED", "CRASHED") for run in runs)
    assert f"there were {len(runs)} runs, of which {failed} failed" in page
    assert f"{sum(run['retries'] for run in runs)} retries in all" in page
    assert "There are 2 backups" in page
    assert "1 backup was restored on trial, 1 with success" in page
    assert re.search(r"full in about \d+ months", page)
    assert "100 of 101 verifications found nothing that failed" in page
    assert "backups.drill" in page


def test_what_is_said_of_money_is_what_the_ledger_holds(base: Lived) -> None:
    page = base.en["06_budget"].text
    tokens, calls = base.one("SELECT sum(tokens), count(*) FROM ledger")
    assert f"{tokens:,} tokens in {calls} calls" in page
    month = base.one("SELECT sum(tokens) FROM ledger WHERE day >= substr((SELECT max(day) FROM ledger), 1, 8) || '01'")
    assert f"has used {month[0]:,} tokens" in page
    embedding = base.one("SELECT sum(tokens) FROM ledger WHERE purpose = 'embed_new'")[0]
    assert isinstance(embedding, int)
    assert f"${embedding / 1e6 * 0.15:,.4f}" in page
    answers = base.one("SELECT sum(tokens) FROM ledger WHERE purpose = 'answer'")[0]
    assert isinstance(answers, int)
    assert f"${answers / 1e6 * 0.3:,.2f} – ${answers / 1e6 * 2.5:,.2f}" in page
    repeated = base.one("SELECT count(*) - count(DISTINCT query) FROM search_event WHERE mode <> 'keyword'")[0]
    assert f"saved up to {repeated} calls" in page
    assert "An estimate" in page


def _past(settings: Settings, name: str, lines: list[dict[str, object]]) -> None:
    """Lay a record of what was into its file below run/."""
    assert settings.data_dir is not None
    file = settings.data_dir / "run" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_every_flow_that_fails_is_named_with_since_when_also_if_another_has_failed_later(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "a note")
    now = datetime.now(UTC).replace(microsecond=0)
    states = {
        "backup": ("COMPLETED", "FAILED", "CRASHED", "RUNNING"),
        "verify": ("FAILED", "FAILED", "COMPLETED", "FAILED", "COMPLETED"),
        "never": ("CRASHED",),
    }
    runs = []
    for flow, ended in states.items():
        for day, state in enumerate(ended):
            started = (now - timedelta(days=10 - day)).isoformat()
            runs.append(
                {"run_id": f"{flow} {day}", "flow": flow, "name": "x", "state": state, "started": started}
                | {"ended": started, "seconds": 1.0, "retries": 0, "trigger": "schedule"}
            )
    _past(settings, "flow-runs.jsonl", runs)
    marts.build(settings)
    said = plainly(settings, "en", "05_operations")
    [(backup, never)] = rows(
        settings,
        "SELECT min(started::DATE) FILTER (WHERE run_id = 'backup 1'), "
        "min(started::DATE) FILTER (WHERE flow = 'never') FROM events_flow",
    )
    assert f"backup has not gone well since it failed on {backup} (2 failures)." in said
    assert f"never has not gone well since it failed on {never} (1 failure)." in said
    assert "verify has not gone well" not in said
    assert "There are no vectors yet: 1 chunk is found by words only." in said
    assert "No model" not in said


def test_a_disk_that_is_full_within_days_is_told_in_days(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "a note")
    now, free = datetime.now(UTC).replace(microsecond=0), shutil.disk_usage(tmp_path).free
    looks = [
        {"at": utc_text(now - timedelta(days=day)), "deep": False, "ok": True, "seconds": 1.0, "checks": []}
        | {"free_bytes": int(free + day * free / 9), "database_bytes": 1000, "notes": 1}
        for day in range(20, 0, -1)
    ]
    _past(settings, "verifications.jsonl", looks)
    marts.build(settings)
    assert "full in about 9 days (" in plainly(settings, "en", "05_operations")
    assert "約 9 日 でいっぱいになります" in plainly(settings, "ja", "05_operations")


def test_beyond_the_limit_a_budget_says_that_allowances_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = begun(tmp_path / "data", "a note")
    now = datetime.now(UTC)
    with written(settings) as connection:
        for day in range(12):
            at = now - timedelta(days=day)
            connection.execute(
                "INSERT INTO ledger VALUES (?, ?, ?, 'm', 'answer', 'user:1', 100, 1000000, ?)",
                (f"call {day}", utc_text(at), at.date().isoformat(), utc_text(at)),
            )
    marts.build(settings)
    monkeypatch.setenv("GEMINI_MONTHLY_LIMIT", "1000")
    for language, expected, chance in (
        ("en", "Allowances ( nescord budget allow ) are not counted here.", "The chance"),
        ("ja", "追加で許可した分（ nescord budget allow ）は、ここでは数えていません。", "見込み"),
    ):
        said = plainly(settings, language, "06_budget")
        assert expected in said
        assert chance not in said
        assert "used up already" not in said


def test_nothing_that_people_wrote_is_markup(base: Lived) -> None:
    for page in (*base.ja.values(), *base.en.values()):
        assert "<img src=x" not in page.html
        assert "<script" not in page.html
    assert "&lt;img src=x" in base.en["02_search_quality"].html
    assert "&lt;img src=x" in base.en["06_budget"].html


def test_the_same_marts_give_the_same_pages(base: Lived, home: Path, tmp_path: Path) -> None:
    name = "02_search_quality"  # which draws more resamples than the others
    again = shown(home, tmp_path, base.settings, "ja", (name,))[name]
    assert again.html == base.ja[name].html
    assert again.pictures == base.ja[name].pictures


def test_marts_without_texts_tell_no_query_and_no_question(base: Lived, home: Path, tmp_path: Path) -> None:
    marts.build(base.settings, texts=False)
    pages = shown(home, tmp_path, base.settings, "en", ("02_search_quality", "06_budget"))
    assert_sound(pages)
    for page in pages.values():
        for word in ("grinder", "抹茶", "twenty grams", "三日三晩"):
            assert word not in page.text
    assert "hold no texts" in pages["02_search_quality"].text


def test_marts_of_one_space_tell_nothing_of_the_whole_base(base: Lived, home: Path, tmp_path: Path) -> None:
    marts.build(base.settings, spaces={"guild:7"})
    pages = shown(home, tmp_path, base.settings, "en")
    assert_sound(pages)
    assert "not in a report of some of them" in pages["02_search_quality"].text
    assert "Operations are not told apart by space" in pages["05_operations"].text
    assert "There is no backup" not in pages["05_operations"].text  # there are some, which these marts know nothing of
    assert "No model elsewhere was called for these spaces alone" in pages["06_budget"].text
