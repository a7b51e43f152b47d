"""What is shown keeps every limit of Discord, is cut between graphemes, and text that is not ours does nothing."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import discord
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from bot.modals import to_discord
from bot.render import (
    LIMITS,
    Button,
    Choice,
    Field,
    Input,
    LinkButton,
    Modal,
    Reply,
    ReplyFile,
    choices,
    clip,
    escape,
    link,
    marked,
    to_message,
)
from nescord.discord_text import clean, is_https, units

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1ef\U0001f1f5"
GA = "か\u3099"
PIECES = [
    *"あ漢ガー。、ab1 \n\t*_~|`[]()<>@#:/\\-+.>!&=",
    FAMILY,
    FLAG,
    GA,
    "e\u0301\u0323",
    "葛\U000e0100",
    "\U00020bb7",
    "\U0001f44d\U0001f3fd",
    "https://example.com/a_b",
    "http://x",
    "discord.gg/abc",
    "discord.com/invite/abc",
    "@everyone",
    "@here",
    "<@1>",
    "<#1>",
    "<@&1>",
    "<t:1:R>",
    "<:e:1>",
    "</search:1>",
    "# h",
    "> q",
    "1. l",
    "- l",
    "-# s",
    "```py\n",
    "||x||",
    ":smile:",
    "\ud800",
    "\u202e",
    "\r\n",
    "\u2028",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)

# What Discord's Markdown does, as far as it matters here. A backslash before ASCII punctuation comes before all of it.
_ESCAPED = re.compile(r"\\[!-/:-@\[-`{-~]")
_ACTS = {
    "bold": r"\*\*.+?\*\*",
    "italics": r"\*[^\s*].*?\*|\b_[^_]+?_",
    "underline": r"__.+?__",
    "strike": r"~~.+?~~",
    "spoiler": r"\|\|.+?\|\|",
    "code": r"`[^`]*`|``",
    "link": r"\[.*?\]\(.*?\)",
    "address": r"(?:https?|steam|discord)://[^\s<]",
    "mention": r"<@[!&]?\d+>|<#\d+>|</[^>]+:\d+>|<id:\w+>|@everyone|@here",
    "time": r"<t:-?\d+(?::\w)?>",
    "emoji": r"<a?:\w+:\d+>|:[a-z_]+:",
    "invite": r"discord(?:app)?\.(?:gg|com/invite|gift)/\w+",
}
_ACTS_AT_LINE = {
    "heading": r"#{1,3}\s",
    "small": r"-#\s",
    "quote": r">\s|>>>",
    "list": r"\s*[-*+]\s|\s*\d+[.)]\s",
}


def acting(text: str) -> set[str]:
    """The constructs of Discord that are at work in a message."""
    found, at, begins_line = set(), 0, True
    while at < len(text):
        if escaped := _ESCAPED.match(text, at):
            at, begins_line = escaped.end(), False
            continue
        wanted = {**_ACTS, **(_ACTS_AT_LINE if begins_line else {})}
        # Within a construct a backslash still takes its character: it is looked for in what is left without them.
        rest = _ESCAPED.sub("\0", text[at:])
        found |= {name for name, pattern in wanted.items() if re.match(pattern, rest, re.DOTALL)}
        begins_line = text[at] == "\n" or (begins_line and text[at] in " \t")
        at += 2 if text.startswith("**", at) else 1
    return found


def seen(text: str) -> str:
    """What a person reads of an escaped text."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("@\u200b", "@")


def graphemes(text: str) -> list[str]:
    return regex.findall(r"\X", text)


def shown(reply: Reply) -> dict[str, Any]:
    async def made() -> dict[str, Any]:
        return to_message(reply)

    return asyncio.run(made())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("**a**", "bold"),
        ("*a*", "italics"),
        ("_a_", "italics"),
        ("__a__", "underline"),
        ("~~a~~", "strike"),
        ("||x||", "spoiler"),
        ("`x`", "code"),
        ("```py\nx\n```", "code"),
        ("[a](https://x)", "link"),
        ("see https://x.example", "address"),
        ("discord://-/channels/1", "address"),
        ("<https://x>", "address"),
        ("<@1>", "mention"),
        ("<@&1>", "mention"),
        ("<#1>", "mention"),
        ("</search:1>", "mention"),
        ("@everyone", "mention"),
        ("@here", "mention"),
        ("<t:1>", "time"),
        ("<:e:1>", "emoji"),
        (":smile:", "emoji"),
        ("discord.gg/abc", "invite"),
        ("discordapp.com/invite/abc", "invite"),
        ("# h", "heading"),
        ("a\n## h", "heading"),
        ("-# small", "small"),
        ("> q", "quote"),
        (">>> q", "quote"),
        ("- l", "list"),
        ("* l", "list"),
        ("  - l", "list"),
        ("1. l", "list"),
        ("\\**a**", "italics"),
    ],
)
def test_what_acts_in_discord_is_inert_when_it_is_escaped_and_reads_the_same(text: str, what: str) -> None:
    assert what in acting(text)
    assert acting(escape(text)) == set()
    assert seen(escape(text)) == text


@given(TEXTS)
@example("\\" * 3 + "**a**")
@example("http:\u202e//x")
def test_no_text_acts_when_it_is_escaped(text: str) -> None:
    assert acting(escape(text)) == set()
    assert seen(escape(text)) == clean(text)


def test_of_a_very_long_text_only_the_beginning_is_looked_at() -> None:
    text = "鍵*" * 2_000_000
    began = time.process_time()
    for shorten in (lambda: clip(text, 100), lambda: escape(text, 100), lambda: shown(Reply(title="x", body=text))):
        shorten()
    assert time.process_time() - began < 1
    assert escape(text, 100).endswith("…")


def test_japanese_is_left_as_it_is() -> None:
    text = "鍵の管理：パスワードは（毎月）変更する。「例」・〜ー！？　全角＊＃＞、1.5倍、12:30、3-4人、a/b。"
    assert escape(text) == text


@given(TEXTS, st.integers(0, 60))
def test_a_cut_text_fits_and_no_grapheme_is_cut(text: str, limit: int) -> None:
    cut = clip(text, limit)
    assert units(cut) <= limit
    if cut == text:
        return
    assert units(text) > limit
    assert limit == 0 or cut.endswith("…")
    whole = graphemes(text)
    kept = cut.removesuffix("…")
    assert any("".join(whole[:count]).rstrip() == kept for count in range(len(whole) + 1))


def test_as_much_as_fits_is_kept() -> None:
    assert clip(FAMILY * 3, 23) == FAMILY * 2 + "…"
    assert clip(FAMILY * 3, 22) == FAMILY + "…"
    assert clip("が" * 10, 10) == "が" * 10
    assert clip(GA * 10, 10) == GA * 4 + "…"
    assert clip("a" + "\u0301" * 50, 10) == "…"


@given(TEXTS, st.integers(0, 80))
def test_an_escaped_text_fits_and_is_inert_however_short(text: str, limit: int) -> None:
    short = escape(text, limit)
    assert units(short) <= limit
    assert acting(short) == set()


@given(TEXTS, st.lists(st.tuples(st.integers(-3, 70), st.integers(-3, 70)), max_size=5), st.integers(2, 90))
def test_marks_are_bold_and_nothing_else_acts(text: str, marks: list[tuple[int, int]], limit: int) -> None:
    made = marked(text, marks, limit)
    assert units(made) <= limit
    assert acting(made) <= {"bold"}
    assert seen(marked(text, marks)).replace("**", "") == clean(text).replace("**", "") or "*" in text


def test_the_words_that_were_found_are_bold() -> None:
    assert marked("鍵を_捨てる_ 鍵", [(0, 1), (8, 9)]) == r"**鍵**を\_捨てる\_ **鍵**"
    assert marked("abcd", [(0, 1), (1, 2), (1, 3)]) == "**abc**d"
    assert marked(f"x{GA}y", [(1, 2)]) == f"x**{GA}**y"


def test_a_link_is_one_only_where_it_leads_to_https() -> None:
    assert link("鍵 [a](b)", "https://example.com/x") == r"[鍵 \[a\](b)](<https://example.com/x>)"
    for url in (
        "http://x.example",
        "javascript:alert(1)",
        "https://",
        "https://x/>)",
        "https://a b",
        "",
        "file:///etc",
    ):
        assert link("a*", url) == r"a\*"
    assert not is_https("https://user:pass@x.example")


@given(TEXTS, TEXTS, TEXTS, st.lists(st.tuples(TEXTS, TEXTS), max_size=30), st.lists(TEXTS, max_size=3))
def test_every_reply_keeps_the_limits(
    title: str, body: str, footer: str, fields: list[tuple[str, str]], notices: list[str]
) -> None:
    message = shown(
        Reply(
            title * 9,
            body * 99,
            footer * 50,
            fields=[Field(name * 9, value * 40) for name, value in fields],
            buttons=[Button(title or "x", "a", str(number)) for number in range(30)],
            notices=notices,
        )
    )
    assert units(message["content"]) <= LIMITS.content
    assert message["content"] or message["embeds"]
    for embed in message["embeds"]:
        parts = [embed.title or "", embed.description or "", embed.footer.text or ""]
        assert [units(part) <= most for part, most in zip(parts, (256, 4096, 2048), strict=True)] == [True] * 3
        assert len(embed.fields) <= 25
        for field in embed.fields:
            assert 1 <= units(field.name) <= 256
            assert 1 <= units(field.value) <= 1024
            parts += [field.name, field.value]
        assert sum(map(units, parts)) <= 6000
    rows = message["view"].to_components()
    assert len(rows) <= 5
    assert all(len(row["components"]) <= 5 for row in rows)
    assert all(1 <= units(button["label"]) <= 80 for row in rows for button in row["components"])


def test_a_short_answer_is_plain_text_with_small_print() -> None:
    message = shown(Reply(body="保存しました。", footer="残り 3_4", notices=["索引は後で更新します。"]))
    assert message["content"] == "保存しました。\n-# ⚠ 索引は後で更新します。\n-# 残り 3\\_4"
    assert message["embeds"] == []
    assert message["view"] is None


def test_a_long_answer_ends_with_a_whole_line_and_keeps_its_notices() -> None:
    line = link("題" * 30, "https://example.com/" + "x" * 40)
    embed = shown(Reply(body="\n".join([line] * 200), notices=["not all"]))["embeds"][0]
    lines = embed.description.split("\n")
    assert lines[-2:] == ["…", "-# ⚠ not all"]
    assert set(lines[:-2]) == {line}


def test_a_button_carries_its_action_and_links_lead_to_https_alone() -> None:
    view = shown(
        Reply(
            body="x",
            buttons=[
                Button("役に立った", "useful", "01J", style="success", more="1"),
                LinkButton("開く", "https://example.com"),
                LinkButton("no", "javascript:x"),
            ],
        )
    )["view"]
    (row,) = view.to_components()
    assert [button.get("custom_id") or button["url"] for button in row["components"]] == [
        "nb:useful:01J:1",
        "https://example.com",
    ]
    assert view.is_finished()
    with pytest.raises(ValueError, match="custom_id"):
        shown(Reply(body="x", buttons=[Button("x", "useful", "0" * 100)]))


def test_a_reply_of_a_file_alone_says_nothing_else() -> None:
    message = shown(Reply(files=[ReplyFile("mine.zip", b"PK")]))
    assert message["content"] == ""
    assert message["files"][0].filename == "mine.zip"
    assert message["files"][0].fp.read() == b"PK"


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=40))
def test_choices_are_as_discord_takes_them(found: list[tuple[str, str]]) -> None:
    offered = choices(Choice(name * 5, value) for name, value in found)
    assert len(offered) <= 25
    assert all(1 <= units(choice.name) <= 100 and 1 <= units(choice.value) <= 100 for choice in offered)
    fitting = [value for _, value in found if 1 <= units(value) <= 100]
    assert [choice.value for choice in offered] == fitting[:25]


def form(modal: Modal) -> dict[str, Any]:
    async def made() -> discord.ui.Modal:
        return to_discord(modal)

    return dict(asyncio.run(made()).to_dict())


@given(TEXTS, TEXTS)
def test_a_form_keeps_the_limits(title: str, text: str) -> None:
    fields = [Input(f"f{number}", text or "x", value=text, placeholder=text * 9, most=500) for number in range(7)]
    modal = form(Modal("note.add", title or "x", fields, id="0" * 36))
    assert units(modal["title"]) <= 45
    assert units(modal["custom_id"]) <= 100
    inputs = [row["components"][0] for row in modal["components"]]
    assert len(inputs) == 5
    for each in inputs:
        assert 1 <= units(each["label"]) <= 45
        assert units(each.get("value") or "") <= each["max_length"] <= 4000
        assert units(each.get("placeholder") or "") <= 100


def test_a_form_never_cuts_what_is_to_be_edited() -> None:
    (row,) = form(Modal("note.edited", "x", [Input("text", "x", value="鍵" * 4000, is_long=True)]))["components"]
    assert row["components"][0]["value"] == "鍵" * 4000
    for field in (Input("text", "x", value="鍵" * 4001), Input("text", "x", value="abc", most=2)):
        with pytest.raises(ValueError, match="text"):
            form(Modal("note.edited", "x", [field]))
