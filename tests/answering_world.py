"""A few notes in Japanese and English to ask, and what tests look at of an answer, whole or as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hashing_embedder import HashingEmbedder
from scripted_generator import Writes, number_of
from vaults import open_base, write_notes

from nescord import KnowledgeManager
from nescord.answering import Answer, Turn
from nescord.scoped import ScopedKnowledge

NOTES = {
    "plums.md": "# Salted plums\n\nDry the plums in the sun for three days, then keep them in brine.\n",
    "梅.md": "# 梅干し\n\n塩分は十八パーセント。七月二十日から三日三晩、土用干しした。\n",
    "bike.md": "# Bicycle\n\nThe chain of the bicycle jumps: a new cassette is needed.\n",
}

# Nothing is sent anywhere here: no answer has to wait for the minute's quota.
UNHURRIED = {"gemini_requests_per_minute": 1_000_000, "gemini_tokens_per_minute": 1_000_000_000}


def with_notes(tmp_path: Path, notes: Mapping[str, str], **settings: object) -> KnowledgeManager:
    write_notes(tmp_path / "v", dict(notes))
    km = open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact", **UNHURRIED, **settings)
    km.ingest(tmp_path / "v")
    return km


def streamed(view: ScopedKnowledge, question: str, history: tuple[Turn, ...] = ()) -> tuple[list[str], Answer]:
    """The pieces and the answer, which must be one and the same text."""
    *pieces, answer = view.answer_stream(question, history)
    assert isinstance(answer, Answer)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert "".join(map(str, pieces)) == answer.text
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    return [str(piece) for piece in pieces], answer


def saying(text: str, phrase: str) -> Writes:
    """A model that says `text`, where `#` is the number of the passage that holds `phrase`."""
    return lambda prompt: text.replace("#", f"[{number_of(prompt, phrase)}]")


def questions(km: KnowledgeManager) -> list[tuple[object, ...]]:
    with km._base.verb() as catalog, catalog.read() as connection:
        return list(connection.execute("SELECT spaces, text, mode, is_answered FROM question ORDER BY id"))
