"""`nescord ask` with a model that writes: streamed, in one piece, as JSON, with what the model was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import in_terminal, nescord, write_notes

from tests.fakes.gemini import FakeGemini

NOTES = {
    "plums.md": "# Salted plums\n\nDry the plums in the sun for three days.\n\nKeep the plums in brine.\n",
    "梅.md": "# 梅干し\n\n塩分は十八パーセント。三日三晩、土用干しした。\n",
}
WRITTEN = "Dry the plums for three days [1]. Keep the plums in brine [1]. \x1b[31mRed plums cost 900 yen [1]."
SHOWN = "Dry the plums for three days [1]. Keep the plums in brine [1]. [31mRed plums cost 900 yen [?]."


@pytest.fixture(scope="module")
def gemini() -> Iterator[FakeGemini]:
    with FakeGemini() as gemini:
        yield gemini


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ask")
    vault = write_notes(folder / "vault", NOTES)
    assert nescord("--data-dir", folder / "state", "ingest", vault).code == 0
    return folder / "state"


@pytest.fixture
def base(stored: Path, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes found by their words, and a model that says WRITTEN."""
    gemini.heal()
    gemini.forget()
    gemini.answers(lambda _: WRITTEN)
    for name, value in {
        "GEMINI_API_KEY": gemini.key,
        "NESCORD_GEMINI_ENDPOINT": gemini.url,
        "NESCORD_EMBEDDER": "none",
        "NESCORD_GEMINI_TOKENS_PER_MINUTE": "1000000",
    }.items():
        monkeypatch.setenv(name, value)
    return stored


QUESTION = "how long are plums dried"


def test_what_is_written_is_shown_with_its_sources(base: Path) -> None:
    shown = nescord("--data-dir", base, "ask", QUESTION)
    assert shown.code == 0
    assert shown.out == f"{SHOWN}\n\n[1] Salted plums › Salted plums\n    plums.md\n"
    assert "note: answer: sentences that your notes do not support, marked [?]: 1\n" in shown.err
    assert nescord("--data-dir", base, "ask", QUESTION, "--stream").out == shown.out


def test_in_a_terminal_the_answer_is_streamed_and_nothing_in_it_is_obeyed(base: Path) -> None:
    shown = in_terminal("--data-dir", base, "ask", QUESTION)
    assert SHOWN in shown.out
    assert "\x1b[31mRed" not in shown.out
    assert shown.out.count("Dry the plums for three days") == 1


def test_json_says_who_wrote_it_and_what_it_cost(base: Path, gemini: FakeGemini) -> None:
    answer = nescord("--data-dir", base, "ask", QUESTION, "--json").document
    assert (answer["text"], answer["mode"], answer["model"]) == (SHOWN, "generated", "gemini-3.5-flash-lite")
    assert answer["tokens"] == gemini.tokens_billed > 0
    assert [citation["path"] for citation in answer["citations"]] == ["plums.md"]


def test_the_context_is_what_the_model_was_given(base: Path, gemini: FakeGemini) -> None:
    answer = nescord("--data-dir", base, "ask", "梅の塩分は何パーセント", "--show-context", "--json").document
    (passage,) = answer["context"]["passages"]
    assert (passage["number"], passage["path"]) == (1, "梅.md")
    assert answer["context"]["tokens"] > 10
    (call,) = gemini.calls_of("streamGenerateContent")
    assert "塩分は十八パーセント" in str(call.body)
    shown = nescord("--data-dir", base, "ask", QUESTION, "--show-context").out
    assert shown.startswith("[1] Salted plums › Salted plums\n    plums.md\n    # Salted plums\n")
    assert "context: 1 passages, about " in shown


def test_without_an_answer_the_nearest_are_shown(base: Path, gemini: FakeGemini) -> None:
    gemini.answers(lambda _: "NOT_IN_NOTES")
    for option in ("--stream", "--no-stream"):
        shown = nescord("--data-dir", base, "ask", QUESTION, option)
        assert shown.code == 0
        assert shown.out.startswith("[1] Salted plums › Salted plums\n    plums.md\n    # Salted plums\n")
        assert shown.err == "note: vector: embedding is switched off (NESCORD_EMBEDDER=none)\n" + (
            "nothing seems to answer this; the nearest:\n"
        )
