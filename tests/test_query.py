"""What a person types, taken apart."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.errors import QueryError
from nescord.query import Query, parse_query

TOKYO = ZoneInfo("Asia/Tokyo")


def parsed(text: str) -> Query:
    return parse_query(text, TOKYO)


def matches(text: str) -> list[str]:
    return [term.match for term in parsed(text).terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("鍵", ['"鍵" *']),
        ("検索", ['"検索"']),
        ("検索語", ['"検索 索語"']),
        ("第3回", ['"第 3 回" *']),
        ("3回", ['"回" *']),
        ("backup disk", ['"backup"', '"disk"']),
        ("node.js", ['"node js"']),
        ("Node.jsの設定", ['"node"', '"の設 設定"']),
        ('"backup disk"', ['"backup disk"']),
        ("“全角 引用”", ['"全角 角 引用"']),
        ("OR NEAR(", ['"or"', '"near"']),
        ("***", []),
    ],
)
def test_plain_text_becomes_quoted_strings_only(text: str, expected: list[str]) -> None:
    assert matches(text) == expected


def test_filters_are_taken_out_of_the_text() -> None:
    query = parsed('会議 tag:Project/Bot -tag:old source:notes path:"仕事 メモ" after:2026-11 before:2027 -議事録')
    assert [term.match for term in query.terms] == ['"会議"']
    assert [term.match for term in query.excluded] == ['"議事 事録"']
    filters = query.filters
    assert (filters.tags, filters.without_tags, filters.sources, filters.paths) == (
        ("project/bot",),
        ("old",),
        ("notes",),
        ("仕事 メモ",),
    )
    # A date begins at midnight where the user is.
    assert (filters.after, filters.before) == ("2026-10-31T15:00:00Z", "2026-12-31T15:00:00Z")


@pytest.mark.parametrize("text", ["key:value", "http://example.com/x", "tag:", "a:b:c", "10:30"])
def test_what_is_no_filter_is_text(text: str) -> None:
    query = parsed(text)
    assert query.filters == parsed("").filters


@pytest.mark.parametrize("text", ["after:soon", "before:2026-13", "after:2026-02-30", "after:0000"])
def test_a_date_that_is_none_is_named(text: str) -> None:
    with pytest.raises(QueryError, match=text.split(":")[1]):
        parsed(text)


def test_dates_may_be_given_as_values() -> None:
    query = parse_query("", TOKYO, after=date(2026, 1, 2), before="2026/1/3")
    assert (query.filters.after, query.filters.before) == ("2026-01-01T15:00:00Z", "2026-01-02T15:00:00Z")


@given(st.text())
def test_any_text_is_parsed_or_refused_by_name(text: str) -> None:
    try:
        query = parsed(text)
    except QueryError:
        return
    for term in (*query.terms, *query.excluded):
        # Quoted strings of letters and digits, perhaps with a star behind: nothing else of FTS5's syntax.
        inner = term.match.removesuffix(" *")
        assert inner[0] == inner[-1] == '"'
        assert all(character.isalnum() or character == " " for character in inner[1:-1])
