"""What Discord would refuse, the fake refuses and remembers: `check` then fails, whatever the client made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import pytest

from tests.discord_toys import Idle
from tests.discord_world import running_client
from tests.fakes.discord import Call, DiscordFake, Guild, User, openapi

AGENT = "DiscordBot (https://example.invalid, 1)"
ECHO = {"name": "echo", "description": "Say it again", "type": 1}


@pytest.fixture
def fake() -> Iterator[DiscordFake]:
    with DiscordFake() as discord_fake:
        yield discord_fake


@pytest.fixture
def ada(fake: DiscordFake) -> User:
    return fake.user(42, "ada")


@pytest.fixture
def guild(fake: DiscordFake, ada: User) -> Guild:
    guild = fake.guild(7)
    guild.member(ada)
    return guild


@pytest.fixture
def call(fake: DiscordFake, ada: User, guild: Guild) -> Iterator[Call]:
    """An interaction that nobody answers, but the test."""
    register(fake, [ECHO])
    with running_client(fake, Idle):
        yield fake.slash(ada, "echo", guild=guild)


def ask(fake: DiscordFake, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
    with_token = {"Authorization": f"Bot {fake.token}", "User-Agent": AGENT, **headers}
    return httpx.request(method, fake.api_base + path, json=body, headers=with_token)


def register(fake: DiscordFake, commands: list[dict[str, Any]]) -> httpx.Response:
    return ask(fake, "PUT", f"/applications/{fake.world.bot.id}/commands", commands)


def acknowledge(fake: DiscordFake, call: Call, body: object) -> httpx.Response:
    return ask(fake, "POST", f"/interactions/{call.id}/{call.token}/callback?with_response=1", body)


def hook(fake: DiscordFake, call: Call, rest: str = "") -> str:
    return f"/webhooks/{fake.world.bot.id}/{call.token}{rest}"


def refused(fake: DiscordFake, kind: str, why: str = "") -> None:
    """`check` fails for that reason alone."""
    with pytest.raises(AssertionError, match=rf"(?s)\n{kind}: .*{why}"):
        fake.check()
    fake.check(allow={kind})  # type: ignore[arg-type]


def test_an_answer_in_time_is_fine(fake: DiscordFake, call: Call) -> None:
    assert acknowledge(fake, call, {"type": 4, "data": {"content": "x"}}).status_code == 200
    assert call.wait().content == "x"
    fake.check()


def test_a_late_acknowledgement_meets_an_unknown_interaction(fake: DiscordFake, call: Call) -> None:
    fake.interactions.seconds_to_acknowledge = 0.0
    answer = acknowledge(fake, call, {"type": 5})
    assert (answer.status_code, answer.json()) == (404, {"message": "Unknown interaction", "code": 10062})
    call.excuse()
    refused(fake, "late", "10062")


def test_a_held_callback_is_late(fake: DiscordFake, call: Call) -> None:
    fake.interactions.seconds_to_acknowledge = 0.3
    fake.hold_callback(0.4)
    assert acknowledge(fake, call, {"type": 5}).status_code == 404
    call.excuse()
    refused(fake, "late")


def test_a_second_acknowledgement_is_refused(fake: DiscordFake, call: Call) -> None:
    acknowledge(fake, call, {"type": 5})
    answer = acknowledge(fake, call, {"type": 5})
    assert (answer.status_code, answer.json()["code"]) == (400, 40060)
    refused(fake, "double", "40060")


def test_no_acknowledgement_at_all_is_found(fake: DiscordFake, call: Call) -> None:
    fake.interactions.seconds_to_acknowledge = 0.1
    refused(fake, "unacknowledged", "'echo' by ada")


def test_a_reply_before_the_acknowledgement_meets_an_unknown_webhook(fake: DiscordFake, call: Call) -> None:
    answer = ask(fake, "PATCH", hook(fake, call, "/messages/@original"), {"content": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, 10015)
    call.excuse()
    refused(fake, "refused", "10015")


def test_a_token_ends_after_its_time(fake: DiscordFake, call: Call) -> None:
    acknowledge(fake, call, {"type": 5})
    fake.interactions.token_seconds = 0.0
    answer = ask(fake, "PATCH", hook(fake, call, "/messages/@original"), {"content": "x"})
    assert (answer.status_code, answer.json()["code"]) == (401, 50027)
    refused(fake, "refused", "50027")


def test_the_first_follow_up_takes_the_place_of_the_deferred_reply(fake: DiscordFake, call: Call) -> None:
    acknowledge(fake, call, {"type": 5, "data": {"flags": 64}})
    first = ask(fake, "POST", hook(fake, call, "?wait=true"), {"content": "one"})
    ask(fake, "POST", hook(fake, call, "?wait=true"), {"content": "two", "flags": 64})
    assert [message.content for message in call.messages] == ["one", "two"]
    assert (first.json()["flags"], call.original) == (64, call.messages[0])
    ask(fake, "DELETE", hook(fake, call, "/messages/@original"))
    assert ask(fake, "GET", hook(fake, call, "/messages/@original")).status_code == 404
    refused(fake, "refused", "Unknown Message")


@pytest.mark.parametrize("kind", [1, 6, 7, 8, 99])
def test_a_command_is_not_answered_with_a_type_for_something_else(kind: int, fake: DiscordFake, call: Call) -> None:
    answer = acknowledge(fake, call, {"type": kind, "data": {"content": "x", "choices": []}})
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    call.excuse()
    refused(fake, "invalid", "type: Value must be one of {4, 5, 9}")


def button(**more: object) -> dict[str, object]:
    return {"type": 2, "style": 1, "label": "Yes", "custom_id": "yes", **more}


def row(*components: object) -> dict[str, object]:
    return {"components": [{"type": 1, "components": list(components)}]}


def embed(**more: object) -> dict[str, object]:
    return {"embeds": [more]}


BAD_MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "2,001 characters": ({"content": "鍵" * 2001}, "content: Must be 2000 or fewer"),
    "nothing": ({"content": " "}, "empty message"),
    "a long title": (embed(title="x" * 257), r"embeds\.0\.title: Must be 256"),
    "a long description": (embed(description="x" * 4097), r"embeds\.0\.description"),
    "a long field": (embed(fields=[{"name": "n", "value": "x" * 1025}]), r"fields\.0\.value"),
    "an empty field": (embed(fields=[{"name": "", "value": "x"}]), r"fields\.0\.name"),
    "26 fields": (embed(fields=[{"name": "n", "value": "x"}] * 26), r"embeds\.0\.fields"),
    "a long footer": (embed(title="t", footer={"text": "x" * 2049}), r"footer\.text"),
    "an empty embed": (embed(color=1), r"embeds\.0: an embed says nothing"),
    "6,001 in all embeds": ({"embeds": [{"description": "x" * 3000}, {"description": "y" * 3001}]}, "6000"),
    "11 embeds": ({"embeds": [{"title": "x"}] * 11}, "embeds: Must be between"),
    "a long label": (row(button(label="x" * 81)), "label: Must be 80"),
    "a long custom id": (row(button(custom_id="x" * 101)), "custom_id: Must be 100"),
    "no custom id": (row({"type": 2, "style": 1, "label": "x"}), "custom id is required"),
    "the same custom id twice": (row(button(), button()), "'yes' twice"),
    "6 buttons in a row": (row(*(button(custom_id=str(number)) for number in range(6))), "5 buttons"),
    "6 rows": ({"components": [row(button(custom_id=str(n)))["components"][0] for n in range(6)]}, "between 1 and 5"),  # type: ignore[index]
    "a button outside of a row": ({"components": [button()]}, "Value must be one of {1}"),
    "a link that is none": (row(button(style=5, url="javascript:1", custom_id=None)), "Not a well formed URL"),
    "26 options": (
        row({"type": 3, "custom_id": "m", "options": [{"label": str(n), "value": str(n)} for n in range(26)]}),
        "options: Must be between",
    ),
    "a long nonce": ({"content": "x", "nonce": "1" * 26}, "nonce"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_an_unfit_message_is_refused(name: str, fake: DiscordFake, ada: User) -> None:
    body, why = BAD_MESSAGES[name]
    answer = ask(fake, "POST", f"/channels/{fake.world.direct(ada).id}/messages", body)
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    assert answer.json()["errors"]
    assert fake.direct_messages(ada) == []
    refused(fake, "invalid", why)


def text_input(**more: object) -> dict[str, object]:
    return {"type": 4, "style": 1, "custom_id": "t", "label": "Text", **more}


BAD_CALLBACKS: dict[str, tuple[int, dict[str, Any], str]] = {
    "2,001 characters": (4, {"content": "x" * 2001}, r"data\.content"),
    "a modal without fields": (9, {"title": "t", "custom_id": "m", "components": []}, "components: Must be"),
    "a long modal title": (9, {"title": "x" * 46, "custom_id": "m", **row(text_input())}, r"title: Must be 45"),
    "a long field label": (9, {"title": "t", "custom_id": "m", **row(text_input(label="x" * 46))}, "label: Must be 45"),
    "a long value": (9, {"title": "t", "custom_id": "m", **row(text_input(value="x" * 4001))}, "value: Must be 4000"),
    "a long modal custom id": (9, {"title": "t", "custom_id": "x" * 101, **row(text_input())}, "custom_id"),
}


@pytest.mark.parametrize("name", BAD_CALLBACKS)
def test_an_unfit_answer_is_refused(name: str, fake: DiscordFake, call: Call) -> None:
    kind, body, why = BAD_CALLBACKS[name]
    answer = acknowledge(fake, call, {"type": kind, "data": body})
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    call.excuse()
    refused(fake, "invalid", why)


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ([{"name": "x", "value": str(number)} for number in range(26)], "between 1 and 25"),
        ([{"name": "x" * 101, "value": "1"}], "name: Must be 100"),
        ([{"name": "x", "value": "1" * 101}], "value: Must be 100"),
        ([{"name": "", "value": "1"}], "required"),
    ],
)
def test_unfit_choices_are_refused(choices: list[object], why: str, fake: DiscordFake, ada: User) -> None:
    option = {"name": "tag", "description": "A tag", "type": 3, "autocomplete": True}
    register(fake, [{**ECHO, "options": [option]}])
    with running_client(fake, Idle):
        call = fake._type(ada, "echo", {"tag": "x"}, None, None, False, "tag")
        assert acknowledge(fake, call, {"type": 8, "data": {"choices": choices}}).json()["code"] == 50035
        call.excuse()
    refused(fake, "invalid", why)


def option(**more: object) -> dict[str, object]:
    return {"name": "text", "description": "A text", "type": 3, **more}


BAD_COMMANDS: dict[str, tuple[dict[str, Any], str]] = {
    "upper case": ({"name": "Echo"}, "name is invalid: 'Echo'"),
    "a blank": ({"name": "say it"}, "name is invalid"),
    "upper case in a localised name": ({"name_localizations": {"en-US": "Say"}}, "en-US: Command name is invalid"),
    "an unknown locale": ({"name_localizations": {"jp": "言う"}}, "unknown locale 'jp'"),
    "an unknown locale of a description": ({"description_localizations": {"en": "x"}}, "unknown locale 'en'"),
    "no description": ({"description": ""}, "description: Must be between 1 and 100"),
    "a long description": ({"description": "x" * 101}, "description: Must be between 1 and 100"),
    "a long name": ({"name": "x" * 33}, "between 1 and 32"),
    "an upper-case option": ({"options": [option(name="Text")]}, "name is invalid: 'Text'"),
    "an option twice": ({"options": [option(), option()]}, "must be unique"),
    "required after optional": ({"options": [option(), option(name="b", required=True)]}, "Required options"),
    "26 options": ({"options": [option(name=f"o{number}") for number in range(26)]}, "between 1 and 25"),
    "a long choice": ({"options": [option(choices=[{"name": "n", "value": "x" * 101}])]}, r"choices\.0\.value"),
    "26 choices": ({"options": [option(choices=[{"name": "n", "value": "v"}] * 26)]}, "choices: Must be between"),
    "choices that autocomplete": (
        {"options": [option(autocomplete=True, choices=[{"name": "n", "value": "v"}])]},
        "autocomplete: not both",
    ),
    "a menu with a description": ({"type": 3}, "Context menu"),
    "more than 8,000 characters": (
        {"options": [option(name=f"o{n}", description="x" * 100, choices=CHOICES) for n in range(4)]}
        if (CHOICES := [{"name": "n" * 40, "value": "v" * 40}] * 25)
        else {},
        "maximum size",
    ),
}


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_an_unfit_command_is_refused(name: str, fake: DiscordFake) -> None:
    command, why = BAD_COMMANDS[name]
    answer = register(fake, [{**ECHO, **command}])
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    assert fake.commands.registered == {}
    refused(fake, "invalid", why)


def test_a_name_in_japanese_is_fine(fake: DiscordFake) -> None:
    assert register(fake, [{**ECHO, "name_localizations": {"ja": "ノート追加"}}]).status_code == 200
    fake.check()


def test_six_message_menus_are_too_many(fake: DiscordFake) -> None:
    register(fake, [{"name": f"Menu {number}", "type": 3} for number in range(6)])
    refused(fake, "invalid", "Maximum number")


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("POST", "/users/@me"), ("DELETE", "/guilds/7")])
def test_an_unknown_route_is_found(method: str, path: str, fake: DiscordFake) -> None:
    assert ask(fake, method, path).status_code == 404
    refused(fake, "unknown-route", path)


def test_a_wrong_token_meets_401(fake: DiscordFake) -> None:
    answer = ask(fake, "GET", "/users/@me", Authorization="Bot wrong")
    assert (answer.status_code, answer.json()) == (401, {"message": "401: Unauthorized", "code": 0})
    refused(fake, "refused")


def test_a_client_says_who_it_is(fake: DiscordFake) -> None:
    ask(fake, "GET", "/users/@me", **{"User-Agent": "python-httpx/0.28"})
    refused(fake, "invalid", "User-Agent")


def test_the_token_stays_away_from_the_cdn(fake: DiscordFake, ada: User) -> None:
    from tests.fakes.discord import File

    message = fake.message(ada, files=[File("a.txt", b"x"), File("b.txt", b"y", status=403)])
    first, second = (attachment.url for attachment in message.attachments)
    assert httpx.get(first).content == b"x"
    assert httpx.get(second).status_code == 403
    fake.check()
    httpx.get(first, headers={"Authorization": f"Bot {fake.token}"})
    refused(fake, "invalid", "CDN")


@pytest.mark.skipif(openapi.description() is None, reason="Discord's OpenAPI document is not here")
def test_what_only_the_description_knows_is_found(fake: DiscordFake, ada: User) -> None:
    body = {"content": "x", "allowed_mentions": {"parse": ["all of them"]}}
    assert ask(fake, "POST", f"/channels/{fake.world.direct(ada).id}/messages", body).status_code == 200
    refused(fake, "invalid", "OpenAPI")


@pytest.mark.parametrize(
    ("frames", "code", "why"),
    [
        (['{"op":1,"d":"' + "x" * 4096 + '"}'], 4002, "frame of"),
        (["nonsense"], 4002, "not JSON"),
        (['{"op":3,"d":{}}'], 4003, "before IDENTIFY"),
        (['{"op":77}'], 4001, "unknown op"),
        (['{"op":1,"d":null}'] * 121, 4008, "more than 120"),
    ],
)
def test_a_wrong_frame_ends_the_connection(frames: list[str], code: int, why: str, fake: DiscordFake) -> None:
    async def closed_with() -> int | None:
        async with aiohttp.ClientSession() as session, session.ws_connect(fake.gateway) as socket:
            for frame in frames:
                await socket.send_str(frame)
            while (await socket.receive(5)).type is aiohttp.WSMsgType.TEXT:
                pass
            return socket.close_code

    assert asyncio.run(closed_with()) == code
    refused(fake, "frame", why)


def test_who_sends_no_heartbeats_is_closed() -> None:
    async def closed_with(url: str) -> int | None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            while (await socket.receive(5)).type is aiohttp.WSMsgType.TEXT:
                pass
            return socket.close_code

    with DiscordFake(heartbeat_ms=100) as fake:
        assert asyncio.run(closed_with(fake.gateway)) == 4000
        refused(fake, "silent")


def test_planned_faults_are_no_problem(fake: DiscordFake, ada: User) -> None:
    path = f"/channels/{fake.world.direct(ada).id}/messages"
    fake.fail("POST /channels", status=502)
    assert ask(fake, "POST", path, {"content": "one"}).status_code == 502
    fake.reset("POST /channels")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(fake, "POST", path, {"content": "two"})
    fake.lose_answer("POST /channels")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(fake, "POST", path, {"content": "three"})
    fake.rate_limit("POST /channels", by_cloudflare=True)
    answer = ask(fake, "POST", path, {"content": "four"})
    assert (answer.status_code, answer.headers.get("Via")) == (429, None)
    assert [message.content for message in fake.direct_messages(ada)] == ["three"]
    assert fake.faults.struck == {"status": 1, "reset": 1, "lost": 1, "limit": 1}
    fake.check()
