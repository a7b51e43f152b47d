"""The flow `digest` at a real server: it sends what is due once, says what was refused, and costs nothing without."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flow_world import artifacts_of, called, runs_of, tasks_of, wait_for

from flows.server import PrefectServer, prefect_server
from nescord import KnowledgeManager
from nescord.backup import erasures
from tests.fakes.discord import DiscordFake
from tests.vaults import open_base

pytestmark = pytest.mark.slow
ADA, EVE = "user:4200000000000000001", "user:4400000000000000004"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def discord() -> Iterator[DiscordFake]:
    with DiscordFake() as running:
        running.user(int(ADA.removeprefix("user:")), "ada", locale="ja")
        running.user(int(EVE.removeprefix("user:")), "eve", accepts_messages=False)
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A knowledge base with a note of each, written before the hour in which they want a digest."""
    with open_base(tmp_path / "data", vector="exact") as km:
        for who in (ADA, EVE):
            km.scoped({who}).add_note("- [ ] 鍵を返す", title="鍵", space=who, author=who)
            _subscribed(km, who)
    return tmp_path / "data"


def test_a_run_sends_what_is_due_and_the_next_one_has_nothing_to_do(
    server: PrefectServer, data: Path, discord: DiscordFake
) -> None:
    call = ("digest", {"data_dir": str(data)})
    assert [state["type"] for state in called(server, call, call, settings=_with(discord))] == ["COMPLETED"] * 2
    (message,) = discord.direct_messages(discord.world.users[int(ADA.removeprefix("user:"))])
    assert "鍵を返す" in message.content
    assert len(discord.requests_of("POST /channels")) == 2  # of which one was refused
    first, second = runs_of(server, data)
    (table,) = artifacts_of(server, first).values()
    assert [row["digest"] for row in table["data"]] == ["`a direct message: Discord refused it (403, code 50007)`"]
    wait_for("the record of the task", lambda: "send" in tasks_of(server, first))
    assert not tasks_of(server, second)
    assert not artifacts_of(server, second)
    discord.check(allow={"refused"})


def test_without_a_token_or_a_knowledge_base_it_is_said(
    server: PrefectServer, data: Path, discord: DiscordFake
) -> None:
    nowhere = data.parent / "nowhere"
    calls = [("digest", {"data_dir": str(folder)}) for folder in (data, nowhere)]
    state, none = called(server, *calls, settings={"DISCORD_API_BASE": discord.api_base})
    assert state["type"] == "COMPLETED", state
    assert (none["type"], "no knowledge base" in none["message"]) == ("FAILED", True)
    assert discord.requests == []


def test_a_refused_token_fails_the_run_and_is_asked_with_once(
    server: PrefectServer, data: Path, discord: DiscordFake
) -> None:
    discord.refuse_token()
    (state,) = called(server, ("digest", {"data_dir": str(data)}), settings=_with(discord))
    assert state["type"] == "FAILED"
    assert "set DISCORD_TOKEN" in state["message"]
    assert discord.token not in state["message"]
    assert len(discord.requests) == 1


def test_an_erasure_that_was_cut_short_comes_to_its_end(server: PrefectServer, data: Path) -> None:
    before = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    erasures.remember_person(data / "backups", EVE, before)
    (state,) = called(server, ("digest", {"data_dir": str(data)}))
    assert state["type"] == "COMPLETED", state
    assert not erasures.unfinished_people(data / "backups")
    with open_base(data, vector="exact") as km:
        assert not any(km.privacy(EVE).summary().counts.values())
        assert km.privacy(ADA).summary().counts["notes"] == 1


def _with(discord: DiscordFake) -> dict[str, str]:
    return {"DISCORD_API_BASE": discord.api_base, "DISCORD_TOKEN": discord.token}


def _subscribed(km: KnowledgeManager, who: str) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    km.digests.subscribe(who, who=who, language="ja", hour=0, timezone="UTC", now=yesterday)
