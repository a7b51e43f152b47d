"""`/note`: kept once and where it was meant to be, shown, changed by whoever may, and never lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.note_page import PAGE, pages
from bot.visit import Refused
from nescord import KnowledgeManager
from nescord.identifiers import uuid7
from nescord.notes import Attachment, Note
from nescord.times import utc_text
from tests.command_world import BotWorld, bot_world, forged, said
from tests.fakes.discord import File, Message, User


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def only_note(km: KnowledgeManager, space: str) -> Note:
    (found,) = km.scoped({space}).recent_notes()
    return km.note(found.note_id)


def changed(world: BotWorld, user: User, note: Note, **values: str) -> Message:
    """What is answered when that person opens the form of the note and sends it with these values."""
    opened = world.fake.slash(user, "note edit", {"note": note.id}, guild=world.home)
    return world.fake.submit(user, opened, values).wait()


def test_a_note_is_kept_with_title_and_tags_for_the_person_alone(world: BotWorld) -> None:
    with world.bot() as km:
        message = world.answer(
            world.ada,
            "note add",
            world.home,
            text="Water of **70** degrees",
            title="Green *tea*",
            tags="Drink, hot tea",
        )
        note = only_note(km, "user:42")
        assert (note.title, note.body, note.author) == ("Green *tea*", "Water of **70** degrees", "user:42")
        assert note.tags == ("drink", "hot-tea")
        assert message.is_ephemeral
        assert said(world.ada, "note.kept", title="Green \\*tea\\*", where="only you can see it") in message.text
        assert "drink #hot-tea" in message.text
        assert message.labels == ["Show", "Edit", "Delete"]
        assert "Water of \\*\\*70\\*\\* degrees" in world.click(world.ada, message, "Show").text


def test_where_a_note_goes_is_what_was_asked_for_else_what_is_preferred(world: BotWorld) -> None:
    with world.bot() as km:

        def spaces(user: User, said_text: str, where: str | None = None, *, is_direct: bool = False) -> str:
            chosen = {"where": where} if where else {}
            world.answer(user, "note add", None if is_direct else world.home, text=said_text, **chosen)
            (hit,) = km.search(said_text, mode="keyword")
            return km.note(hit.note_id).space

        assert spaces(world.ada, "first") == "user:42"
        assert spaces(world.ada, "second", "server") == "guild:7"
        km.preferences.set("guild:7", visibility="server")
        assert spaces(world.ada, "third") == "guild:7"
        km.preferences.set("user:42", visibility="me", tags=["mine"])
        assert spaces(world.ada, "fourth") == "user:42"
        assert spaces(world.ben, "fifth", is_direct=True) == "user:43"
        assert spaces(world.ben, "sixth", "server", is_direct=True) == "user:43"
        (hit,) = km.search("fourth", mode="keyword")
        assert km.note(hit.note_id).tags == ("mine",)


def test_without_a_text_a_form_opens_and_what_is_sent_is_kept(world: BotWorld) -> None:
    with world.bot() as km:
        opened = world.fake.slash(world.ben, "note add", {"where": "server", "title": "鍵"}, guild=world.home)
        assert opened.modal["title"] == "新しいノート"
        message = world.fake.submit(world.ben, opened, {"本文": "赤い箱の中", "タグ": "家、台所"}).wait()
        note = only_note(km, "guild:7")
        assert (note.title, note.body, note.tags) == ("鍵", "赤い箱の中", ("台所", "家"))
        assert said(world.ben, "note.kept", title="鍵", where="このサーバーに公開") in message.text


def test_a_text_that_is_refused_is_given_back(world: BotWorld) -> None:
    with world.bot(quota_notes="0/0"):
        refused = world.answer(world.ben, "note add", text="# 鍵\n\n鍵は赤い箱の中")
        assert said(world.ben, "errors.quota_off") in refused.text
        assert [file.content.decode("utf-8") for file in refused.files] == ["# 鍵\n\n鍵は赤い箱の中"]


def test_a_text_file_becomes_a_note_whatever_its_encoding(world: BotWorld) -> None:
    with world.bot() as km:
        japanese = "鍵は赤い箱の中にあります。" * 400
        message = world.answer(world.ben, "note add", file=File("鍵.txt", japanese.encode("cp932"), "text/plain"))
        note = only_note(km, "user:43")
        assert (note.title, note.body) == ("鍵", japanese)
        assert "鍵" in message.text
        markdown = b"---\ntags: [tea]\n---\n# Green tea\n\nSeventy degrees."
        world.answer(world.ada, "note add", file=File("a.md", markdown), tags="drink")
        note = only_note(km, "user:42")
        assert (note.title, note.tags) == ("Green tea", ("drink", "tea"))


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (File("a.png", b"\x89PNG\r\n"), "note.file_kind"),
        (File("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00"), "note.file_unreadable"),
        (File("a.txt", b"x", size=50_000_000), "note.file_too_large"),
        (File("a.txt", b"x" * 2_000_000, size=1), "note.file_too_large"),
        (File("a.txt", b"x", status=404), "note.file_gone"),
        (File("a.txt", b"  \n "), "note.empty"),
    ],
)
def test_a_file_that_is_no_text_is_refused_in_plain_words(world: BotWorld, file: File, key: str) -> None:
    with world.bot(max_note_bytes=1_000_000) as km:
        for user in (world.ada, world.ben):
            message = world.answer(user, "note add", file=file)
            values = {"name": file.name} if "file" in key else {}
            values |= {"most": "976"} if key == "note.file_too_large" else {}
            assert said(user, key, **values) in message.text
        assert km.status().notes == 0


def test_another_file_is_kept_beside_the_text(world: BotWorld) -> None:
    with world.bot() as km:
        world.answer(world.ada, "note add", text="The stove", file=File("stove.png", b"\x89PNG", "image/png"))
        note = only_note(km, "user:42")
        assert km.attachment(note.id, 0) == b"\x89PNG"
        shown = world.answer(world.ada, "note show", note=note.id)
        assert [(file.name, file.content) for file in shown.files] == [("stove.png", b"\x89PNG")]


def test_files_that_do_not_fit_or_were_not_stored_are_named(world: BotWorld) -> None:
    with world.bot() as km:
        files = [
            Attachment("one.bin", "", b"1" * 6_000_000, 6_000_000),
            Attachment("two.bin", "", b"2" * 6_000_000, 6_000_000),
            Attachment("three.bin", "", None, 99_000_000, "it is *too* large"),
        ]
        note = km.add_note("files", space="user:42", attachments=files)
        shown = world.answer(world.ada, "note show", note=note.id)
        assert [file.name for file in shown.files] == ["one.bin"]
        assert said(world.ada, "note.file_not_shown", name="two.bin", size="5,859") in shown.text
        assert "it is \\*too\\* large" in shown.text


@pytest.mark.parametrize("body", ["家族👨‍👩‍👧‍👦" * 900, "line\n" * 2000, "ｶﾞ" * 3000, "", "\n\n", "e\u0301" * 5000])
def test_pages_are_all_of_a_text_and_cut_no_character(body: str) -> None:
    found = pages(body)
    assert "".join(found) == body
    assert all(len(page) <= PAGE for page in found)
    assert not any(page.startswith(("\u200d", "\u0301", "ﾞ")) for page in found)


def test_a_long_note_is_read_page_by_page_or_as_a_file(world: BotWorld) -> None:
    with world.bot() as km:
        body = "\n".join(f"line {number} *_~`|" + "*" * 60 for number in range(100))
        note = km.add_note(body, space="user:42", author="user:42", title="Long")
        shown = world.answer(world.ada, "note show", note=note.id)
        assert "line 0 " in shown.text
        assert said(world.ada, "note.page", page=1, pages=5) in shown.text
        assert "◀ Back" not in shown.labels
        for _ in range(4):
            world.fake.click(world.ada, shown, "Next ▶")
            before = shown.edits
            world.fake.wait_until(lambda before=before: shown.edits > before, 10, "the next page")
        assert "line 99 " in shown.text
        assert "Next ▶" not in shown.labels
        whole = world.click(world.ada, shown, "Whole as a file")
        assert (whole.files[0].name, whole.files[0].content.decode()) == ("Long.md", body)


def test_titles_are_offered_while_typing_and_a_name_is_enough(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("# Green tea\n\none", space="user:42")
        km.add_note("# Green tea\n\ntwo", space="user:42")
        km.add_note("# Coffee\n\nthree", space="user:42")
        offered = world.fake.autocomplete(world.ada, "note show", {"note": "ｇｒｅＥＮ"}, focused="note")
        assert [each["name"].startswith("Green tea · 20") for each in offered] == [True, True]
        assert "three" in world.answer(world.ada, "note show", note="Coffee").text
        assert said(world.ada, "note.several") in world.answer(world.ada, "note show", note="Green tea").text
        assert said(world.ada, "note.none") in world.answer(world.ada, "note show", note="Cocoa").text


def test_a_note_is_changed_in_a_form_and_what_it_said_is_kept(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("Seventy degrees\n", space="user:42", author="user:42", title="Tea", tags=["drink"])
        opened = world.fake.slash(world.ada, "note edit", {"note": note.id}, guild=world.home)
        filled = str(opened.modal["components"])
        assert "Seventy degrees" in filled
        assert "drink" in filled
        message = world.fake.submit(world.ada, opened, {"text": "Eighty degrees", "tags": "drink, hot"}).wait()
        assert said(world.ada, "note.changed", title="Tea") in message.text
        after = km.note(note.id)
        assert (after.title, after.body, after.tags) == ("Tea", "Eighty degrees", ("drink", "hot"))
        versions = world.answer(world.ada, "note history", note=note.id)
        assert "Seventy" in versions.text
        assert "Seventy degrees" in world.click(world.ada, versions, "[1]").text
        same = changed(world, world.ada, after)
        assert said(world.ada, "note.same", title="Tea") in same.text
        assert len(km.note_history(note.id)) == 1


def test_a_note_that_was_changed_meanwhile_is_not_written_over_and_nothing_is_lost(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("first", space="guild:7", author="user:43", title="鍵")
        opened = world.fake.slash(world.ben, "note edit", {"note": note.id}, guild=world.home)
        assert opened.modal
        km.edit_note(note.id, text="of somebody else")
        message = world.fake.submit(world.ben, opened, {"text": "of ben"}).wait()
        assert said(world.ben, "note.conflict", title="鍵") in message.text
        assert sorted(file.content for file in message.files) == [b"of ben", b"of somebody else"]
        assert km.note(note.id).body == "of somebody else"
        again = world.fake.click(world.ben, message, "編集")
        world.fake.submit(world.ben, again, {"text": "of both"}).wait()
        assert km.note(note.id).body == "of both"


def test_an_edit_that_was_done_before_a_restart_is_no_conflict(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("first", space="user:42", author="user:42", title="Key")
        sent = {"id": f"{note.id}|{note.updated_at}", "title": "Key", "text": "second", "tags": ""}
        forged(world, world.ada, "note.edited", sent)
        again = forged(world, world.ada, "note.edited", sent)
        assert said(world.ada, "note.same", title="Key") in again.body
        assert km.note(note.id).body == "second"


def test_a_note_too_long_for_the_form_is_replaced_by_a_file(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("長い" * 2001, space="user:43", author="user:43", title="長文")
        opened = world.fake.slash(world.ben, "note edit", {"note": note.id})
        assert said(world.ben, "note.too_long_to_edit") in opened.wait().text
        message = world.answer(world.ben, "note edit", note=note.id, file=File("a.md", "もっと長い".encode() * 2000))
        assert said(world.ben, "note.changed", title="長文") in message.text
        assert km.note(note.id).body == "もっと長い" * 2000
        assert len(km.note_history(note.id)) == 1


def test_a_note_is_deleted_once_it_is_meant_and_can_be_had_back_after_a_restart(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("needle", space="user:42", author="user:42", title="Key", tags=["home"])
        asked = world.answer(world.ada, "note delete", note=note.id)
        assert said(world.ada, "note.confirm", title="Key") in asked.text
        world.fake.click(world.ada, asked, "Keep it")
        world.fake.wait_until(lambda: said(world.ada, "note.not_deleted") in asked.text, 10, "kept")
        assert not km.note(note.id).trashed_at
        asked = world.answer(world.ada, "note delete", note=note.id)
    with world.bot() as km:
        world.fake.click(world.ada, asked, "Delete")
        world.fake.wait_until(lambda: "Deleted: **Key**" in asked.text, 10, "deleted")
        assert not km.search("needle")
    with world.bot() as km:
        world.fake.click(world.ada, asked, "Undo")
        world.fake.wait_until(lambda: said(world.ada, "note.undone", title="Key") in asked.text, 10, "undone")
        back = km.note(note.id)
        assert (back.title, back.tags, back.trashed_at) == ("Key", ("home",), "")
        assert [hit.note_id for hit in km.search("needle")] == [note.id]


def test_after_ten_minutes_it_is_too_late_to_undo(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("needle", space="user:42", author="user:42")
        km.delete_note(note.id)
        with km._base.verb() as catalog, catalog.write() as connection:
            earlier = utc_text(datetime.now(UTC) - timedelta(minutes=10, seconds=5))
            connection.execute("UPDATE note SET trashed_at = ? WHERE id = ?", (earlier, note.id))
        with pytest.raises(Refused) as refused:
            forged(world, world.ada, "button.note_undo", {"id": note.id})
        assert refused.value.key == "note.undo_late"
        assert km.note(note.id).trashed_at


def test_the_notes_changed_last_are_listed_page_by_page(world: BotWorld) -> None:
    with world.bot() as km:
        for number in range(23):
            km.add_note(
                f"note {number:02}", space="guild:7", author="user:42" if number % 2 else "user:43", tags=["even:x"]
            )
        message = world.answer(world.ada, "note list", world.home)
        assert "note 22" in message.text
        assert "note 12" not in message.text
        assert message.labels == [*(f"[{number}]" for number in range(1, 11)), "Next ▶"]
        world.fake.click(world.ada, message, "Next ▶")
        world.fake.wait_until(lambda: "note 12" in message.text, 10, "page two")
        world.fake.click(world.ada, message, "Next ▶")
        world.fake.wait_until(lambda: "note 00" in message.text, 10, "page three")
        assert message.labels == ["[21]", "[22]", "[23]", "◀ Back"]
        mine = world.answer(world.ada, "note list", world.home, mine=True, tag="even:x")
        assert "note 21" in mine.text
        assert "note 22" not in mine.text
        world.fake.click(world.ada, mine, "Next ▶")
        world.fake.wait_until(lambda: "note 01" in mine.text, 10, "page two")
        assert "note 00" not in mine.text
        assert said(world.ben, "note.list_none") in world.answer(world.ben, "note list", tag="nothing").text


def test_an_interaction_that_comes_twice_makes_one_note(world: BotWorld) -> None:
    with world.bot() as km:
        world.answer(world.ada, "note add", text="once")
        world.fake.replay(1)
        world.fake.drop_socket()
        world.fake.wait_until(lambda: world.fake.gateway_side.is_connected, 20, "the connection")
        world.answer(world.ada, "note add", text="twice")
        assert km.status().notes == 2


def test_all_that_is_said_of_notes_is_for_the_person_alone(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("first", space="guild:7", author="user:42")
        km.edit_note(note.id, text="second")
        for command, options in [
            ("note add", {"text": "x", "where": "server"}),
            ("note show", {"note": note.id}),
            ("note list", {}),
            ("note history", {"note": note.id}),
            ("note delete", {"note": note.id}),
            ("note edit", {"note": note.id, "file": File("a.md", b"third")}),
            ("note edit", {"note": "nothing"}),
            ("related", {"note": note.id}),
        ]:
            call = world.fake.slash(world.ada, command, options, guild=world.home)
            assert call.wait().is_ephemeral, command


def test_a_note_whose_row_was_not_marked_done_is_kept_once(world: BotWorld) -> None:
    with world.bot() as km:
        wanted = str(uuid7())
        for _ in range(2):
            reply = forged(world, world.ada, "note.add", {"text": "once"}, note_id=wanted)
            assert "Kept: **once**" in reply.body
        assert [note.note_id for note in km.recent_notes()] == [wanted]


def test_everything_is_said_in_japanese_to_who_speaks_it(world: BotWorld) -> None:
    with world.bot() as km:
        ben = world.ben
        note = km.add_note("最初の行\n" * 400, space="user:43", author="user:43", title="鍵", tags=["家"])
        shown = world.answer(ben, "note show", note=note.id)
        assert shown.labels == ["次へ ▶", "全文をファイルで", "編集", "削除", "履歴"]
        assert said(ben, "note.page", page=1, pages=2) in shown.text
        assert "自分だけに表示" in shown.text
        whole = world.click(ben, shown, "全文をファイルで")
        assert (whole.text, whole.files[0].name) == (said(ben, "note.whole"), "鍵.md")
        assert "まだ変更されていません" in world.click(ben, shown, "履歴").text
        message = changed(world, ben, note, 本文="次の行")
        assert "更新しました：**鍵**" in message.text
        history = world.click(ben, world.answer(ben, "note show", note=note.id), "履歴")
        assert "「鍵」の以前の内容" in history.text
        version = world.click(ben, history, "[1]")
        assert "最初の行" in version.text
        assert version.files[0].content.decode() == note.body
        listed = world.answer(ben, "note list", tag="家")
        assert "タグ「家」のノート一覧" in listed.text
        asked = world.click(ben, message, "削除")
        assert "**鍵** を削除しますか？" in asked.text
        world.fake.click(ben, asked, "削除")
        world.fake.wait_until(lambda: "削除しました：**鍵**" in asked.text, 10, "deleted")
        assert said(ben, "note.trashed") in world.click(ben, listed, "[1]").text
        world.fake.click(ben, asked, "元に戻す")
        world.fake.wait_until(lambda: "元に戻しました：**鍵**" in asked.text, 10, "undone")
        assert "次の行" in world.click(ben, listed, "[1]").text
