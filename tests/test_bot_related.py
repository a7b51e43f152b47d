"""`/related` and the menu "Find related"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hashing_embedder import HashingEmbedder

from tests.command_world import BotWorld, bot_world, said

MENU = "Find related"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_notes_near_to_a_note_are_shown_as_far_as_they_may_be_seen(world: BotWorld) -> None:
    with world.bot(embedder=HashingEmbedder()) as km:
        note = km.add_note("# Green tea\n\ngreen tea wants seventy degrees", space="user:43")
        km.add_note("# Water\n\ngreen tea wants seventy degrees of water", space="guild:7")
        km.add_note("# Secret\n\ngreen tea wants seventy degrees", space="user:42")
        km.catch_up()
        message = world.answer(world.ben, "related", world.home, note=note.id)
        assert message.is_ephemeral
        assert said(world.ben, "related.title", title="Green tea") in message.text
        assert "Water" in message.text
        assert "Secret" not in message.text
        assert "seventy" in world.click(world.ben, message, "[1]").text
        alone = world.answer(world.ben, "related", note=note.id)
        assert said(world.ben, "related.none", title="Green tea") in alone.text


def test_without_vectors_words_tell_what_is_related_and_that_is_said(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("# Green tea\n\nwants seventy degrees", space="user:42")
        km.add_note("tea of somebody else", space="user:43")
        assert (
            said(world.ada, "related.none", title="Green tea") in world.answer(world.ada, "related", note=note.id).text
        )
        km.add_note("# Kettle\n\nkept at seventy degrees", space="user:42")
        message = world.answer(world.ada, "related", note=note.id)
        assert "Kettle" in message.text
        assert message.labels == ["[1]"]
        assert said(world.ada, "search.off") in message.text
        assert said(world.ben, "note.none") in world.answer(world.ben, "related", note=note.id).text


def test_notes_related_to_a_message_are_found_whatever_signs_are_in_it(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("The red box stands behind the stove", space="guild:7")
        km.add_note("赤い箱はストーブの後ろ", space="user:43")
        text = 'after:nonsense "red box" -stove <@42> tag:nothing'
        message = world.fake.message(world.ben, text, guild=world.home)
        answer = world.fake.menu(world.ada, MENU, message).wait()
        assert answer.is_ephemeral
        assert said(world.ada, "related.message_title") in answer.text
        assert "behind the" in answer.text
        japanese = world.fake.message(world.ada, "赤い箱はどこですか", guild=world.home)
        assert "ストーブ" in world.fake.menu(world.ben, MENU, japanese).wait().text
        nothing = world.fake.menu(world.ada, MENU, japanese).wait()
        assert said(world.ada, "related.none_message") in nothing.text
        empty = world.fake.message(world.ada, "", guild=world.home)
        assert said(world.ben, "related.no_text") in world.fake.menu(world.ben, MENU, empty).wait().text


def test_the_note_of_the_message_itself_is_left_out(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("The red box, too", space="user:42")
        message = world.fake.message(world.ben, "The red box", guild=world.home)
        world.fake.menu(world.ada, "Save to notes", message).wait()
        answer = world.fake.menu(world.ada, MENU, message).wait()
        assert "too" in answer.text
        assert answer.labels == ["[1]"]
