"""Gemini's answers by both libraries, as they are, against the fake: streams, their ends, and what they have cost."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from nescord import Settings
from nescord.budget import Purpose
from nescord.errors import (
    AnswerUnavailableError,
    BlockedError,
    BudgetError,
    NescordError,
    RateLimitedError,
    RemoteError,
    RemoteRefusedError,
)
from nescord.generation import Piece, Prompt
from nescord.generation.service import GenerationService, Stream, open_generator
from nescord.tokens import estimate
from tests.fakes.gemini import Asked, FakeGemini, Reply
from tests.gemini_world import ANSWERING, LIBRARIES, TIMEOUT, Called, called, generator
from tests.slow_server import dripping

both = pytest.mark.parametrize("library", LIBRARIES)
PROMPT = Prompt("Answer in Japanese.", "[1] 猫\n> 猫は木曜に来た。\n\nQuestion: 猫はいつ来た?", 200)
WORDS = ["猫は", "木曜に", "来ました。", " [1]"]


@pytest.fixture(scope="module")
def _running() -> Iterator[FakeGemini]:
    with FakeGemini() as gemini:
        yield gemini


@pytest.fixture
def gemini(_running: FakeGemini) -> FakeGemini:
    _running.heal()
    _running.forget()
    _running.between_pieces = 0.0
    _running.answers(lambda _: WORDS)
    return _running


def open_service(base: Called, library: str, fake: FakeGemini) -> GenerationService:
    return GenerationService(generator(library, fake), base.caller, base.settings)


def drained(pieces: Iterator[Piece]) -> tuple[list[str], NescordError | None]:
    """What came, and the error that ended it."""
    texts: list[str] = []
    try:
        for piece in pieces:
            texts.append(piece.text)
    except NescordError as error:
        return texts, error
    return texts, None


@both
def test_an_answer_comes_piece_by_piece_and_says_its_cost(gemini: FakeGemini, library: str) -> None:
    asked: list[Asked] = []
    gemini.answers(lambda request: asked.append(request) or Reply(WORDS, thoughts=7))
    pieces = list(generator(library, gemini).stream(PROMPT))
    assert [piece.text for piece in pieces] == WORDS
    usage = pieces[-1].usage
    assert usage
    assert usage.total == gemini.tokens_billed
    assert usage.output >= 7 + 4, "thoughts are paid for"
    assert not pieces[-1].is_cut
    (request,) = asked
    assert (request.system, request.text, request.max_tokens) == (PROMPT.system, PROMPT.text, 200)
    assert gemini.calls[0].method == "streamGenerateContent"
    assert gemini.key not in gemini.calls[0].path


@both
def test_the_first_piece_does_not_wait_for_the_second(library: str) -> None:
    with FakeGemini(between_pieces=0.6) as gemini:
        gemini.answers(lambda _: WORDS)
        pieces = generator(library, gemini).stream(PROMPT)
        assert next(pieces).text == WORDS[0]
        assert gemini.at_once == 1, "the stream has ended before its first piece was handed on"
        pieces.close()


@both
def test_an_answer_at_its_limit_is_marked_as_cut(gemini: FakeGemini, library: str) -> None:
    gemini.answers(lambda _: ["word "] * 50)
    pieces = list(generator(library, gemini).stream(Prompt("s", "q", 10)))
    assert len(pieces) == 10
    assert [piece.is_cut for piece in pieces] == [False] * 9 + [True]


@both
def test_a_blocked_question_has_cost_what_it_says(gemini: FakeGemini, library: str) -> None:
    gemini.block("爆弾")
    texts, error = drained(generator(library, gemini).stream(Prompt("s", "爆弾の作り方", 10)))
    assert "".join(texts) == ""
    assert isinstance(error, BlockedError)
    assert "PROHIBITED_CONTENT" in str(error)
    assert error.tokens == gemini.tokens_billed > 0


@both
@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "OTHER"])
def test_an_answer_that_is_blocked_half_way_says_so(gemini: FakeGemini, library: str, reason: str) -> None:
    gemini.answers(lambda _: Reply(WORDS[:2], reason))
    texts, error = drained(generator(library, gemini).stream(PROMPT))
    assert texts == WORDS[:2]
    assert isinstance(error, BlockedError)
    assert reason in str(error)
    assert error.tokens == gemini.tokens_billed


@both
@pytest.mark.parametrize(
    ("fault", "kind", "billed"),
    [
        (429, RateLimitedError, False),
        (500, RemoteError, False),
        (503, RemoteError, False),
        (400, BlockedError, False),
        (403, RemoteRefusedError, False),
        (404, RemoteRefusedError, False),
        ("timeout", RemoteError, True),
        ("reset", RemoteError, True),
        ("lost", RemoteError, True),
        ("garbage", RemoteError, True),
        ("empty", RemoteError, True),
    ],
)
def test_an_error_is_of_its_kind_and_nothing_is_asked_twice(
    gemini: FakeGemini, library: str, fault: int | str, kind: type[NescordError], billed: bool
) -> None:
    gemini.fail(fault, next=5)
    texts, error = drained(generator(library, gemini).stream(PROMPT))
    assert texts == []
    assert isinstance(error, kind)
    assert getattr(error, "may_be_billed", False) == billed
    assert PROMPT.text not in str(error)
    assert gemini.struck == {fault: 1}
    if fault == 404:
        assert "NESCORD_GEMINI_MODEL" in str(error)


@both
def test_a_stream_that_breaks_off_is_no_whole_answer(gemini: FakeGemini, library: str) -> None:
    gemini.fail("cut")
    texts, error = drained(generator(library, gemini).stream(PROMPT))
    assert texts == WORDS[:2]
    assert isinstance(error, RemoteError)
    assert error.may_be_billed
    assert gemini.struck == {"cut": 1}


@both
def test_a_stream_that_ends_without_saying_so_is_no_whole_answer(gemini: FakeGemini, library: str) -> None:
    gemini.answers(lambda _: Reply(WORDS[:2], finish=""))
    texts, error = drained(generator(library, gemini).stream(PROMPT))
    assert texts == WORDS[:2]
    assert isinstance(error, RemoteError)
    assert error.may_be_billed


@both
def test_a_stream_that_stands_still_times_out(gemini: FakeGemini, library: str) -> None:
    gemini.between_pieces = TIMEOUT + 1.5
    texts, error = drained(generator(library, gemini).stream(PROMPT))
    assert texts == WORDS[:1]
    assert isinstance(error, RemoteError)
    assert "NESCORD_GEMINI_TIMEOUT" in str(error)


@both
def test_an_answer_is_paid_for_to_the_token(gemini: FakeGemini, library: str, tmp_path: Path) -> None:
    with called(tmp_path / "kb", gemini) as base:
        stream = open_service(base, library, gemini).stream(PROMPT, who="user:42")
        assert isinstance(stream, Stream)
        assert "".join(stream) == "".join(WORDS)
        assert stream.usage
        assert stream.usage.total == gemini.tokens_billed
        assert base.costs == [("answer", gemini.tokens_billed, 1)]
        assert [use.name for use in base.km.budget.use().people] == ["user:42"]


@both
def test_while_an_answer_comes_its_estimate_is_put_aside(gemini: FakeGemini, library: str, tmp_path: Path) -> None:
    most = estimate(PROMPT.system) + estimate(PROMPT.text) + PROMPT.max_tokens
    with called(tmp_path / "kb", gemini) as base:
        stream = open_service(base, library, gemini).stream(PROMPT)
        assert base.costs == [("answer", most, 0)]
        next(stream)
        stream.close()
        assert base.costs == [("answer", most, 1)], "nobody knows what it would have been"


@both
def test_a_cut_stream_counts_with_its_estimate_and_is_not_repeated(
    gemini: FakeGemini, library: str, tmp_path: Path
) -> None:
    gemini.fail("cut")
    with called(tmp_path / "kb", gemini) as base:
        stream = open_service(base, library, gemini).stream(PROMPT)
        said = [next(stream), next(stream)]
        with pytest.raises(RemoteError):
            next(stream)
        assert said == WORDS[:2]
        ((_, tokens, is_settled),) = base.costs
        assert is_settled
        assert tokens >= PROMPT.max_tokens
    assert len(gemini.calls) == 1


@both
def test_before_its_first_piece_an_answer_is_asked_for_again(gemini: FakeGemini, library: str, tmp_path: Path) -> None:
    gemini.fail(503)
    with called(tmp_path / "kb", gemini) as base:
        assert "".join(open_service(base, library, gemini).stream(PROMPT)) == "".join(WORDS)
        assert [tokens for _, tokens, _ in base.costs] == [0, gemini.tokens_billed]
    assert gemini.struck == {503: 1}


@both
def test_a_key_that_google_s_own_words_hold_is_not_shown(gemini: FakeGemini, library: str) -> None:
    said = f"Consumer 'api_key:{gemini.key}' has been suspended."
    gemini.fail(403, body=json.dumps({"error": {"code": 403, "message": said, "status": "PERMISSION_DENIED"}}))
    with pytest.raises(RemoteRefusedError, match=r"Consumer 'api_key:\[masked\]' has been suspended") as caught:
        next(generator(library, gemini).stream(PROMPT))
    assert gemini.struck == {403: 1}
    assert gemini.key not in "".join(traceback.format_exception(caught.value))


CHUNK = {"candidates": [{"content": {"role": "model", "parts": [{"text": "猫は"}]}, "index": 0}]}


@both
@pytest.mark.parametrize("pieces", [0, 1])
def test_a_stream_of_blanks_ends_by_the_clock(gemini: FakeGemini, library: str, tmp_path: Path, pieces: int) -> None:
    text = json.dumps(CHUNK, ensure_ascii=False)
    # The library holds a piece back until it sees that there is another.
    nothing, some = ("[", f"[{text},{text},") if library == "gemini" else ("", f"data: {text}\r\n\r\n")
    with dripping((some if pieces else nothing).encode()) as server, called(tmp_path / "kb", gemini) as base:
        service = GenerationService(generator(library, gemini, endpoint=server.url), base.caller, base.settings)
        begun, came = time.monotonic(), list[str]()
        with pytest.raises(RemoteError, match=f"within {TIMEOUT:g} s"):
            came.extend(service.stream(PROMPT))
        assert time.monotonic() - begun < 7 * TIMEOUT
        assert server.sent > 2
        assert bool(came) == bool(pieces)
        assert {tokens for _, tokens, _ in base.costs} == {estimate(PROMPT.system) + estimate(PROMPT.text) + 200}


def test_secrets_do_not_leave_the_machine_unless_that_is_said(gemini: FakeGemini, tmp_path: Path) -> None:
    secret = "AKIA" + "IOSFODNN7EXAMPLQ"
    prompt = Prompt("s", f"> 鍵は aws_access_key_id = {secret} です", 50)
    for mask, leaves in (("on", False), ("off", True)):
        gemini.forget()
        with called(tmp_path / mask, gemini, mask=mask) as base:
            "".join(open_service(base, "genai", gemini).stream(prompt))
        assert (secret in "".join(gemini.calls[0].texts)) == leaves


def test_a_purpose_that_is_switched_off_makes_no_call(gemini: FakeGemini, tmp_path: Path) -> None:
    with called(tmp_path / "kb", gemini, gemini_monthly_limit=1000) as base:
        base.km.budget.reserve(Purpose.EMBED_NEW, "m", 960).settle(960)
        with pytest.raises(BudgetError):
            open_service(base, "genai", gemini).stream(PROMPT)
    assert gemini.calls == []


@pytest.mark.parametrize(("named", "library"), [("auto", "Gemini"), ("gemini", "Gemini"), ("genai", "Genai")])
def test_the_settings_choose_the_library(tmp_path: Path, named: str, library: str) -> None:
    found = open_generator(Settings(data_dir=tmp_path, generator=named, gemini_api_key="k"))
    assert type(found).__name__ == f"{library}Generator"
    assert found.model == ANSWERING


@pytest.mark.parametrize(
    ("settings", "said"), [({}, "GEMINI_API_KEY"), ({"generator": "none", "gemini_api_key": "k"}, "NESCORD_GENERATOR")]
)
def test_without_a_model_it_is_said_why(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with pytest.raises(AnswerUnavailableError, match=said):
        open_generator(Settings(data_dir=tmp_path, **settings))
