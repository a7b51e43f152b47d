"""People who use the bot's process in their own language: they type the names that their Discord shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bot.texts import text
from tests.discord_world import RunningBot, running_bot
from tests.fakes.discord import MANAGE_GUILD, Call, Channel, DiscordFake, Guild, Message, User
from tests.fakes.gemini import FakeGemini

JsonObject = dict[str, Any]

# The commands of the issue as they are seen in Japanese: the name, and the options by their English names.
JAPANESE: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "search": ("検索", {"query": "検索語", "tag": "タグ", "limit": "件数", "mode": "方法", "share": "共有"}),
    "ask": ("質問", {"question": "質問文", "tag": "タグ", "share": "共有"}),
    "note add": (
        "ノート 追加",
        {"text": "本文", "title": "タイトル", "tags": "タグ", "file": "ファイル", "where": "公開範囲"},
    ),
    "note show": ("ノート 表示", {"note": "ノート"}),
    "note edit": ("ノート 編集", {"note": "ノート", "file": "ファイル"}),
    "note delete": ("ノート 削除", {"note": "ノート"}),
    "note history": ("ノート 履歴", {"note": "ノート"}),
    "note list": ("ノート 一覧", {"mine": "自分のみ", "tag": "タグ"}),
    "related": ("関連", {"note": "ノート"}),
    "review": ("振り返り", {"period": "期間"}),
    "digest": ("ダイジェスト", {"switch": "設定", "hour": "時刻", "zone": "タイムゾーン", "where": "送信先"}),
    "flow run": ("フロー 実行", {"flow": "フロー", "deep": "詳細"}),
    "flow status": ("フロー 状態", {"run": "実行名"}),
    "privacy show": ("プライバシー 表示", {}),
    "privacy export": ("プライバシー エクスポート", {}),
    "privacy delete": ("プライバシー 削除", {}),
    "settings": (
        "個人設定",
        {"language": "言語", "zone": "タイムゾーン", "tags": "タグ", "visibility": "公開範囲", "whose": "対象"},
    ),
    "status": ("状態", {}),
    "help": ("ヘルプ", {}),
    "Save to notes": ("ノートに保存", {}),
    "Find related": ("関連ノート", {}),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the guild `home`, who reads and types in one language."""

    discord: DiscordFake
    user: User
    home: Guild

    @property
    def language(self) -> str:
        return "ja" if self.user.locale == "ja" else "en"

    @property
    def who(self) -> str:
        return f"user:{self.user.id}"

    def reads(self, english: str, japanese: str) -> str:
        """The one of the two that this person is told."""
        return japanese if self.language == "ja" else english

    def said(self, key: str, **values: object) -> str:
        """A text of the catalogue in their language."""
        return text(key, self.language, **values)

    def slash(
        self, command: str, *, at: Guild | Channel | None = None, is_group: bool = False, **options: object
    ) -> Call:
        """Type a command with options by their English names, as their Discord shows both; `at`: not in the DM."""
        shown, values = self._typed(command, options)
        return self.discord.slash(self.user, shown, values, **self._place(at, is_group))

    def tells(
        self, command: str, *, at: Guild | Channel | None = None, is_group: bool = False, **options: object
    ) -> Message:
        """What the bot answers to that."""
        return self.slash(command, at=at, is_group=is_group, **options).wait(30)

    def offered(self, command: str, focused: str, *, at: Guild | None = None, **options: object) -> list[JsonObject]:
        """The choices for one option."""
        shown, values = self._typed(command, options)
        (name,) = self._typed(command, {focused: ""})[1]
        return self.discord.autocomplete(self.user, shown, values, focused=name, **self._place(at, False))

    def menu(self, name: str, message: Message) -> Message:
        """What the bot answers to a command of the menu of a message."""
        japanese, _ = JAPANESE[name]
        command = self.discord.commands.registered[3, name]
        assert command["name_localizations"]["ja"] == japanese
        return self.discord.menu(self.user, name, message).wait(30)

    def click(self, message: Message, key: str) -> Message:
        """What it answers to a button: with a label as it is, or a key of the catalogue."""
        return self.opens(message, key).wait(30)

    def opens(self, message: Message, key: str) -> Call:
        """Press a button that opens a form."""
        return self.discord.click(self.user, message, self.said(key) if "." in key else key)

    def submit(self, opened: Call, **values: str) -> Message:
        """Send a form with these inputs."""
        return self.discord.submit(self.user, opened, values).wait(30)

    def writes(self, content: str, **more: Any) -> Message:
        """A message in the channel of the guild."""
        return self.discord.message(self.user, content, guild=self.home, **more)

    def _typed(self, command: str, options: Mapping[str, object]) -> tuple[str, dict[str, object]]:
        """Their Discord's names found among what was registered, and given back as the names that it sends."""
        shown, names = JAPANESE[command]
        if self.language == "en":
            shown, names = command, {name: name for name in options}
        words: list[str] = []
        level = [each for (kind, _), each in self.discord.commands.registered.items() if kind == 1]
        for word in shown.split():
            (found,) = [each for each in level if self._name(each) == word]
            words.append(found["name"])
            level = found.get("options") or []
        known = {self._name(option): option for option in level}
        values = {}
        for name, value in options.items():
            option = known[names[name]]
            if isinstance(value, tuple):  # a choice, as it is written in English and in Japanese
                (value,) = [each["value"] for each in option["choices"] if self._name(each) == self.reads(*value)]
            values[option["name"]] = value
        return " ".join(words), values

    def _name(self, named: JsonObject) -> str:
        """What their Discord shows of a command, option or choice."""
        localized = named.get("name_localizations") or {}
        return str(localized.get(self.user.locale) or named["name"])

    def _place(self, at: Guild | Channel | None, is_group: bool) -> dict[str, Any]:
        if isinstance(at, Channel):
            return {"channel": at}
        return {"guild": at, "private": is_group}


@dataclass
class Stage:
    """The bot's process with a guild; everybody who comes is new to it."""

    discord: DiscordFake
    gemini: FakeGemini
    bot: RunningBot
    home: Guild
    _numbers: Iterator[int]

    def person(self, locale: str, *, is_manager: bool = False, home: Guild | None = None) -> Person:
        number = next(self._numbers)
        user = self.discord.user(number, f"ada{number}" if locale == "en-US" else f"ben{number}", locale=locale)
        home = home or self.home
        home.member(user, MANAGE_GUILD if is_manager else 0)
        return Person(self.discord, user, home)

    def guild(self) -> Guild:
        """A guild that nobody has kept anything in."""
        number = next(self._numbers)
        return self.discord.guild(number, f"Guild {number}")


@contextmanager
def staged(folder: Path, *, heartbeat_ms: int = 41_250, **settings: str) -> Iterator[Stage]:
    """`nescord bot run` at the fake Discord, with Gemini's fake to write answers."""
    with DiscordFake(heartbeat_ms=heartbeat_ms) as discord, FakeGemini() as gemini:
        home = discord.guild(7, "Home")
        reach = {"GEMINI_API_KEY": gemini.key, "NESCORD_GEMINI_ENDPOINT": gemini.url}
        with running_bot(folder, discord, **reach, **settings) as bot:
            yield Stage(discord, gemini, bot, home, count(100))
