"""`/settings`: what a person or a server prefers, and that it counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_world import BotWorld, bot_world, forged, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_the_language_of_answers_can_be_chosen_and_given_back(world: BotWorld) -> None:
    with world.bot():
        assert "What I can do" in world.answer(world.ada, "help").text
        world.answer(world.ada, "settings", language="ja")
        assert "できること" in world.answer(world.ada, "help").text
        world.answer(world.ada, "settings", language="-")
        assert "What I can do" in world.answer(world.ada, "help").text


def test_all_that_is_set_is_shown(world: BotWorld) -> None:
    with world.bot() as km:
        message = world.answer(
            world.ben, "settings", world.home, zone="Europe/Berlin", tags="庭, Project Bot", visibility="server"
        )
        assert message.is_ephemeral
        assert said(world.ben, "settings.changed") in message.text
        for shown in ("Europe/Berlin", "#庭", "#project-bot", said(world.ben, "settings.server")):
            assert shown in message.text
        chosen = km.preferences.get("user:43")
        assert (chosen.timezone, chosen.visibility) == ("Europe/Berlin", "server")
        world.answer(world.ben, "settings", zone="-", tags="-", visibility="-")
        assert km.preferences.get("user:43").tags == ()


def test_what_cannot_be_set_changes_nothing(world: BotWorld) -> None:
    with world.bot() as km:
        message = world.answer(world.ada, "settings", zone="Mars/Olympus", tags="tea")
        assert said(world.ada, "settings.refused") in message.text
        assert km.preferences.get("user:42").tags == ()


def test_the_settings_of_a_server_are_for_its_managers(world: BotWorld) -> None:
    with world.bot() as km:
        refused = world.answer(world.ada, "settings", world.home, whose="server", language="ja")
        assert said(world.ada, "frame.managers_only") in refused.text
        assert km.preferences.get("guild:7").language == ""
        world.answer(world.mia, "settings", world.home, whose="server", language="ja")
        assert km.preferences.get("guild:7").language == "ja"
        alone = world.answer(world.mia, "settings", whose="server", language="ja")
        assert said(world.mia, "settings.no_guild") in alone.text


def test_time_zones_can_be_found_by_a_part_of_their_names(world: BotWorld) -> None:
    with world.bot():
        choices = world.fake.autocomplete(world.ada, "settings", {"zone": "tok"}, focused="zone", guild=world.home)
        assert choices[0]["value"] == "Asia/Tokyo"
        assert all("tok" in choice["value"].casefold() for choice in choices)
        assert len(world.fake.autocomplete(world.ada, "settings", {"zone": "a"}, focused="zone")) == 25


def test_a_manager_of_one_server_sets_nothing_in_another(world: BotWorld) -> None:
    with world.bot() as km:
        forged(world, world.eve, "settings", {"whose": "server", "language": "ja"}, guild=world.other, is_manager=True)
        assert km.preferences.get("guild:8").language == "ja"
        assert km.preferences.get("guild:7").language == ""


def test_what_a_server_has_chosen_holds_where_a_person_has_not(world: BotWorld) -> None:
    with world.bot() as km:
        world.answer(world.mia, "settings", world.home, whose="server", tags="team", zone="Europe/Berlin")
        world.answer(world.ada, "note add", world.home, text="for all", where="server")
        world.answer(world.ada, "note add", world.home, text="for me")
        world.answer(world.ben, "settings", tags="mine")
        world.answer(world.ben, "note add", world.home, text="of ben", where="server")
        notes = {note.title: km.note(note.note_id).tags for note in km.recent_notes(limit=10)}
        assert notes == {"for all": ("team",), "for me": (), "of ben": ("mine",)}
        assert "(Europe/Berlin)" in world.answer(world.ada, "digest", world.home, switch="on").text
