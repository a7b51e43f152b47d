"""The bot as a service of `nescord up`: started with a token, kept alive, told of on the page, and what ends it."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flow_world import processes_naming, wait_for
from services_world import Running, prefect_elsewhere, running
from web_world import HTTP, TOKEN, Supervised, service, serving

from nescord import bot_state, service_state
from nescord.bot_state import BotState, Gateway
from nescord.home import DataFolder, boot_id
from nescord.locks import LockName, Locks
from nescord.service_state import ServiceState
from nescord.services import Services
from nescord.settings import Settings
from tests.fakes.discord import DiscordFake
from tests.vaults import open_base

WORKER = str(Path(__file__).with_name("up_worker.py"))


@pytest.fixture(scope="module")
def prefect() -> Iterator[str]:
    with prefect_elsewhere() as url:
        yield url


@pytest.fixture
def discord() -> Iterator[DiscordFake]:
    with DiscordFake(heartbeat_ms=500) as fake:
        yield fake


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_VECTOR", "exact")
    monkeypatch.setenv("PORT", "0")


def up(data: Path, prefect: str, discord: DiscordFake, **more: str) -> AbstractContextManager[Running]:
    """`nescord up` with the real bot and the real page, without Prefect."""
    ours = {
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_BASE": discord.api_base,
        "DISCORD_GATEWAY": discord.gateway,
        "NESCORD_TEST_WEB": "nescord.web",
    }
    return running(data, [WORKER, str(data)], PREFECT_API_URL=prefect, **ours, **more)


def bot_of(data: Path) -> ServiceState:
    state = service_state.read(DataFolder.at(Settings(data_dir=data)))
    assert state is not None
    return next(each for each in state.services if each.name == "bot")


def ask(started: Running, path: str) -> tuple[int, str]:
    port = int((started.addresses["http_url"] or "").rpartition(":")[2])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8")


def part(started: Running, name: str) -> dict[str, Any]:
    return next(each for each in json.loads(ask(started, "/readyz")[1])["parts"] if each["name"] == name)


def test_with_a_token_the_bot_is_started_and_its_connection_is_told(
    tmp_path: Path, prefect: str, discord: DiscordFake
) -> None:
    data = tmp_path / "data"
    with up(data, prefect, discord) as started:
        started.hears("all services are ready")
        discord.wait_ready()
        assert "no bot" not in started.said
        assert (bot_of(data).state, bot_of(data).is_required) == ("ready", True)
        wait_for("the connection", lambda: part(started, "discord")["state"] == "ready")
        assert ask(started, "/healthz") == (200, "ok\n")
        wait_for("an answered heartbeat", lambda: part(started, "discord").get("last_ack"))
        assert part(started, "discord")["required"] is False
        assert "bot| INFO bot.run: logged in" in started.said
        assert discord.token not in started.said + (data / "run" / "logs" / "bot.log").read_text()
        assert started.stop() == 0
    assert discord.client_closes[-1] == 1000
    assert not processes_naming(str(data))


def test_an_outage_of_discord_ends_nothing(tmp_path: Path, prefect: str, discord: DiscordFake) -> None:
    discord.refuse_handshakes(1000)
    with up(tmp_path / "data", prefect, discord) as started:
        started.hears("all services are ready")
        assert ask(started, "/healthz")[0] == 200
        found = part(started, "discord")
        assert (found["state"], found["reason"]) == ("starting", "Discord's gateway cannot be reached")
        assert "Connection to Discord" in ask(started, "/?lang=en")[1]
        assert "Discord のゲートウェイに接続できません" in ask(started, "/?lang=ja")[1]
        discord.heal()
        discord.wait_ready(60)
        wait_for("the connection", lambda: part(started, "discord")["state"] == "ready")
        assert started.stop() == 0


def test_a_refused_token_is_told_by_healthz_and_ends_nothing(
    tmp_path: Path, prefect: str, discord: DiscordFake
) -> None:
    discord.refuse_token()
    data = tmp_path / "data"
    with up(data, prefect, discord) as started:
        started.hears("bot: degraded: ended with exit code 77, which a person must mend: ERROR bot.run: DISCORD_TOKEN")
        started.hears("not ready yet: bot")
        assert bot_of(data).state == "degraded"
        assert "Reset Token" in bot_of(data).reason
        assert ask(started, "/healthz") == (503, "bot is not ready\n")
        assert part(started, "bot")["reason"] == "ended with exit code 77, which a person must mend"
        assert part(started, "serve")["state"] == "ready"
        assert len(discord.requests_of("GET /users/@me")) == 1, "tried again after the rest only"
        assert started.stop() == 0


def test_a_killed_bot_is_started_again_and_an_orphan_ends_with_its_parent(
    tmp_path: Path, prefect: str, discord: DiscordFake
) -> None:
    data = tmp_path / "data"
    with up(data, prefect, discord) as started:
        started.hears("bot: ready")
        discord.wait_ready()
        before = discord.connections
        os.kill(bot_of(data).pid or 0, signal.SIGKILL)
        started.hears("bot: was killed by SIGKILL")
        started.hears("bot: ready", 2)
        discord.wait_ready(after=before)
        started.stop(signal.SIGKILL)
        wait_for("the end of everything", lambda: not processes_naming(str(data)))
    assert discord.close_code() == 1000, "also without a parent it ends in order"


def test_services_has_no_bot(tmp_path: Path) -> None:
    open_base(tmp_path / "kb").close()
    settings = Settings(data_dir=tmp_path / "kb", discord_token="not.used")
    services = Services(settings, DataFolder.find(settings))
    with closing(services):
        assert "bot" not in [each.name for each in services.all()]


@pytest.mark.parametrize(
    ("gateway", "state", "english", "japanese"),
    [
        ("ready", "ready", "connected", "接続済み"),
        ("connecting", "starting", "connecting", "接続しています"),
        ("resuming", "pausing", "reconnecting", "再接続しています"),
        ("closed", "stopped", "not connected", "未接続"),
    ],
)
def test_the_page_tells_how_the_bot_is_connected(
    tmp_path: Path, gateway: Gateway, state: str, english: str, japanese: str
) -> None:
    open_base(tmp_path / "kb").close()
    word = Supervised(tmp_path / "kb")
    said = BotState(boot_id(), os.getpid(), gateway, "2026-11-28T01:02:03Z", "2026-11-28T02:03:04Z", 87)
    with word.running(), serving(tmp_path / "kb", NESCORD_STATUS_TOKEN=TOKEN) as web:
        bot_state.write(word.folder.run, said)
        word.says(HTTP, service("bot", required=True, pid=os.getpid()))
        wait_for("the database", lambda: web.ask("/healthz").status == 200)
        found = next(each for each in web.ask("/readyz").document["parts"] if each["name"] == "discord")
        assert (found["state"], found["required"], found["last_ack"]) == (state, False, said.last_ack)
        assert english in web.ask("/?lang=en").body
        assert "last heartbeat answered 11-28 11:03" in web.ask("/?lang=en").body
        assert japanese in web.ask("/?lang=ja").body
        metrics = web.ask_with_token("/metrics").body
        assert f"nescord_discord_up {float(gateway == 'ready')}" in metrics
        assert "nescord_discord_latency_seconds 0.087" in metrics
        # What another process has left behind says nothing about this one.
        bot_state.write(word.folder.run, replace(said, pid=1))
        found = next(each for each in web.ask("/readyz").document["parts"] if each["name"] == "discord")
        assert (found["state"], found["reason"]) == ("stopped", "the bot does not run")
        assert "nescord_discord_up" not in web.ask_with_token("/metrics").body


def test_what_a_person_must_mend_is_told_in_full_to_the_owner_only(tmp_path: Path) -> None:
    open_base(tmp_path / "kb").close()
    word = Supervised(tmp_path / "kb")
    reason = "ended with exit code 77, which a person must mend: ERROR DISCORD_TOKEN is refused: copy the new one"
    with word.running(), serving(tmp_path / "kb", NESCORD_STATUS_TOKEN=TOKEN) as web:
        word.says(HTTP, service("bot", "degraded", required=True, reason=reason))
        assert "copy the new one" not in web.ask("/?lang=en").body + web.ask("/readyz").body
        assert "copy the new one" in web.ask_with_token("/?lang=en").body
        assert "設定の修正が必要です（終了コード 77）" in web.ask("/?lang=ja").body


def test_a_restore_while_the_bot_runs_ends_nothing(tmp_path: Path, prefect: str, discord: DiscordFake) -> None:
    data = tmp_path / "data"
    with up(data, prefect, discord, NESCORD_LOCK_TIMEOUT="0.2") as started:
        started.hears("bot: ready")
        with Locks(data / "run", timeout=5).exclusive(LockName.CATALOG):
            os.kill(bot_of(data).pid or 0, signal.SIGKILL)
            started.hears("the knowledge base cannot be opened: LockTimeoutError")
            started.hears("bot: ready", 2)
            found = part(started, "discord")
            assert (found["state"], found["reason"]) == ("starting", "the knowledge base cannot be opened")
        wait_for("the connection", lambda: part(started, "discord")["state"] == "ready")
        assert started.stop() == 0
