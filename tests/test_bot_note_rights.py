"""Who may change a note, and from where: asked anew with every command, button and form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vaults import write_notes

from bot.texts import text
from bot.visit import Refused
from nescord.errors import NotFoundError
from tests.command_world import BotWorld, bot_world, forged, said
from tests.fakes.discord import User


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


CHANGES = (
    "button.note_delete",
    "button.note_deleted",
    "button.note_undo",
    "note.delete",
    "note.replace",
)
LOOKS = ("button.note", "button.note_page", "button.note_file", "note.show", "related")
BEFORE = ("note.history", "button.note_history", "button.note_version")


def test_only_who_kept_a_note_or_a_manager_changes_it(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("of ada", space="guild:7", author="user:42", title="Key")
        km.edit_note(note.id, text="of ada, again")
        (version,) = km.note_history(note.id)
        options = {
            "id": note.id, "note": note.id, "more": str(version.number), "file": {"name": "a.md", "url": "http://127.0.0.1:1/x"},
        }  # fmt: skip

        def refusal(kind: str, user: User, where: object, *, is_manager: bool = False) -> str:
            try:
                forged(world, user, kind, options, guild=where, is_manager=is_manager)  # type: ignore[arg-type]
            except Refused as refused:
                return refused.key
            return ""

        for kind in (*CHANGES, *BEFORE):
            assert refusal(kind, world.ben, world.home) == "note.not_yours", kind
            # Whoever manages one guild manages nothing in another, nor in a direct message.
            assert refusal(kind, world.eve, world.other, is_manager=True) == "note.none", kind
            assert refusal(kind, world.ada, None) == "note.none", kind
            assert refusal(kind, world.mia, None, is_manager=True) == "note.none", kind
        for kind in LOOKS:
            assert refusal(kind, world.ben, world.home) in ("", "related.none"), kind
            assert refusal(kind, world.eve, world.other, is_manager=True) == "note.none", kind
        for kind in BEFORE:
            assert refusal(kind, world.ada, world.home) == ""
            assert refusal(kind, world.mia, world.home, is_manager=True) == ""
        assert km.note(note.id).body == "of ada, again"
        shown = world.answer(world.ben, "note show", world.home, note=note.id)
        assert shown.labels == []
        opened = world.fake.slash(world.ben, "note edit", {"note": note.id}, guild=world.home)
        assert said(world.ben, "note.not_yours") in opened.wait().text
        world.fake.click(world.mia, world.answer(world.mia, "note delete", world.home, note=note.id), "Delete")
        world.fake.wait_until(lambda: bool(km.note(note.id).trashed_at), 10, "deleted by the manager")


def test_the_personal_space_is_for_its_owner_only_and_a_vault_is_changed_in_its_files(world: BotWorld) -> None:
    with world.bot() as km:
        # Whatever a file says of its author.
        write_notes(world.folder / "vault", {"Tea.md": "---\nauthor: user:42\n---\n# Tea\n\nseventy degrees\n"})
        km.ingest(world.folder / "vault")
        (hit,) = km.search("seventy")
        for command in ("note edit", "note delete"):
            call = world.fake.slash(world.owner, command, {"note": hit.note_id})
            assert said(world.owner, "note.of_source", path="Tea.md") in call.wait().text
            for user in (world.ada, world.ben):
                call = world.fake.slash(user, command, {"note": hit.note_id}, guild=world.home)
                assert said(user, "note.none") in call.wait().text
        shown = world.answer(world.owner, "note show", note=hit.note_id)
        assert shown.labels == ["History"]
        assert "Tea.md" in shown.text
        mine = km.add_note("captured", author="")
        assert "Edit" in world.answer(world.owner, "note show", world.home, note=mine.id).labels
        with pytest.raises(NotFoundError):
            km.scoped({"user:42", "guild:7"}).note(mine.id)


def test_what_was_typed_is_given_back_where_it_cannot_be_written(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("of ada", space="guild:7", author="user:42")
        sent = {"id": f"{note.id}|{note.updated_at}", "title": "", "text": "typed", "tags": ""}
        for user, guild, key in (
            (world.ben, world.home, "note.not_yours"),
            (world.eve, world.other, "note.none"),
            (world.ada, None, "note.none"),
        ):
            reply = forged(world, user, "note.edited", sent, guild=guild)
            assert reply.body == text(key, "en")
            assert [file.content for file in reply.files] == [b"typed"]
        km.delete_note(note.id)
        reply = forged(world, world.ada, "note.edited", sent, guild=world.home)
        assert reply.body == said(world.ada, "note.trashed")
        assert km.note(note.id).body == "of ada"
