"""The desk: every interaction is acknowledged, done once and answered, whatever fails; toys on the real discord.py."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.desk import Desk
from bot.knowledge import Base
from bot.registry import handler_of
from bot.render import Reply
from bot.request import TOKEN_LIFE, Request
from bot.visit import Visit
from tests import desk_toys
from tests.bot_requests import request_of
from tests.desk_toys import ToyBot
from tests.desk_world import Opening, eventually, held, is_settled, notes_of, opening, settings, toy
from tests.discord_world import running_client
from tests.fakes.discord import MANAGE_GUILD, DiscordFake, File, Guild, User

REFERENCE = re.compile(r"`([0-9a-f]{8})`")


@pytest.fixture
def fake() -> Iterator[DiscordFake]:
    with DiscordFake() as discord_fake:
        yield discord_fake


@pytest.fixture
def ada(fake: DiscordFake) -> User:
    return fake.user(42, "ada", locale="en-US")


@pytest.fixture
def guild(fake: DiscordFake, ada: User) -> Guild:
    guild = fake.guild(7, "Home")
    guild.member(ada)
    return guild


@pytest.fixture
def bot(tmp_path: Path, fake: DiscordFake, ada: User) -> Iterator[Opening]:
    with opening(tmp_path, fake) as opened:
        yield opened


def test_it_is_taken_down_then_deferred_then_done_and_answered(
    fake: DiscordFake, ada: User, guild: Guild, bot: Opening
) -> None:
    class Watching(Desk):
        async def _defer(self, *args: object) -> bool:
            (row,) = await asyncio.to_thread(self.base.inbox.pending)
            order.append(f"{row.kind} {row.who} is in the inbox")
            return await super()._defer(*args)  # type: ignore[arg-type]

    order: list[str] = []
    client = bot(Watching)
    call = toy(fake, ada, "echo", "**鍵**", guild)
    message = call.wait()
    assert order == ["toy.echo user:42 is in the inbox"]
    assert (call.ack.type, message.is_ephemeral) == (5, True)
    assert message.content.startswith("\\*\\*鍵\\*\\*\n")
    eventually(lambda: is_settled(client))
    fake.check()


def test_a_shared_answer_is_seen_by_all(fake: DiscordFake, ada: User, guild: Guild, bot: Opening) -> None:
    bot()
    assert toy(fake, ada, "spaces", guild=guild, share=True).wait().content.startswith("guild:7 ")
    assert len(fake.channel_messages(guild.general)) == 1
    private = toy(fake, ada, "spaces", guild=guild).wait()
    assert private.content.startswith("guild:7,user:42 ")
    assert private.is_ephemeral
    assert len(fake.channel_messages(guild.general)) == 1
    fake.check()


def test_outside_of_a_guild_nothing_is_shared(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot(owner_ids={42})
    direct = toy(fake, ada, "spaces", share=True).wait()
    assert direct.content == "personal,user:42 manager=True owner=True dm en"
    among = fake.slash(ada, "toy", {"kind": "spaces", "share": True}, private=True).wait()
    assert among.content == "personal,user:42 manager=True owner=True private en"
    assert among.is_ephemeral
    fake.check()


def test_who_manages_the_server_is_told_by_discord(fake: DiscordFake, ada: User, guild: Guild, bot: Opening) -> None:
    bot()
    assert "Manage Server" in toy(fake, ada, "managed", guild=guild).wait().content
    assert "Manage Server" in toy(fake, ada, "managed").wait().content
    boss = fake.user(43, "boss", locale="ja")
    guild.member(boss, MANAGE_GUILD)
    assert toy(fake, boss, "managed", guild=guild).wait().content == "managed"
    fake.check()


def test_only_who_is_on_the_list_may(fake: DiscordFake, ada: User, guild: Guild, bot: Opening) -> None:
    other = fake.user(43, "eve", locale="ja")
    guild.member(other)
    client = bot(allow_ids={43}, owner_ids={44})
    refused = toy(fake, ada, "echo", "x", guild)
    assert "NESCORD_ALLOW_IDS" in refused.wait().content
    assert refused.ack.type == 4
    assert refused.wait().is_ephemeral
    assert fake.autocomplete(ada, "toy", {"kind": "x", "text": ""}, focused="text", guild=guild) == []
    assert "NESCORD_ALLOW_IDS" in fake.slash(ada, "form").wait().content
    assert is_settled(client)
    assert desk_toys.ran == []
    assert toy(fake, other, "echo", "x", guild).wait().content.startswith("x")
    assert toy(fake, fake.user(44, "owner"), "echo", "x").wait().content == "x"
    fake.check()


def test_a_server_on_the_list_lets_its_members_in(fake: DiscordFake, ada: User, guild: Guild, bot: Opening) -> None:
    bot(allow_ids={7})
    assert toy(fake, ada, "echo", "x", guild).wait().content.startswith("x")
    assert "NESCORD_ALLOW_IDS" in toy(fake, ada, "echo", "x").wait().content
    fake.check()


def test_what_is_left_of_the_day_is_said_until_nothing_is(
    fake: DiscordFake, ada: User, guild: Guild, bot: Opening
) -> None:
    bot(quota_searches="2/10")
    assert toy(fake, ada, "echo", "x", guild).wait().content == "x\n-# Searches left today: 1"
    assert toy(fake, ada, "echo", "x").wait().content == "x\n-# Searches left today: 0"
    assert "used this up" in toy(fake, ada, "echo", "x", guild).wait().content
    assert len(desk_toys.ran) == 2
    fake.check()


@pytest.mark.parametrize(
    "name",
    [
        "NescordError",
        "UsageError",
        "QueryError",
        "SettingsError",
        "NoKnowledgeBaseError",
        "NotFoundError",
        "ConflictError",
        "CatalogError",
        "DiskError",
        "LockTimeoutError",
        "BudgetError",
        "ServiceUnavailableError",
        "FetchError",
        "ZeroDivisionError",
        "wrong words",
        "no words",
    ],
)
def test_an_error_is_told_by_a_reference_that_is_in_the_log(
    name: str, fake: DiscordFake, ada: User, bot: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    client = bot()
    caplog.set_level(logging.INFO)
    told = toy(fake, ada, "fails", name).wait()
    assert "secret" not in str(told.payload())
    assert "SELECT" not in str(told.payload())
    reference = REFERENCE.search(told.content)
    assert reference
    (line,) = [record for record in caplog.records if reference[1] in record.getMessage()]
    if name in ("UsageError", "QueryError", "NotFoundError", "NoKnowledgeBaseError"):
        # Those quote what a person has asked for.
        assert "their words are not kept" in line.getMessage()
    else:
        assert "/secret/path" in line.getMessage() + str(line.exc_info) or name == "wrong words"
    eventually(lambda: is_settled(client))
    fake.check()


def test_a_refusal_needs_no_reference(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    assert toy(fake, ada, "fails", "Refused").wait().content == "This needs the permission Manage Server."
    fake.check()


def test_an_answer_that_cannot_be_shown_is_an_error_like_any_other(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    assert REFERENCE.search(toy(fake, ada, "unshowable").wait().content)
    fake.check()


def test_what_fails_before_the_desk_is_told_too(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    told = fake.slash(ada, "broken").wait()
    assert REFERENCE.search(told.content)
    assert "secret" not in told.content
    fake.check()


def test_a_person_is_spoken_to_in_the_language_they_chose(
    fake: DiscordFake, ada: User, guild: Guild, bot: Opening
) -> None:
    client = bot()
    kenji, hans = fake.user(43, "kenji", locale="ja"), fake.user(44, "hans", locale="de")
    for who in (kenji, hans):
        guild.member(who)
    assert toy(fake, kenji, "spaces").wait().content.endswith(" ja")
    assert toy(fake, hans, "spaces", guild=guild).wait().content.endswith(" en")
    preferences = client.desk.base.preferences
    preferences.set("guild:7", language="ja")
    assert toy(fake, hans, "spaces", guild=guild).wait().content.endswith(" ja")
    assert toy(fake, ada, "spaces", guild=guild).wait().content.endswith(" en")
    preferences.set("user:43", language="en")
    assert toy(fake, kenji, "spaces").wait().content.endswith(" en")
    fake.check()


def test_how_far_it_is_is_shown_in_the_place_of_the_answer(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    call = toy(fake, ada, "slow", "0.5")
    assert call.wait(until="half").id == call.wait(until="slept").id
    fake.check()


def test_an_event_that_is_told_twice_is_done_once(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    call = toy(fake, ada, "keep", "one note")
    call.wait()
    before = fake.connections
    fake.replay(1)
    fake.drop_socket()
    fake.wait_ready(after=before)
    toy(fake, ada, "echo", "after").wait()
    assert notes_of(client, ada) == ["one note"]
    assert desk_toys.ran.count(str(call.id)) == 1
    fake.check()


def test_what_another_process_has_accepted_is_not_done_again(fake: DiscordFake, ada: User, bot: Opening) -> None:
    class Late(Desk):
        async def _accept(self, interaction: object, handler: object, request: Request) -> None:
            await asyncio.to_thread(self.base.inbox.accept, [request.to_accepted()])
            await super()._accept(interaction, handler, request)  # type: ignore[arg-type]

    bot(Late)
    call = toy(fake, ada, "echo", "x")
    call.excuse()
    time.sleep(1)
    assert desk_toys.ran == []
    assert call.acknowledged is None


def test_while_the_store_is_held_a_note_is_said_not_to_be_kept_yet(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    with held(client.desk.base.settings):
        call = toy(fake, ada, "keep", "late note")
        assert "Not kept yet" in call.wait(until="Not kept yet").content
        assert call.ack.type == 4
        assert 1.4 < call.ack.seconds < 2.8
        assert call.wait().is_ephemeral
    assert call.wait(until="kept 0").content.startswith("kept 0")
    assert notes_of(client, ada) == ["late note"]
    eventually(lambda: is_settled(client))
    fake.check()


def test_while_the_store_is_held_everything_else_is_acknowledged_and_waits(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    client = bot()
    with held(client.desk.base.settings):
        call = toy(fake, ada, "echo", "x")
        assert call.ack.type == 5
        assert 1.4 < call.ack.seconds < 2.8
        assert fake.autocomplete(ada, "toy", {"kind": "x", "text": ""}, focused="text") != []
        late = fake.slash(ada, "form", {"kind": "slow_form"})
        assert "busy" in late.wait().content
    assert call.wait().content.startswith("x")
    eventually(lambda: is_settled(client))
    fake.check()


def test_what_keeps_a_note_is_tried_until_it_is_kept_and_counted_once(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    client = bot(quota_notes="5/5")
    call = toy(fake, ada, "stubborn", "2")
    assert call.wait(until="Not kept yet")
    assert call.wait(until="kept 0").content.endswith("\n-# Notes left today: 4")
    assert len(desk_toys.ran) == 3 + 1
    assert notes_of(client, ada) == ["2"]
    eventually(lambda: is_settled(client))
    fake.check()


def test_what_could_not_be_kept_at_the_end_is_left_to_the_next_process(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    client = bot()
    call = toy(fake, ada, "stubborn", "9")
    call.wait(until="Not kept yet")
    asyncio.run_coroutine_threadsafe(client.desk.close(), client.loop).result(20)
    assert len(desk_toys.ran) < 9
    assert [row.id for row in client.desk.base.inbox.pending()] == [str(call.id)]
    fake.check()


def test_an_event_that_is_told_twice_while_the_store_is_held_is_done_once(
    fake: DiscordFake, ada: User, bot: Opening
) -> None:
    client = bot()
    with held(client.desk.base.settings):
        call = toy(fake, ada, "echo", "x")
        before = fake.connections
        fake.replay(1)
        fake.drop_socket()
        fake.wait_ready(after=before)
        time.sleep(2)
    assert call.wait().content.startswith("x")
    assert desk_toys.ran == [str(call.id)]
    assert len(fake.requests_of("/callback")) == 1
    fake.check()


def test_a_note_that_could_not_be_kept_at_the_end_is_said_not_to_be(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    with held(client.desk.base.settings):
        call = toy(fake, ada, "keep", "lost")
        call.wait(until="Not kept yet")
        asyncio.run_coroutine_threadsafe(client.desk.close(), client.loop).result(20)
        assert "**not** kept" in call.wait(until="**not**").content
    assert notes_of(client, ada) == []
    assert "busy" in toy(fake, ada, "echo", "x").wait().content
    fake.check()


def test_choices_are_those_of_the_answer_to_come(fake: DiscordFake, ada: User, guild: Guild, bot: Opening) -> None:
    client = bot()

    def offered(share: bool, **where: Guild) -> list[str]:
        values = {"kind": "x", "text": "", "share": share}
        return [choice["value"] for choice in fake.autocomplete(ada, "toy", values, focused="text", **where)]

    assert offered(False, guild=guild) == ["guild:7", "user:42"]
    assert offered(True, guild=guild) == ["guild:7"]
    assert offered(True) == ["user:42"]
    assert is_settled(client)
    fake.check()


@pytest.mark.parametrize("typed", ["slow", "wrong"])
def test_choices_that_do_not_come_are_none(typed: str, fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    began = time.monotonic()
    assert fake.autocomplete(ada, "toy", {"kind": "x", "text": typed}, focused="text") == []
    assert time.monotonic() - began < 2.7
    fake.check()


def test_a_form_is_answered_though_nobody_remembers_it(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    opened = fake.slash(ada, "form")
    assert opened.modal["title"] == "Form"
    time.sleep(0.2)
    assert client._connection._view_store._modals == {}
    answer = fake.submit(ada, opened, {"text": "*x*"})
    assert answer.wait().content == "formed 77 \\*x\\*"
    assert answer.wait().is_ephemeral
    eventually(lambda: is_settled(client))
    fake.check()


def test_a_form_that_may_not_be_opened_says_why(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    refused = fake.slash(ada, "form", {"kind": "refusing"})
    assert refused.wait().content == "This is switched off here."
    assert refused.wait().is_ephemeral
    slow = fake.slash(ada, "form", {"kind": "slow_form"})
    assert "busy" in slow.wait().content
    assert slow.ack.seconds < 2.7
    fake.check()


def test_buttons_change_their_message_or_answer_with_a_new_one(
    fake: DiscordFake, ada: User, guild: Guild, bot: Opening
) -> None:
    client = bot(owner_ids={42})
    message = toy(fake, ada, "buttons", guild=guild).wait()
    time.sleep(0.2)
    assert client._connection._view_store._views == {}
    new = fake.click(ada, message, "answer")
    assert new.wait().content == "answer 2 guild:7,personal,user:42"
    assert new.wait().is_ephemeral
    opened = fake.click(ada, message, "form")
    assert fake.submit(ada, opened, {}).wait().content == "formed 3 user:42"
    failed = fake.click(ada, message, "fail").wait()
    assert "no such note" in failed.content
    assert failed.is_ephemeral
    assert failed.id != message.id
    assert "another version" in fake.click(ada, message, "old").wait().content
    assert message.content == "buttons"
    changed = fake.click(ada, message, "change")
    assert changed.ack.type == 6
    fake.wait_until(lambda: message.content != "buttons")
    assert message.content == "changed 1 a:b guild:7,personal,user:42"
    assert "components" not in message.payload() or message.payload()["components"] == []
    eventually(lambda: is_settled(client))
    fake.check()


def test_a_button_on_a_message_that_all_see_shows_no_more_than_they_may(
    fake: DiscordFake, ada: User, guild: Guild, bot: Opening
) -> None:
    bot(owner_ids={42, 43})
    message = toy(fake, ada, "buttons", guild=guild, share=True).wait()
    bob = fake.user(43, "bob")
    guild.member(bob)
    new = fake.click(bob, message, "answer")
    assert new.wait().content == "answer 2 guild:7,personal,user:43"
    assert new.wait().is_ephemeral
    fake.click(bob, message, "change")
    fake.wait_until(lambda: message.content != "buttons")
    assert message.content == "changed 1 a:b guild:7"
    fake.check()


def test_files_come_from_discord_alone_and_are_not_too_long(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    assert fake.slash(ada, "file", {"file": File("a.txt", "鍵".encode())}).wait().content == "a.txt 鍵"
    long = fake.slash(ada, "file", {"file": File("a.txt", b"x" * 101)}).wait()
    assert long.content == "not got, too large: True"
    for url in (
        "http://127.0.0.1:1/x",
        "https://evil.example/x",
        "http://cdn.discordapp.com/x",
        "file:///etc/passwd",
        "x",
    ):
        request = request_of(id=url, kind="toy.file", options={"file": {"name": "x", "url": url}})
        assert asyncio.run(reply_of(client, request)) == "not got, too large: False", url
    fake.check()


def test_what_the_last_process_accepted_is_finished_and_answered(
    fake: DiscordFake, ada: User, guild: Guild, tmp_path: Path, bot: Opening
) -> None:
    class Dying(Desk):
        """As a process that is killed once it has acknowledged."""

        async def _defer(self, *args: object) -> bool:
            await super()._defer(*args)  # type: ignore[arg-type]
            raise ZeroDivisionError

    with Base.open(settings(tmp_path)) as base:
        with running_client(fake, lambda: ToyBot(base, Dying)):
            fake.wait_synced()
            calls = [toy(fake, ada, "keep", "mine", guild), toy(fake, ada, "echo", "x", guild)]
            for call in calls:
                assert call.ack.type == 5
            eventually(lambda: len(base.inbox.pending()) == 2)
        assert len(base.inbox.pending()) == 2
        expired = [
            request_of(id=f"200{number}", kind=kind, options={"text": kind}, accepted_at=long_ago())
            for number, kind in enumerate(["toy.keep", "toy.echo", "toy.gone"])
        ]
        base.inbox.accept([request.to_accepted() for request in expired])
    client = bot()
    assert calls[0].wait().content.startswith("kept ")
    assert calls[1].wait().content == "x"
    eventually(lambda: is_settled(client))
    assert sorted(notes_of(client, ada)) == ["mine", "toy.keep"]
    assert len(desk_toys.ran) == 3
    fake.check()


def test_an_answer_comes_though_discord_stumbles(fake: DiscordFake, ada: User, bot: Opening) -> None:
    bot()
    fake.reset("PATCH /webhooks", 1)
    assert toy(fake, ada, "echo", "x").wait().content.startswith("x")
    fake.rate_limit("PATCH /webhooks", 1, 0.3)
    assert toy(fake, ada, "echo", "y").wait().content.startswith("y")
    fake.fail("PATCH /webhooks", 1, 503)
    assert toy(fake, ada, "echo", "z").wait().content.startswith("z")
    fake.check()


def test_a_note_is_kept_though_its_acknowledgement_got_lost(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    fake.lose_answer("/callback", 1)
    assert toy(fake, ada, "keep", "one").wait().content.startswith("kept ")
    fake.reset("/callback", 1)
    assert toy(fake, ada, "keep", "two").wait().content.startswith("kept ")
    fake.reset("/callback", 2)
    lost = toy(fake, ada, "keep", "three")
    lost.excuse()
    eventually(lambda: len(notes_of(client, ada)) == 3)
    eventually(lambda: is_settled(client))
    # What was acknowledged before the answer got lost is acknowledged again, to no harm.
    fake.check(allow={"double", "refused"})


def test_nothing_is_done_for_who_has_given_up_waiting(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot()
    fake.hold_callback(3.3)
    call = toy(fake, ada, "echo", "x")
    call.excuse()
    time.sleep(4)
    assert desk_toys.ran == []
    assert is_settled(client)


def test_a_hundred_at_once_are_acknowledged_while_others_are_slow(fake: DiscordFake, ada: User, bot: Opening) -> None:
    client = bot(quota_notes="1000/1000")
    slow = [toy(fake, ada, "slow", "2") for _ in range(12)]
    quick = [toy(fake, ada, "keep", f"note {number}") for number in range(88)]
    for call in quick:
        assert call.wait(60, until="kept")
    assert all(call.ack.seconds < 3 for call in [*slow, *quick])
    for call in slow:
        call.wait(60, until="slept")
    assert len({note.note_id for note in client.desk.base.view({"user:42"}).recent_notes(limit=100)}) == 88
    eventually(lambda: is_settled(client))
    fake.check()


def long_ago() -> datetime:
    return datetime.now(UTC) - TOKEN_LIFE - timedelta(seconds=1)


async def reply_of(client: ToyBot, request: Request) -> str:
    """What the handler of a request says."""
    handler = handler_of(request.kind)
    assert handler is not None

    async def nothing(reply: Reply) -> None:
        return None

    with ThreadPoolExecutor(2) as threads:
        visit = Visit(request, client.desk.base, "en", threads=threads, show=nothing)
        return (await handler.function(visit)).body
