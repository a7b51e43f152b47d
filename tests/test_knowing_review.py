"""Reviews of a stretch of time, its sentences and words, and secrets that notes hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from knowing_world import grown
from vaults import open_base

from nescord import KnowledgeManager
from nescord.errors import QueryError
from nescord.knowing.period import parse_period
from nescord.knowing.terms import sentences, terms

TOKYO = ZoneInfo("Asia/Tokyo")
GUILD, ME = "guild:7", "user:42"


@pytest.fixture(scope="module")
def km(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeManager]:
    """VAULT with vectors; tests only read it."""
    with grown(tmp_path_factory.mktemp("knowing")) as base:
        yield base


# --- review ---


def test_a_review_says_what_was_written_and_changed_and_what_is_to_do(tmp_path: Path) -> None:
    dated = "---\ncreated: {}\nupdated: {}\ntags: [{}]\n---\n".format
    midnight = "2026-11-08T00:00:00+09:00"
    notes = {
        "old.md": dated("2024-05-01", "2026-11-03", "") + "Old and changed. The greenhouse got new glass.",
        "new.md": dated("2026-11-02", "2026-11-02", "garden") + "The tomatoes are in.\n\n- [ ] water\n- [x] sow\n",
        "ja.md": dated("2026-11-04", "2026-11-04", "garden")
        + "温室のガラスを替えた。苗は来週植える。\n\n1. [ ] 支柱\n",
        "border.md": dated(midnight, midnight, "") + "not in it",
    }
    with grown(tmp_path, embed=False, notes=notes) as km:
        found = km.review("2026-11-01..2026-11-07")
    assert [note.path for note in found.written] == ["new.md", "ja.md"]
    assert [note.path for note in found.changed] == ["old.md"]
    assert found.days == (("2026-11-02", 1), ("2026-11-03", 1), ("2026-11-04", 1))
    assert found.tags == (("garden", 2),)
    assert {(task.note.path, task.text) for task in found.tasks} == {("new.md", "water"), ("ja.md", "支柱")}
    texts = [passage.text for passage in found.passages]
    assert "The greenhouse got new glass." in texts
    assert "温室のガラスを替えた。" in texts


def test_a_review_tells_unanswered_questions_to_who_could_have_asked_them(tmp_path: Path) -> None:
    with open_base(tmp_path / "state") as km:
        km.capture("梅干しは三日干す", space=GUILD)
        km.answer("鯨はどこで歌うか")
        km.scoped({ME, GUILD}).answer("whales at night")
        km.scoped({GUILD}).answer("crickets at night")
        km.scoped({GUILD}).answer("梅干し")
        assert km.review("today").questions == ("鯨はどこで歌うか", "whales at night", "crickets at night")
        assert km.scoped({GUILD}).review("today").questions == ("crickets at night",)
        assert set(km.scoped({ME, GUILD}).review("today").questions) == {"crickets at night", "whales at night"}
        assert km.review("1999").questions == ()


def test_passages_stand_in_the_notes_where_they_say(km: KnowledgeManager) -> None:
    passages = km.review("2020..2099").passages
    assert passages
    for one in passages:
        body = km.note(one.note_id).body
        assert one.text.split()[0].strip("[]") in body[one.start : one.end]


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026", "2025-12-31T15:00:00Z", "2026-12-31T15:00:00Z"),
        ("2026-11", "2026-10-31T15:00:00Z", "2026-11-30T15:00:00Z"),
        ("2026-11-24", "2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z"),
        ("2026-11-01..2026-11-07", "2026-10-31T15:00:00Z", "2026-11-07T15:00:00Z"),
        ("2026-11..2026-12", "2026-10-31T15:00:00Z", "2026-12-31T15:00:00Z"),
    ],
)
def test_periods_are_in_the_zone_of_the_person(text: str, begin: str, end: str) -> None:
    period = parse_period(text, TOKYO)
    assert (period.begin, period.end) == (begin, end)


def test_the_last_week_holds_today_and_six_days_before() -> None:
    period = parse_period("week", TOKYO)
    midnight = datetime.now(TOKYO).replace(hour=0, minute=0, second=0, microsecond=0)
    assert datetime.fromisoformat(period.begin) == midnight - timedelta(days=6)
    assert datetime.fromisoformat(period.end) > datetime.now(UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-13", "2026-11-07..2026-11-01", "..", "2026-11.."])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is no period"):
        parse_period(text, TOKYO)


# --- sentences and words ---


def test_sentences_are_those_of_the_text_without_headings_code_and_tables() -> None:
    body = "# Title\n\nOne. Two [[link|shown]]!\n\n- 三つ目。四つ目（同じ行）。\n- [ ] five\n\n"
    body += "```\ncode.\n```\n\n|a|\n|-|\n|b|\n"
    found = sentences(body)
    assert [one.text for one in found] == ["One.", "Two shown!", "三つ目。", "四つ目（同じ行）。", "five"]
    assert [body[one.start : one.end] for one in found][1] == "Two [[link|shown]]!"


def test_words_that_say_something() -> None:
    assert terms("The leaves and the leaf of 2026") == {"leav": 1, "leaf": 1}
    assert terms("自動搬送とパンケーキの話をする") == {"自動搬送": 1, "パンケーキ": 1}


# --- secrets ---


def test_secrets_are_reported_by_kind_and_line_and_never_shown(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    notes = {
        "ja.md": f"一行目\n\nトークン: {token}\n",
        "en.md": "nothing here",
        "front.md": f"---\nkey: {token}\n---\nx",
    }
    with grown(tmp_path, embed=False, notes=notes) as km:
        found = km.secrets()
    assert {one.note.path: [place.line for place in one.found] for one in found} == {"ja.md": [3], "front.md": [0]}
    shown = json.dumps([asdict(one) for one in found], ensure_ascii=False)
    assert token not in shown
    assert "GitHub" in shown
