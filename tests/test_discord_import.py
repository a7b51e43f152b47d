"""What was said in Discord becomes notes: one for a thread, one for a conversation, and who may see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from discord_exports import CHANNEL, GUILD, counts, export, message, notes, package, said
from vaults import SAMPLE, open_base

from nescord.catalog.discord_history import Spool
from nescord.errors import DiskError, UsageError
from nescord.sources.discord_export import DiscordExport
from nescord.sources.discord_messages import DiscordMessage, piece

LINK = f"https://discord.com/channels/{GUILD}/{CHANNEL}"


def test_a_conversation_is_a_note_and_a_silence_ends_it(tmp_path: Path) -> None:
    told = [message(1, 0, "湯温は?"), message(2, 59.9, "93度"), message(3, 119.9, "next topic"), message(4, 130, "yes")]
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([export(tmp_path / "a.json", told)])
        assert counts(done) == (2, 0, 0)
        assert done.imports[0].said == 4
        first, second = (km.note(path) for path in sorted(notes(km)))
    assert first.title == "#general · 2026-01-05 · 湯温は?"
    assert first.body == (
        "# #general · 2026-01-05 · 湯温は?\n\nGuild › Work › #general\n\n"
        f"**人1** [2026-01-05 18:00:00 +09:00]({LINK}/1)\n湯温は?\n\n"
        f"**人1** [2026-01-05 18:59:54 +09:00]({LINK}/2)\n93度\n"
    )
    assert (first.path, first.created_at, first.updated_at) == (
        f"{CHANNEL}/2026-01-05-1.md",
        "2026-01-05T09:00:00Z",
        "2026-01-05T09:59:54Z",
    )
    assert (first.space, first.author, first.tags) == (f"guild:{GUILD}", "user:101", ("discord", "general"))
    assert "next topic" in second.body
    assert "93度" not in second.body


def test_the_gap_can_be_chosen(tmp_path: Path) -> None:
    file = export(tmp_path / "a.json", [message(number, number * 20) for number in range(1, 5)])
    with open_base(tmp_path / "one") as km:
        assert counts(km.import_discord([file], gap_minutes=20)) == (4, 0, 0)
    with open_base(tmp_path / "other") as km:
        assert counts(km.import_discord([file], gap_minutes=21)) == (1, 0, 0)
        with pytest.raises(UsageError, match="a gap of 0 minutes"):
            km.import_discord([file], gap_minutes=0)


@pytest.mark.parametrize("kind", ["GuildPublicThread", "GuildNewsThread", "11", "PUBLIC_THREAD"])
def test_a_thread_is_one_note_however_long_it_is_silent(tmp_path: Path, kind: str) -> None:
    told = [message(number, number * 10_000, who=number) for number in range(1, 4)]
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "a.json", told, kind=kind, name="焙煎機の選び方")])
        (path,) = notes(km)
        note = km.note(path)
    assert (note.title, note.space, note.author) == ("焙煎機の選び方", f"guild:{GUILD}", "")


@pytest.mark.parametrize(
    ("kind", "guild", "space"),
    [
        ("GuildTextChat", GUILD, f"guild:{GUILD}"),
        ("GuildVoiceChat", GUILD, f"guild:{GUILD}"),
        ("GuildPrivateThread", GUILD, "personal"),
        ("DirectTextChat", 0, "personal"),
        ("DirectGroupTextChat", 0, "personal"),
    ],
)
def test_notes_are_seen_where_it_was_said_and_what_is_private_by_nobody_else(
    tmp_path: Path, kind: str, guild: int, space: str
) -> None:
    file = export(tmp_path / "a.json", [message(1, 0)], kind=kind, guild=guild)
    with open_base(tmp_path / "kb") as km:
        km.import_discord([file])
        (path,) = notes(km)
        assert km.note(path).space == space
        km.import_discord([file], space="user:42")
        assert {title.space for title in km.recent_notes()} == {space, "user:42"}
        with pytest.raises(UsageError, match="no space"):
            km.import_discord([file], space="everybody")


def test_what_one_import_shows_to_few_a_later_one_does_not_show_to_more(tmp_path: Path) -> None:
    secret = export(tmp_path / "secret.json", [message(1, 0, "staff only")])
    later = export(tmp_path / "later.json", [message(2, 1, "for all")])
    with open_base(tmp_path / "kb") as km:
        km.import_discord([secret], space="personal")
        km.import_discord([later])
        seen = km.scoped({f"guild:{GUILD}"})
        assert [hit.title for hit in seen.search("staff", mode="keyword")] == []
        assert len(seen.search("for all", mode="keyword")) == 1


def test_replies_files_embeds_stickers_and_signs_are_readable(tmp_path: Path) -> None:
    told = [
        message(1, 0, "question", who=1),
        message(
            2, 1, "ask <@102> and <@!999> in <#8000> <:neko:123> <a:wave:4> </help me:5> <t:1767603600:R>", who=2,
            reference={"messageId": "1", "channelId": str(CHANNEL), "guildId": str(GUILD)},
            mentions=[{"id": "102", "name": "b", "nickname": "Bob"}],
            attachments=[{"id": "5", "url": "https://cdn.discordapp.com/x.png", "fileName": "図 [1].png"}],
            embeds=[{"title": "Burrs", "url": "https://shop.example/b", "description": "!"}, {"description": "CI ok"}],
            stickers=[{"id": "6", "name": "Wumpus"}],
        ),
        message(3, 2, "", reference={"messageId": "77", "channelId": "66", "guildId": "55"}, type="Reply"),
        message(4, 3, reference={"messageId": "12345"}, edited=9),
        message(5, 4, "", forwardedMessage={"content": "old\nnews", "attachments": [], "embeds": []}),
        message(6, 5, "Pinned a message.", type="ChannelPinnedMessage"),
        message(7, 6, "joined", type="7"),
    ]  # fmt: skip
    told[4]["content"] = ""
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "a.json", told)])
        (body,) = notes(km).values()
        assert sorted(said(km)) == [1, 2, 3, 4, 5]
    assert f"**人2** [2026-01-05 18:01:00 +09:00]({LINK}/2) ↩ [人1]({LINK}/1)\n" in body
    assert "ask @Bob and @999 in #general :neko: :wave: /help me 2026-01-05 18:00\n:Wumpus:\n\n" in body
    assert f"📎 [図 \\[1\\].png]({LINK}/2)\n🔗 [Burrs](https://shop.example/b)\n🔗 CI ok\n\n" in body
    assert "cdn.discordapp.com" not in body
    assert " ↩ [message](https://discord.com/channels/55/66/77)\n" in body
    assert f"/4) ✎ 2026-01-05 18:09:00 +09:00 ↩ [message]({LINK}/12345)\n" in body
    assert "/5)\n> old\n> news\n" in body


def test_a_name_or_text_cannot_pass_for_another_message(tmp_path: Path) -> None:
    line = f"**Boss** [2026-01-05 18:00:00 +09:00]({LINK}/999)"
    told = [message(1, 0, f"hello\n\n{line}\nyou are fired"), message(2, 1, line)]
    told.append(message(3, 2, attachments=[{"fileName": line}], embeds=[{"title": line}]))
    told[0]["author"]["nickname"] = f"x\n\n{line}"
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "a.json", told)])
        assert sorted(said(km)) == [1, 2, 3]
        assert counts(km.import_discord([tmp_path / "a.json"])) == (0, 0, 1)


def test_the_samples_import_and_are_found_in_both_languages(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([SAMPLE / "discord"])
        assert not done.unusable
        assert [(one.report.source, one.said, one.report.added, one.troubles) for one in done.imports] == [
            ("discord: data package", 3, 2, ()),
            ("discord: 珈琲同好会", 5, 3, ()),
        ]
        for query, title in (("蒸らしは45秒", "湯温"), ("drum roaster", "焙煎機の選び方"), ("platform 3", "owen_b")):
            (hit,) = km.search(query, mode="keyword")
            assert title in hit.title
            assert hit.link.startswith("https://discord.com/channels/")
        again = km.import_discord([SAMPLE / "discord"])
        assert [(one.report.added, one.report.changed, one.report.unchanged) for one in again.imports] == [
            (0, 0, 2),
            (0, 0, 3),
        ]


def test_a_file_that_is_no_export_stops_no_other_one(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    good = export(folder / "good.json", [message(1, 0)])
    for name, content in (("list.json", "[1]"), ("text.json", "hello"), ("other.json", '{"guild": {"id": "1"}}')):
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "broken.zip").write_bytes(b"PK\x05\x06")
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([folder, tmp_path / "nothing"])
        assert counts(done) == (1, 0, 0)
        assert len(done.unusable) == 5
        assert any("broken.zip is no zip" in reason for reason in done.unusable)
        assert any(
            reason.endswith("text.json is no JSON: lexical error: invalid char in json text.")
            for reason in done.unusable
        )
        assert any("nothing does not exist" in reason for reason in done.unusable)
        with pytest.raises(UsageError, match=r"list\.json is no export of a channel"):
            km.import_discord([folder / "list.json"])
        assert counts(km.import_discord([good])) == (0, 0, 1)


def test_an_export_that_is_cut_off_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    file = export(tmp_path / "a.json", [message(1, 0, "kept"), message(2, 1, "also kept"), message(3, 2, "torn")])
    data = file.read_bytes()
    file.write_bytes(data[: data.index(b"torn")])
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([file])
        assert said(km) == {1: "kept", 2: "also kept"}
    assert "a.json is broken" in done.imports[0].troubles[0]


def test_messages_that_say_neither_who_nor_when_are_counted(tmp_path: Path) -> None:
    told = [
        message(1, 0),
        message(2, 1, id="x"),
        message(3, 2, timestamp="soon"),
        message(4, 3, id=None),
        message(5, 4),
    ]
    told[4]["author"] = None
    file = export(tmp_path / "a.json", told)
    text = file.read_text(encoding="utf-8").replace('"messages": [', '"messages": [7, null, "x", ')
    file.write_text(text, encoding="utf-8-sig")
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([file])
        assert sorted(said(km)) == [1, 5]
        assert (done.imports[0].said, done.imports[0].left_out) == (2, 6)


def test_nothing_comes_back_of_what_was_erased(tmp_path: Path) -> None:
    file = export(tmp_path / "a.json", [message(1, 0, "stays"), message(2, 100, "goes"), message(3, 110, "goes, too")])
    with open_base(tmp_path / "kb") as km:
        km.import_discord([file])
        (gone,) = (km.note(path) for path, body in notes(km).items() if "goes" in body)
        km.remove_source("discord: Guild")
        km.erase_note(gone.id)
        # A wider gap would take what was erased for a part of what comes before.
        done = km.import_discord([file], gap_minutes=200)
        assert (done.imports[0].report.revived, done.imports[0].left_out) == (1, 2)
        assert said(km) == {1: "stays"}


def test_nothing_comes_back_of_an_erased_note_by_an_export_of_a_part_or_another_gap(tmp_path: Path) -> None:
    told = [message(1, 0, "goes"), message(2, 10, "goes, too"), message(3, 20, "and this")]
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "a.json", told)])
        km.erase_note(f"{CHANNEL}/2026-01-05-1.md")
        km.import_discord([export(tmp_path / "b.json", told[1:])])
        km.import_discord([export(tmp_path / "c.json", [*told, message(4, 30, "new")])], gap_minutes=5)
        assert said(km) == {4: "new"}
        # What was said in another source is not what was erased.
        km.import_discord([tmp_path / "a.json"], space="personal")
        assert sorted(said(km)) == [1, 2, 3, 4]


def test_who_is_erased_while_files_are_read_stays_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = export(tmp_path / "a.json", [message(1, 0, who=1), message(2, 1, who=2)])
    read = DiscordExport.messages
    with open_base(tmp_path / "kb") as km:

        def messages(export: DiscordExport) -> Iterator[DiscordMessage]:
            yield from read(export)
            km.privacy("user:101").erase()

        monkeypatch.setattr(DiscordExport, "messages", messages)
        done = km.import_discord([file])
        assert sorted(said(km)) == [2]
        assert (done.imports[0].said, done.imports[0].left_out) == (1, 1)


def test_the_own_database_is_not_opened_as_a_file(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        database = next((tmp_path / "kb").rglob("nescordbot.db"))
        (tmp_path / "link.json").hardlink_to(database)
        with pytest.raises(UsageError, match="is the database of this knowledge base"):
            km.import_discord([tmp_path / "link.json"])


@pytest.mark.parametrize("brackets", [b"[" * 20_000, b'["\\",{"a"":' * 10_000])
def test_json_without_end_to_its_levels_is_cut_off_before_it_fills_the_memory(tmp_path: Path, brackets: bytes) -> None:
    told = [message(number, number, "[[[{{{" + "字" * 3000) for number in range(1, 60)]
    file = export(tmp_path / "a.json", [*told, message(100, 100, "deep")])
    file.write_bytes(file.read_bytes().replace(b'"deep"', brackets))
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([file])
        assert "nested deeper" in done.imports[0].troubles[0]
        assert done.imports[0].said > 20


def test_what_somebody_said_before_they_were_erased_is_left_out(tmp_path: Path) -> None:
    told = [message(1, 0, who=1), message(2, 1, who=2)]
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "a.json", told)])
        km.privacy("user:101").erase()
        km.remove_source("discord: Guild")
        done = km.import_discord([tmp_path / "a.json"])
        assert sorted(said(km)) == [2]
        assert done.imports[0].left_out == 1


def test_a_package_and_an_export_of_the_same_channel_do_not_mix(tmp_path: Path) -> None:
    mine = package(
        tmp_path / "p.zip",
        {
            f"Messages/c{CHANNEL}/messages.json": json.dumps(
                [{"ID": 1, "Timestamp": "2026-01-05 09:00:00", "Contents": "x"}]
            )
        },
    )
    with open_base(tmp_path / "kb") as km:
        km.import_discord([mine, export(tmp_path / "a.json", [message(1, 0, "x"), message(2, 1)])])
        assert sorted((title.space, title.path) for title in km.recent_notes()) == [
            (f"guild:{GUILD}", f"{CHANNEL}/2026-01-05-1.md"),
            ("personal", f"{CHANNEL}/2026-01-05-1.md"),
        ]


def test_a_full_folder_for_temporary_files_is_named(tmp_path: Path) -> None:
    file = DiscordExport(export(tmp_path / "a.json", [message(number, number, "x" * 1000) for number in range(1, 500)]))
    told = (piece(one, file.channel, UTC) for one in file.messages())
    with Spool() as spool:
        spool.add_channel(file.channel, is_last_word=False)
        spool._db.pragma("max_page_count", 20)
        with pytest.raises(DiskError, match="SQLITE_TMPDIR"):
            spool.add(file.channel.id, filter(None, told), is_last_word=False)
