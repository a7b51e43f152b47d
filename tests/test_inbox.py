"""What was accepted is on disk when `accept` returns, is told once, and is there until it is done."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.inbox import Accepted
from tests.keeping_world import at_once
from tests.survival import DATABASE
from tests.vaults import open_base

NOW = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)
FIRST = Accepted(
    id="1100000000000000001",
    kind="note add",
    who="user:42",
    payload={"text": "鍵は\n机の中 🗝", "half": "\ud83d", "tags": ["a"], "deep": {"n": 1.5, "no": None}},
    token="aW50ZXJhY3Rpb24",
    note_id="01a20cad-94b9-7da0-a47a-1627495e3774",
    accepted_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
)
SECOND = replace(FIRST, id="1100000000000000002", payload={}, accepted_at=NOW + timedelta(microseconds=1))


@pytest.fixture
def km(tmp_path: Path) -> KnowledgeManager:
    return open_base(tmp_path / "state")


def test_what_was_accepted_comes_back_as_it_was_the_oldest_first(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        assert km.inbox.accept([SECOND, FIRST]) == [True, True]
    with open_base(tmp_path / "state") as again:
        assert again.inbox.pending() == [FIRST, SECOND]


def test_the_same_interaction_is_accepted_once_also_when_it_is_done(km: KnowledgeManager) -> None:
    with km:
        assert km.inbox.accept([FIRST, FIRST, SECOND]) == [True, False, True]
        km.inbox.done(FIRST.id)
        assert km.inbox.accept([replace(FIRST, payload={"text": "again"})]) == [False]
        assert km.inbox.pending() == [SECOND]


def test_what_is_done_is_forgotten_save_its_id(km: KnowledgeManager, tmp_path: Path) -> None:
    with km:
        km.inbox.accept([replace(FIRST, payload={"text": "secretsaying"}, token="secrettoken"), SECOND])
        km.inbox.done(FIRST.id)
        km.inbox.done(FIRST.id)
        km.inbox.done("never heard of")
        assert km.inbox.pending() == [SECOND]
    everything = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir() if file.is_file())
    assert b"secretsaying" not in everything
    assert b"secrettoken" not in everything
    assert FIRST.id.encode() in everything


def test_a_garbled_row_is_named_in_the_log_and_keeps_no_other_waiting(
    km: KnowledgeManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [replace(FIRST, id=f"bad{number}") for number in range(5)]
    with km:
        km.inbox.accept([*bad, SECOND])
    with apsw.Connection(str(tmp_path / "state" / DATABASE)) as connection:
        for number, payload in enumerate(("'{'", "'[1]'", "CAST(x'ff22' AS TEXT)", f"'{'[' * 100_000}'")):
            connection.execute(f"UPDATE inbox SET payload = {payload} WHERE id = 'bad{number}'")
        connection.execute("UPDATE inbox SET accepted_at = 'then' WHERE id = 'bad4'")
    connection.close()
    with open_base(tmp_path / "state") as again, caplog.at_level(logging.ERROR):
        assert again.inbox.pending() == [SECOND]
        assert again.inbox.accept([FIRST]) == [True]
        again.inbox.done("bad0")
        assert again.inbox.accept(bad[:1]) == [False]
    assert [f"bad{number}" in caplog.text for number in range(5)] == [True] * 5
    assert "机の中" not in caplog.text


def test_only_what_was_done_long_ago_is_pruned(km: KnowledgeManager) -> None:
    with km:
        km.inbox.accept([FIRST, SECOND])
        km.inbox.done(FIRST.id)
        assert km.inbox.prune(datetime.now(UTC) - timedelta(minutes=1)) == 0
        assert km.inbox.prune(datetime.now(UTC) + timedelta(minutes=1)) == 1
        assert km.inbox.accept([FIRST, SECOND]) == [True, False]


def test_an_accepted_interaction_outlives_a_kill(tmp_path: Path) -> None:
    open_base(tmp_path / "state").close()
    assert at_once(tmp_path / "state", ("kill", "77")) == [None]
    with open_base(tmp_path / "state") as km:
        assert [(one.id, one.payload) for one in km.inbox.pending()] == [("77", {"text": "77"})]


def test_of_processes_at_once_one_is_the_first(tmp_path: Path) -> None:
    open_base(tmp_path / "state").close()
    ids = [str(number) for number in range(20)]
    said = at_once(tmp_path / "state", ("accept", *ids), ("accept", *reversed(ids)))
    assert [one + other for one, other in zip(said[0], reversed(said[1]), strict=True)] == [1] * 20
    with open_base(tmp_path / "state") as km:
        assert len(km.inbox.pending()) == 20
