"""`/digest`: who may switch it on where. What it says and how it is sent is in test_digests.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_world import BotWorld, bot_world, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_a_person_switches_their_own_on_and_off(world: BotWorld) -> None:
    with world.bot() as km:
        on = world.answer(world.ben, "digest", switch="on", hour=21, zone="Asia/Tokyo")
        assert on.is_ephemeral
        assert "21:00（Asia/Tokyo）" in on.text
        found = km.digests.find("user:43")
        assert found is not None
        assert (found.hour, found.timezone, found.language, found.guild) == (21, "Asia/Tokyo", "ja", "")
        # What is not named stays.
        assert "21:00" in world.answer(world.ben, "digest", switch="on").text
        assert "21:00" in world.answer(world.ben, "digest", switch="show").text
        assert said(world.ben, "digest.off") in world.answer(world.ben, "digest", switch="off").text
        assert said(world.ben, "digest.was_off") in world.answer(world.ben, "digest", switch="off").text
        assert said(world.ben, "digest.is_off") in world.answer(world.ben, "digest", switch="show").text
        assert km.digests.find("user:43") is None


def test_the_zone_is_the_preferred_one_and_else_that_of_the_settings(world: BotWorld) -> None:
    with world.bot() as km:
        world.answer(world.ada, "settings", zone="Europe/Berlin")
        assert "07:00 (Europe/Berlin)" in world.answer(world.ada, "digest", switch="on").text
        assert "07:00 (Asia/Tokyo)" in world.answer(world.mia, "digest", switch="on").text
        refused = world.answer(world.ada, "digest", switch="on", zone="Mars/Olympus")
        assert said(world.ada, "digest.no_zone", zone="Mars/Olympus") in refused.text
        found = km.digests.find("user:42")
        assert found is not None
        assert found.timezone == "Europe/Berlin"


def test_a_channel_gets_one_from_a_manager_only(world: BotWorld) -> None:
    with world.bot() as km:
        refused = world.answer(world.ada, "digest", world.home, switch="on", where="channel")
        assert said(world.ada, "frame.managers_only") in refused.text
        alone = world.answer(world.mia, "digest", switch="on", where="channel")
        assert said(world.mia, "digest.no_guild") in alone.text
        on = world.answer(world.mia, "digest", world.home, switch="on", where="channel", hour=8)
        assert said(world.mia, "digest.here") in on.text
        channel = next(iter(world.home.channels))
        channel_id = channel if isinstance(channel, int) else channel.id
        found = km.digests.find(f"channel:{channel_id}")
        assert found is not None
        assert (found.guild, found.who) == ("guild:7", "user:44")
        refused = world.answer(world.ada, "digest", world.home, switch="off", where="channel")
        assert said(world.ada, "frame.managers_only") in refused.text
        assert km.digests.find(f"channel:{channel_id}") is not None
