"""`/ask`: the answer with its citations, what its buttons show and to whom, and that nothing in it acts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from answering_world import UNHURRIED
from hashing_embedder import HashingEmbedder
from hypothesis import given
from hypothesis import strategies as st
from scripted_generator import ScriptedGenerator, let_write, number_of

from bot.answers import answer_reply
from bot.render import units
from bot.visit import Refused
from nescord import KnowledgeManager
from nescord.answering import Answer
from nescord.generation import Prompt
from nescord.locks import LockName, Locks
from tests.command_world import BotWorld, bot_world, forged, said, visiting
from tests.fakes.discord import Message

JUMP = "https://discord.com/channels/7/700/7000"
BOX = "The key is in the red box behind the stove."


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


def writing(km: KnowledgeManager, text: str) -> ScriptedGenerator:
    """A model that writes `text`, where `#` is the number of the passage about the box."""
    return let_write(km, ScriptedGenerator(lambda prompt: text.replace("#", f"[{number_of(prompt, 'red box')}]")))


def conversation(message: Message) -> str:
    (found,) = {each["custom_id"].split(":")[2] for each in message.buttons if "ask_useful" in each["custom_id"]}
    return str(found)


def test_a_written_answer_links_the_message_that_it_cites(world: BotWorld) -> None:
    with world.bot(embedder=HashingEmbedder(), **UNHURRIED) as km:
        km.add_note(BOX, space="guild:7", source=JUMP)
        km.catch_up()
        writing(km, "The **key** is in the red box #.")
        message = world.answer(world.ada, "ask", world.home, question="Where is the key?")
        assert message.is_ephemeral
        assert f"The **key** is in the red box [\\[1\\]](<{JUMP}>)." in message.text
        assert said(world.ada, "ask.generated", model="scripted") in message.text
        assert said(world.ada, "frame.left_answers", left=29) in message.text
        assert message.labels == ["[1]", "Useful", "Not useful", "Sources", "Follow-up"]
        assert BOX in world.click(world.ada, message, "[1]").text


def test_without_a_model_the_passages_answer_and_why_is_said_in_japanese(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("鍵はストーブの後ろの赤い箱にある。", space="user:43")
        message = world.answer(world.ben, "ask", question="赤い箱はどこ？")
        assert "鍵はストーブの後ろの赤い箱にある。" in message.text
        assert said(world.ben, "ask.passages") in message.text
        assert said(world.ben, "ask.no_model") in message.text
        assert "GEMINI" not in message.text
        assert message.labels == ["[1]", "役に立った", "役に立たなかった", "出典", "続けて質問"]


def test_what_the_notes_do_not_know_is_said(world: BotWorld) -> None:
    with world.bot(embedder=HashingEmbedder(), **UNHURRIED) as km:
        nothing = world.answer(world.ada, "ask", question="Where is the key?")
        assert said(world.ada, "ask.nothing") in nothing.text
        assert "Sources" not in nothing.labels
        km.add_note(BOX, space="user:42")
        km.catch_up()
        let_write(km, ScriptedGenerator(lambda _: "NOT_IN_NOTES"))
        unknown = world.answer(world.ada, "ask", question="Who painted the red box?")
        assert said(world.ada, "ask.not_found") in unknown.text


def test_nothing_that_a_model_writes_acts(world: BotWorld) -> None:
    evil = (
        "# The key is in the red box #. @everyone <@42> the key is in [the red box](https://evil.example/a) #. "
        "||The key is in the red box|| `#`\n- The key is in the red box <t:1:R> #.\n> The key is in the red box #."
    )
    with world.bot(embedder=HashingEmbedder(), **UNHURRIED) as km:
        km.add_note(f"{BOX} https://evil.example/a {evil}", space="user:42")
        km.catch_up()
        writing(km, evil)
        text = world.answer(world.ada, "ask", question="Where is the key?").text
        answer, _, _ = text.partition("-# ")
        assert "red box" in answer
        assert not re.search(r"(?<!\\)[<>|`\]]", answer)
        assert "@everyone" not in text
        assert not re.search(r"(?m)^\s*[#>]", answer)
        assert "https://evil" not in text


def test_an_answer_that_is_too_long_comes_whole_in_a_file(world: BotWorld) -> None:
    with world.bot(embedder=HashingEmbedder(), **UNHURRIED) as km:
        km.add_note(BOX, space="user:42")
        km.catch_up()
        writing(km, "The key is in the red box #. " * 200)
        message = world.answer(world.ada, "ask", question="Where is the key?")
        assert said(world.ada, "ask.whole") in message.text
        assert said(world.ada, "ask.generated", model="scripted") in message.text
        (file,) = message.files
        assert file.content.decode().count("red box") == 200


def test_the_passages_fit_whatever_they_hold(world: BotWorld) -> None:
    with world.bot() as km:
        for number in range(6):
            km.add_note(f"needle {number} " + "*_~`|" * 200, space="user:42", title="*_" * 60)
        message = world.answer(world.ada, "ask", question="needle")
        assert said(world.ada, "ask.passages") in message.text
        sources = world.click(world.ada, message, "Sources")
        assert sources.text.count("needle") >= 3
        assert said(world.ada, "ask.sources_whole") in sources.text
        assert sources.files[0].name == "sources.md"


def test_a_tag_leaves_only_its_notes(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("needle of tea", space="user:42", tags=["hot drink"])
        km.add_note("needle of wool", space="user:42")
        message = world.answer(world.ada, "ask", question="needle", tag="hot-drink")
        assert "of tea" in message.text
        assert "of wool" not in message.text
        assert "tag:" not in message.text


def test_sources_show_the_passages_and_buttons_live_on_after_a_restart(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note(BOX, space="guild:7")
        message = world.answer(world.ada, "ask", world.home, question="red box?", share=True)
    with world.bot() as km:
        sources = world.click(world.ben, message, "Sources")
        assert sources.is_ephemeral
        assert "behind the stove" in sources.text
        assert said(world.ben, "ask.sources_title") in sources.text
        assert said(world.ben, "ask.thanks_useful") in world.click(world.ben, message, "Useful").text
        assert said(world.ada, "ask.thanks_not_useful") in world.click(world.ada, message, "Not useful").text
        km.edit_note(note.id, text="The key was moved.")
        changed = world.click(world.ada, message, "Sources")
        assert "behind the stove" not in changed.text
        assert said(world.ada, "ask.source_changed") in changed.text
        km.delete_note(note.id)
        gone = world.click(world.ada, message, "Sources")
        assert "moved" not in gone.text
        assert said(world.ada, "ask.source_gone") in gone.text
        assert said(world.ben, "note.trashed") in world.click(world.ben, message, "[1]").text


def test_a_follow_up_takes_what_was_said_into_account(world: BotWorld) -> None:
    with world.bot(embedder=HashingEmbedder(), **UNHURRIED) as km:
        km.add_note(BOX, space="user:42")
        km.catch_up()

        def rewritten(prompt: Prompt) -> str:
            assert "Where is the key?" in prompt.text
            return "Where does the red box stand?"

        generator = ScriptedGenerator(
            lambda prompt: f"The red box stands behind the stove [{number_of(prompt, 'red box')}].", rewritten=rewritten
        )
        let_write(km, generator)
        first = world.answer(world.ada, "ask", question="Where is the key?")
        opened = world.fake.click(world.ada, first, "Follow-up")
        second = world.fake.submit(world.ada, opened, {"question": "And where is that?"}).wait()
        assert second.is_ephemeral
        assert "behind the stove" in second.text
        assert "And where is that?" in second.text
        assert len(generator.rewrites) == 1
        third = world.fake.click(world.ada, second, "Follow-up")
        world.fake.submit(world.ada, third, {"question": "Since when?"}).wait()
        assert "And where is that?" in generator.rewrites[-1].text


def test_the_form_of_a_follow_up_is_in_the_language_of_who_opens_it(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note(BOX, space="guild:7")
        message = world.answer(world.ada, "ask", world.home, question="red box?", share=True)
        opened = world.fake.click(world.ben, message, "Follow-up")
        assert opened.modal["title"] == "続けて質問"
        answer = world.fake.submit(world.ben, opened, {"question": "赤い箱の色は？ red box"}).wait()
        assert answer.is_ephemeral
        assert "red box" in answer.text


@pytest.mark.parametrize("kind", ["button.ask_sources", "button.ask_useful", "button.ask_useless", "ask.followed"])
def test_buttons_of_an_answer_are_for_whoever_may_see_it(world: BotWorld, kind: str) -> None:
    with world.bot() as km:
        km.add_note(BOX, space="guild:7")
        km.add_note(BOX, space="user:42")
        mine = conversation(world.answer(world.ada, "ask", world.home, question="red box?"))
        shared = conversation(world.answer(world.ada, "ask", world.home, question="red box?", share=True))
        asked = {"question": "red box"}
        for user, guild, wanted in [
            (world.ben, world.home, mine),
            (world.mia, world.home, mine),
            (world.owner, world.home, mine),
            (world.eve, world.other, mine),
            (world.eve, world.other, shared),
            (world.ben, None, shared),
            # Asked where the guild was seen, pressed where it is not.
            (world.ada, None, mine),
        ]:
            with pytest.raises(Refused) as refused:
                forged(world, user, kind, {"id": wanted, **asked}, guild=guild)
            assert refused.value.key == "ask.gone"
        assert forged(world, world.ada, kind, {"id": mine, **asked}, guild=world.home)
        assert forged(world, world.ben, kind, {"id": shared, **asked}, guild=world.home)
        with pytest.raises(Refused):
            forged(world, world.ada, kind, {"id": "nothing", **asked}, guild=world.home)


def test_an_answer_that_cannot_be_kept_is_shown_without_its_buttons(world: BotWorld) -> None:
    is_held, is_shown = threading.Event(), threading.Event()

    def hold() -> None:
        with Locks(world.folder / "kb" / "run", timeout=5).exclusive(LockName.CATALOG):
            is_held.set()
            is_shown.wait(20)

    holder = threading.Thread(target=hold)

    def written(prompt: Prompt) -> str:
        holder.start()
        assert is_held.wait(10)
        return f"The key is in the red box [{number_of(prompt, 'red box')}]."

    with world.bot(embedder=HashingEmbedder(), lock_timeout=1, **UNHURRIED) as km:
        km.add_note(BOX, space="user:42")
        km.catch_up()
        let_write(km, ScriptedGenerator(written))
        message = world.answer(world.ada, "ask", question="Where is the key?")
        is_shown.set()
        holder.join()
        assert "The key is in the red box" in message.text
        assert message.labels == ["[1]"]


SIGNS = st.sampled_from(
    [
        "[1]", "[2]", "[99]", "[?]", "**", "*", "_", "`", "```", "||", "](https://evil.example)", "[x", "@everyone",
        "<@42>", "<t:1:R>", "https://", ":", "//", "discord.gg/x", "a", "鍵", "👨\u200d👩\u200d👧", "e\u0301", " ", ".",
        "\n", "\n# ", "\n- ", "\n> ",
    ]
)  # fmt: skip


def test_whatever_a_model_writes_fits_and_only_our_own_marks_act(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note(BOX, space="user:42", source=JUMP)
        first = km.answer("red box").citations[0]
        cited = (first, replace(first, number=2, link="file:///secret"))

        with visiting(world, world.ada) as visit:

            @given(st.lists(SIGNS, max_size=60), st.sampled_from([1, 30, 300]))
            def fits(signs: list[str], times: int) -> None:
                written = "".join(signs) * times
                reply = answer_reply(visit, written, Answer(written, cited, "generated", "m" * 300), "id")
                assert units(reply.body) <= 3900
                assert units(reply.title) <= 256
                answer = reply.body.partition("-# ")[0].replace(f"[\\[1\\]](<{JUMP}>)", "")
                assert not re.search(r"(?<!\\)(?:\\\\)*(?:[`|<>\[\]_]|https?://|@everyone|\.gg/)", answer)
                assert not re.search(r"(?m)^\s*#", answer)
                # Stars are ours, in pairs, or escaped.
                assert len(re.findall(r"(?<!\\)\*", answer)) % 4 == 0
                assert "file:///" not in reply.body

            fits()
