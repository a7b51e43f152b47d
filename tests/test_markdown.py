"""A Markdown note taken apart: title, tags, links and blocks that together hold every word."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord.markdown import MAX_TITLE, parse
from nescord.notes import Link, ParsedNote


def read(text: str) -> ParsedNote:
    return parse(text, "stem")


def kinds(text: str) -> list[tuple[str, str]]:
    note = read(text)
    return [(block.kind, note.body[block.start : block.end].strip()) for block in note.blocks]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: From  the top\n---\n# H1\n", "From the top"),
        ("---\ntitle: 007\n---\n", "007"),
        ("---\ntitle: [a]\n---\n# H1\n", "H1"),
        ("## H2\n\n# 設計 *of* `code` [[A|b]]\n", "設計 of code b"),
        ("#\n\n# second\n", "second"),
        ("Setext\ntitle\n===\n", "Setext title"),
        ("> # quoted\n", "stem"),
        ("no heading", "stem"),
        ("", "stem"),
    ],
)
def test_the_title_is_that_of_front_matter_then_h1_then_file(text: str, title: str) -> None:
    assert read(text).title == title


def test_a_title_is_short() -> None:
    assert len(read("# " + "x" * 2_000).title) == MAX_TITLE


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#a text #b/c, #d-e_f.", ["a", "b/c", "d-e_f"]),
        ("#日記 と、#タグ。次（#括弧）", ["日記", "タグ", "括弧"]),
        ("#snake_case_tag *x* **#bold**", ["snake_case_tag", "bold"]),
        ("- #item\n- [ ] #task\n\n> #quote\n\n| #cell |\n|---|\n", ["item", "task", "quote", "cell"]),
        ("#Tag #tag #ＴＡＧ", ["tag"]),
        ("#🎉 #a/ #y1984", ["🎉", "a", "y1984"]),
        ("line\n#next", ["next"]),
        ("#1984 #- #_ # no a#b ## \\#esc &#35;ent &#123;", []),
        ("`#code`\n\n```\n#block\n```\n\n    #indented\n", []),
        ("https://x.org/#frag http://x.org/(#b <https://x.org/#a> [#t](x.md) [x](y.md#h) [[A#b]]", []),
        ("# heading #tag\n", []),
        ('<div id="#x">\n#html\n</div>\n', []),
        ("---\ntags: [Z, b]\n---\n#b #c", ["z", "b", "c"]),
        ("#" + "x" * 500, []),
    ],
)
def test_tags_are_found_in_text_and_nowhere_else(text: str, tags: list[str]) -> None:
    assert list(read(text).tags) == tags


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("[[A]]", [Link("wiki", "A")]),
        ("[[日本 語|別名]]", [Link("wiki", "日本 語", "", "別名")]),
        ("[[A#見出し]] [[A#^b|c]]", [Link("wiki", "A", "見出し"), Link("wiki", "A", "^b", "c")]),
        ("| x |\n|---|\n| [[A\\|b]] |\n", [Link("wiki", "A", "", "b")]),
        ("[x *y*](a%20b.md#h)", [Link("markdown", "a b.md", "h", "x y")]),
        (
            "[x](<../c d.md>) [y][r]\n\n[r]: z.md",
            [Link("markdown", "../c d.md", "", "x"), Link("markdown", "z.md", "", "y")],
        ),
        ("![[p.png|300]] ![alt](i.png)", [Link("embed", "p.png", "", "300"), Link("embed", "i.png", "", "alt")]),
        ("[![alt](i.png)](b.md)", [Link("embed", "i.png", "", "alt"), Link("markdown", "b.md", "", "alt")]),
        ("# [[In heading]]\n", [Link("wiki", "In heading")]),
        ("[x](%E3%81%82.md) [y](%82.md)", [Link("markdown", "あ.md", "", "x"), Link("markdown", "%82.md", "", "y")]),
        ("[[A]] [[A]]", [Link("wiki", "A")]),
        ("[a](https://x.org/y.md) [b](#h) [[#h]] <https://x.org> <a@b.org> [c](mailto:a@b.org) [d](//x.org) [[]]", []),
        ("`[[A]]`\n\n```\n[[B]]\n```\n\n\\[[C]]", []),
        ('---\nup: "[[A#h|b]]"\nnested: {x: ["[[C]]"]}\n---\n', [Link("wiki", "A", "h", "b"), Link("wiki", "C")]),
    ],
)
def test_links_to_notes_and_files_are_found(text: str, links: list[Link]) -> None:
    assert list(read(text).links) == links


def test_link_targets_are_nfc() -> None:
    assert read(unicodedata.normalize("NFD", "[[がぎ]]")).links[0].target == "がぎ"


def test_blocks_have_kinds_and_levels() -> None:
    text = "# A\n\ntext\n\n- x\n  - y\n\n```py\nz\n```\n\n|a|\n|-|\n|b|\n\n> q\n> # no\n\n<div>\n\n---\n\n"
    text += "[^1]: foot\n\n[r]: link\n"
    assert [kind for kind, _ in kinds(text)] == [
        *("heading", "paragraph", "list", "code", "table", "quote", "html", "rule", "paragraph", "paragraph"),
    ]
    assert [(b.level, b.heading) for b in read(text).blocks if b.level] == [(1, "A")]
    assert kinds(text)[-1] == ("paragraph", "[r]: link")


def test_broken_front_matter_stays_in_the_body_and_is_said() -> None:
    text = "---\ntitle: a: b\n---\n# Real\n\n#tag\n"
    note = read(text)
    assert (note.body, note.body_offset, note.title, note.tags) == (text, 0, "Real", ("tag",))
    assert kinds(text)[0] == ("code", "---\ntitle: a: b\n---")
    assert "front matter, line 2" in note.warnings[0]


def test_dates_and_aliases_come_from_front_matter() -> None:
    note = read("---\naliases: [か\u3099, b]\ndate: 2024-03-01\nupdated: 2024-03-02 10:00\n---\n")
    assert (note.aliases, note.created, note.updated) == (("が", "b"), "2024-03-01", "2024-03-02T10:00:00")
    assert note.body == ""


PIECES = [
    "# 見出し #t\n",
    "text\n",
    "\n",
    "日本語。",
    "- item\n",
    "  - [ ] sub\n",
    "```\n",
    "> q\n",
    "| a | b |\n|---|---|\n",
]
PIECES += [
    "[^1]: foot\n",
    "[r]: x\n",
    "<div>\n",
    "<!-- c -->",
    "    code\n",
    "---\n",
    "===\n",
    "[[A]]",
    "![x](y)",
    "\0",
    "\r\n",
]
PIECES += ["[", "*", "`", "\\", "#tag ", "\u3000", "a: b\n", "1. n\n", "\t", "$x$", "~~s~~", "\x85", "\u2028"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=40))
def test_blocks_are_in_order_and_hold_every_word(pieces: list[str]) -> None:
    text = "".join(pieces)
    note = read(text)
    assert text[note.body_offset :] == note.body
    at = 0
    for block in note.blocks:
        assert at <= block.start < block.end <= len(note.body)
        assert not note.body[at : block.start].strip()
        assert (block.kind == "heading") == bool(block.level)
        at = block.end
    assert not note.body[at:].strip()


@pytest.mark.parametrize(
    "text",
    [
        "- " * 5_000 + "x",
        "> " * 5_000 + "x",
        "[" * 100_000,
        "[[a|" * 50_000,
        "![a " * 5_000 + "](x)" * 5_000,
        "[" * 3_000_000,
        "word " * 4_000_000,
        "検索" * 500_000,
        "# " + "x" * 1_000_000,
        "#tag " * 100_000,
    ],
    ids=lambda text: f"{text[:6]}…{len(text)}",
)
def test_no_text_takes_long(text: str) -> None:
    begin = time.process_time()
    note = read(text)
    assert time.process_time() - begin < 2
    assert sum(b.end - b.start for b in note.blocks) >= len(text.strip())


def test_a_dump_is_kept_as_plain_text_and_said() -> None:
    note = read("# x\n" + "[" * 3_000_000)
    assert [block.kind for block in note.blocks] == ["paragraph"]
    assert "kept as plain text" in note.warnings[0]
