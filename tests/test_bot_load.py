"""Two hundred acts of people at once: each is acknowledged in time, each is answered, no note is lost or doubled.

Once as it should be; once with a connection that breaks meanwhile, and comes back with what was delivered already.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from tests.discord_world import running_bot
from tests.fakes.discord import Call, DiscordFake, Guild, User
from tests.vaults import open_base

PEOPLE, WAVES = 20, 10


def act(discord: DiscordFake, who: User, number: int, guild: Guild) -> Call:
    """The n-th act of a person: half of them are notes, here and in the DM."""
    place = guild if number % 2 else None
    name = f"{who.name} {number}"
    match number % 10:
        case 0 | 1 | 3 | 5 | 8:
            return discord.slash(who, "note add", {"text": f"# Note of {name}\n\nkept by {name}"}, guild=place)
        case 2 | 7:
            return discord.slash(who, "search", {"query": f"note of {who.name}"}, guild=place)
        case 4:
            return discord.slash(who, "note list", guild=place)
        case 6:
            return discord.slash(who, "settings", guild=place)
        case _:
            written = discord.message(who, f"Said by {name}", guild=place)
            return discord.menu(who, "Save to notes", written)


def is_note(number: int) -> bool:
    return number % 10 in (0, 1, 3, 5, 8, 9)


def spread(name: str, seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"{name}: p50 {cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms, most {max(seconds) * 1000:.0f} ms"


@pytest.mark.slow
@pytest.mark.parametrize("connection", ["steady", "torn"])
def test_two_hundred_acts_at_once_are_all_answered(
    connection: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Call] = []
    with DiscordFake() as discord:
        guild = discord.guild(7, "Home")
        people = [discord.user(100 + number, f"person{number}") for number in range(PEOPLE)]
        for person in people:
            guild.member(person)

        def everything_of(person: User) -> None:
            calls.extend(act(discord, person, number, guild) for number in range(WAVES))

        with running_bot(tmp_path, discord):
            threads = [threading.Thread(target=everything_of, args=(person,)) for person in people]
            for thread in threads:
                thread.start()
            if connection == "torn":
                discord.wait_until(lambda: len(discord.calls) >= PEOPLE * WAVES // 2, what="half of the acts")
                discord.replay(40)
                discord.drop_socket()
            for thread in threads:
                thread.join()
            for call in calls:
                call.wait(60)
        acks = [call.ack.seconds for call in calls]
        replies = [call.replied_after or 0.0 for call in calls]
        side = discord.gateway_side
        assert (len(side.resumes), side.replayed > 0) == ((1, True) if connection == "torn" else (0, False))
    with capsys.disabled():
        print(
            f"\n{len(calls)} interactions, {connection}; {spread('acknowledged', acks)}; {spread('answered', replies)}"
        )
    assert len(calls) == PEOPLE * WAVES
    assert max(acks) < 3
    with open_base(tmp_path / "kb", vector="exact") as km:
        kept = {space: bodies_of(km, space) for space in ("guild:7", *(f"user:{person.id}" for person in people))}
    bodies = [body for space in kept.values() for body in space]
    wanted = [f"by {person.name} {number}" for person in people for number in range(WAVES) if is_note(number)]
    assert len(bodies) == len(wanted)
    assert [text for text in wanted if sum(ends(body, text) for body in bodies) != 1] == []


def ends(body: str, text: str) -> bool:
    return any(line.strip().removesuffix(".").endswith(text) for line in body.splitlines())


def bodies_of(km: KnowledgeManager, space: str) -> list[str]:
    view = km.scoped(frozenset({space}))
    return [view.note(title.note_id).body for title in view.recent_notes(limit=1000)]
