"""A message of Discord as a piece of Markdown, and back: which piece of a note is which message.

Each piece begins with a line of one form, `**author** [time](jump link)`, that no text of a message can imitate. So a
stored note can be taken apart into its messages again, and a later export is merged with it message by message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal

from nescord.discord_text import clip

HOST = "https://discord.com/channels"
# Longer than what Discord lets anybody send, in all its embeds together; a file may claim anything.
MOST_CHARACTERS = 40_000
_MOST_NAME = 80
_MOST_EMBEDS, _MOST_TITLE, _MOST_ADDRESS = 20, 300, 2000

Kind = Literal["channel", "thread", "private thread", "direct"]


@dataclass(frozen=True, slots=True)
class DiscordChannel:
    """Where messages were said. `guild` is "" for direct messages; `above` is the category, of a thread its channel."""

    id: int
    name: str
    kind: Kind
    guild: str = ""
    guild_name: str = ""
    above: str = ""

    @property
    def link(self) -> str:
        """The jump link of the channel; that of a message has its id behind it."""
        return f"{HOST}/{self.guild or '@me'}/{self.id}"

    @property
    def label(self) -> str:
        """What people call it."""
        return f"#{self.name}" if self.kind == "channel" else self.name


@dataclass(frozen=True, slots=True)
class DiscordMessage:
    """A message, before it is Markdown. `at` and `edited` are Unix seconds (0: never edited); `reply_to` is the id of
    the message that it answers, which is elsewhere where `reply_link` is not ""."""

    id: int
    at: int
    author: str
    author_id: str = ""
    text: str = ""
    edited: int = 0
    reply_to: int = 0
    reply_link: str = ""
    files: tuple[str, ...] = ()
    embeds: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A message as it stands in a note: its line and what is below. `reply_to` is not yet in the line; 0: nothing is
    left to be named there."""

    id: int
    at: int
    edited: int
    head: str
    tail: str
    author: str = ""
    author_id: str = ""
    reply_to: int = 0

    @property
    def text(self) -> str:
        return f"{self.head}\n{self.tail}" if self.tail else self.head


_TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d)"
_HEAD = re.compile(
    rf"\*\*((?:\\.|[^*\\\n])+)\*\* \[{_TIME}\]\({re.escape(HOST)}/(?:\d+|@me)/\d+/(\d+)\)(?: ✎ {_TIME})?(?: ↩ .*)?"
)
_ESCAPED = re.compile(r"\\(.)")
_HEAD_LINE = re.compile(rf"^{_HEAD.pattern}$", re.MULTILINE)
_LIKE_HEAD = re.compile(rf"^(?={_HEAD.pattern}$)", re.MULTILINE)


def piece(message: DiscordMessage, channel: DiscordChannel, zone: tzinfo) -> Piece | None:
    """The message as Markdown, its times in `zone`; None where it says nothing."""
    tail = _tail(message, channel)
    if not tail:
        return None
    link = f"{channel.link}/{message.id}"
    head = f"**{_name(message.author)}** [{_time(message.at, zone)}]({link})"
    if message.edited:
        head += f" ✎ {_time(message.edited, zone)}"
    if message.reply_link:
        head += f" ↩ [message]({message.reply_link})"
    return Piece(
        message.id, message.at, message.edited, head, tail, message.author, message.author_id,
        0 if message.reply_link else message.reply_to,
    )  # fmt: skip


def place(channel: DiscordChannel) -> str:
    """A line that says where messages were said. It is none of theirs, whatever somebody has called a channel."""
    names = (channel.guild_name, channel.above, channel.label)
    return _OPENS.sub(r"\1\\", " › ".join(_name(name) for name in names if name.strip()))


def with_reply(head: str, channel: DiscordChannel, reply_to: int, author: str) -> str:
    """The line of a message that answers another one of its channel, whose author may be known."""
    return f"{head} ↩ [{_name(author) if author else 'message'}]({channel.link}/{reply_to})" if reply_to else head


def pieces(text: str) -> Iterator[Piece]:
    """The messages of a note that was made of such; what stands above the first of them is none."""
    heads = list(_HEAD_LINE.finditer(text))
    ends = [*(each.start() for each in heads), len(text)][1:]
    for found, following in zip(heads, ends, strict=True):
        edited = _seconds(found[4]) if found[4] else 0
        tail = text[found.end() : following].strip("\n")
        yield Piece(int(found[3]), _seconds(found[2]), edited, found[0], tail, _ESCAPED.sub(r"\1", found[1]))


def readable(text: str, names: Mapping[str, str], zone: tzinfo = UTC) -> str:
    """What Discord's clients make of `<@id>`, `<#id>`, `<:emoji:id>`, `<t:…>` and `</command:id>`. `names` has what is
    known of `@id`, `@&id` and `#id`; an id without a name stays a number."""

    def shown(found: re.Match[str]) -> str:
        kind, key, emoji, moment, command = found.groups()
        if key:
            return f"{kind[0]}{names.get(kind.replace('!', '') + key, key)}"
        if emoji:
            return f":{emoji}:"
        if command:
            return f"/{command}"
        try:
            return datetime.fromtimestamp(int(moment), zone).strftime("%Y-%m-%d %H:%M")
        except (ValueError, OverflowError, OSError):
            return found[0]

    return _SIGN.sub(shown, text)


_SIGN = re.compile(
    r"<(?:(@[!&]?|#)(\d{1,20})|a?:(\w{1,40}):\d{1,20}|t:(-?\d{1,12})(?::[a-zA-Z])?|/([^:<>\n]{1,100}):\d{1,20})>"
)
# Discord ends a block wherever ``` stands; in Markdown it would go on to the end of the note.
_CODE = re.compile(r"```(?:([\w+#.-]{1,20})\n)?(.*?)```", re.DOTALL)
_OPENS = re.compile(
    r"^([^\S\n]*)(?=#{1,6}(?:\s|$)|~~~|<(?!https?:)|=+[ \t]*$|-+[ \t]*$|\|[ \t]*:?-[|: \t-]*$)", re.MULTILINE
)
_BREAK = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
_IN_NAMES = re.compile(r"[\\*\[\]`<]")


def plain(text: str) -> str:
    """Text without what cannot be stored or seen, its lines ended by "\\n"."""
    return _HALF_PAIR.sub("\ufffd", _UNSEEN.sub("", _BREAK.sub("\n", text)))


def _tail(message: DiscordMessage, channel: DiscordChannel) -> str:
    link = f"{channel.link}/{message.id}"
    # The addresses of Discord's own storage end within a day: the name, and where it can be seen.
    files = [f"📎 [{_name(name)}]({link})" for name in message.files[:_MOST_EMBEDS]]
    embeds = []
    for title, url in message.embeds[:_MOST_EMBEDS]:
        if url and not title and url in message.text:
            continue
        shown = _name(title or url, _MOST_TITLE)
        is_link = bool(url) and len(url) <= _MOST_ADDRESS and not re.search(r"[\s()<>\x00-\x1f\ud800-\udfff]", url)
        embeds.append(f"🔗 [{shown}]({url})" if is_link else f"🔗 {shown}")
    parts = [
        _markdown(clip(plain(message.text), MOST_CHARACTERS)),
        "\n".join(_LIKE_HEAD.sub(r"\\", line) for line in (*files, *embeds)),
    ]
    return "\n\n".join(part for part in parts if part)


def _markdown(text: str) -> str:
    """The text of a message, so that nothing in it goes on into the next one."""
    made, words, at = [], "", 0
    for found in _CODE.finditer(text):
        words += text[at : found.start()]
        at = found.end()
        language, code = found[1] or "", found[2].strip("\n")
        if "\n" in found[2] or language:
            made += [_words(words), f"\n```{language}\n{code}\n```\n"]
            words = ""
        else:  # On one line it is a piece of the sentence; a backtick in it would end it.
            words += found[0] if "`" in code else f"`{code.strip()}`" if code.strip() else ""
    made.append(_words(words + text[at:]))
    return _LIKE_HEAD.sub(r"\\", "".join(made).strip())


def _words(text: str) -> str:
    """What is no block of code begins none, nor anything else. As a whole: its parts may be harmless each."""
    return _OPENS.sub(r"\1\\", re.sub("`{3,}", lambda ticks: "\\`" * len(ticks[0]), text))


def shown_name(name: str, most: int = _MOST_NAME) -> str:
    """A name on one line, of some length."""
    return clip(" ".join(plain(name).split()), most)


def _name(name: str, most: int = _MOST_NAME) -> str:
    shown = shown_name(name, most) or "?"
    return _IN_NAMES.sub(lambda found: f"\\{found[0]}", shown)


def _time(seconds: int, zone: tzinfo) -> str:
    moment = datetime.fromtimestamp(seconds, zone)
    whole = moment.strftime("%z")
    return f"{moment.strftime('%Y-%m-%d %H:%M:%S')} {whole[:3]}:{whole[3:5]}"


def _seconds(text: str) -> int:
    moment, _, offset = text.rpartition(" ")
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
    return int(datetime.strptime(moment, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone).timestamp())
