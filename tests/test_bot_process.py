"""The bot as a process at a Discord on the loopback: every start and every ending, outages, refusals, what it loads."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from flow_world import wait_for

from nescord import bot_state
from nescord.bot_state import BotState
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.settings import Settings
from tests.fakes.discord import DiscordFake

TESTS = Path(__file__).parent
RUN = ("-m", "nescord.cli", "bot", "run")
SYNC = (sys.executable, "-m", "nescord.cli", "bot", "sync")
REGISTER = "PUT /applications/{application_id}/commands"
# Measured: 75 MB on an empty knowledge base.
MOST_MEMORY = 110e6


@pytest.fixture
def discord() -> Iterator[DiscordFake]:
    with DiscordFake(heartbeat_ms=500) as fake:
        yield fake


class Bot:
    """The process, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], data: Path, output: Path) -> None:
        self.process = process
        self.data = data
        self._output = output

    @property
    def said(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def last_line(self) -> str:
        return self.said.strip().splitlines()[-1]

    @property
    def told(self) -> BotState:
        state = bot_state.of_process(self.data / "run", self.process.pid)
        assert state is not None
        return state

    def hears(self, text: str, seconds: float = 30) -> None:
        wait_for(f"{text!r} in\n{self.said}", lambda: text in self.said or self.process.poll() is not None, seconds)
        assert text in self.said, self.said

    def ends_with(self, code: int, seconds: float = 30) -> None:
        assert self.process.wait(seconds) == code, self.said

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.ends_with(0, 15)


@contextmanager
def bot(folder: Path, fake: DiscordFake, command: Sequence[str] = RUN, **more: str) -> Iterator[Bot]:
    """`nescord bot run`; killed at the end if it still runs."""
    output = folder / "said"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, *command], stdout=file, stderr=file, env=environment(folder, fake, **more)
        ) as process,
    ):
        try:
            yield Bot(process, folder / "kb", output)
        finally:
            process.kill()


def environment(folder: Path, fake: DiscordFake, **more: str) -> dict[str, str]:
    ours = {
        "NESCORD_DATA_DIR": str(folder / "kb"),
        "DISCORD_TOKEN": fake.token,
        "DISCORD_API_BASE": fake.api_base,
        "DISCORD_GATEWAY": fake.gateway,
    }
    return {**os.environ, **ours, **more}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_comes_online_with_nothing_but_a_token_and_leaves_in_order(
    tmp_path: Path, discord: DiscordFake, number: signal.Signals
) -> None:
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        begun = time.monotonic()
        started.stop(number)
        assert time.monotonic() - begun < 5
        assert started.last_line.endswith("INFO bot.run: stopped")
    assert discord.close_code() == 1000, "4000 would look online for minutes"
    assert discord.gateway_side.identifies[0]["intents"] == 1, "guilds, and nothing else"
    discord.check()


def test_a_token_that_is_refused_ends_it_and_is_told_with_the_mend(tmp_path: Path, discord: DiscordFake) -> None:
    discord.refuse_token()
    with bot(tmp_path, discord) as started:
        started.ends_with(77)
        assert "ERROR bot.run: DISCORD_TOKEN is refused by Discord" in started.last_line
        assert "Reset Token" in started.last_line
        assert "Traceback" not in started.said
        assert discord.token not in started.said
    assert len(discord.requests_of("GET /users/@me")) == 1, "once is enough: Discord blocks who goes on asking"


@pytest.mark.parametrize(
    ("close", "code", "words"),
    [
        (4004, 77, "DISCORD_TOKEN is refused"),
        (4014, 78, "refuses the intents of the bot (close code 4014)"),
        (4013, 78, "refuses the bot (close code 4013)"),
        (4012, 78, "install a newer one"),
    ],
)
def test_what_the_gateway_refuses_for_good_ends_it(
    tmp_path: Path, discord: DiscordFake, close: int, code: int, words: str
) -> None:
    discord.refuse_identify(close)
    with bot(tmp_path, discord) as started:
        started.ends_with(code)
        assert words in started.last_line
        assert "Traceback" not in started.said


def test_a_token_that_is_reset_meanwhile_ends_it(tmp_path: Path, discord: DiscordFake) -> None:
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        discord.refuse_token()
        discord.drop_socket()
        started.ends_with(77)
        assert "DISCORD_TOKEN is refused" in started.last_line


def test_a_gateway_that_is_away_at_first_is_waited_for(tmp_path: Path, discord: DiscordFake) -> None:
    discord.refuse_handshakes(2)
    with bot(tmp_path, discord) as started:
        discord.wait_ready(30)
        assert started.said.count("WARNING bot.patience: Discord's gateway cannot be reached: ") == 2
        assert "Traceback" not in started.said
        wait_for("the file", lambda: started.told.gateway == "ready")
        assert started.told.reason == ""
        started.stop()
    assert discord.close_code() == 1000


def test_discord_that_is_away_at_first_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    later = DiscordFake(port=port)
    away = {"DISCORD_API_BASE": f"http://127.0.0.1:{port}/api/v10", "DISCORD_GATEWAY": f"ws://127.0.0.1:{port}/gateway"}
    with DiscordFake() as other, bot(tmp_path, other, **away) as started:
        started.hears("Discord cannot be reached: ClientConnectorError")
        assert (started.told.gateway, started.told.reason) == ("connecting", "Discord cannot be reached")
        with later as discord:
            discord.wait_ready(30)
            assert (discord.api_base, discord.gateway) == tuple(away.values())
            assert "Traceback" not in started.said
            assert "Unclosed" not in started.said
            started.stop()
            assert discord.close_code() == 1000


def test_an_api_that_fails_at_first_is_asked_again(tmp_path: Path, discord: DiscordFake) -> None:
    discord.fail("GET /users/@me", 1, status=503)
    discord.fail("GET /oauth2/applications/@me", 1, status=503)
    with bot(tmp_path, discord) as started:
        discord.wait_ready(30)
        assert started.said.count("Discord cannot be reached: DiscordServerError") == 2
        started.stop()


def test_it_can_be_stopped_while_discord_is_away(tmp_path: Path, discord: DiscordFake) -> None:
    discord.refuse_handshakes(100)
    with bot(tmp_path, discord) as started:
        started.hears("Discord's gateway cannot be reached")
        begun = time.monotonic()
        started.stop()
        assert time.monotonic() - begun < 5


def test_a_torn_connection_is_resumed_and_told(tmp_path: Path, discord: DiscordFake) -> None:
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        discord.refuse_handshakes(1)
        before = discord.connections
        discord.drop_socket()
        wait_for("the word of it", lambda: started.told.gateway == "resuming")
        discord.wait_ready(30, after=before)
        wait_for("the word of it", lambda: started.told.gateway == "ready")
        assert len(discord.gateway_side.resumes) == 1
        assert "Traceback" not in started.said
        started.stop()
    assert discord.client_closes[-1] == 1000


@pytest.mark.parametrize("way", ["op7", "op9"])
def test_what_discord_asks_for_is_done(tmp_path: Path, discord: DiscordFake, way: str) -> None:
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        before = discord.connections
        getattr(discord, way)()
        discord.wait_ready(30, after=before)
        side = discord.gateway_side
        assert (len(side.identifies), len(side.resumes)) == ((1, 1) if way == "op7" else (2, 0))
        started.stop()
    assert discord.client_closes[-1] == 1000


def test_its_state_is_written_down_as_long_as_it_lives(tmp_path: Path, discord: DiscordFake) -> None:
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        wait_for("an answered heartbeat", lambda: started.told.last_ack)
        state = started.told
        assert (state.gateway, state.pid, state.is_old) == ("ready", started.process.pid, False)
        assert state.latency is not None
        assert 0 <= state.latency < 1000
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state.last_ack)
        assert (started.data / "run" / "bot.json").stat().st_mode & 0o777 == 0o600
        started.stop()
    left = bot_state.read(tmp_path / "kb" / "run")
    assert left is not None
    assert left.gateway == "closed"


def test_it_loads_nothing_of_prefect_or_notebooks_and_stays_small(tmp_path: Path, discord: DiscordFake) -> None:
    seen = tmp_path / "seen.json"
    with bot(tmp_path, discord, [str(TESTS / "bot_worker.py"), str(seen), "run"]) as started:
        discord.wait_ready()
        started.process.send_signal(signal.SIGUSR1)
        wait_for("the list", seen.exists)
        loaded = {name.partition(".")[0] for name in json.loads(seen.read_text())}
        assert "discord" in loaded
        strange = {
            "prefect",
            "IPython",
            "ipykernel",
            "jupytext",
            "papermill",
            "matplotlib",
            "pandas",
            "duckdb",
            "tests",
        }
        strange |= {"flows", "chromadb", "numpy"}
        assert not loaded & strange
        pages = int(Path(f"/proc/{started.process.pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGE_SIZE") < MOST_MEMORY
        started.stop()


def test_two_bots_of_a_data_folder_are_one_too_many(tmp_path: Path, discord: DiscordFake) -> None:
    (tmp_path / "second").mkdir()
    with bot(tmp_path, discord) as first:
        discord.wait_ready()
        same = {"NESCORD_DATA_DIR": str(first.data), "NESCORD_LOCK_TIMEOUT": "0.3"}
        with bot(tmp_path / "second", discord, **same) as second:
            second.ends_with(69)
            assert f"runs already: pid {first.process.pid}" in second.last_line
        assert discord.connections == 1
        first.stop()


def test_without_a_token_it_says_where_to_get_one(tmp_path: Path, discord: DiscordFake) -> None:
    with bot(tmp_path, discord, DISCORD_TOKEN="") as started:
        started.ends_with(2)
        assert "DISCORD_TOKEN is not set: copy the token that https://discord.com/developers" in started.last_line


def test_a_knowledge_base_that_is_busy_is_waited_for(tmp_path: Path, discord: DiscordFake) -> None:
    with bot(tmp_path, discord) as began:
        discord.wait_ready()
        began.stop()
    before = discord.connections
    locks = Locks(DataFolder.at(Settings(data_dir=tmp_path / "kb")).run, timeout=5)
    with bot_while_locked(tmp_path, discord, locks) as started:
        discord.wait_ready(30, after=before)
        started.stop()


@contextmanager
def bot_while_locked(folder: Path, fake: DiscordFake, locks: Locks) -> Iterator[Bot]:
    """The bot, begun while a restore has the database."""
    with locks.exclusive(LockName.CATALOG):
        context = bot(folder, fake, NESCORD_LOCK_TIMEOUT="0.2")
        started = context.__enter__()
        started.hears("the knowledge base cannot be opened: LockTimeoutError")
        assert started.told.reason == "the knowledge base cannot be opened"
    try:
        yield started
    finally:
        context.__exit__(None, None, None)


def test_discord_is_told_of_the_commands_once(tmp_path: Path, discord: DiscordFake) -> None:
    for _ in range(2):
        before = discord.connections
        with bot(tmp_path, discord) as started:
            discord.wait_ready(after=before)
            started.stop()
    assert len(discord.requests_of(REGISTER)) == 1


def test_commands_that_cannot_be_told_do_not_keep_it_offline(tmp_path: Path, discord: DiscordFake) -> None:
    discord.fail(REGISTER, 20, status=503)
    with bot(tmp_path, discord) as started:
        discord.wait_ready(40)
        assert "Discord could not be told of the commands: DiscordServerError" in started.said
        discord.heal()
        started.hears("registered", 40)
        started.stop()


def test_commands_are_told_without_a_gateway(tmp_path: Path, discord: DiscordFake) -> None:
    with bot(tmp_path, discord) as began:
        discord.wait_ready()
        began.stop()
    before = len(discord.requests_of(REGISTER))

    def sync(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SYNC, *words], env=environment(tmp_path, discord), capture_output=True, text=True, timeout=60
        )

    same = sync("--json")
    assert (same.returncode, json.loads(same.stdout)["changed"]) == (0, False), same.stderr
    forced = sync("--force", "--json")
    assert (forced.returncode, json.loads(forced.stdout)["changed"]) == (0, True)
    assert len(discord.requests_of(REGISTER)) == before + 1
    assert "nothing to change" in sync().stdout
    discord.fail(REGISTER, 20, status=503)
    away = sync("--force")
    assert away.returncode == 69
    assert "nescord: Discord was not told of the commands: DiscordServerError" in away.stderr
    discord.refuse_token()
    assert sync().returncode == 77
    assert discord.connections == 1, "nothing but the bot itself has been at the gateway"


def test_commands_of_no_knowledge_base_are_not_told(tmp_path: Path, discord: DiscordFake) -> None:
    done = subprocess.run(SYNC, env=environment(tmp_path, discord), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no knowledge base at" in done.stderr
    assert not (tmp_path / "kb").exists()


def test_what_is_under_way_is_answered_before_it_leaves(tmp_path: Path, discord: DiscordFake) -> None:
    ada = discord.user(42, "ada")
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        discord.wait_synced()
        discord.hold("PATCH /webhooks", 1.5)
        call = discord.slash(ada, "search", {"query": "kettle"})
        discord.wait_until(lambda: discord.faults.struck["hold"], 10, "the answer to be under way")
        started.stop()
        assert call.wait(1)
    assert discord.close_code() == 1000
    discord.check()


def test_the_log_names_no_interaction_by_its_token(tmp_path: Path, discord: DiscordFake) -> None:
    ada = discord.user(42, "ada")
    with bot(tmp_path, discord) as started:
        discord.wait_ready()
        discord.wait_synced()
        discord.rate_limit("PATCH /webhooks", 1, retry_after=0.2)
        call = discord.slash(ada, "search", {"query": "a private kettle"})
        assert call.wait()
        started.hears("is rate limited. Retrying in 0.20 seconds")
        assert call.token not in started.said
        assert "kettle" not in started.said
        started.stop()
