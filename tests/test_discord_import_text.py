"""A message as Markdown: what it says stays readable, nothing of it goes on into the next one, and it splits again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.markdown import parse
from nescord.sources.discord_export import name_in, seconds, snowflake
from nescord.sources.discord_messages import DiscordChannel, DiscordMessage, Piece, piece, pieces, place, readable

CHANNEL = DiscordChannel(id=2, name="general", kind="channel", guild="1")
TOKYO = ZoneInfo("Asia/Tokyo")
HEAD = "**Ann** [2026-01-05 18:00:00 +09:00](https://discord.com/channels/1/2/3)"
_BITS = [
    *(
        "*",
        "[",
        "]",
        "(",
        "`",
        "```",
        "``````",
        "~",
        "\n",
        "\n\n",
        "\\",
        "#",
        "# ",
        "-",
        "---",
        "===",
        "> ",
        "<",
        "<!--",
        "|",
        "~~~",
    ),
    *(
        HEAD,
        "\n" + HEAD,
        "\r\n",
        "\x00",
        "\u2028",
        "\ud800",
        "日本",
        "a ",
        " ↩ x",
        " ✎ ",
        "$",
        " ",
        "\u3000",
        "```py\n",
    ),
    *(
        "\x85",
        "<div>",
        "<script>",
        "- ",
        "1. ",
        "    ",
        "\t",
        "[x]: y",
        "| a |\n|---|\n",
        "$$",
        "%%",
        "[^1]: ",
        "<?",
        "</p>",
    ),
]
NASTY = st.lists(st.sampled_from(_BITS) | st.characters(), max_size=30).map("".join)


def made(text: str, **more: Any) -> Piece:
    found = piece(DiscordMessage(3, 1_767_603_600, "Ann", text=text, **more), CHANNEL, TOKYO)
    assert found is not None
    return found


@given(st.lists(st.tuples(NASTY, NASTY, st.integers(0, 2_000_000_000)), max_size=6))
def test_a_note_is_taken_apart_into_the_very_pieces_that_it_was_made_of(told: list[tuple[str, str, int]]) -> None:
    there = [
        found
        for number, (author, text, edited) in enumerate(told, 1)
        if (found := piece(DiscordMessage(number, number * 60, author, text=text, edited=edited), CHANNEL, TOKYO))
    ]
    body = "\n\n".join(["# title", "where", *(one.text for one in there)]) + "\n"
    again = list(pieces(body))
    assert [(one.id, one.at, one.edited, one.head, one.tail) for one in again] == [
        (one.id, one.at, one.edited, one.head, one.tail) for one in there
    ]


@given(NASTY)
def test_nothing_that_somebody_writes_takes_the_next_message_in(text: str) -> None:
    first = piece(DiscordMessage(3, 1_767_603_600, "Ann", text=text), CHANNEL, TOKYO)
    body = f"# t\n\n{first.text if first else ''}\n\n{HEAD}\nsee [[Elsewhere]] #found\n"
    parsed = parse(body, "t")
    assert [block.heading for block in parsed.blocks if block.kind == "heading"] == ["t"]
    assert "found" in parsed.tags
    assert any(link.target == "Elsewhere" for link in parsed.links)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("```py\nprint(1)```", "```py\nprint(1)\n```"),
        ("look: ```\na\n\n\nb``` there", "look: \n```\na\n\n\nb\n```\n there"),
        ("```one line```", "`one line`"),
        ("open ``` end", "open \\`\\`\\` end"),
        ("# big\n## not", "\\# big\n\\## not"),
        ("#general and #タグ", "#general and #タグ"),
        ("words\n---", "words\n\\---"),
        ("a\n| - |", "a\n\\| - |"),
        ("~``````~~\nhidden", "\\~~~\nhidden"),
        ("````` ```\nhidden", "\\`" * 5 + " " + "\\`" * 3 + "\nhidden"),
        ("<b>bold</b> <https://a.example>", "\\<b>bold</b> <https://a.example>"),
        ("<https://a.example>", "<https://a.example>"),
        ("a\r\nb\x0bc\u2028d\x00\ufeff", "a\nb\nc\nd"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("  \n 日本語 \n", "日本語"),
    ],
)
def test_the_text_of_a_message_is_itself_and_nothing_more(text: str, shown: str) -> None:
    assert made(text).tail == shown


def test_a_message_that_says_nothing_is_no_piece() -> None:
    assert piece(DiscordMessage(3, 60, "Ann", text=" \n\x00"), CHANNEL, UTC) is None


def test_what_is_far_too_long_is_cut() -> None:
    assert len(made("長" * 1_000_000).tail) == 40_000
    assert len(made("x", embeds=(("t" * 10_000, ""),) * 10_000, files=("f",) * 10_000).text) < 20_000


@pytest.mark.parametrize(
    ("author", "shown"),
    [
        ("owen_b", "owen_b"),
        ("a*b*[c](d)`", "a\\*b\\*\\[c\\](d)\\`"),
        ("", "?"),
        ("x\n\ny", "x y"),
        ("名" * 100, "名" * 79 + "…"),
    ],
)
def test_a_name_is_a_name(author: str, shown: str) -> None:
    found = piece(DiscordMessage(3, 60, author, text="x"), CHANNEL, UTC)
    assert found is not None
    assert found.head.startswith(f"**{shown}** [1970-01-01 00:01:00 +00:00](")


@pytest.mark.parametrize("name", [HEAD, f"a\n{HEAD}", "~~~", "```", "<!--", "# x"])
def test_a_name_of_a_place_is_no_message_and_begins_nothing(name: str) -> None:
    for channel in (replace(CHANNEL, guild="", kind="direct", name=name), replace(CHANNEL, guild_name=name)):
        body = f"# t\n\n{place(channel)}\n\n{made('x #found').text}\n"
        assert [one.id for one in pieces(body)] == [3]
        parsed = parse(body, "t")
        assert [block.heading for block in parsed.blocks if block.kind == "heading"] == ["t"]
        assert "found" in parsed.tags


def test_signs_of_discord_are_read_as_its_clients_show_them() -> None:
    names = {"@1": "Ann", "@&2": "staff", "#3": "general"}
    assert readable("<@1> <@!1> <@&2> <#3> <#4> <:a_b:5> <a:c:6> <t:0> <t:0:R> </x y:7>", names, TOKYO) == (
        "@Ann @Ann @staff #general #4 :a_b: :c: 1970-01-01 09:00 1970-01-01 09:00 /x y"
    )
    assert readable("<t:999999999999> a < b > c <@x>", names, TOKYO) == "<t:999999999999> a < b > c <@x>"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("123", 123),
        (123, 123),
        ("0", 0),
        ("-1", 0),
        (True, 0),
        (1 << 63, 0),
        ("9" * 20, 0),
        ("１", 0),
        (None, 0),
        (1.5, 0),
    ],
)
def test_an_id_is_a_number_that_can_be_stored(value: object, number: int) -> None:
    assert snowflake(value) == number


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-01-05T18:00:00.123+09:00", 1_767_603_600),
        ("2026-01-05 09:00:00", 1_767_603_600),
        ("2026-01-05T09:00:00Z", 1_767_603_600),
        ("0001-01-01T00:00:00+00:00", 0),
        ("9999-12-31T23:59:59-12:00", 0),
        ("yesterday", 0),
        (5, 0),
    ],
)
def test_a_moment_is_read_in_any_of_the_ways_that_exports_write_it(value: object, at: int) -> None:
    assert seconds(value) == at


def test_the_name_of_a_file_is_that_of_its_address() -> None:
    assert name_in("https://cdn.discordapp.com/a/b/%E5%9B%B3.png?ex=1&is=2") == "図.png"
    assert name_in("http://[") == "file"
