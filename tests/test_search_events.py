"""Search events: what was typed, by whom and what it found; never at the cost of a search."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.catalog import search_events as sql
from nescord.catalog.search_events import SearchEvent
from nescord.errors import QueryError
from nescord.search_events import LONGEST, asked_by
from tests.maintain_world import done, raw
from tests.survival import DATABASE
from tests.vaults import open_base

COLUMNS = "who, spaces, query, mode, hits, degraded"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def km(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KnowledgeManager]:
    # On a busy machine any commit may take as long, and no event is to be missed here.
    monkeypatch.setattr("nescord.catalog.database._SLOW_JOT", 60)
    with open_base(data, vector="exact") as made:
        made.capture("the key lies on the shelf", space="guild:7")
        yield made


def events(data: Path, columns: str = COLUMNS) -> list[tuple[apsw.SQLiteValue, ...]]:
    return raw(data, f"SELECT {columns} FROM search_event ORDER BY id")


def test_a_search_is_remembered_as_it_was_typed_with_what_it_found(km: KnowledgeManager, data: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    km.search("  Key tag:#none ", mode="keyword")
    view = km.scoped({"user:42", "guild:7"})
    with asked_by("user:42"):
        assert len(view.search("key", mode="keyword")) == 1
    view.search("nothing")
    assert [row[:5] for row in events(data)] == [
        ("owner", None, "  Key tag:#none ", "keyword", 0),
        ("user:42", json.dumps(["guild:7", "user:42"]), "key", "keyword", 1),
        ("", json.dumps(["guild:7", "user:42"]), "nothing", "keyword", 0),
    ]
    assert [bool(row[5]) for row in events(data)] == [False, False, True]  # without a model, hybrid is by words only
    for at, milliseconds in events(data, "at, milliseconds"):
        assert before <= datetime.fromisoformat(str(at)) <= datetime.now(UTC)
        assert isinstance(milliseconds, float)
        assert 0 < milliseconds < 60_000


def test_who_asks_goes_along_into_a_thread_and_no_further(km: KnowledgeManager, data: Path) -> None:
    async def of(who: str) -> None:
        with asked_by(who):
            await asyncio.to_thread(km.scoped({who}).search, f"by {who}", mode="keyword")

    async def both() -> None:
        await of("user:1")
        await of("user:2")

    asyncio.run(both())
    km.search("by the owner", mode="keyword")
    assert events(data, "who, query") == [
        ("user:1", "by user:1"),
        ("user:2", "by user:2"),
        ("owner", "by the owner"),
    ]


def test_nothing_is_remembered_where_it_is_switched_off(data: Path) -> None:
    with open_base(data, vector="exact", search_events="off") as km:
        km.search("key")
    assert events(data) == []


def test_what_a_question_is_searched_with_is_not_what_was_typed(km: KnowledgeManager, data: Path) -> None:
    km.answer("where is the key?")
    km.context("where is the key?")
    assert events(data) == []
    km.search("key", mode="keyword")
    assert len(events(data)) == 1


def test_a_search_whose_query_is_refused_is_none(km: KnowledgeManager, data: Path) -> None:
    with pytest.raises(QueryError):
        km.search("key after:nonsense")
    assert events(data) == []


def test_half_a_character_and_a_whole_book_are_no_reason_to_fail(km: KnowledgeManager, data: Path) -> None:
    km.search("half \ud83d", mode="keyword")
    km.search("x" * 100_000, mode="keyword")
    assert events(data, "query") == [("half ?",), ("x" * LONGEST,)]


def test_a_search_does_not_wait_where_another_process_writes(km: KnowledgeManager, data: Path) -> None:
    km.search("key", mode="keyword")
    with closing(apsw.Connection(str(data / DATABASE))) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.perf_counter()
        assert len(km.search("key", mode="keyword")) == 1
        assert time.perf_counter() - begun < 1
        other.execute("ROLLBACK")
    assert len(events(data)) == 1
    km.search("key", mode="keyword")
    assert len(events(data)) == 2


def test_nor_where_a_thread_of_this_process_does(km: KnowledgeManager, data: Path) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with km._base.verb() as catalog, catalog.write():
            held.set()
            release.wait(30)

    writer = threading.Thread(target=hold)
    writer.start()
    try:
        assert held.wait(30)
        begun = time.perf_counter()
        assert len(km.search("key", mode="keyword")) == 1
        assert time.perf_counter() - begun < 1
    finally:
        release.set()
        writer.join()
    assert events(data) == []


def test_a_search_goes_on_where_events_cannot_be_written_at_all(km: KnowledgeManager, data: Path) -> None:
    raw(data, "DROP TABLE search_event")
    assert len(km.search("key", mode="keyword")) == 1


def test_a_disk_that_is_slow_is_left_alone_with_it(
    km: KnowledgeManager, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nescord.catalog.database._SLOW_JOT", 0)
    assert len(km.search("key", mode="keyword")) == 1
    assert len(km.search("key", mode="keyword")) == 1
    assert len(events(data)) == 1


def test_an_event_is_there_after_the_process_has_gone_on_and_a_checkpoint(km: KnowledgeManager, data: Path) -> None:
    km.search("key", mode="keyword")
    km.capture("another")
    with km._base.verb() as catalog:
        assert catalog.checkpoint()
    assert len(events(data)) == 1


def test_only_so_many_are_kept(km: KnowledgeManager, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MOST_EVENTS", 3)
    for number in range(5):
        km.search(str(number), mode="keyword")
    assert [query for (query,) in events(data, "query")] == ["2", "3", "4"]


def test_maintenance_forgets_them_after_the_days_of_the_setting(data: Path) -> None:
    now = datetime(2026, 11, 28, 3, tzinfo=UTC)
    with open_base(data, vector="exact", event_days=10) as km:
        with km._base.verb() as catalog, catalog.write() as connection:
            for days in (9, 10, 11, 12):
                at = (now - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
                sql.note(connection, SearchEvent(at, "owner", None, str(days), "keyword", 0, 1.0, ()))
        step = done(km, now, dry_run=True)["search events"]
        assert (step.before, step.after) == (4, 2)
        assert len(events(data)) == 4
        step = done(km, now)["search events"]
        assert (step.before, step.after) == (4, 2)
    assert [query for (query,) in events(data, "query")] == ["9", "10"]


def test_maintenance_forgets_conversations_days_and_interactions_that_are_over(data: Path) -> None:
    now = datetime(2026, 11, 28, 3, tzinfo=UTC)
    with open_base(data, vector="exact") as km:
        conversation = "'user:42', '[]', 0, '', '', '[]', '', NULL"
        inbox = "'note', 'user:42', '', '', '', '2026-11-01T00:00:00Z', '2026-11-01T00:15:00Z'"
        raw(
            data,
            f"INSERT INTO conversation VALUES ('old', '2026-10-29T02:59:59Z', {conversation}), "
            f"('new', '2026-10-29T03:00:00Z', {conversation})",
            "INSERT INTO quota_use VALUES ('user:42', '2026-11-20', 'notes', 1), ('user:42', '2026-11-21', 'notes', 1)",
            f"INSERT INTO inbox VALUES ('done', {inbox}, '2026-11-26T02:59:59Z'), "
            f"('fresh', {inbox}, '2026-11-26T03:00:00Z'), ('open', {inbox}, NULL)",
        )
        dry = done(km, now, dry_run=True)
        real = done(km, now)
        for name in ("conversations", "quotas", "interactions"):
            assert (dry[name].before, dry[name].after) == (real[name].before, real[name].after) == (2, 1)
    assert raw(data, "SELECT id FROM conversation", "SELECT day FROM quota_use") == [("new",), ("2026-11-21",)]
    assert raw(data, "SELECT id FROM inbox ORDER BY id") == [("fresh",), ("open",)]
