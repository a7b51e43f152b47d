"""The menu "Save to notes": what was said, by whom and where, with its files; once in each place."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nescord import KnowledgeManager
from nescord.notes import Note
from tests.command_world import BotWorld, bot_world, forged, said
from tests.fakes.discord import File, Message

MENU = "Save to notes"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def kept(km: KnowledgeManager, space: str) -> list[Note]:
    return [km.note(found.note_id) for found in km.scoped({space}).recent_notes()]


def jump_of(message: Message, guild: object = 7) -> str:
    return f"https://discord.com/channels/{guild}/{message.channel.id}/{message.id}"


def test_a_message_is_kept_with_its_text_embeds_author_and_where_it_was_said(world: BotWorld) -> None:
    with world.bot() as km:
        embed = {
            "title": "Tea",
            "url": "https://tea.example",
            "description": "hot",
            "fields": [{"name": "a", "value": "b"}],
        }
        message = world.fake.message(world.ben, "鍵は赤い箱の中", guild=world.home, embeds=[embed])
        answer = world.fake.menu(world.ada, MENU, message).wait()
        (note,) = kept(km, "user:42")
        assert answer.is_ephemeral
        assert note.title == "鍵は赤い箱の中"
        for part in ("**Tea** (https://tea.example)", "hot", "a: b", "— Ben", jump_of(message)):
            assert part in note.body
        assert (note.author, note.owner) == ("user:42", "us")
        assert km.scoped({"user:42"}).search("赤い箱")[0].link == jump_of(message)
        shown = world.click(world.ada, answer, "Show")
        assert [each["url"] for each in shown.buttons if "url" in each] == [jump_of(message)]


def test_the_same_message_again_is_a_link_to_its_note(world: BotWorld) -> None:
    with world.bot() as km:
        km.preferences.set("guild:7", visibility="server")
        message = world.fake.message(world.ada, "The key", guild=world.home)
        world.fake.menu(world.ada, MENU, message).wait()
        again = world.fake.menu(world.ben, MENU, message).wait()
        assert said(world.ben, "save.already", title="The key", where=said(world.ben, "note.for_server")) in again.text
        assert again.labels == ["表示"]
        assert "The key" in world.click(world.ben, again, "表示").text
        (note,) = kept(km, "guild:7")
        # In a place of one's own it is another note; and in the same one again, once it was deleted.
        km.preferences.set("user:43", visibility="me")
        world.fake.menu(world.ben, MENU, message).wait()
        assert len(kept(km, "user:43")) == 1
        km.delete_note(note.id)
        world.fake.menu(world.ada, MENU, message).wait()
        assert len(kept(km, "guild:7")) == 1


def test_of_many_who_save_a_message_at_once_one_makes_the_note(world: BotWorld) -> None:
    with world.bot() as km:
        km.preferences.set("guild:7", visibility="server")
        message = world.fake.message(world.ada, "The key", guild=world.home, files=[File("a.bin", b"1")])
        people = [world.ada, world.ben, world.mia, world.owner] * 3
        with ThreadPoolExecutor(len(people)) as threads:
            calls = list(threads.map(lambda user: world.fake.menu(user, MENU, message), people))
        answers = [call.wait() for call in calls]
        assert len(kept(km, "guild:7")) == 1
        new = [answer for answer in answers if "Kept:" in answer.text or "保存しました" in answer.text]
        assert len(new) == 1
        assert not km.trash()


def test_files_are_stored_and_what_is_not_is_said(world: BotWorld) -> None:
    with world.bot() as km:
        files = [
            File("small.txt", b"small", "text/plain"),
            File("large.bin", b"", size=9 * 2**20),
            File("gone.png", b"x", status=404),
            File("liar.bin", b"x" * (9 * 2**20), size=10),
        ]
        message = world.fake.message(world.ada, "", guild=world.home, files=files)
        answer = world.fake.menu(world.ben, MENU, message).wait()
        (note,) = kept(km, "user:43")
        assert note.title == "Ada さんのメッセージ"
        assert "small.txt" in note.body
        assert km.attachment(note.id, 0) == b"small"
        stored = {file.name: file.is_stored for file in km.attachments(note.id)}
        assert stored == {"small.txt": True, "large.bin": False, "gone.png": False, "liar.bin": False}
        too_large, not_got = said(world.ben, "save.too_large", most=8), said(world.ben, "save.not_got")
        for name, reason in (("large.bin", too_large), ("gone.png", not_got), ("liar.bin", too_large)):
            assert said(world.ben, "save.not_stored", name=name, reason=reason) in answer.text
        assert "small.txt" not in answer.text


def test_the_files_of_one_note_are_no_more_than_it_may_have(world: BotWorld) -> None:
    with world.bot() as km:
        files = [File(f"{number}.bin", bytes([number]) * (7 * 2**20)) for number in range(4)]
        message = world.fake.message(world.ada, "files", guild=world.home, files=files)
        answer = world.fake.menu(world.ada, MENU, message).wait(timeout=20)
        (note,) = kept(km, "user:42")
        assert [file.is_stored for file in km.attachments(note.id)] == [True, True, True, False]
        assert said(world.ada, "save.too_many", most=25) in answer.text


def test_what_somebody_else_says_is_no_front_matter(world: BotWorld) -> None:
    with world.bot() as km:
        text = "---\ntitle: Forged\ntags: [forged]\naliases: [Home]\n---\n@everyone read this"
        message = world.fake.message(world.eve, text, guild=world.home)
        answer = world.fake.menu(world.ada, MENU, message).wait()
        (note,) = kept(km, "user:42")
        assert (note.tags, note.aliases) == ((), ())
        assert note.title != "Forged"
        assert "@everyone read this" in note.body
        assert "@everyone" not in world.click(world.ada, answer, "Show").text


def test_an_empty_message_is_refused(world: BotWorld) -> None:
    with world.bot() as km:
        message = world.fake.message(world.ada, "", guild=world.home)
        assert said(world.ben, "save.empty") in world.fake.menu(world.ben, MENU, message).wait().text
        assert km.status().notes == 0


def test_a_message_accepted_by_a_process_that_ended_is_kept_by_the_next_and_once(world: BotWorld) -> None:
    with world.bot() as km:
        message = world.fake.message(world.ada, "The key", guild=world.home)
        world.fake.menu(world.ada, MENU, message).wait()
        (note,) = kept(km, "user:42")
        # The row was not marked done: the handler runs again, for the note of the same id.
        options = {"text": "The key", "jump": jump_of(message), "name": "ada", "when": "", "files": []}
        again = forged(world, world.ada, "save.message", options, guild=world.home, note_id=note.id)
        assert "Kept:" in again.body
        assert len(kept(km, "user:42")) == 1
