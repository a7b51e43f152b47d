"""Chunks are the note's own characters, whole where they fit, and an edit changes at most three of them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord.chunking import chunk
from nescord.markdown import parse
from nescord.notes import Chunk

TARGET, MAXIMUM = 800, 2400
SOAK = os.environ.get("NESCORD_SOAK") == "1"
EDITS = 20_000 if SOAK else 600


def cut(text: str, target: int = TARGET, maximum: int = MAXIMUM) -> list[Chunk]:
    return chunk(parse(text, "stem"), target=target, maximum=maximum)


def assert_whole(text: str, target: int, maximum: int) -> None:
    """Exact offsets, in order, every character that is not white space, once save for forced overlaps."""
    body = parse(text, "stem").body
    at = 0
    for number, one in enumerate(cut(text, target, maximum)):
        assert one.ordinal == number
        assert one.text == body[one.start : one.end] == one.text.strip() != ""
        assert len(one.text) <= maximum
        assert one.start >= at or (at - one.start <= 34 and not body[one.start].isascii())
        assert not body[at : one.start].strip()
        at = one.end
    assert not body[at:].strip()


class Writer:
    """Writes blocks as people do, in both languages."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def sentence(self) -> str:
        if self.source.random() < 0.5:
            parts = ("設計の", "検索を", "会議で", "記録が", "東京は、", "予定も", "確認し", "日本語に")
            return "".join(self.source.choices(parts, k=self.source.randint(3, 9))) + self.source.choice("。！？")
        words = ("the", "search", "design", "of", "a meeting", "record", "index", "note", "and", "change", "to", "it")
        return " ".join(self.source.choices(words, k=9)).capitalize() + ". "

    def text(self, most: int) -> str:
        return "".join(self.sentence() for _ in range(self.source.randint(1, most))).strip()

    def block(self) -> str:
        lines = range(self.source.randint(1, 25))
        number = self.source.randint
        shapes: list[tuple[int, Callable[[], str]]] = [
            (4, lambda: "#" * number(1, 4) + " " + self.sentence()[:20].strip()),
            (8, lambda: self.text(9)),
            (3, lambda: "\n".join(f"- {self.sentence()}" for _ in lines)),
            (2, lambda: "```\n" + "\n".join(f"x{number(0, 99)} = {number(0, 9999)}" for _ in lines) + "\n```"),
            (1, lambda: "| a | b |\n|---|---|\n" + "\n".join(f"| {number(0, 999)} | x |" for _ in lines)),
            (1, lambda: "> " + self.text(3)),
            (1, lambda: self.text(120)),
        ]
        weights, makers = zip(*shapes, strict=True)
        make: Callable[[], str] = self.source.choices(makers, weights)[0]
        return make()

    def small_block(self) -> str:
        return next(block for block in iter(self.block, None) if len(block) <= TARGET)


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 25), st.sampled_from([(32, 40), (80, 200), (TARGET, MAXIMUM)]))
def test_chunks_of_any_note_are_its_own_characters(source: random.Random, blocks: int, sizes: tuple[int, int]) -> None:
    writer = Writer(source)
    assert_whole("\n\n".join(writer.block() for _ in range(blocks)), *sizes)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "検索",
                "a",
                " ",
                "。",
                ". ",
                "\n",
                "# ",
                "- ",
                "か\u3099",
                "👩‍👩‍👧",
                "🇯🇵",
                "葛\U000e0100",
                "\r\n",
                "```\n",
                "\0",
            ]
        )
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        max_size=200,
    ),
    st.integers(1, 20),
)
def test_chunks_of_any_text_are_its_own_characters(pieces: list[str], times: int) -> None:
    assert_whole("".join(pieces) * times, 32, 64)


def test_one_edit_changes_at_most_three_chunks() -> None:
    """Measured: 1 of 160,000 random edits changed four; the soak run draws a new seed and allows 1 of 10,000."""
    seed = random.randrange(2**32) if SOAK else 4
    print(f"seed {seed}")
    source = random.Random(seed)
    writer = Writer(source)
    changed = [0] * 10
    while sum(changed) < EDITS:
        blocks = [writer.block() for _ in range(source.choice([3, 10, 40, 100]))]
        before = {one.text for one in cut("\n\n".join(blocks))}
        for _ in range(20):
            place = source.randrange(len(blocks))
            kept = blocks[place : place + 1] if len(blocks[place]) > TARGET else []
            new = source.choice([[], [writer.small_block()]])
            if source.random() < 0.3:
                kept = blocks[place : place + 1]  # an insertion
            after = cut("\n\n".join([*blocks[:place], *new, *kept, *blocks[place + 1 :]]))
            changed[sum(one.text not in before for one in after)] += 1
    assert sum(changed[4:]) <= EDITS // 10_000, f"edits by number of new chunks: {changed}"
    assert changed[1] > changed[2] > changed[3]


def test_chunks_are_about_as_long_as_asked() -> None:
    writer = Writer(random.Random(7))
    chunks = [one for _ in range(20) for one in cut("\n\n".join(writer.block() for _ in range(60)))]
    assert 0.75 * TARGET < sum(len(one.text) for one in chunks) / len(chunks) < 1.25 * TARGET


@pytest.mark.parametrize("text", ["", "\n \n", "---\ntitle: x\n---\n", "\u3000"])
def test_a_note_without_words_has_no_chunks(text: str) -> None:
    assert cut(text) == []


def test_a_short_note_is_one_chunk() -> None:
    text = "# A\n\n" + "word " * 50 + "\n\n## B\n\n" + "単語。" * 100
    assert [one.text for one in cut(text)] == [text]


def test_a_chunk_knows_the_headings_above_it() -> None:
    text = "intro\n\n# 一 *A*\n\n" + "\n\n".join(f"## B{n}\n\n" + f"文章{n}。" * 30 for n in range(40))
    chunks = cut(text)
    assert chunks[0].headings == ""
    for one in chunks[1:]:
        assert one.text.startswith("## B")  # headings stay with what they head
        assert one.headings == "一 A > " + one.text.splitlines()[0].removeprefix("## ")


def test_lists_code_and_tables_stay_whole_where_they_fit() -> None:
    code = "```\n" + "\n".join(f"line {n}" for n in range(200)) + "\n```"
    table = "| a |\n|---|\n" + "\n".join(f"| {n} {'x' * 20} |" for n in range(60))
    items = "\n".join(f"- item {n} " + "y" * 30 for n in range(40))
    chunks = cut("\n\n".join(["words. " * 60, code, "words. " * 90, table, "words. " * 80, items]))
    for block in (code, table, items):
        assert sum(block in one.text for one in chunks) == 1


def test_a_long_list_is_cut_between_its_items() -> None:
    chunks = cut("\n".join(f"- item {n}. With a second sentence in it" for n in range(300)))
    assert len(chunks) > 5
    assert all(one.text.startswith("- item") for one in chunks)


def test_a_list_with_blank_lines_is_cut_like_the_lists_it_is_made_of() -> None:
    chunks = cut("\n\n".join(f"- item {n} " + f"{n * n} words " * 30 for n in range(6)))
    assert len(chunks) > 1
    assert all(one.text.startswith("- item") for one in chunks)


def test_a_heading_does_not_cut_the_long_block_below_it() -> None:
    block = "- " + "\n- ".join(f"item {n}" for n in range(228))
    assert MAXIMUM - 40 < len(block) <= MAXIMUM
    assert block in [one.text for one in cut("# " + "heading " * 10 + "\n\n" + block)]


def test_long_japanese_is_cut_between_sentences() -> None:
    source = random.Random(3)
    chunks = cut("".join("検索の設計"[source.randrange(4) :] * source.randint(2, 6) + "。" for _ in range(500)))
    assert len(chunks) > 5
    assert all(one.text.endswith("。") for one in chunks)


def test_a_cut_inside_a_japanese_run_repeats_two_characters() -> None:
    text = "検索設計会議記録東京都庁" * 500
    chunks = cut(text)
    assert len(chunks) > 3
    for before, after in pairwise(chunks):
        assert before.end - after.start == 2
    for at in range(len(text) - 3):  # every three characters are somewhere together
        assert any(one.start <= at and at + 3 <= one.end for one in chunks)


@pytest.mark.parametrize("sign", ["か\u3099", "👩‍👩‍👧", "🇯🇵", "葛\U000e0100", "👍🏽", "e\u0301"])
def test_no_cut_goes_through_a_character(sign: str) -> None:
    for shift in range(len(sign)):
        for one in cut("x" * shift + sign * 2_000, 100, 200):
            assert (one.start - shift) % len(sign) == 0 or one.start == 0
            assert (one.end - shift) % len(sign) == 0


def test_the_hash_is_that_of_the_text_alone() -> None:
    one, two = cut("# A\n\nsame"), cut("---\nx: y\n---\n\n\n# A\n\nsame\n\n")
    assert one[0].text_hash == two[0].text_hash
    assert len(one[0].text_hash) == 16
    assert one[0].text_hash != cut("# A\n\nsome")[0].text_hash


@pytest.mark.parametrize(
    "text",
    [
        "a! " * 700_000,
        "検索" * 1_000_000,
        "x" * 2_000_000,
        "same line\n" * 200_000,
        "# h\n\n" * 20_000,
        "- item\n" * 140_000,
        "a" + "\u0301" * 1_000_000,
        ("# h\n\n" + "same\n\n" * 1_500) * 100,
    ],
    ids=lambda text: f"{text[:6]}…{len(text)}",
)
def test_no_text_takes_long(text: str) -> None:
    note = parse(text, "stem")
    begin = os.times()
    chunks = chunk(note, target=TARGET, maximum=MAXIMUM)
    assert os.times().user - begin.user < 2
    assert max(len(one.text) for one in chunks) <= MAXIMUM


@pytest.mark.parametrize(("target", "maximum"), [(0, 100), (31, 100), (100, 99)])
def test_sizes_that_cannot_be_are_refused(target: int, maximum: int) -> None:
    with pytest.raises(ValueError, match="chunk target"):
        cut("x", target, maximum)
