"""One person's slow answers and large files keep nobody else waiting, and the bot small."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.knowledge import Base
from bot.render import Reply
from bot.request import TOKEN_LIFE
from bot.turns import ANSWERS_AT_ONCE, Places, Turns
from bot.visit import Refused, Visit
from tests import desk_toys
from tests.bot_requests import request_of
from tests.command_world import BotWorld, bot_world
from tests.desk_world import Opening, eventually, is_settled, notes_of, opening, settings, toy
from tests.discord_world import RunningBot, running_bot
from tests.fakes.discord import Call, DiscordFake, File, User

MENU = "Save to notes"
# Measured: 195 MB; without turns a gigabyte.
MOST_MEMORY = 300e6


@pytest.fixture
def fake() -> Iterator[DiscordFake]:
    with DiscordFake() as discord_fake:
        yield discord_fake


@pytest.fixture
def bot(tmp_path: Path, fake: DiscordFake) -> Iterator[Opening]:
    with opening(tmp_path, fake) as opened:
        yield opened


@pytest.fixture
def people(fake: DiscordFake) -> list[User]:
    return [fake.user(42 + number, f"person{number}", locale="en-US") for number in range(6)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_what_waits_for_a_model_keeps_nobody_waiting(fake: DiscordFake, people: list[User], bot: Opening) -> None:
    client = bot(quota_answers="100/1000")
    ada, bob = people[:2]
    asked = [toy(fake, each, "think", str(number)) for number in range(12) for each in people]
    eventually(lambda: len(desk_toys.ran) == ANSWERS_AT_ONCE)
    for who in (ada, bob):
        kept, found = toy(fake, who, "keep", "a note"), toy(fake, who, "search", "x")
        for call in (kept, found):
            call.wait()
            assert call.replied_after is not None
            assert call.replied_after < 2
    assert len(desk_toys.ran) == ANSWERS_AT_ONCE + 2
    assert notes_of(client, ada) == ["a note"]
    desk_toys.gate.set()
    for call in asked:
        assert call.wait(30).content.startswith("thought by answer")
    eventually(lambda: is_settled(client))
    fake.check()


def test_many_questions_of_one_person_are_one_turn_before_that_of_another(
    fake: DiscordFake, people: list[User], bot: Opening
) -> None:
    bot(quota_answers="100/1000")
    ada, bob = people[:2]
    asked = asked_in_order(fake, ada, 12)
    eventually(lambda: len(desk_toys.ran) == 1)
    toy(fake, bob, "think", "bob")
    eventually(lambda: len(desk_toys.ran) == 2)
    time.sleep(0.3)
    assert desk_toys.thought == ["0", "bob"]
    desk_toys.gate.set()
    for call in asked:
        call.wait(30)
    assert [each for each in desk_toys.thought if each != "bob"] == [str(number) for number in range(12)]
    fake.check()


def test_no_model_is_asked_anything_more_once_it_ends(fake: DiscordFake, people: list[User], bot: Opening) -> None:
    client = bot(quota_answers="100/1000")
    asked = asked_in_order(fake, people[0], 3)
    eventually(lambda: len(desk_toys.ran) == 1)
    ending = asyncio.run_coroutine_threadsafe(client.desk.close(), client.loop)
    time.sleep(0.2)
    desk_toys.gate.set()
    ending.result(20)
    assert asked[0].wait().content.startswith("thought")
    assert desk_toys.thought == ["0"]
    assert {row.id for row in client.desk.base.inbox.pending()} == {str(call.id) for call in asked[1:]}


def test_of_each_person_one_is_served_in_the_order_they_came() -> None:
    order: list[str] = []

    async def wanted(turns: Turns, who: str, name: str) -> None:
        async with turns.of(who):
            order.append(name)
            await asyncio.sleep(0.01)

    async def all_of_them() -> None:
        turns = Turns(1)
        names = ["ada 1", "ada 2", "ada 3", "bob 1", "cem 1", "bob 2"]
        await asyncio.gather(*(wanted(turns, name.partition(" ")[0], name) for name in names))

    asyncio.run(all_of_them())
    assert order[:3] == ["ada 1", "bob 1", "cem 1"]
    assert sorted(order) == ["ada 1", "ada 2", "ada 3", "bob 1", "bob 2", "cem 1"]
    assert order.index("ada 2") < order.index("ada 3")


def test_a_turn_that_does_not_come_takes_nobodys_place() -> None:
    async def given_up() -> None:
        turns = Turns(1)
        async with turns.of("ada"):
            for who in ("ada", "bob"):
                with pytest.raises(TimeoutError):
                    async with turns.of(who, 0.05):
                        raise AssertionError
        for who in ("ada", "bob"):
            async with turns.of(who, 0.05):
                pass

    asyncio.run(given_up())


def test_who_would_wait_until_nobody_can_be_answered_is_refused(tmp_path: Path) -> None:
    almost = request_of(accepted_at=datetime.now(UTC) - TOKEN_LIFE + timedelta(seconds=30))

    async def nothing(reply: Reply) -> None:
        return None

    async def refused(base: Base, threads: ThreadPoolExecutor) -> None:
        places = Places()
        visit = Visit(almost, base, "en", threads=threads, show=nothing, places=places)
        async with places.answering.of(almost.who), places.sending_files.of(almost.who):
            with pytest.raises(Refused, match=r"frame\.too_slow"):
                async with visit.asking_a_model():
                    raise AssertionError
            with pytest.raises(Refused, match=r"frame\.too_slow"):
                await visit.before_sending_files()

    with Base.open(settings(tmp_path)) as base, ThreadPoolExecutor(1) as threads:
        asyncio.run(refused(base, threads))


def test_files_are_fetched_for_two_notes_at_once_and_no_more(world: BotWorld) -> None:
    with world.bot():
        people = [world.ada, world.ben, world.mia, world.owner]
        message = [world.fake.message(who, "x", guild=world.home, files=[File("a.bin", b"1")]) for who in people]
        world.fake.hold("GET cdn", 1, len(people))
        with ThreadPoolExecutor(len(people)) as threads:
            calls = list(threads.map(lambda who, one: world.fake.menu(who, MENU, one), people, message))
        plain = world.fake.menu(world.ada, MENU, world.fake.message(world.ada, "no files", guild=world.home))
        assert at_once(calls, 1.0) == 2
        plain.wait()
        assert plain.replied_after is not None
        assert plain.replied_after < 0.9, "it has no files to wait for"


@pytest.mark.parametrize("command", ["note show", "privacy export"])
def test_files_are_sent_to_two_people_at_once_and_no_more(command: str, world: BotWorld) -> None:
    with world.bot() as km:
        km.preferences.set("guild:7", visibility="server")
        message = world.fake.message(world.ada, "The key", guild=world.home, files=[File("a.bin", b"1")])
        world.fake.menu(world.ada, MENU, message).wait()
        (note,) = km.scoped({"guild:7"}).recent_notes()
        options = {"note": note.note_id} if command == "note show" else {}
        people = [world.ada, world.ben, world.mia, world.owner]
        world.fake.hold("PATCH /webhooks", 1, len(people))
        with ThreadPoolExecutor(len(people)) as threads:
            calls = list(threads.map(lambda who: world.fake.slash(who, command, options, guild=world.home), people))
        assert at_once(calls, 1.0) == 2
        assert all(call.wait().files for call in calls)


def asked_in_order(fake: DiscordFake, who: User, count: int) -> list[Call]:
    asked = []
    for number in range(count):
        asked.append(toy(fake, who, "think", str(number)))
        assert asked[-1].ack
    return asked


def at_once(calls: Sequence[Call], seconds: float) -> int:
    """How many of them were answered before anybody can have been answered after another who took so long."""
    for call in calls:
        call.wait(20)
    return sum((call.replied_after or 0.0) < 2 * seconds - 0.1 for call in calls)


@pytest.mark.slow
def test_large_files_of_many_notes_take_the_memory_of_a_few(tmp_path: Path, fake: DiscordFake) -> None:
    guild = fake.guild(7, "Home")
    people = [fake.user(number, f"person{number}", locale="en-US") for number in (42, 43, 44)]
    for person in people:
        guild.member(person)
    with running_bot(tmp_path, fake) as running:
        before = memory(running, "VmRSS")
        files = [File(f"{number}.bin", os.urandom(8 * 2**20 - 10)) for number in range(3)]
        messages = [fake.message(people[0], f"big {number}", guild=guild, files=files) for number in range(10)]
        saved = [fake.menu(person, MENU, message) for message in messages for person in people]
        for call in saved:
            assert "Kept:" in call.wait(120).text
        after_saving = memory(running, "VmHWM")
        shown = [fake.click(call.user, call.wait(), "Show") for call in saved]
        for call in shown:
            assert call.wait(120).files
        most = memory(running, "VmHWM")
    print(f"before {before:,}, after saving {after_saving:,}, after showing {most:,}")
    assert most < MOST_MEMORY


def memory(running: RunningBot, kind: str) -> int:
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) * 1024
