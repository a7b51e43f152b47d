"""`/search`: what is found, how it looks, and that nothing of another scope is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hashing_embedder import HashingEmbedder
from vaults import write_notes

from bot.hits import hits_reply
from bot.reasons import keys_of
from nescord import KnowledgeManager
from nescord.notes import SearchHits
from tests.command_world import BotWorld, bot_world, said, visiting
from tests.fakes.discord import Guild, User

JUMP = "https://discord.com/channels/7/700/7000"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def test_a_search_shows_title_snippet_path_and_day_and_a_button_opens_the_note(world: BotWorld) -> None:
    with world.bot() as km:
        write_notes(world.folder / "vault", {"kitchen/Tea.md": "# Tea\n\nGreen *tea* wants water of seventy degrees."})
        km.ingest(world.folder / "vault")
        message = world.answer(world.owner, "search", world.home, query="seventy")
        assert message.is_ephemeral
        assert said(world.owner, "search.title", query="seventy") in message.text
        assert "**1.** **Tea**" in message.text
        assert "\\*tea\\* wants water of **seventy** degrees" in message.text
        assert "-# kitchen/Tea.md" in message.text
        assert "<t:" in message.text
        shown = world.click(world.owner, message, "[1]")
        assert shown.is_ephemeral
        assert "Green \\*tea\\* wants" in shown.text


def test_it_is_answered_in_the_language_of_the_person(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("鍵は赤い箱の中にある。", space="user:43")
        found = world.answer(world.ben, "search", query="赤い箱")
        assert "「赤い箱」の検索結果" in found.text
        assert "**赤い箱**" in found.text
        nothing = world.answer(world.ben, "search", query="青い鳥", mode="keyword", tag="旅")
        assert "一致するノートは見つかりませんでした" in nothing.text
        assert "タグ「旅」" in nothing.text
        assert said(world.ben, "search.none_mode") in nothing.text
        assert said(world.ben, "search.in_direct") in nothing.text
        english = world.answer(world.ada, "search", world.home, query="nowhere")
        assert said(world.ada, "search.none", query="nowhere") in english.text
        assert said(world.ada, "search.in_guild") in english.text


def test_a_note_that_was_said_somewhere_is_linked_to_there(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("The key is in the red box", space="guild:7", source=JUMP)
        message = world.answer(world.ada, "search", world.home, query="red box")
        assert f"[The key is in the red box](<{JUMP}>)" in message.text


def test_no_text_of_a_note_acts_in_discord(world: BotWorld) -> None:
    with world.bot() as km:
        evil = "needle @everyone <@42> [click](https://evil.example) ||spoiler|| `code` https://evil.example/x"
        km.add_note(f"# {evil}\n\n{evil}", space="user:42")
        text = world.answer(world.ada, "search", query="needle").text
        shown = "\n".join(line for line in text.splitlines() if "spoiler" in line)
        assert shown.count("spoiler") >= 2
        bold = re.sub(r"<t:\d+:d>", "", shown.replace("**", ""))
        assert not re.search(r"(?<!\\)[<>\[\]|`]", bold)
        assert "@everyone" not in text
        assert "https://" not in text


def test_ten_of_the_longest_hits_fit_into_one_answer(world: BotWorld) -> None:
    with world.bot() as km:
        for number in range(10):
            km.add_note(f"# {'_*' * 60}{number}\n\nneedle {'*_~`' * 100}", space="guild:7", source=f"{JUMP}{number:09}")
        message = world.answer(world.ada, "search", world.home, query="needle", limit=10)
        assert all(f"**{number}.**" in message.text for number in range(1, 11))
        assert message.labels == [f"[{number}]" for number in range(1, 11)]
        assert said(world.ada, "search.off") in message.text


def test_what_could_not_be_asked_is_said_in_plain_words(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("green tea", space="user:42")
        without = world.answer(world.ada, "search", query="tea")
        assert said(world.ada, "search.off") in without.text
        assert "NESCORD_EMBEDDER" not in without.text
        words = world.answer(world.ada, "search", query="tea", mode="keyword")
        assert said(world.ada, "search.off") not in words.text
    with world.bot(embedder=HashingEmbedder()) as km:
        first = world.answer(world.ada, "search", query="tea")
        assert said(world.ada, "search.not_yet") in first.text
        km.catch_up()
        assert "⚠" not in world.answer(world.ada, "search", query="tea").text
        km.add_note("black tea", space="user:42")
        assert said(world.ada, "search.waiting") in world.answer(world.ada, "search", query="tea").text


def test_hits_that_hardly_answer_are_marked(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("first needle", space="user:42")
        km.add_note("second needle", space="user:42")
        found = km.search("needle", mode="keyword")
        weak = [replace(hit, weak=True) for hit in found]
        with visiting(world, world.ben, language="ja") as visit:
            some = hits_reply(visit, "x", SearchHits([found[0], weak[1]]))
            assert some.body.count(said(world.ben, "search.weak")) == 1
            assert not some.notices
            assert hits_reply(visit, "x", SearchHits(weak)).notices == [said(world.ben, "search.all_weak")]


@pytest.mark.parametrize(
    ("reason", "mode", "key"),
    [
        ("vector: no answer of https://secret (the vectors of the local model answer)", "hybrid", "search.local"),
        ("vector: embed-query is switched off: GEMINI_MONTHLY_LIMIT is 0", "keyword", "search.budget"),
        ("vector: spent; search by words goes on, and nescord budget allow allows more", "keyword", "search.budget"),
        ("Chroma: /data/chroma is damaged (the exact scan answers)", "hybrid", "search.scanned"),
        ("vector: gemini has not answered since noon", "keyword", "search.away"),
        ("vector: the second model is away", "hybrid", "search.degraded"),
        ("something new: /secret/path", "hybrid", "search.degraded"),
        ("answer: answering by a model is switched off (NESCORD_GENERATOR=none)", "hybrid", "ask.no_model"),
        ("answer: spent; search by words goes on, and nescord budget allow allows more", "hybrid", "ask.budget"),
        ("answer: it was cut at the greatest length before any sentence", "hybrid", "ask.not_written"),
        ("answer: it is as long as it may be, and was cut there", "hybrid", "ask.longest"),
        ("follow-up: searched together with the question before it (x)", "hybrid", "ask.together"),
    ],
)  # fmt: skip
def test_each_reason_has_a_text(reason: str, mode: str, key: str) -> None:
    assert keys_of([reason, reason], mode=mode) == [key]


def test_that_a_question_was_not_recorded_is_nobodys_concern() -> None:
    assert keys_of(["question: not recorded: /secret/path"]) == []


def test_a_tag_narrows_the_search_and_is_offered_while_typing(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("green tea", space="user:42", tags=["drink"])
        km.add_note("tea towel", space="guild:7", tags=["kitchen"])
        km.add_note("hidden", space="user:43", tags=["kinky"])
        message = world.answer(world.ada, "search", world.home, query="tea", tag="drink")
        assert "green" in message.text
        assert "towel" not in message.text
        typed = {"query": "tea", "tag": "k"}
        fake = world.fake
        offered = fake.autocomplete(world.ada, "search", typed, focused="tag", guild=world.home)
        assert {each["value"] for each in offered} == {"kitchen", "drink"}
        shared = fake.autocomplete(world.ada, "search", {**typed, "share": True}, focused="tag", guild=world.home)
        assert [each["value"] for each in shared] == ["kitchen"]
        assert fake.autocomplete(world.ada, "search", typed, focused="tag")[0]["name"] == "drink (1)"


def test_a_shared_answer_has_notes_of_the_guild_alone_and_others_may_open_them(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("needle of the guild", space="guild:7")
        km.add_note("needle of ada", space="user:42")
        message = world.answer(world.ada, "search", world.home, query="needle", share=True)
        assert not message.is_ephemeral
        assert message.labels == ["[1]"]
        assert "of the guild" in message.text
        assert "of ada" not in message.text
        opened = world.click(world.ben, message, "[1]")
        assert opened.is_ephemeral
        assert "needle of the guild" in opened.text
        nothing = world.answer(world.ada, "search", world.home, query="elsewhere", share=True)
        assert said(world.ada, "search.in_shared") in nothing.text


def test_a_search_is_counted_and_what_is_left_is_said(world: BotWorld) -> None:
    with world.bot(quota_searches="2/100") as km:
        km.add_note("tea", space="user:42")
        assert said(world.ada, "frame.left_searches", left=1) in world.answer(world.ada, "search", query="tea").text
        world.answer(world.ada, "search", query="tea")
        refused = world.answer(world.ada, "search", query="tea")
        assert "<t:" in refused.text
        assert "tea" not in refused.text


SPACES = {"user:42": "adas", "user:43": "bens", "guild:7": "homes", "guild:8": "others", "personal": "owners"}
VISITS = [
    ("ada", "home", False, {"adas", "homes"}),
    ("ada", "home", True, {"homes"}),
    ("ada", "dm", False, {"adas"}),
    ("ada", "group", False, {"adas"}),
    ("ben", "home", False, {"bens", "homes"}),
    ("mia", "home", False, {"homes"}),
    ("owner", "home", False, {"owners", "homes"}),
    ("owner", "home", True, {"homes"}),
    ("owner", "dm", False, {"owners"}),
    ("eve", "other", False, {"others"}),
    ("eve", "other", True, {"others"}),
    ("eve", "dm", False, set()),
]


def filled(km: KnowledgeManager) -> dict[str, str]:
    """A note in each space, by its name."""
    return {
        name: km.add_note(f"{name} needle", space=space, author="user:42", tags=[f"tag-{name}"]).id
        for space, name in SPACES.items()
    }


def named_in(text: str) -> set[str]:
    return {name for name in SPACES.values() if name in text}


def test_nobody_sees_what_is_not_theirs_by_any_way(world: BotWorld) -> None:
    with world.bot() as km:
        notes = filled(km)
        for name, place, share, expected in VISITS:
            user: User = getattr(world, name)
            guild: Guild | None = {"home": world.home, "other": world.other}.get(place)
            at: dict[str, object] = {"guild": guild, "private": place == "group"}
            fake = world.fake

            def answered(command: str, values: dict[str, object]) -> set[str]:
                return named_in(fake.slash(user, command, values, **at).wait().text)  # noqa: B023

            sharing: dict[str, object] = {"share": share}
            where = (name, place, share)
            assert answered("search", {"query": "needle", "limit": 10, **sharing}) == expected, where
            assert answered("ask", {"question": "needle", **sharing}) == expected, where
            offered = fake.autocomplete(user, "search", {"query": "x", "tag": "tag", **sharing}, focused="tag", **at)
            assert named_in(str(offered)) == expected, where
            offered = fake.autocomplete(user, "ask", {"question": "x", "tag": "tag", **sharing}, focused="tag", **at)
            assert named_in(str(offered)) == expected, where
            if share:
                continue
            assert answered("note list", {}) == expected, where
            offered = fake.autocomplete(user, "note show", {"note": "needle"}, focused="note", **at)
            assert named_in(str(offered)) == expected, where
            shown = {which: answered("note show", {"note": note_id}) for which, note_id in notes.items()}
            assert shown == {which: {which} & expected for which in notes}, where
            for command in ("related", "note history", "note delete"):
                assert not answered(command, {"note": next(iter(notes.values()))}) - expected, where


def test_what_somebody_typed_is_not_in_the_log(world: BotWorld, caplog: pytest.LogCaptureFixture) -> None:
    with world.bot():
        message = world.answer(world.ada, "search", query="after:zebraquux my secret")
        reference = re.search(r"reference `(\w+)`", message.text)
        assert reference is not None
        assert reference[1] in caplog.text
        assert "zebraquux" not in caplog.text
