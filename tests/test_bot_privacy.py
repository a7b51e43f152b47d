"""`/privacy`: shown, handed out and erased, one's own and nobody else's."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_world import BotWorld, bot_world, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_what_is_kept_is_counted_with_the_statement_in_both_languages(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("Mine", space="user:42", author="user:42")
        km.add_note("Mine, for all", space="guild:7", author="user:42")
        km.add_note("Of Ben", space="user:43", author="user:43")
        shown = world.answer(world.ada, "privacy show")
        assert shown.is_ephemeral
        assert said(world.ada, "privacy.statement") in shown.text
        assert "- notes: 2" in shown.text
        assert said(world.ben, "privacy.statement") in world.answer(world.ben, "privacy show", world.home).text


def test_all_of_it_comes_as_a_file(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("# 梅\n\n梅は冬に剪定します。", space="user:43", author="user:43")
        km.add_note("Secret of Ada", space="user:42", author="user:42")
        message = world.answer(world.ben, "privacy export")
        (file,) = message.files
        with zipfile.ZipFile(io.BytesIO(file.content)) as exported:
            texts = [exported.read(name).decode("utf-8") for name in exported.namelist() if name.endswith(".md")]
        assert any("梅は冬に剪定します。" in each for each in texts)
        assert not any("Ada" in each for each in texts)


@pytest.mark.parametrize("word", ["DELETE", "delete ", "削除"])
def test_it_is_erased_when_the_word_is_typed(world: BotWorld, word: str) -> None:
    with world.bot() as km:
        km.add_note("Mine", space="user:42", author="user:42")
        shared = km.add_note("Mine, for all", space="guild:7", author="user:42")
        other = km.add_note("Of Ben", space="guild:7", author="user:43")
        world.answer(world.ada, "search", world.home, query="mine")
        form = world.fake.slash(world.ada, "privacy delete", {}, guild=world.home)
        erased = world.fake.submit(world.ada, form, {"word": word}).wait()
        assert erased.is_ephemeral
        assert said(world.ada, "privacy.deleted") in erased.text
        assert "- notes: 2" in erased.text
        left = [note.note_id for note in km.scoped({"user:42", "guild:7"}).recent_notes()]
        assert left == [other.id]
        assert shared.id not in left
        assert km.privacy("user:42").summary().counts.get("notes", 0) == 0


def test_without_the_word_nothing_is_erased(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("Mine", space="user:43", author="user:43")
        form = world.fake.slash(world.ben, "privacy delete", {})
        kept = world.fake.submit(world.ben, form, {"word": "yes"}).wait()
        assert said(world.ben, "privacy.not_deleted") in kept.text
        assert km.privacy("user:43").summary().counts["notes"] == 1
