"""What the bot tells of itself: its state for the status page, its pulse for the supervisor, a log without secrets."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_world import wait_for

from bot import health, log
from bot.health import Health
from bot.patience import described, patiently
from nescord import bot_state
from nescord.bot_state import BotState
from nescord.errors import LockTimeoutError, UsageError
from nescord.home import boot_id
from nescord.pulse import Pulse
from nescord.redaction import Redactor

TOKEN = "MTE.secret-of-the-bot"


def _told(run: Path) -> BotState:
    """What the file says; nothing at all is as good as an old state."""
    return bot_state.read(run) or BotState("", 0, "closed", "", reason="none")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the log of the bot says, at the level DEBUG."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    # Loggers outlive this test, and a later one may look at what they say.
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, log.QUIETED))}
    stream = io.StringIO()
    log.begin(Redactor([TOKEN]), with_time=False, level=logging.DEBUG, stream=stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for logger, level in levels.items():
        logger.setLevel(level)


def test_the_log_holds_no_token_of_the_bot_of_an_interaction_or_of_a_webhook(logged: io.StringIO) -> None:
    ours = logging.getLogger("bot.x")
    base = "https://discord.com/api/v10"
    ours.warning("token %s", TOKEN)
    ours.warning("POST %s/interactions/123/aW50ZXJhY3Rpb246MTIz/callback", base)
    ours.warning("PATCH %s/webhooks/123/aW50ZXJhY3Rpb246MTIz/messages/@original", base)
    ours.warning("http://127.0.0.1:1/webhooks/123/aW50ZXJhY3Rpb246MTIz?wait=true")
    try:
        raise ValueError(f"Bot {TOKEN}")
    except ValueError:
        ours.exception("failed")
    said = logged.getvalue()
    assert TOKEN not in said
    assert "aW50ZXJhY3Rpb246MTIz" not in said
    assert "/interactions/123/***/callback" in said
    assert "/webhooks/123/***/messages/@original" in said
    assert "ValueError: Bot ***" in said


def test_discord_py_says_nothing_at_debug_where_everything_else_does(logged: io.StringIO) -> None:
    logging.getLogger("bot.x").debug("ours")
    for name in ("discord.http", "discord.gateway", "discord.state", "httpx", "aiohttp.client"):
        logging.getLogger(name).debug("what somebody wrote")
    logging.getLogger("httpx").info("GET https://example.com/token")
    assert logged.getvalue() == "DEBUG bot.x: ours\n"


def test_an_outage_is_told_in_one_line(logged: io.StringIO) -> None:
    try:
        raise OSError("no route")
    except OSError:
        logging.getLogger("discord.client").exception("Attempting a reconnect in %.2fs", 1.5)
    assert logged.getvalue() == "WARNING discord.client: Attempting a reconnect in 1.50s: OSError: no route\n"


def test_the_pulse_is_felt_only_when_it_is_known_that_discord_does_not_refuse_us(tmp_path: Path) -> None:
    async def live() -> None:
        pulse = Pulse()
        one = Health(tmp_path, pulse.writing)
        beating = asyncio.create_task(one.keep_beating())
        await asyncio.sleep(0.05)
        assert not await pulse.is_felt()
        one.enter("ready")
        assert await pulse.is_felt()
        beating.cancel()
        one.close()
        pulse.hand_over()
        pulse.close()

    asyncio.run(live())


def test_an_outage_of_discord_is_no_lack_of_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_BEAT", 0.01)
    monkeypatch.setattr(health, "_SETTLED", 0.1)

    async def live() -> None:
        pulse = Pulse()
        one = Health(tmp_path, pulse.writing)
        beating = asyncio.create_task(one.keep_beating())
        await asyncio.sleep(0.5)
        assert await pulse.is_felt()
        beating.cancel()
        one.close()
        pulse.hand_over()
        pulse.close()

    asyncio.run(live())


def test_each_change_is_written_down_with_its_time_and_reason(tmp_path: Path) -> None:
    one = Health(tmp_path)
    one.enter("connecting", "Discord cannot be reached")
    wait_for("the file", lambda: _told(tmp_path).reason == "Discord cannot be reached")
    one.enter("ready")
    wait_for("the file", lambda: _told(tmp_path).gateway == "ready")
    assert _told(tmp_path).reason == ""
    one.close()
    assert _told(tmp_path).gateway == "closed"


def test_a_state_counts_for_the_process_that_told_it_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot_state.write(tmp_path, BotState(boot_id(), os.getpid(), "ready", "2026-11-28T01:02:03Z"))
    assert bot_state.of_process(tmp_path, os.getpid()) is not None
    assert bot_state.of_process(tmp_path, os.getpid() + 1) is None
    assert bot_state.of_process(tmp_path, None) is None
    monkeypatch.setattr(bot_state, "_OLD", -1.0)
    assert bot_state.of_process(tmp_path, os.getpid()) is None
    monkeypatch.undo()
    bot_state.write(tmp_path, BotState("another boot", os.getpid(), "ready", "2026-11-28T01:02:03Z"))
    assert bot_state.of_process(tmp_path, os.getpid()) is None
    (tmp_path / "bot.json").write_text('{"gateway": "odd"}')
    assert bot_state.read(tmp_path) is None


def test_what_may_pass_is_tried_again_and_a_usage_error_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.patience._FIRST", 0.01)
    outcomes: list[Exception | str] = [LockTimeoutError("held"), LockTimeoutError("held"), "done"]

    async def work() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    one = Health(tmp_path, is_told=False)
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(patiently("it fails", work, (LockTimeoutError,), one)) == "done"
    assert [record.message.partition(";")[0] for record in caplog.records] == ["it fails: LockTimeoutError: held"] * 2
    outcomes[:] = [UsageError("wrong"), "never"]
    with pytest.raises(UsageError):
        asyncio.run(patiently("it fails", work, (Exception,), one))


def test_an_error_is_described_in_one_line() -> None:
    assert described(TimeoutError()) == "TimeoutError"
    assert described(OSError("a\nb")) == "OSError: a b"
