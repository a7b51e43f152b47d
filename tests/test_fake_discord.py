"""The fake Discord speaks to the real discord.py: commands, forms, buttons, files, resumed sessions, rate limits."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import discord
import httpx
import pytest

from tests.discord_toys import Idle, Toy
from tests.discord_world import run_client, running_client
from tests.fakes.discord import MANAGE_GUILD, Call, CannotError, DiscordFake, File, Guild, User, openapi


@pytest.fixture
def fake() -> Iterator[DiscordFake]:
    with DiscordFake(heartbeat_ms=400) as discord_fake:
        yield discord_fake
    if openapi.description() is not None:
        wrong = {
            record.route: complaint
            for record in discord_fake.requests
            if (complaint := openapi.complaint_of_answer(record))
        }
        assert not wrong, f"the fake answers what Discord would not: {wrong}"


@pytest.fixture
def ada(fake: DiscordFake) -> User:
    return fake.user(42, "ada", locale="ja")


@pytest.fixture
def guild(fake: DiscordFake, ada: User) -> Guild:
    guild = fake.guild(7, "Home", locale="ja")
    guild.member(ada, MANAGE_GUILD)
    return guild


@pytest.fixture
def toy(fake: DiscordFake, ada: User, guild: Guild) -> Iterator[Toy]:
    with running_client(fake, Toy) as client:
        assert isinstance(client, Toy)
        yield client
    assert fake.close_code() == 1000


def say(fake: DiscordFake, who: User, text: str, guild: Guild | None = None) -> Call:
    return fake.slash(who, "echo", {"text": text}, guild=guild)


def test_a_command_is_deferred_and_its_reply_edited(fake: DiscordFake, ada: User, guild: Guild, toy: Toy) -> None:
    call = say(fake, ada, "鍵", guild)
    message = call.wait()
    assert (message.content, call.ack.type, message.is_ephemeral) == ("鍵", 5, True)
    assert call.ack.seconds < 3
    assert fake.channel_messages(guild.general) == []
    fake.check()


def test_options_of_all_types_reach_a_subcommand(fake: DiscordFake, ada: User, guild: Guild, toy: Toy) -> None:
    values = {"who": ada, "amount": 3, "mode": "Fast", "tag": "鍵", "share": True}
    message = fake.slash(ada, "count things", values, guild=guild).wait()
    assert message.content == "ada 3 f 鍵 True"
    assert fake.channel_messages(guild.general) == [message]
    fake.check()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"amount": 3, "mode": "f"}, "who is required"),
        ({"who": 1, "amount": 3, "mode": "f"}, "of type 6"),
        ({"who": None, "amount": 3, "mode": "f", "x": 1}, "has no options"),
        ({"who": "ada", "amount": 11, "mode": "f"}, "of type 6"),
        ({"amount": 11}, "who is required"),
    ],
)
def test_a_client_does_not_send_wrong_options(
    values: dict[str, object], why: str, fake: DiscordFake, ada: User, guild: Guild, toy: Toy
) -> None:
    with pytest.raises(CannotError, match=why):
        fake.slash(ada, "count things", values, guild=guild)


def test_a_client_holds_numbers_and_choices_to_their_limits(fake: DiscordFake, ada: User, toy: Toy) -> None:
    with pytest.raises(CannotError, match="from 1 to 10, not 11"):
        fake.slash(ada, "count things", {"who": ada, "amount": 11, "mode": "f"})
    with pytest.raises(CannotError, match="has the choices"):
        fake.slash(ada, "count things", {"who": ada, "amount": 1, "mode": "warp"})
    with pytest.raises(CannotError, match="no command 'nothing'"):
        fake.slash(ada, "nothing")


def test_autocomplete_offers_choices(fake: DiscordFake, ada: User, guild: Guild, toy: Toy) -> None:
    choices = fake.autocomplete(ada, "count things", {"tag": "to"}, focused="tag", guild=guild)
    assert (choices[0], len(choices)) == ({"name": "to0", "value": "0"}, 25)
    fake.check()


def test_a_form_is_opened_filled_in_and_sent(fake: DiscordFake, ada: User, toy: Toy) -> None:
    opened = fake.slash(ada, "form")
    assert opened.modal["title"] == "A note"
    with pytest.raises(CannotError, match="field 'Text' takes"):
        fake.submit(ada, opened, {"Title": "鍵"})
    with pytest.raises(CannotError, match="0 to 10 characters, not 11"):
        fake.submit(ada, opened, {"Title": "x" * 11, "text": "y"})
    assert fake.submit(ada, opened, {"Title": "鍵", "text": "本文"}).wait().content == "鍵|本文"
    fake.check()


def test_only_what_is_there_can_be_pressed(fake: DiscordFake, ada: User, guild: Guild, toy: Toy) -> None:
    message = fake.slash(ada, "ask", guild=guild).wait()
    bob = fake.user(43, "bob")
    guild.member(bob)
    assert message.labels == ["Yes"]
    with pytest.raises(CannotError, match="is disabled"):
        fake.click(ada, message, "Never")
    with pytest.raises(CannotError, match="has no 'Perhaps'"):
        fake.click(ada, message, "Perhaps")
    with pytest.raises(CannotError, match="bob does not see"):
        fake.click(bob, message, "Yes")
    call = fake.click(ada, message, "Yes")
    assert call.wait().content == "Done"
    assert (call.ack.type, message.content, message.buttons) == (7, "Done", [])
    fake.check()


def test_a_message_menu_gets_the_message_with_its_files(fake: DiscordFake, ada: User, guild: Guild, toy: Toy) -> None:
    written = fake.message(ada, "読んで", guild=guild, files=[File("a.txt", b"12345", "text/plain")])
    answer = fake.menu(ada, "Note it", written).wait()
    jump = f"https://discord.com/channels/7/{guild.general.id}/{written.id}"
    assert answer.content == f"ada: 読んで [5] {jump}"
    fake.check()


def test_files_go_up_and_down(fake: DiscordFake, ada: User, toy: Toy) -> None:
    call = fake.slash(ada, "echo", {"text": "a file", "file": File("in.txt", "鍵".encode(), "text/plain")})
    message = call.wait()
    assert [(file.name, file.content) for file in message.files] == [("copy.txt", "鍵".encode())]
    fake.check()


def test_the_bot_writes_to_people(fake: DiscordFake, ada: User, toy: Toy) -> None:
    quiet = fake.user(44, "quiet", accepts_messages=False)

    async def write(number: int) -> None:
        user = await toy.fetch_user(number)
        await user.send("こんばんは", nonce=1)
        await user.send("こんばんは", nonce=1)  # lost and sent again

    asyncio.run_coroutine_threadsafe(write(ada.id), toy.loop).result(10)
    assert [message.content for message in fake.direct_messages(ada)] == ["こんばんは"]
    fake.check()
    with pytest.raises(discord.Forbidden, match="50007"):
        asyncio.run_coroutine_threadsafe(write(quiet.id), toy.loop).result(10)


def test_where_the_app_is_not_installed_there_are_no_commands(fake: DiscordFake, ada: User, toy: Toy) -> None:
    eve = fake.user(45, "eve", has_installed=False)
    elsewhere = fake.guild(8, has_bot=False)
    elsewhere.member(ada)
    elsewhere.member(eve)
    assert say(fake, ada, "mine", elsewhere).wait().content == "mine"
    with pytest.raises(CannotError, match="is for installs"):
        say(fake, eve, "not mine", elsewhere)
    with pytest.raises(CannotError, match="eve is not in Home"):
        say(fake, eve, "not there", fake.world.guilds[7])
    contexts = [fake.slash(ada, "echo", {"text": "x"}, private=private).payload for private in (False, True)]
    assert [payload["context"] for payload in contexts] == [1, 2]
    assert [payload["authorizing_integration_owners"] for payload in contexts] == [{"1": "42", "0": "0"}, {"1": "42"}]
    fake.check()


# The Gateway.


@pytest.mark.parametrize("ending", ["drop", "op7", "op9 resumable", "closed"])
def test_a_resumed_session_gets_what_was_missed(ending: str, fake: DiscordFake, ada: User, toy: Toy) -> None:
    say(fake, ada, "before").wait()
    fake.refuse_handshakes(1)
    {
        "drop": fake.drop_socket,
        "op7": fake.op7,
        "op9 resumable": lambda: fake.op9(resumable=True),
        "closed": lambda: fake.close_with(4000),
    }[ending]()
    fake.wait_until(lambda: not fake.gateway_side.is_connected, what="the socket to be gone")
    call = say(fake, ada, "meanwhile")
    call.excuse()  # discord.py takes its time between two handshakes
    fake.wait_until(lambda: call.id in toy.seen, 30, "the event that was missed")
    assert (len(fake.gateway_side.resumes), len(fake.gateway_side.identifies)) == (1, 1)
    fake.check(allow={"late"})


def test_an_invalid_session_is_begun_anew(fake: DiscordFake, ada: User, toy: Toy) -> None:
    connections = fake.connections
    fake.op9()
    fake.wait_ready(after=connections)
    assert (len(fake.gateway_side.resumes), len(fake.gateway_side.identifies)) == (0, 2)
    assert say(fake, ada, "after").wait().content == "after"
    fake.check()


def test_an_event_can_come_twice(fake: DiscordFake, ada: User, toy: Toy) -> None:
    call = say(fake, ada, "once")
    call.wait()
    fake.replay(1)
    fake.drop_socket()
    fake.wait_until(lambda: toy.seen == [call.id] * 2, 15, "the event to come again")
    fake.wait_until(lambda: fake.problems, 5, "the toy, which answers twice")
    with pytest.raises(AssertionError, match=r"double: POST .*40060"):
        fake.check()


def test_heartbeats_are_answered(fake: DiscordFake, toy: Toy) -> None:
    fake.wait_until(lambda: len(fake.gateway_side.heartbeats) >= 3, 10, "three heartbeats")
    assert toy.latency < 1
    fake.check()


def test_a_wrong_token_is_refused(fake: DiscordFake) -> None:
    fake.refuse_token()
    with pytest.raises(discord.LoginFailure):
        run_client(fake, Idle)
    fake.check()


@pytest.mark.parametrize(
    ("code", "error"), [(4004, discord.ConnectionClosed), (4014, discord.PrivilegedIntentsRequired)]
)
def test_identify_is_refused(code: int, error: type[Exception], fake: DiscordFake) -> None:
    fake.refuse_identify(code)
    with pytest.raises(error):
        run_client(fake, Idle)
    assert fake.close_code() == code


def test_privileged_intents_are_refused(fake: DiscordFake) -> None:
    def make() -> discord.Client:
        return discord.Client(intents=discord.Intents(guilds=True, message_content=True))

    with pytest.raises(discord.PrivilegedIntentsRequired):
        run_client(fake, make)


@pytest.mark.parametrize("compress", ["zlib-stream", ""])
def test_the_gateway_speaks_zlib_and_plain_text(compress: str, fake: DiscordFake) -> None:
    inflate = zlib.decompressobj()

    async def first_two() -> list[dict[str, object]]:
        url = f"{fake.gateway}?v=10&encoding=json" + (f"&compress={compress}" if compress else "")
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            frames = []
            for number in range(2):
                message = await socket.receive(5)
                if compress:
                    assert message.data.endswith(b"\x00\x00\xff\xff")
                frames.append(json.loads(inflate.decompress(message.data) if compress else message.data))
                if number == 0:
                    await socket.send_json({"op": 2, "d": {"token": fake.token, "intents": 1, "properties": {}}})
            return frames

    assert [frame["op"] for frame in asyncio.run(first_two())] == [10, 0]


# Limits.


def test_rate_limits_are_waited_for(fake: DiscordFake, ada: User, toy: Toy) -> None:
    fake.rate_limit("PATCH /webhooks", n=2, retry_after=0.3)
    began = time.monotonic()
    assert say(fake, ada, "slowly").wait().content == "slowly"
    assert time.monotonic() - began >= 0.6
    fake.rate_limit("GET /users", retry_after=0.3, is_global=True)
    asyncio.run_coroutine_threadsafe(toy.fetch_user(ada.id), toy.loop).result(10)
    fake.check()


def test_a_bucket_that_is_used_up_says_429(fake: DiscordFake, ada: User) -> None:
    channel = fake.world.direct(ada)
    codes = []
    for number in range(6):
        answer = _call(fake, "POST", f"/channels/{channel.id}/messages", {"content": str(number)})
        codes.append(answer.status_code)
    assert codes == [200] * 5 + [429]
    assert answer.headers["Via"]
    assert answer.json()["retry_after"] > 0


def test_what_can_be_looked_up_is_as_discord_describes_it(fake: DiscordFake, ada: User, guild: Guild, toy: Toy) -> None:
    message = fake.message(ada, "x", guild=guild, files=[File("a.txt", b"1", "text/plain")])
    channel = f"/channels/{message.channel.id}"
    for path in (
        *("/users/@me", "/users/42", "/applications/@me", "/gateway", "/gateway/bot", "/guilds/7/members/42"),
        *("/guilds/7", "/guilds/7/channels", channel, f"{channel}/messages", f"{channel}/messages/{message.id}"),
        f"/applications/{fake.world.bot.id}/commands",
    ):
        assert _call(fake, "GET", path).status_code == 200, path
    fake.check()


def test_the_fake_can_be_a_process_of_its_own() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.discord"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        base, _, token = (process.stdout.readline().strip() for _ in range(3))
        agent = {"Authorization": f"Bot {token}", "User-Agent": "DiscordBot (https://example.invalid, 1)"}
        assert httpx.get(f"{base}/users/@me", headers=agent).json()["username"] == "nescord"
        process.communicate()
    assert process.returncode == 0


def _call(fake: DiscordFake, method: str, path: str, body: object = None) -> httpx.Response:
    headers = {"Authorization": f"Bot {fake.token}", "User-Agent": "DiscordBot (https://example.invalid, 1)"}
    return httpx.request(method, fake.api_base + path, json=body, headers=headers)
