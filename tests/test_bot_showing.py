"""Whoever sees "thinking…" sees an answer, whatever Discord makes of it; and what was typed is kept or given back."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bot.desk import Desk
from bot.registry import handler_of
from nescord.errors import CatalogError
from tests import desk_toys
from tests.command_world import OURS
from tests.desk_toys import ToyBot
from tests.desk_world import Opening, eventually, held, is_settled, notes_of, opening, toy
from tests.fakes.discord import Call, DiscordFake, User

REFERENCE = re.compile(r"`([0-9a-f]{8})`")
ANSWER = "PATCH /webhooks"


@pytest.fixture
def fake() -> Iterator[DiscordFake]:
    with DiscordFake() as discord_fake:
        yield discord_fake


@pytest.fixture
def ada(fake: DiscordFake) -> User:
    return fake.user(42, "ada", locale="en-US")


@pytest.fixture
def bot(tmp_path: Path, fake: DiscordFake) -> Iterator[Opening]:
    with opening(tmp_path, fake) as opened:
        yield opened


@pytest.mark.parametrize("n", [1, 2])
def test_an_answer_comes_though_the_way_to_discord_is_closed_for_a_while(
    n: int, fake: DiscordFake, ada: User, bot: Opening
) -> None:
    client = bot()
    fake.rate_limit(ANSWER, n, by_cloudflare=True)
    assert toy(fake, ada, "keep", "one").wait(20).content.startswith("kept ")
    eventually(lambda: is_settled(client))
    fake.check()


def test_an_answer_comes_though_discord_wants_us_to_wait_time_and_again(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    bot()
    fake.rate_limit(ANSWER, 7, 0.2)
    assert toy(fake, ada, "echo", "x").wait(20).content.startswith("x")
    fake.check()


def test_how_far_it_is_keeps_no_answer_waiting(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    fake.rate_limit(ANSWER, 1, by_cloudflare=True)
    call = toy(fake, ada, "slow", "0")
    assert call.wait(until="slept")
    assert call.replied_after is not None
    assert call.replied_after < 0.9
    fake.check()


@pytest.mark.parametrize("status", [400, 403, 413])
def test_an_answer_that_discord_refuses_is_told_in_a_plain_line(
    status: int, fake: DiscordFake, ada: User, bot: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    client = bot()
    fake.fail(ANSWER, 1, status)
    told = toy(fake, ada, "rich").wait()
    reference = REFERENCE.search(told.content)
    assert "refuses to show it" in told.content
    assert reference
    assert any(reference[1] in each.getMessage() for each in caplog.records if each.levelno == logging.ERROR)
    assert (told.embeds, told.buttons, told.files) == ([], [], [])
    assert toy(fake, ada, "rich").wait().files
    eventually(lambda: is_settled(client))
    fake.check()


def test_what_is_refused_twice_is_given_up(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    fake.fail(ANSWER, 2, 403)
    toy(fake, ada, "echo", "x")
    eventually(lambda: len(fake.requests_of(ANSWER)) == 2 and is_settled(client))
    time.sleep(0.3)
    assert len(fake.requests_of(ANSWER)) == 2


def test_nothing_is_said_where_the_place_for_it_is_gone(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    fake.fail(ANSWER, 1, 404)
    toy(fake, ada, "echo", "x")
    eventually(lambda: len(fake.requests_of(ANSWER)) == 1 and is_settled(client))


def test_a_message_that_a_button_is_on_is_not_replaced_by_a_refusal(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    message = toy(fake, ada, "buttons").wait()
    fake.fail(ANSWER, 1, 413)
    told = fake.click(ada, message, "change").wait()
    assert "refuses to show it" in told.content
    assert told.is_ephemeral
    assert (message.content, told.id != message.id) == ("buttons", True)
    fake.check()


@pytest.mark.parametrize("kind", ["echo", "keep", "managed"])
def test_an_acknowledgement_that_has_to_wait_comes_in_time(
    kind: str, fake: DiscordFake, ada: User, bot: Opening
) -> None:
    bot()
    fake.rate_limit("/callback", 1, by_cloudflare=True)
    call = toy(fake, ada, kind, "x")
    assert call.wait()
    assert 0.9 < call.ack.seconds < 2.8
    fake.check()


def test_an_acknowledgement_that_would_come_too_late_is_given_up(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    fake.rate_limit("/callback", 9, by_cloudflare=True)
    lost, kept = toy(fake, ada, "echo", "x"), toy(fake, ada, "keep", "one")
    for call in (lost, kept):
        call.excuse()
    eventually(lambda: notes_of(client, ada) == ["one"])
    eventually(lambda: is_settled(client))
    assert desk_toys.ran == [str(kept.id)]
    assert len(fake.requests_of("/callback")) <= 6


# What was typed.


class Closing(Desk):
    """Is about to end, and does not come to it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._closing.set()


def test_a_note_that_comes_while_it_ends_is_kept_by_the_next_process(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    closing = bot(Closing)
    assert "busy" in toy(fake, ada, "echo", "x").wait().content
    call = toy(fake, ada, "keep", "typed late")
    assert call.ack.type == 5
    eventually(lambda: [row.id for row in closing.desk.base.inbox.pending()] == [str(call.id)])
    assert desk_toys.ran == []
    asyncio.run_coroutine_threadsafe(closing.close(), closing.loop).result(20)
    client = bot()
    assert call.wait().content.startswith("kept ")
    assert notes_of(client, ada) == ["typed late"]
    fake.check()


def test_what_is_under_way_at_the_end_is_waited_for_and_what_comes_meanwhile_too(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    client = bot()
    slow = toy(fake, ada, "slow", "1")
    slow.wait(until="half")
    ending = asyncio.run_coroutine_threadsafe(client.desk.close(), client.loop)
    time.sleep(0.2)
    call = toy(fake, ada, "keep", "meanwhile")
    assert call.ack.type == 5
    ending.result(10)
    assert slow.wait(until="slept")
    assert [row.id for row in client.desk.base.inbox.pending()] == [str(call.id)]
    fake.check()


def test_after_the_end_what_was_typed_is_given_back(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    asyncio.run_coroutine_threadsafe(client.desk.close(), client.loop).result(20)
    told = toy(fake, ada, "keep", "鍵").wait()
    assert "busy" in told.content
    assert given_back(told) == "鍵"
    fake.check()


def test_what_could_not_be_kept_at_the_end_is_given_back(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    with held(client.desk.base.settings):
        call = toy(fake, ada, "keep", "鍵")
        call.wait(until="Not kept yet")
        asyncio.run_coroutine_threadsafe(client.desk.close(), client.loop).result(20)
        assert given_back(call.wait(until="**not** kept")) == "鍵"
    fake.check()


@pytest.mark.parametrize("is_late", [False, True])
def test_what_the_inbox_does_not_take_is_given_back(is_late: bool, fake: DiscordFake, ada: User, bot: Opening) -> None:
    class Broken(Desk):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self._intake._inbox = lambda: Refusing()  # type: ignore[assignment,return-value]

    class Refusing:
        def accept(self, rows: object) -> None:
            assert may_fail.wait(10)
            raise CatalogError("/secret/path")

    may_fail = threading.Event()
    client = bot(Broken)
    if not is_late:
        may_fail.set()
    call = toy(fake, ada, "keep", "鍵")
    if is_late:
        call.wait(until="Not kept yet")
        may_fail.set()
    told = call.wait(until=lambda message: bool(REFERENCE.search(message.content)))
    assert "secret" not in told.content
    assert given_back(told) == "鍵"
    assert notes_of(client, ada) == []
    fake.check()


def test_what_was_typed_into_a_form_of_another_version_is_given_back(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    bot()
    told = submitted_as(fake, ada, "toy.gone", "鍵").wait()
    assert "another version" in told.content
    assert given_back(told) == "鍵"
    fake.check()


def test_what_was_typed_by_who_may_not_is_given_back(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot(allow_ids={43})
    told = toy(fake, ada, "keep", "鍵").wait()
    assert "NESCORD_ALLOW_IDS" in told.content
    assert given_back(told) == "鍵"
    fake.check()


# What somebody may send who is no client of Discord's.


@pytest.mark.parametrize("kind", ["toy.keep", "button.toy_change", "toy.managed", "", "toy.formed:"])
def test_a_form_reaches_no_more_than_forms_do(kind: str, fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    told = submitted_as(fake, ada, kind, "x").wait()
    assert "another version" in told.content or told.content == "formed :77 x"
    assert notes_of(client, ada) == []
    assert desk_toys.ran == []
    fake.check()


def test_every_form_of_ours_is_answered_as_one() -> None:
    assert OURS, "who imports them has them registered"
    shown = {
        node.args[0].value
        for path in (Path(__file__).parents[1] / "bot").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Modal"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {"note.added", "note.edited", "ask.followed", "privacy.delete"} <= shown
    handlers = [handler_of(str(kind)) for kind in shown]
    assert all(handler is not None and handler.is_form for handler in handlers)


# What Discord tells twice.


def of_toy(kind: str) -> Callable[[DiscordFake, User], Call]:
    return lambda fake, ada: toy(fake, ada, kind, "x")


TWICE: dict[str, Callable[[DiscordFake, User], Call]] = {
    "a form": lambda fake, ada: fake.slash(ada, "form"),
    "a form from the store": lambda fake, ada: fake.slash(ada, "form", {"kind": "refusing"}),
    "who may not": of_toy("managed"),
    "an unknown kind": of_toy("nothing"),
    "an answer": of_toy("echo"),
    "what fails before the desk": lambda fake, ada: fake.slash(ada, "broken"),
}


@pytest.mark.parametrize("name", TWICE)
def test_what_is_told_twice_is_acknowledged_once(name: str, fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    call = TWICE[name](fake, ada)
    assert call.ack
    told_again(fake, client)
    toy(fake, ada, "keep", "after").wait()
    assert len(fake.requests_of("/callback")) == 2
    fake.check()


def test_what_is_refused_at_the_end_is_acknowledged_once(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot(Closing)
    assert "busy" in toy(fake, ada, "echo", "x").wait().content
    told_again(fake, client)
    toy(fake, ada, "echo", "after").wait()
    assert len(fake.requests_of("/callback")) == 2
    fake.check()


def told_again(fake: DiscordFake, client: ToyBot) -> None:
    before = fake.connections
    fake.replay(1)
    fake.drop_socket()
    fake.wait_ready(after=before)
    eventually(lambda: fake.gateway_side.replayed == 1)


def given_back(message: object) -> str:
    (file,) = message.files  # type: ignore[attr-defined]
    assert file.name == "note.md"
    return str(file.content.decode())


def submitted_as(fake: DiscordFake, ada: User, kind: str, text: str) -> Call:
    """A form of ours, sent back with another custom_id than it was shown with."""
    opened = fake.slash(ada, "form")
    opened.modal["custom_id"] = f"nm:{kind}:77"
    return fake.submit(ada, opened, {"text": text})
