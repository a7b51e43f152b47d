"""Every row of the bot's table of commands, in both languages, at the whole process over real sockets.

People type the names that their Discord shows. Each scenario ends with Discord having found no fault with anything.
What is under the commands is tested beside each of them; that a flow really runs, in test_bot_flows.py.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nescord import KnowledgeManager, Settings
from nescord.digests import send_due
from tests.fakes.discord import File, Message
from tests.scenario_world import JAPANESE, Person, Stage, staged

LOCALES = ("en-US", "ja")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("bot")) as stage:
        yield stage


@pytest.fixture
def stage(whole: Stage) -> Iterator[Stage]:
    yield whole
    whole.discord.check()


@pytest.fixture(params=LOCALES)
def person(stage: Stage, request: pytest.FixtureRequest) -> Person:
    """Somebody new in the guild."""
    return stage.person(request.param)


@pytest.fixture(params=LOCALES)
def manager(stage: Stage, request: pytest.FixtureRequest) -> Person:
    """Somebody new who may manage a guild of their own."""
    return stage.person(request.param, is_manager=True, home=stage.guild())


def opened(stage: Stage) -> KnowledgeManager:
    """The knowledge base of the bot, beside it."""
    return KnowledgeManager.open_existing(Settings(data_dir=stage.bot.data, embedder="none", vector="exact"))


def link_of(message: Message) -> str:
    assert message.channel.guild is not None
    return f"https://discord.com/channels/{message.channel.guild.id}/{message.channel.id}/{message.id}"


def test_the_table_has_every_command_that_is_registered(stage: Stage) -> None:
    registered: dict[str, tuple[str, dict[str, str]]] = {}
    for (_, name), command in stage.discord.commands.registered.items():
        inner = [each for each in command.get("options") or () if each["type"] == 1]
        for each in inner or [command]:
            names = [command, each] if inner else [command]
            options = [] if each is command and inner else each.get("options") or []
            registered[" ".join(part["name"] for part in names)] = (
                " ".join(part["name_localizations"]["ja"] for part in names),
                {option["name"]: option["name_localizations"]["ja"] for option in options},
            )
        assert command["contexts"] == [0, 1, 2], name
        assert command["integration_types"] == [0, 1], name
    assert registered == JAPANESE


def test_search(person: Person) -> None:
    """Query, tag with its choices, limit, mode, share."""
    home = person.home
    for number in range(3):
        person.tells("note add", text=f"umbrella 傘 number {number}", tags="rain,雨の日")
    person.tells(
        "note add", text=f"umbrella 傘 of all, kept by {person.who}", where=("this server", "このサーバー"), at=home
    )
    found = person.tells("search", query="umbrella", at=home)
    assert found.is_ephemeral
    assert person.reads("Found for “umbrella”", "「umbrella」の検索結果") in found.text
    assert "number 2" in found.text
    assert person.said("frame.left_searches", left=199) in found.text
    tags = person.offered("search", "tag", query="umbrella", tag="雨")
    assert [choice["value"] for choice in tags] == ["雨の日"]
    words = ("words only", "言葉だけ")
    tagged = person.tells("search", query="傘", tag="雨の日", limit=2, mode=words, at=home)
    assert tagged.labels == ["[1]", "[2]"]
    shared = person.tells("search", query=f"umbrella {person.who}", share=True, at=home)
    assert not shared.is_ephemeral
    assert "number" not in shared.text
    assert person.who in person.click(shared, "[1]").text
    alone = person.tells("search", query="umbrella", share=True)  # in the DM
    assert "number 2" in alone.text
    assert "of all" not in alone.text
    group = person.tells("search", query="umbrella", share=True, is_group=True)
    assert group.is_ephemeral
    assert "number 2" in group.text
    nothing = person.tells("search", query="zeppelin", tag="雨の日")
    assert (
        person.reads("Nothing was found for “zeppelin”", "「zeppelin」に一致するノートは見つかりませんでした")
        in nothing.text
    )


def test_ask(stage: Stage, person: Person) -> None:
    """Question, tag, share; citations that link to the message, and the buttons: useful or not, sources, follow-up."""
    home = person.home
    said = person.writes(f"The spare key 合鍵 of {person.user.name} hangs behind the stove.")
    person.menu("Save to notes", said)
    question = person.reads("Where does the spare key hang?", "合鍵 はどこ？")
    answer = person.tells("ask", question=question, at=home)
    assert answer.is_ephemeral
    assert f"[\\[1\\]](<{link_of(said)}>)" in answer.text
    assert "behind the stove" in answer.text
    assert person.reads("Written by a model", "モデル（") in answer.text
    assert answer.labels == ["[1]", *map(person.said, ("ask.useful", "ask.not_useful", "ask.sources", "ask.follow_up"))]
    assert "behind the stove" in person.click(answer, "[1]").text
    sources = person.click(answer, "ask.sources")
    assert person.said("ask.sources_title") in sources.text
    assert "behind the stove" in sources.text
    assert person.said("ask.thanks_useful") in person.click(answer, "ask.useful").text
    assert person.said("ask.thanks_not_useful") in person.click(answer, "ask.not_useful").text
    form = person.opens(answer, "ask.follow_up")
    assert form.modal["title"] == person.said("ask.follow_up_title")
    followed = person.submit(form, question=person.reads("And whose spare key is it?", "その 合鍵 は誰の？"))
    assert person.user.name in followed.text
    assert person.said("ask.follow_up") in followed.labels
    person.tells("note add", text=f"合鍵 spare key, tagged by {person.who}", tags=f"house{person.user.id}", at=home)
    tag = f"house{person.user.id}"
    assert [each["value"] for each in person.offered("ask", "tag", question="x", tag="house", at=home)] == [tag]
    tagged = person.tells("ask", question=question, tag=tag, at=home)
    assert person.who in tagged.text
    assert "stove" not in tagged.text
    # Others see this one, so it knows nothing of what was kept for the person alone.
    shared = person.tells("ask", question=question, share=True, at=home)
    assert not shared.is_ephemeral
    assert "stove" not in shared.text
    assert person.who not in shared.text


def test_note_add(person: Person) -> None:
    """Text, title, tags, file and place; without a text, a form."""
    home = person.home
    kept = person.tells("note add", text="水は七十度", title="緑茶 Tea", tags="tea, お茶")
    assert kept.is_ephemeral
    assert (
        person.reads("Kept: **緑茶 Tea** · only you can see it", "保存しました：**緑茶 Tea**（自分だけに表示）")
        in kept.text
    )
    assert "#tea" in kept.text
    assert "水は七十度" in person.click(kept, "note.show").text
    for_all = person.tells("note add", text="For all of us", where=("this server", "このサーバー"), at=home)
    assert person.said("note.for_server") in for_all.text
    file = File("買い物.txt", "牛乳とパン".encode("cp932"), "text/plain")
    of_file = person.tells("note add", file=file)
    assert "買い物" in of_file.text
    assert "牛乳とパン" in person.click(of_file, "note.show").text
    picture = person.tells("note add", file=File("a.png", b"\x89PNG", "image/png"))
    assert person.reads("Only text files", "テキストファイル（.md、.txt）だけ") in picture.text
    form = person.slash("note add", title="Form", at=home)
    assert form.modal["title"] == person.reads("New note", "新しいノート")
    assert [row["label"] for row in fields(form.modal)] == person.reads("Title Text Tags", "タイトル 本文 タグ").split()
    sent = person.submit(form, text="Said in a form 入力欄")
    assert "**Form**" in sent.text
    assert sent.is_ephemeral


def test_note_show_edit_history_delete_and_list(person: Person) -> None:
    """Chosen by title; edited in a form; deleted after a question, and brought back; each only for the person."""
    home = person.home
    title = f"Manual {person.user.id} 取扱説明書"
    person.tells("note add", text="First version 初版", title=title, at=home)
    for command in ("note show", "note edit", "note delete", "note history"):
        (choice,) = person.offered(command, "note", note="取扱", at=home)
        assert choice["name"] == title
    note = choice["value"]
    shown = person.tells("note show", note=note, at=home)
    assert shown.is_ephemeral
    assert "First version" in shown.text
    form = person.slash("note edit", note=note, at=home)
    assert form.modal["title"] == person.reads("Edit note", "ノートを編集")
    edited = person.submit(form, text="Second version 第二版")
    assert person.reads(f"Changed: **{title}**", f"更新しました：**{title}**") in edited.text
    replaced = person.tells("note edit", note=note, file=File("new.md", "Third version 第三版".encode()), at=home)
    assert person.said("note.changed", title=title) in replaced.text
    history = person.tells("note history", note=note, at=home)
    assert person.reads(f"Earlier versions of “{title}”", f"「{title}」の以前の内容") in history.text
    assert "First version" in person.click(history, "[2]").text
    assert "Third version" in person.tells("note show", note=note, at=home).text
    listed = person.tells("note list", mine=True, at=home)
    assert title in listed.text
    assert "Third version" in person.click(listed, "[1]").text
    asked = person.tells("note delete", note=note, at=home)
    assert person.reads("Delete **", "を削除しますか？") in asked.text
    assert person.said("note.not_deleted") in person.click(asked, "note.cancel").text
    deleted = person.click(person.tells("note delete", note=note, at=home), "note.delete")
    assert person.reads("It can be undone until", "までは元に戻せます") in deleted.text
    assert person.said("note.trashed") in person.tells("note show", note=note, at=home).text
    undone = person.click(deleted, "note.undo")
    assert person.said("note.undone", title=title) in undone.text
    assert "Third version" in person.click(undone, "note.show").text


def test_a_note_of_somebody_else_is_changed_by_a_manager_and_nobody_else(stage: Stage, manager: Person) -> None:
    home = manager.home
    other = stage.person(manager.user.locale, home=home)
    author = stage.person("en-US", home=home)
    kept = author.tells("note add", text="Rules 規則", title="Rules", where=("this server", "このサーバー"), at=home)
    refused = other.slash("note edit", note="Rules", at=home).wait()
    assert other.reads("Only who kept this note", "ノートを保存した本人か") in refused.text
    assert other.tells("note show", note="Rules", at=home).labels == []
    form = manager.slash("note edit", note="Rules", at=home)
    assert manager.said("note.changed", title="Rules") in manager.submit(form, text="Better rules").text
    assert "Better rules" in author.click(kept, "note.show").text


def test_save_to_notes(person: Person) -> None:
    """Text, embeds, files, author and where it was said; what is not stored is told; the same again is a link."""
    files = [File("図.png", b"\x89PNG", "image/png"), File("film.bin", b"", size=9 * 2**20)]
    embed = {"title": "Tea house", "description": "opens at nine"}
    said = person.writes("Meet at the tea house 茶室で会う", files=files, embeds=[embed])
    kept = person.menu("Save to notes", said)
    assert kept.is_ephemeral
    assert "Meet at the tea house" in kept.text
    assert (
        person.reads(
            "“film.bin” was not stored: larger than 8 MB", "「film.bin」は保存できませんでした：8 MB を超えています"
        )
        in kept.text
    )
    shown = person.click(kept, "note.show")
    assert "opens at nine" in shown.text
    assert person.user.name.title() in shown.text
    assert [file.content for file in shown.files] == [b"\x89PNG"]
    assert [button["url"] for button in shown.buttons if "url" in button] == [link_of(said)]
    again = person.menu("Save to notes", said)
    assert person.reads("This message is kept already", "このメッセージは保存済みです") in again.text
    assert "opens at nine" in person.click(again, "note.show").text


def test_find_related(person: Person) -> None:
    """From a message, and from a note."""
    person.tells("note add", text="Bicycle chain oil 自転車のチェーン", title="Chain")
    person.tells("note add", text="The bicycle needs a new chain 自転車", title="Bicycle")
    said = person.writes("My bicycle chain jumps 自転車のチェーンが外れる")
    near = person.menu("Find related", said)
    assert near.is_ephemeral
    assert person.said("related.message_title") in near.text
    assert "Chain" in near.text
    assert "Bicycle" in near.text
    (choice,) = person.offered("related", "note", note="Chai")
    related = person.tells("related", note=choice["value"])
    assert related.is_ephemeral
    assert person.reads("Related to “Chain”", "「Chain」に関連するノート") in related.text
    assert "Bicycle" in related.text


PERIODS = [("today", "今日"), ("the last 7 days", "この一週間"), ("the last 30 days", "この一か月")]


def test_review(person: Person) -> None:
    """A day, a week, a month; and one note after the other: again, hard, good, easy."""
    for number in range(4):
        person.tells("note add", text=f"- [ ] prune 剪定 {number}", title=f"Garden {number}")
    for period, key in zip(PERIODS, ("review.day", "review.week", "review.month"), strict=True):
        looked = person.tells("review", period=period)
        assert looked.is_ephemeral
        assert person.said(key) in looked.text
        assert "☐ prune 剪定 3" in looked.text
    card = person.tells("review")
    assert card.is_ephemeral
    for number, key in zip((3, 2, 1, 0), ("review.again", "review.hard", "review.good", "review.easy"), strict=True):
        assert f"Garden {number}" in card.text
        assert card.labels == person.reads("Again Hard Good Easy", "もう一度 難しい 覚えていた 簡単").split()
        card = person.click(card, key)
        assert person.reads("The note before comes back", "前のノートは") in card.text
    assert person.said("review.done") in card.text


def test_digest_to_oneself(stage: Stage, person: Person) -> None:
    """Switched on with hour and zone; sent as a direct message, once, though the flow that sends it starts anew."""
    zone = person.offered("digest", "zone", switch=("on", "オン"), zone="Toky")[0]["value"]
    assert zone == "Asia/Tokyo"
    person.tells("note add", text="- [ ] call 電話", title="Call mother 母")
    time.sleep(1.1)  # moments are kept to the second
    on = person.tells("digest", switch=("on", "オン"), hour=6, zone=zone)
    assert on.is_ephemeral
    assert "06:00" in on.text
    assert "Asia/Tokyo" in on.text
    # A day late: the note was written before it was asked for, and is new all the same.
    later = datetime.now(UTC) + timedelta(days=2)
    settings = Settings(
        data_dir=stage.bot.data,
        embedder="none",
        vector="exact",
        discord_token=stage.discord.token,
        discord_api_base=stage.discord.api_base,
    )
    for _ in range(2):
        with KnowledgeManager.open_existing(settings) as km:
            send_due(settings, km, later)
    (message,) = [each for each in stage.discord.direct_messages(person.user) if each.author.is_bot]
    assert person.reads("**New notes (1)**", "**新しいノート (1 件)**") in message.content
    assert "Call mother 母" in message.content
    assert "06:00" in person.tells("digest", switch=("show", "表示")).text
    assert person.said("digest.off") in person.tells("digest", switch=("off", "オフ")).text


def test_digest_to_a_channel(stage: Stage, manager: Person) -> None:
    home, here = manager.home, ("to this channel", "このチャンネル")
    member = stage.person(manager.user.locale, home=home)
    refused = member.tells("digest", switch=("on", "オン"), where=here, at=home)
    assert member.reads("needs the permission Manage Server", "「サーバー管理」の権限が必要です") in refused.text
    on = manager.tells("digest", switch=("on", "オン"), where=here, at=home)
    assert manager.said("digest.here") in on.text
    assert manager.said("digest.off") in manager.tells("digest", switch=("off", "オフ"), where=here, at=home).text


def test_flow(stage: Stage, manager: Person) -> None:
    """For managers, from a list; without a server it says so."""
    home = manager.home
    names = [each["value"] for each in manager.offered("flow run", "flow", flow="", at=home)]
    assert {"ingest", "verify", "backup"} <= set(names)
    assert "restore" not in names
    for command, options in (("flow run", {"flow": "verify", "deep": True}), ("flow status", {})):
        told = manager.tells(command, at=home, **options)
        assert told.is_ephemeral
        assert manager.reads("There is no Prefect server", "Prefectサーバーに接続できません") in told.text
        member = stage.person(manager.user.locale, home=home)
        assert member.said("frame.managers_only") in member.tells(command, at=home, **options).text
    assert (
        manager.reads("cannot be run from here", "ここから実行できません")
        in manager.tells("flow run", flow="restore", at=home).text
    )


@pytest.mark.parametrize("is_in_guild", [True, False])
def test_privacy(stage: Stage, person: Person, *, is_in_guild: bool) -> None:
    """Shown, handed out, erased when the word is typed; also in the DM."""
    at = person.home if is_in_guild else None
    person.tells("note add", text=f"Secret of {person.who} 秘密", at=at)
    shown = person.tells("privacy show", at=at)
    assert shown.is_ephemeral
    assert person.said("privacy.statement") in shown.text
    assert person.reads("- notes: 1", "- ノート: 1") in shown.text
    (file,) = person.tells("privacy export", at=at).files
    with zipfile.ZipFile(io.BytesIO(file.content)) as exported:
        assert any(f"Secret of {person.who} 秘密".encode() in exported.read(name) for name in exported.namelist())
    wrong = person.submit(person.slash("privacy delete", at=at), word="no")
    assert person.said("privacy.not_deleted") in wrong.text
    form = person.slash("privacy delete", at=at)
    assert form.modal["title"] == person.reads("Erase all that is kept of you", "すべての情報を削除")
    gone = person.submit(form, word=person.reads("DELETE", "削除"))
    assert gone.is_ephemeral
    assert person.reads("Erased for good", "完全に削除しました") in gone.text
    assert person.said("privacy.no_backups") in gone.text
    assert person.said("note.list_none") in person.tells("note list").text
    for path in stage.bot.data.rglob("*"):
        assert not path.is_file() or f"Secret of {person.who}".encode() not in path.read_bytes(), path


def test_settings(stage: Stage, manager: Person) -> None:
    """Language, zone, default tags, default visibility, of oneself and, for managers, of the guild."""
    home = manager.home
    zone = manager.offered("settings", "zone", zone="berl")[0]["value"]
    server = ("this server", "このサーバーの全員")
    changed = manager.tells("settings", zone=zone, tags="default, 既定", visibility=server, at=home)
    assert changed.is_ephemeral
    assert manager.reads("Your settings", "あなたの設定") in changed.text
    assert "Europe/Berlin" in changed.text
    kept = manager.tells("note add", text="Tagged by itself", at=home)
    assert "#既定" in kept.text
    assert manager.said("note.for_server") in kept.text
    # Said in the language that was chosen, from this answer on.
    foreign = manager.tells("settings", language=("Japanese", "英語"))
    assert manager.reads("あなたの設定", "Your settings") in foreign.text
    assert manager.reads("ノート一覧", "Notes") in manager.tells("note list", at=home).text
    own = manager.tells("settings", language=("that of Discord", "Discordの言語に合わせる"))
    assert manager.said("settings.of_you") in own.text
    of_server = manager.tells("settings", whose=("this server's", "このサーバー"), visibility=server, at=home)
    assert manager.said("settings.of_server") in of_server.text
    member = stage.person(manager.user.locale, home=home)
    refused = member.tells("settings", whose=("this server's", "このサーバー"), visibility=server, at=home)
    assert member.said("frame.managers_only") in refused.text
    assert member.said("note.for_server") in member.tells("note add", text="Where the guild wants it", at=home).text


@pytest.mark.parametrize("is_in_guild", [True, False])
def test_status_and_help(person: Person, *, is_in_guild: bool) -> None:
    at = person.home if is_in_guild else None
    person.tells("note add", text="One more")
    status = person.tells("status", at=at)
    assert status.is_ephemeral
    for key in ("status.notes", "status.latency", "status.quotas", "status.searches"):
        assert person.said(key) in status.text
    assert "NescordBot" in status.text
    assert person.said("status.budget") not in status.text
    assert person.reads("New notes: 299", "新しいノート: 299") in status.text
    told = person.tells("help", at=at)
    assert told.is_ephemeral
    assert person.reads("What I can do", "できること") in told.text


def fields(modal: dict[str, object]) -> list[dict[str, object]]:
    rows = modal["components"]
    assert isinstance(rows, list)
    return [row["components"][0] if "components" in row else row for row in rows]


def test_the_data_folder_has_nothing_waiting_at_the_end(stage: Stage) -> None:
    with opened(stage) as km:
        stage.discord.wait_until(lambda: not km.inbox.pending(), 10, "the inbox to be empty")
    assert Path(stage.bot.log).read_text(encoding="utf-8").count(" ERROR ") == 0
