"""`/flow`: the real Prefect server and the served flows, started from Discord."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_world import ask, served_by

from flows.server import PrefectServer
from tests.command_world import BotWorld, bot_world, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_only_managers_run_flows(world: BotWorld) -> None:
    with world.bot():
        for person, guild in ((world.ada, world.home), (world.mia, None), (world.ben, None)):
            refused = world.answer(person, "flow run", guild, flow="verify")
            assert refused.is_ephemeral
            assert said(person, "frame.managers_only") in refused.text
            assert said(person, "frame.managers_only") in world.answer(person, "flow status", guild).text


def test_without_a_server_it_says_so(world: BotWorld) -> None:
    with world.bot():
        assert said(world.mia, "flow.no_server") in world.answer(world.mia, "flow run", world.home, flow="verify").text
        assert said(world.mia, "flow.no_server") in world.answer(world.mia, "flow status", world.home).text


def test_a_restore_and_what_there_is_not_cannot_be_run(world: BotWorld) -> None:
    with world.bot():
        for flow in ("restore", "ingest; rm -rf", "nonsense"):
            refused = world.answer(world.owner, "flow run", flow=flow)
            assert "verify" in refused.text
            assert said(world.owner, "flow.no_server") not in refused.text
        refused = world.answer(world.owner, "flow run", flow="backup", deep=True)
        assert said(world.owner, "flow.no_parameter", name="deep", flow="backup") in refused.text
        choices = world.fake.autocomplete(world.owner, "flow run", {"flow": "ver"}, focused="flow")
        assert [choice["value"] for choice in choices] == ["verify"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server, and a process that serves the toy and runs it."""
    with served_by("bot_flow_serve.py", tmp_path_factory.mktemp("served"), deployments=1) as server:
        yield server


def reach(server: PrefectServer) -> dict[str, object]:
    """The settings that lead there."""
    return {
        "prefect_api_url": server.env["PREFECT_API_URL"],
        "prefect_api_auth_string": server.env["PREFECT_API_AUTH_STRING"],
    }


@pytest.mark.slow
def test_a_run_is_started_once_and_followed_to_its_end(world: BotWorld, served: PrefectServer) -> None:
    with world.bot(**reach(served)):
        call = world.fake.slash(world.mia, "flow run", {"flow": "verify"}, guild=world.home)
        running = call.wait(timeout=60, until=said(world.mia, "flow.running"))
        assert running.is_ephemeral
        done = call.wait(timeout=90, until=said(world.mia, "flow.completed"))
        assert done.id == running.id  # one message, edited
        assert "**verify**" in done.text
        assert len(ask(served, "POST", "/flow_runs/filter", {})) == 1
        status = world.answer(world.mia, "flow status", world.home)
        assert said(world.mia, "flow.latest") in status.text
        assert "**verify**" in status.text
        assert said(world.mia, "flow.completed") in status.text


@pytest.mark.slow
def test_a_run_that_fails_is_shown_as_failed_in_japanese_too(world: BotWorld, served: PrefectServer) -> None:
    with world.bot(**reach(served)):
        world.answer(world.owner, "settings", language="ja")
        call = world.fake.slash(world.owner, "flow run", {"flow": "verify", "deep": True})
        failed = call.wait(timeout=120, until="失敗")
        assert "nescord flows logs" in failed.text


@pytest.mark.slow
def test_the_next_process_follows_the_run_that_this_one_has_started(world: BotWorld, served: PrefectServer) -> None:
    before = len(ask(served, "POST", "/flow_runs/filter", {}))
    with world.bot(**reach(served)):
        call = world.fake.slash(world.mia, "flow run", {"flow": "verify"}, guild=world.home)
        call.wait(timeout=60, until=said(world.mia, "flow.running"))
    with world.bot(**reach(served)):
        call.wait(timeout=90, until=said(world.mia, "flow.completed"))
    assert len(ask(served, "POST", "/flow_runs/filter", {})) == before + 1


@pytest.mark.slow
def test_a_flow_that_is_not_served_is_said_to_be_so(world: BotWorld, served: PrefectServer) -> None:
    with world.bot(**reach(served)):
        refused = world.answer(world.mia, "flow run", world.home, flow="drill")
        assert said(world.mia, "flow.not_served") in refused.text
