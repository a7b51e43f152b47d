"""Answers: every citation is characters of the note that it names, and as much of it as a person needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import golden
from nescord import KnowledgeManager
from nescord.answering import Answer
from nescord.answering.extractive import LONGEST, PASSAGES
from tests.hashing_embedder import HashingEmbedder
from tests.vaults import SAMPLE, open_base, write_notes

QUESTIONS = [row.query for row in golden.load()]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path_factory.mktemp("kb") / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(SAMPLE / "vault")
        yield km


def assert_cited(km: KnowledgeManager, answer: Answer) -> None:
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    assert len(answer.citations) <= PASSAGES
    for citation in answer.citations:
        note = km.note(citation.note_id)
        assert citation.text
        assert note.body[citation.start : citation.end] == citation.text == citation.text.strip()
        assert (citation.path, citation.title) == (note.path, note.title)
        assert len(citation.text) <= 2 * LONGEST
        assert f"{citation.text} [{citation.number}]" in answer.text
        assert all(0 <= start < end <= len(citation.text) for start, end in citation.marks)
    texts = [citation.text for citation in answer.citations]
    assert len(set(texts)) == len(texts)


@given(question=st.one_of(st.sampled_from(QUESTIONS), st.text(min_size=1, max_size=20).filter(lambda t: ":" not in t)))
def test_every_citation_is_text_of_the_note_that_it_names(sample: KnowledgeManager, question: str) -> None:
    assert_cited(sample, sample.answer(question))


def answered(tmp_path: Path, notes: dict[str, str], question: str, **settings: object) -> Answer:
    write_notes(tmp_path / "v", notes)
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact", **settings) as km:
        km.ingest(tmp_path / "v")
        answer = km.answer(question)
        assert_cited(km, answer)
        return answer


def test_an_equal_text_in_two_notes_is_cited_once(tmp_path: Path) -> None:
    notes = {"a.md": "plum jam needs sugar", "b.md": "plum jam needs sugar", "c.md": "plum jam keeps a year"}
    answer = answered(tmp_path, notes, "plum jam")
    assert sorted(citation.text for citation in answer.citations) == ["plum jam keeps a year", "plum jam needs sugar"]


def test_a_long_passage_is_narrowed_to_where_it_matches(tmp_path: Path) -> None:
    filler = "The weather was as it is in every other week of the year. " * 18
    body = f"{filler}The plum harvest begins with jam jars. {filler}"
    answer = answered(tmp_path, {"a.md": body}, "plum jam jars", chunk_target=2000, chunk_max=8000)
    (citation,) = answer.citations
    assert "The plum harvest begins with jam jars." in citation.text
    assert len(citation.text) <= LONGEST
    assert {citation.text[start:end] for start, end in citation.marks} == {"plum", "jam", "jars"}
    # It begins with a whole word.
    assert body[body.index(citation.text) - 1] == " "


def test_a_paragraph_that_is_cut_between_two_chunks_is_cited_whole(tmp_path: Path) -> None:
    first = " ".join(f"Sentence number {number} tells of nothing much." for number in range(9))
    body = f"# Top\n\nAnother paragraph.\n\n{first} The plum jam is ready. {first}\n\nThe last paragraph."
    answer = answered(tmp_path, {"a.md": body}, "plum jam", chunk_target=200, chunk_max=400)
    (citation,) = answer.citations
    assert citation.text == f"{first} The plum jam is ready. {first}"


def test_an_answer_that_is_hardly_one_is_weak(tmp_path: Path) -> None:
    notes = {"a.md": "plum jam needs sugar and time"}
    assert not answered(tmp_path / "1", notes, "plum jam").weak
    assert answered(tmp_path / "2", notes, "Quantum chromodynamics").weak


def test_nothing_stored_is_no_answer(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        answer = km.answer("plum jam")
    assert (answer.text, answer.citations, answer.weak) == ("", (), True)


def test_what_could_not_be_asked_is_missing(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {"a.md": "plum jam needs sugar"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        answer = km.answer("plum jam")
        assert [citation.text for citation in answer.citations] == ["plum jam needs sugar"]
        assert [reason.split(":")[0] for reason in answer.missing] == ["vector", "answer"]
        assert (answer.mode, answer.model, answer.tokens, answer.weak) == ("extractive", "", 0, False)
