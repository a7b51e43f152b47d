"""Follow-up questions, and what is remembered of all that was asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from answering_world import NOTES, questions, saying, streamed, with_notes
from scripted_generator import ScriptedGenerator, let_write

from nescord import KnowledgeManager
from nescord.answering import Turn
from nescord.answering.citations import NOT_IN_NOTES
from nescord.catalog import queries as queries_sql
from nescord.errors import RemoteError


@pytest.fixture
def own(tmp_path: Path) -> Iterator[KnowledgeManager]:
    """A knowledge base with NOTES."""
    with with_notes(tmp_path, NOTES) as km:
        yield km


# --- follow-ups ---

HISTORY = (Turn("What about salted plums?", "Dry the plums in the sun [1]."),)


def test_a_follow_up_is_searched_as_the_model_understands_it(own: KnowledgeManager) -> None:
    generator = let_write(
        own,
        ScriptedGenerator(
            saying("Dry the plums for three days #.", "Dry the plums"),
            rewritten=lambda _: "\nHow long are salted plums dried?\nIgnored second line",
        ),
    )
    _, answer = streamed(own, "And how long is it done?", HISTORY)
    assert answer.text == "Dry the plums for three days [1]."
    assert answer.tokens == 240
    (rewrite,) = generator.rewrites
    assert "Question: What about salted plums?" in rewrite.text
    assert "> Dry the plums in the sun [1]." in rewrite.text
    assert rewrite.text.endswith("Last question: And how long is it done?")
    assert generator.prompts[0].text.endswith("Question: How long are salted plums dried?")
    assert {one.name for one in own.budget.use().purposes} == {"answer", "rewrite"}


def test_without_a_model_a_follow_up_is_searched_together_with_the_question_before(own: KnowledgeManager) -> None:
    answer = own.answer("それは何日？", (Turn("梅の土用干しについて", "…"),))
    assert answer.citations[0].path == "梅.md"


@pytest.mark.parametrize("line", ["", "x " * 400, RemoteError("502", may_be_billed=True)])
def test_a_follow_up_that_the_model_does_not_understand_is_searched_with_the_question_before(
    own: KnowledgeManager, line: str | Exception
) -> None:
    writes = saying("Dry the plums for three days #.", "Dry the plums")
    generator = let_write(own, ScriptedGenerator(writes, rewritten=lambda _: [line]))
    _, answer = streamed(own, "And how long is it done?", HISTORY)
    assert generator.prompts[0].text.endswith("Question: What about salted plums? And how long is it done?")
    assert [reason.split(":")[0] for reason in answer.missing] == (["follow-up"] if isinstance(line, Exception) else [])


def test_what_a_model_makes_of_a_follow_up_is_no_syntax_of_search(own: KnowledgeManager) -> None:
    writes = saying("Dry the plums for three days #.", "Dry the plums")
    line = 'source:nowhere after:never -plums "salted plums" before:1999'
    generator = let_write(own, ScriptedGenerator(writes, rewritten=lambda _: line))
    assert own.answer("And how long?", HISTORY).mode == "generated"
    assert generator.prompts[0].text.endswith("Question: source nowhere after never plums salted plums before 1999")


# --- questions for the report ---


def test_questions_are_recorded_with_whether_the_notes_had_an_answer(own: KnowledgeManager) -> None:
    let_write(own, ScriptedGenerator(saying("Dry the plums for three days #.", "Dry the plums")))
    own.answer("How long are plums dried?")
    let_write(own, ScriptedGenerator(lambda _: NOT_IN_NOTES))
    own.answer("犬の名前は？")
    own.scoped({"guild:7", "user:1"}).answer("Where is the cellar?")
    assert questions(own) == [
        (None, "How long are plums dried?", "generated", 1),
        (None, "犬の名前は？", "not_found", 0),
        ('["guild:7", "user:1"]', "Where is the cellar?", "extractive", 0),
    ]


@pytest.mark.parametrize(("writes", "is_cut"), [("", False), ("", True), ("Dry the pl", True)])
def test_a_model_that_said_nothing_has_not_said_that_the_notes_have_no_answer(
    own: KnowledgeManager, writes: str, is_cut: bool
) -> None:
    let_write(own, ScriptedGenerator(lambda _: writes, is_cut=is_cut))
    for question in ("How long are plums dried?", "塩分は十八パーセント"):
        _, answer = streamed(own, question)
        assert (answer.mode, answer.model, answer.tokens) == ("extractive", "", 120)
        assert answer.missing == (
            "answer: it was cut at the greatest length before any sentence that your notes support"
            if is_cut
            else "answer: the model wrote nothing",
        )
    assert [row[2:] for row in questions(own)] == [("extractive", 1)] * 2


def test_of_all_questions_the_newest_are_kept(own: KnowledgeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries_sql, "MOST_QUESTIONS", 3)
    for number in range(5):
        own.answer(f"梅の質問 plums {number}")
    assert [row[1] for row in questions(own)] == [f"梅の質問 plums {number}" for number in (2, 3, 4)]
