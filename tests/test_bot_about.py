"""`/status` and `/help`: honest about what is there, and nothing of another scope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hashing_embedder import HashingEmbedder

from tests.command_world import BotWorld, bot_world, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_notes_are_counted_in_scope_and_the_quota_that_is_left_is_shown(world: BotWorld) -> None:
    with world.bot() as km:
        for space in ("user:42", "guild:7", "guild:7", "user:43", "guild:8", "personal"):
            km.add_note(f"A note in {space}", space=space)
        here = world.answer(world.ada, "status", world.home)
        fields = {field["name"]: field["value"] for field in here.embeds[0]["fields"]}
        assert fields[said(world.ada, "status.notes")] == "3"
        assert "Searches: 200 (2,000 for this server)" in fields[said(world.ada, "status.quotas")]
        alone = world.answer(world.ben, "status")
        fields = {field["name"]: field["value"] for field in alone.embeds[0]["fields"]}
        assert fields[said(world.ben, "status.notes")] == "1"
        world.answer(world.ada, "search", world.home, query="note")
        assert "Searches: 199 (1,999" in world.answer(world.ada, "status", world.home).text


def test_what_is_degraded_is_said_and_the_budget_is_for_the_owner(world: BotWorld) -> None:
    with world.bot():
        for person in (world.ada, world.ben):
            message = world.answer(person, "status")
            assert message.is_ephemeral
            assert said(person, "search.off") in message.text
            assert said(person, "status.budget") not in message.text
        assert "1,000,000" in world.answer(world.owner, "status").text


def test_what_waits_for_a_vector_is_counted_in_scope(world: BotWorld) -> None:
    with world.bot(embedder=HashingEmbedder()) as km:
        km.add_note("embedded", space="user:42")
        km.catch_up()
        for number in range(7):
            km.add_note(f"Of the owner {number}", space="personal")
        assert said(world.ada, "status.well") in world.answer(world.ada, "status").text
        assert said(world.owner, "status.pending", count="7") in world.answer(world.owner, "status").text


def test_no_path_of_the_machine_is_shown(world: BotWorld) -> None:
    with world.bot() as km:
        text = world.answer(world.owner, "status").text
        assert str(km.folder.path) not in text
        assert "NESCORD_" not in text


def test_help_names_every_command(world: BotWorld) -> None:
    with world.bot():
        english, japanese = world.answer(world.ada, "help").text, world.answer(world.ben, "help").text
        for (kind, name), command in world.fake.commands.registered.items():
            if kind == 1 and name != "help":
                assert f"`/{name}" in english, name
                assert f"`/{command['name_localizations']['ja']}" in japanese, name
