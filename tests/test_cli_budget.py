"""`nescord budget` and `nescord budget allow`, for people and for scripts."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_runs import nescord

from nescord.budget import Purpose
from tests.budget_world import MODEL, spend
from tests.vaults import open_base


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """96 % of 1,000 tokens are gone, 60 of them by a call without an end."""
    monkeypatch.setenv("GEMINI_MONTHLY_LIMIT", "1000")
    folder = tmp_path / "data"
    with open_base(folder) as km:
        spend(km.budget, 800, who="user:42")
        spend(km.budget, 100, Purpose.ANSWER, who="guild:7")
        km.budget.reserve(Purpose.EMBED_QUERY, MODEL, 60, who="user:42")
    return folder


def test_it_shows_use_and_what_is_off(data: Path) -> None:
    shown = nescord("--data-dir", data, "budget")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].endswith(": 960 of 1,000 tokens (96.0%), 60 of them by calls without a known end")
    assert lines[1].startswith("switched off: answer, reembed, rewrite, summary, tags (until ")
    assert lines[1].endswith("-01 00:00 JST)")
    assert "if it goes on like this, " in lines[2]
    assert "embed_new\t800\t1" in lines
    assert "user:42\t860\t2" in lines
    assert f"{MODEL}\t960\t3" in lines
    assert any(line.startswith(f"no known end: embed_query by {MODEL} for user:42 at ") for line in lines)


def test_json_has_all_of_it(data: Path) -> None:
    document = nescord("--data-dir", data, "budget", "--json").document
    assert isinstance(document, dict)
    assert {key: document[key] for key in ("limit", "extra", "used", "reserved", "share", "level", "off")} == {
        "limit": 1000,
        "extra": 0,
        "used": 900,
        "reserved": 60,
        "share": 0.96,
        "level": "essential",
        "off": ["answer", "reembed", "rewrite", "summary", "tags"],
    }
    assert document["purposes"][0] == {"name": "embed_new", "tokens": 800, "calls": 1}
    assert [each["tokens"] for each in document["unsettled"]] == [60]
    assert document["returns_at"].endswith("-01T00:00:00+09:00")
    assert document["forecast"] >= 960


@pytest.mark.parametrize("until", [None, "this month", "今月"])
def test_more_is_allowed_to_the_end_of_the_month(until: str | None, data: Path) -> None:
    options = [] if until is None else ["--until", until]
    assert nescord("--data-dir", data, "budget", "allow", "500", *options).code == 0
    document = nescord("--data-dir", data, "budget", "--json").document
    assert isinstance(document, dict)
    assert (document["limit"], document["extra"], document["off"]) == (1500, 500, [])
    (override,) = document["overrides"]
    assert (override["tokens"], override["who"]) == (500, pwd.getpwuid(os.getuid()).pw_name)
    assert datetime.fromisoformat(override["until"]) == datetime.fromisoformat(document["returns_at"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(override["at"])) < timedelta(minutes=5)


def test_a_day_counts_to_its_end_and_zero_takes_all_back(data: Path) -> None:
    allowed = nescord("--data-dir", data, "budget", "allow", "500", "--until", "2999-12-31", "--json").document
    assert isinstance(allowed, dict)
    assert (allowed["until"], allowed["limit"]) == ("2999-12-31T15:00:00Z", 1500)
    assert "taken back" in nescord("--data-dir", data, "budget", "allow", "0").out
    document = nescord("--data-dir", data, "budget", "--json").document
    assert isinstance(document, dict)
    assert (document["extra"], document["overrides"]) == (0, [])


@pytest.mark.parametrize(
    "arguments", [["-5"], ["many"], ["5", "--until", "2020-01-01"], ["5", "--until", "someday"], []]
)
def test_what_cannot_be_allowed_is_a_usage_error(arguments: list[str], data: Path) -> None:
    done = nescord("--data-dir", data, "budget", "allow", *arguments)
    assert done.code == 2
    assert done.err


def test_without_a_limit_it_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_MONTHLY_LIMIT", "0")
    assert "(GEMINI_MONTHLY_LIMIT is 0)" in nescord("--data-dir", data, "budget").out


def test_without_a_knowledge_base_there_is_none(tmp_path: Path) -> None:
    assert nescord("--data-dir", tmp_path / "nothing", "budget").code == 2
