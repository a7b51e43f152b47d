"""Discord's data package: as a zip or unpacked, in any language, old or new, damaged, or made to do harm."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import pytest
from discord_exports import counts, export, message, notes, package, said
from vaults import open_base

from nescord.errors import UsageError
from nescord.sources import discord_package

FILES = "https://cdn.discordapp.com/1/2/a.png?ex=1 https://cdn.discordapp.com/1/2/b.txt"
MESSAGES = [
    {"ID": "9000000000000000002", "Timestamp": "2026-01-05 09:05:00", "Contents": "second", "Attachments": ""},
    {
        "ID": 9000000000000000001,
        "Timestamp": "2026-01-05T09:00:00.5+00:00",
        "Contents": "最初",
        "Attachments": FILES,
    },
]
CSV = (
    "ID,Timestamp,Contents,Attachments\r\n"
    '9000000000000000002,2026-01-05 09:05:00.000000+00:00,"second, with ""quotes"" and\nlines",\r\n'
    "9000000000000000001,2026-01-05 09:00:00.000000+00:00,最初,https://cdn.discordapp.com/1/2/a.png\r\n"
)
USER = json.dumps({"id": "101", "username": "haruka", "global_name": "はるか"})


def files(top: str, account: str, *, folder: str = "c55", inside: str = "") -> dict[str, str | bytes]:
    return {
        f"{inside}README.txt": "hello",
        f"{inside}{account}/user.json": USER,
        f"{inside}{top}/index.json": json.dumps(
            {"55": "general in Guild", "66": "Direct Message with bob", "77": None}
        ),
        f"{inside}{top}/{folder}/channel.json": json.dumps(
            {"id": "55", "type": 0, "name": "general", "guild": {"id": "5", "name": "Guild"}}
        ),
        f"{inside}{top}/{folder}/messages.json": json.dumps(MESSAGES),
    }


@pytest.mark.parametrize(
    ("top", "account", "inside"),
    [
        ("messages", "account", ""),
        ("Messages", "Account", ""),
        ("メッセージ", "アカウント", ""),
        ("Nachrichten", "Konto", "package/"),
    ],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_package_is_known_by_its_form_in_any_language(
    tmp_path: Path, top: str, account: str, inside: str, is_zip: bool
) -> None:
    file = package(tmp_path / "package.zip", files(top, account, inside=inside))
    if not is_zip:
        with zipfile.ZipFile(file) as packed:
            packed.extractall(tmp_path / "unpacked")
        file.unlink()
        file = tmp_path / "unpacked"
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([file])
        assert counts(done) == (1, 0, 0)
        assert (done.imports[0].report.space, done.imports[0].troubles, done.unusable) == ("personal", (), [])
        (path,) = notes(km)
        note = km.note(path)
        assert counts(km.import_discord([file])) == (0, 0, 1)
    assert (note.title, note.author) == ("#general · 2026-01-05 · 最初 📎 a.png 📎 b.txt", "user:101")
    assert (
        "**はるか** [2026-01-05 18:00:00 +09:00](https://discord.com/channels/5/55/9000000000000000001)\n最初"
        in note.body
    )


def test_old_packages_have_csv_and_direct_messages_have_no_guild(tmp_path: Path) -> None:
    file = package(
        tmp_path / "p.zip",
        {"messages/66/messages.csv": CSV, "messages/index.json": '{"66": "Direct Message with bob"}'},
    )
    with open_base(tmp_path / "kb") as km:
        km.import_discord([file])
        assert said(km)[9000000000000000002] == 'second, with "quotes" and\nlines'
        (body,) = notes(km).values()
    assert "**me** [2026-01-05 18:00:00 +09:00](https://discord.com/channels/@me/66/9000000000000000001)" in body
    assert body.startswith("# Direct Message with bob · 2026-01-05 · ")


def test_a_later_package_says_what_a_message_was_edited_to_and_keeps_the_rest(tmp_path: Path) -> None:
    first = package(tmp_path / "1.zip", files("Messages", "Account"))
    renamed = files("Messages", "Account") | {"Account/user.json": json.dumps({"id": "101", "username": "new-name"})}
    later = [
        {**MESSAGES[0], "Contents": "second, mended"},
        {"ID": "9000000000000000003", "Timestamp": "2026-01-05 09:06:00", "Contents": "third"},
    ]
    second = package(tmp_path / "2.zip", renamed | {"Messages/c55/messages.json": json.dumps(later)})
    with open_base(tmp_path / "kb") as km:
        km.import_discord([first])
        assert counts(km.import_discord([package(tmp_path / "3.zip", renamed)])) == (0, 0, 1)
        assert counts(km.import_discord([second])) == (0, 1, 0)
        assert [text.partition("\n")[0] for _, text in sorted(said(km).items())] == ["最初", "second, mended", "third"]
        assert counts(km.import_discord([second])) == (0, 0, 1)
    with open_base(tmp_path / "other") as km:  # of two in one import the last one named has the last word, too
        km.import_discord([first, second])
        assert said(km)[9000000000000000002] == "second, mended"


def test_a_thread_of_a_package_is_one_note_and_a_channel_without_a_name_is_there(tmp_path: Path) -> None:
    told = json.dumps(
        [{"ID": str(n), "Timestamp": f"2026-01-0{n} 09:00:00", "Contents": f"day {n}"} for n in range(1, 4)]
    )
    thread = json.dumps({"id": "70", "type": "PUBLIC_THREAD", "name": "設計", "guild": {"id": "5", "name": "Guild"}})
    file = package(
        tmp_path / "p.zip",
        {"Messages/c70/messages.json": told, "Messages/c70/channel.json": thread, "Messages/c71/messages.json": told},
    )
    with open_base(tmp_path / "kb") as km:
        assert counts(km.import_discord([file])) == (4, 0, 0)
        assert {note.title for note in km.recent_notes()} == {
            "設計",
            *(f"71 · 2026-01-0{n} · day {n}" for n in range(1, 4)),
        }


def test_a_folder_may_hold_packages_and_exports(tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    (folder / "general.json_Files").mkdir(parents=True)
    (folder / "general.json_Files" / "data.json").write_text("{}", encoding="utf-8")
    export(folder / "general.json", [message(1, 0)])
    package(folder / "package.zip", files("Messages", "Account"))
    with zipfile.ZipFile(folder / "package.zip") as packed:
        packed.extractall(folder / "unpacked")
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([folder])
        assert done.unusable == []
        assert [(one.report.source, one.said) for one in done.imports] == [
            ("discord: data package", 4),
            ("discord: Guild", 1),
        ]
        # The folder of the messages itself, too.
        assert km.import_discord([folder / "unpacked" / "Messages"]).imports[0].report.unchanged == 1


def test_a_damaged_file_of_a_package_stops_no_other_one(tmp_path: Path) -> None:
    whole = files("Messages", "Account")
    whole |= {
        "Messages/index.json": "{",
        "Messages/c60/messages.json": json.dumps(MESSAGES)[:-40],
        "Messages/c61/messages.json": b'[{"ID": 1, "Contents": "\xff"}]',
        "Messages/c62/messages.csv": b"ID,Timestamp\n\xff\xfe",
        "Messages/c63/messages.json": "[7, {}, null]",
        "Messages/c64/channel.json": "[" * 5000,
        "Messages/c64/messages.json": "[]",
    }
    file = package(tmp_path / "p.zip", whole)
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([file])
        assert (done.imports[0].report.added, done.imports[0].left_out) == (2, 3)
    troubles = "\n".join(done.imports[0].troubles)
    for name in ("index.json", "c60/messages.json", "c61/messages.json", "c62/messages.csv", "c64/channel.json"):
        assert f"Messages/{name} is broken" in troubles


def test_a_file_whose_bytes_changed_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "p.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        for name, content in files("Messages", "Account").items():
            made.writestr(name, content)
    data = bytearray(file.read_bytes())
    data[data.index(b"second")] ^= 1
    file.write_bytes(data)
    with open_base(tmp_path / "kb") as km:
        assert "Bad CRC-32" in km.import_discord([file]).imports[0].troubles[0]


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = b" " * 50_000_000
    bomb = package(
        tmp_path / "bomb.zip", {"Messages/c1/messages.json": zeros, "Messages/c2/messages.json": json.dumps(MESSAGES)}
    )
    with open_base(tmp_path / "kb") as km:
        done = km.import_discord([bomb])
        assert done.imports[0].report.added == 1
        assert "c1/messages.json is broken (50,000,000 bytes in" in done.imports[0].troubles[0]
        # Nor one that lies about its size, nor one of many files.
        data = bytearray(bomb.read_bytes())
        at = 0
        while (at := data.find(struct.pack("<I", len(zeros)), at)) >= 0:
            data[at : at + 4] = struct.pack("<I", 2000)
        (tmp_path / "liar.zip").write_bytes(data)
        done = km.import_discord([tmp_path / "liar.zip"])
        assert "c1/messages.json is broken" in done.imports[0].troubles[0]
        monkeypatch.setattr(discord_package, "MOST_BYTES_IN_ALL", 100)
        with pytest.raises(UsageError, match="that is no data package"):
            km.import_discord([package(tmp_path / "many.zip", files("Messages", "Account"))])


def test_names_in_a_zip_lead_nowhere(tmp_path: Path) -> None:
    outside = {f"../{name}": content for name, content in files("Messages", "Account").items()}
    with open_base(tmp_path / "kb") as km:
        km.import_discord([package(tmp_path / "p.zip", outside)])
        assert list(notes(km)) == ["55/2026-01-05-9000000000000000001.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kb", "p.zip"]


def test_a_zip_that_is_no_package_is_refused_with_the_mend(tmp_path: Path) -> None:
    other = package(tmp_path / "other.zip", {"Messages/readme.txt": "x", "Messages/cabc/messages.json": "[]"})
    locked = tmp_path / "locked.zip"
    data = bytearray(package(locked, files("Messages", "Account")).read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        data[at + 8] |= 1
        at += 4
    locked.write_bytes(data)
    with open_base(tmp_path / "kb") as km:
        with pytest.raises(UsageError, match="no data package of Discord"):
            km.import_discord([other])
        troubles = km.import_discord([locked]).imports[0].troubles
        assert any("encrypted" in trouble for trouble in troubles)
