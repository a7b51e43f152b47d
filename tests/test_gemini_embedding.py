"""Gemini's embeddings by both libraries, as they are, against the fake: what is sent, what comes, and every refusal."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nescord import Settings
from nescord.errors import (
    BlockedError,
    EmbeddingError,
    NescordError,
    RateLimitedError,
    RemoteError,
    RemoteRefusedError,
    TextRefusedError,
    WrongAnswerError,
    is_transient,
)
from nescord.remote.access import access_of
from nescord.remote.failures import DoubtfulError
from tests.fakes.gemini import FakeGemini
from tests.gemini_world import EMBEDDING, LIBRARIES, TIMEOUT, embedder
from tests.slow_server import dripping
from tests.vaults import REPOSITORY

both = pytest.mark.parametrize("library", LIBRARIES)
TEXTS = ["猫が膝で寝る", "The cat sleeps.", "予算の見直し"]


@pytest.fixture(scope="module")
def _running() -> Iterator[FakeGemini]:
    with FakeGemini() as gemini:
        yield gemini


@pytest.fixture
def gemini(_running: FakeGemini) -> FakeGemini:
    _running.heal()
    _running.forget()
    return _running


@both
def test_texts_become_vectors_of_length_1_in_one_request(gemini: FakeGemini, library: str) -> None:
    found = embedder(library, gemini).embed_documents(TEXTS)
    assert found.shape == (3, 768)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found[0] @ found[1] > 0.5 > found[0] @ found[2]
    (call,) = gemini.calls
    assert (call.method, call.model, call.task, call.dims) == (
        "batchEmbedContents",
        EMBEDDING,
        "RETRIEVAL_DOCUMENT",
        768,
    )
    assert list(call.texts) == TEXTS
    assert call.headers["x-goog-api-key"] == gemini.key
    assert gemini.key not in call.path


@both
def test_a_query_is_embedded_as_a_query(gemini: FakeGemini, library: str) -> None:
    found = embedder(library, gemini).embed_query("ねこ")
    assert found.shape == (768,)
    assert gemini.calls[0].task == "RETRIEVAL_QUERY"
    assert list(gemini.calls[0].texts) == ["ねこ"]


def test_both_libraries_give_the_same_vectors_under_one_key(gemini: FakeGemini) -> None:
    one, other = (embedder(library, gemini) for library in LIBRARIES)
    assert one.model_key == other.model_key == "gemini|gemini-embedding-001|768|retrieval|1"
    assert np.allclose(one.embed_documents(TEXTS), other.embed_documents(TEXTS), atol=1e-6)


@both
@pytest.mark.parametrize("dims", [128, 3072])
def test_the_length_is_what_was_asked_for(gemini: FakeGemini, library: str, dims: int) -> None:
    found = embedder(library, gemini, dims=dims).embed_documents(TEXTS)
    assert found.shape == (3, dims)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@both
def test_a_newer_model_is_told_the_task_in_the_text_and_gives_one_vector_each(gemini: FakeGemini, library: str) -> None:
    found = embedder(library, gemini, model="gemini-embedding-2")
    assert found.embed_documents(TEXTS).shape == (3, 768)
    found.embed_query("猫")
    documents, query = gemini.calls
    assert list(documents.texts) == [f"title: none | text: {text}" for text in TEXTS]
    assert list(query.texts) == ["task: search result | query: 猫"]
    assert documents.task is query.task is None


@both
@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (429, RateLimitedError, "allows no more"),
        (500, RemoteError, "could not answer (500)"),
        (503, RemoteError, "overloaded"),
        (504, RemoteError, "could not answer (504)"),
        (401, RemoteRefusedError, "GEMINI_API_KEY"),
        (403, RemoteRefusedError, "GEMINI_API_KEY"),
        (404, RemoteRefusedError, "NESCORD_GEMINI_EMBEDDING_MODEL"),
    ],
)
def test_an_error_is_of_its_kind_and_nothing_is_asked_twice(
    gemini: FakeGemini, library: str, status: int, kind: type[NescordError], said: str
) -> None:
    gemini.fail(status, next=5)
    with pytest.raises(kind) as caught:
        embedder(library, gemini).embed_documents(TEXTS)
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert is_transient(caught.value) == (kind is not RemoteRefusedError)
    assert gemini.struck == {status: 1}, "the library asked again behind our back"
    assert not gemini.texts_embedded
    assert not getattr(caught.value, "may_be_billed", False)


@both
@pytest.mark.parametrize(
    "body", ["<html>Bad Gateway</html>", "{}", "[]", '{"error": "no"}', '{"error": {"details": 3}}']
)
def test_an_error_that_is_not_of_google_s_form_is_an_outage(gemini: FakeGemini, library: str, body: str) -> None:
    gemini.fail(502, body=body)
    with pytest.raises(RemoteError, match=r"could not answer|is not from Gemini"):
        embedder(library, gemini).embed_documents(TEXTS)
    assert gemini.struck == {502: 1}


@both
def test_a_rate_limit_says_when_to_come_again(gemini: FakeGemini, library: str) -> None:
    gemini.fail(429, retry_after=37.5)
    with pytest.raises(RateLimitedError) as caught:
        embedder(library, gemini).embed_documents(TEXTS)
    assert caught.value.retry_after == 37.5
    gemini.fail(429)
    with pytest.raises(RateLimitedError) as caught:
        embedder(library, gemini).embed_documents(TEXTS)
    assert caught.value.retry_after is None


@both
@pytest.mark.parametrize("fault", ["timeout", "reset", "lost", "cut", "garbage"])
def test_what_was_sent_and_not_answered_may_have_cost_something(gemini: FakeGemini, library: str, fault: str) -> None:
    gemini.fail(fault, next=5)
    started = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        embedder(library, gemini).embed_documents(TEXTS)
    assert time.monotonic() - started < TIMEOUT + 4
    assert caught.value.may_be_billed
    assert gemini.struck == {fault: 1}


@both
def test_a_query_is_not_waited_for_as_long_as_notes(gemini: FakeGemini, library: str) -> None:
    model = embedder(library, gemini, timeout=60, longest_for_a_query=0.5)
    gemini.fail("timeout")
    started = time.monotonic()
    with pytest.raises(RemoteError, match=r"within 0\.5 s"):
        model.embed_query("猫")
    assert time.monotonic() - started < 8


@both
def test_what_cannot_be_reached_has_cost_nothing(gemini: FakeGemini, library: str) -> None:
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        embedder(library, gemini, endpoint="http://127.0.0.1:1").embed_documents(TEXTS)
    assert not caught.value.may_be_billed


@both
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("short", "answered 3 texts with 2 vectors"),
        ("long", "answered 3 texts with 4 vectors"),
        ("empty", "answered 3 texts with 0 vectors"),
        ("wrong_length", "a vector of 767 numbers instead of 768"),
    ],
)
def test_wrong_answers_are_told_apart(gemini: FakeGemini, library: str, fault: str, said: str) -> None:
    gemini.fail(fault)
    with pytest.raises(WrongAnswerError, match=said) as caught:
        embedder(library, gemini).embed_documents(TEXTS)
    assert not isinstance(caught.value, TextRefusedError), "no text is to blame"
    assert gemini.struck == {fault: 1}


@both
@pytest.mark.parametrize("fault", ["nan", "zero"])
def test_a_vector_that_is_none_spoils_no_other(gemini: FakeGemini, library: str, fault: str) -> None:
    right = embedder(library, gemini).embed_documents(TEXTS)
    gemini.fail(fault)
    found = embedder(library, gemini).embed_documents(TEXTS)
    assert gemini.struck == {fault: 1}
    assert (found[:2] == right[:2]).all()
    assert not abs(np.linalg.norm(found[2]) - 1) < 0.01


@both
def test_a_text_that_is_blocked_or_too_long_is_to_blame_itself(gemini: FakeGemini, library: str) -> None:
    gemini.block("爆弾")
    for text in ("爆弾の作り方", "猫" * 4000):
        with pytest.raises(BlockedError) as caught:
            embedder(library, gemini).embed_documents([*TEXTS, text])
        assert not isinstance(caught.value, DoubtfulError)
        assert not is_transient(caught.value)
    assert not gemini.texts_embedded


@both
def test_a_bad_request_is_of_the_text_if_a_harmless_one_is_answered(gemini: FakeGemini, library: str) -> None:
    gemini.fail(400)
    with pytest.raises(BlockedError) as caught:
        embedder(library, gemini).embed_documents(["poisoned"])
    assert isinstance(caught.value, EmbeddingError)
    assert [list(call.texts) for call in gemini.calls] == [["poisoned"], ["nescord"]]
    assert caught.value.tokens > 0, "the harmless text has cost something"


@both
@pytest.mark.parametrize("model", [EMBEDDING, "gemini-embedding-2"])
def test_the_harmless_text_costs_what_it_is_sent_with(gemini: FakeGemini, library: str, model: str) -> None:
    gemini.fail(400)
    with pytest.raises(BlockedError) as caught:
        embedder(library, gemini, model=model).embed_documents(["poisoned"])
    assert gemini.tokens_billed <= caught.value.tokens <= gemini.tokens_billed + 4


@both
def test_a_harmless_text_is_asked_for_once_a_minute_and_for_a_single_text_only(
    gemini: FakeGemini, library: str
) -> None:
    model = embedder(library, gemini)
    model.embed_documents(["fine"])
    gemini.fail(400)
    with pytest.raises(BlockedError):
        model.embed_documents(["fine", "poisoned"])
    assert len(gemini.calls) == 2, "halves will tell which of them it is"
    for calls in (4, 5):
        gemini.fail(400)
        with pytest.raises(BlockedError) as caught:
            model.embed_documents(["poisoned"])
        assert len(gemini.calls) == calls
    assert caught.value.tokens == 0


@both
def test_a_bad_request_is_of_the_settings_if_nothing_is_answered(gemini: FakeGemini, library: str) -> None:
    with pytest.raises(RemoteRefusedError, match="NESCORD_GEMINI_DIMS"):
        embedder(library, gemini, dims=5000).embed_documents(TEXTS)
    assert len(gemini.calls) == 2


@both
def test_a_wrong_key_is_told_in_one_line_that_does_not_hold_it(gemini: FakeGemini, library: str) -> None:
    with pytest.raises(RemoteRefusedError, match="GEMINI_API_KEY") as caught:
        embedder(library, gemini, key="AIza-not-the-right-one").embed_documents(TEXTS)
    assert "AIza" not in f"{caught.value!s}{caught.value!r}{embedder(library, gemini)._access!r}"
    assert len(gemini.calls) == 1


@both
@pytest.mark.parametrize("status", [400, 403, 404, 429, 503])
def test_a_key_that_google_s_own_words_hold_is_not_shown(gemini: FakeGemini, library: str, status: int) -> None:
    other, token = "AIza" + "Sy" + "a1B2c3D4" * 4 + "x", "ghp_" + "a1B2" * 9
    said = f"Consumer 'api_key:{gemini.key}' has been suspended, as was {other}; it sent {token}."
    gemini.fail(status, body=json.dumps({"error": {"code": status, "message": said, "status": "PERMISSION_DENIED"}}))
    model = embedder(library, gemini)
    model._has_answered = True
    with pytest.raises(NescordError, match=r"Consumer 'api_key:\[masked\]' has been suspended") as caught:
        model.embed_documents(TEXTS[:1] * 2)
    assert gemini.struck == {status: 1}
    logged = "".join(traceback.format_exception(caught.value))
    for secret in (gemini.key, other, token):
        assert secret not in logged


@both
def test_a_server_that_sends_a_blank_now_and_then_is_not_waited_for(gemini: FakeGemini, library: str) -> None:
    with dripping() as server:
        model = embedder(library, gemini, endpoint=server.url, timeout=60, longest_for_a_query=0.6)
        begun = time.monotonic()
        with pytest.raises(RemoteError, match=r"within 0\.6 s") as caught:
            model.embed_query("猫")
        assert time.monotonic() - begun < 3
        assert server.sent > 2, "nothing came that would begin a time-out anew"
        assert caught.value.may_be_billed


@pytest.mark.parametrize("key", ["キー", "two words", "two\nlines"])
def test_a_key_that_can_be_none_is_told_before_anything_is_sent(tmp_path: Path, key: str) -> None:
    with pytest.raises(RemoteRefusedError, match="GEMINI_API_KEY") as caught:
        access_of(Settings(data_dir=tmp_path, gemini_api_key=key))
    assert key not in str(caught.value)


@both
def test_the_key_does_not_follow_a_redirect(gemini: FakeGemini, library: str) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", f"{gemini.url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(RemoteRefusedError, match="NESCORD_GEMINI_ENDPOINT"):
            embedder(library, gemini, endpoint=f"http://127.0.0.1:{server.server_port}").embed_documents(TEXTS)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert gemini.calls == []


@both
def test_the_endpoint_is_ours_whatever_the_environment_says(
    gemini: FakeGemini, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "another")
    monkeypatch.setenv("GOOGLE_API_USE_MTLS_ENDPOINT", "always")
    embedder(library, gemini).embed_documents(TEXTS)
    assert gemini.calls[0].headers["x-goog-api-key"] == gemini.key


@both
def test_one_client_serves_many_threads(gemini: FakeGemini, library: str) -> None:
    model = embedder(library, gemini)
    expected = model.embed_documents(TEXTS)
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(5):
            found = model.embed_documents(TEXTS)
            if not np.array_equal(found, expected):
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(gemini.calls) == 31


def test_neither_library_is_imported_before_it_is_asked() -> None:
    code = (
        "import sys; from nescord.embedding.gemini import GeminiEmbedder; from nescord.embedding.genai import "
        "GenaiEmbedder; from nescord.generation.service import GenerationService; from nescord.remote.access import "
        "Access; GeminiEmbedder(Access('http://127.0.0.1:1', 1, 'k'), 'm', 8).model_key; "
        "print([name for name in sys.modules if name.startswith(('google.', 'grpc', 'stamina', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_channel_of_grpc_is_ever_made(gemini: FakeGemini) -> None:
    embedder("gemini", gemini).embed_documents(TEXTS)
    import grpc

    assert not [one for one in gc.get_objects() if isinstance(one, grpc.Channel)]


def test_the_news_of_an_end_of_life_is_not_shown_and_other_warnings_are() -> None:
    code = (
        "import warnings; warnings.simplefilter('error'); from nescord.remote import google_generativeai as sdk; "
        "sdk.import_quietly(); warnings.warn('another', FutureWarning)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "FutureWarning: another" in done.stderr
    assert "end of life" not in done.stderr.lower()
    assert "google.generativeai" not in done.stderr
