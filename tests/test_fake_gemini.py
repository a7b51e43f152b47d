"""The fake itself, spoken to over plain HTTP: what the tests of the real libraries take for granted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.fakes.gemini import Asked, FakeGemini, Reply, count_tokens
from tests.vaults import REPOSITORY

EMBED = "/v1beta/models/gemini-embedding-001:batchEmbedContents"
COUNT = "/v1beta/models/gemini-3.5-flash-lite:countTokens"
WRITE = "/v1beta/models/gemini-3.5-flash-lite:generateContent"
STREAM = "/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent"


@pytest.fixture
def gemini() -> Iterator[FakeGemini]:
    with FakeGemini() as running:
        yield running


def post(gemini: FakeGemini, path: str, body: object, *, key: str | None = None) -> httpx.Response:
    headers = {"x-goog-api-key": gemini.key if key is None else key}
    return httpx.post(f"{gemini.url}{path}", json=body, headers=headers, timeout=10)


def embedding_of(*texts: str, dims: int = 768) -> dict[str, object]:
    return {"requests": [{"content": {"parts": [{"text": text}]}, "outputDimensionality": dims} for text in texts]}


def prompt_of(text: str, **config: object) -> dict[str, object]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}


def vectors(gemini: FakeGemini, *texts: str, dims: int = 768) -> np.ndarray:
    answer = post(gemini, EMBED, embedding_of(*texts, dims=dims)).json()
    return np.array([one["values"] for one in answer["embeddings"]])


def test_texts_of_one_meaning_are_near_in_both_languages(gemini: FakeGemini) -> None:
    found = vectors(gemini, "猫が膝で寝る", "the cat sleeps", "予算の見直し", "a budget review")
    assert (vectors(gemini, "猫が膝で寝る")[0] == found[0]).all(), "they are the same each time"
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    near = found @ found.T
    assert near[0, 1] > 0.5
    assert near[2, 3] > 0.5
    assert max(near[0, 2], near[0, 3], near[1, 2], near[1, 3]) < 0.3


def test_short_vectors_are_the_beginning_of_long_ones_and_not_of_length_1(gemini: FakeGemini) -> None:
    short, full = vectors(gemini, "会議", dims=256)[0], vectors(gemini, "会議", dims=3072)[0]
    assert np.isclose(np.linalg.norm(full), 1)
    assert 0 < np.linalg.norm(short) < 0.5
    beginning = full[:256]
    assert np.allclose(short / np.linalg.norm(short), beginning / np.linalg.norm(beginning))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("日本語の文章は単語の間に空白を置かないので、空白で数えると必ず少なくなる。", 0.55, 0.8),
        ("カタカナのデータベースとバックアップ", 0.55, 0.8),
        ("The quick brown fox jumps over the lazy dog and considers documentation.", 0.18, 0.3),
    ],
)
def test_tokens_are_counted_by_script(gemini: FakeGemini, text: str, low: float, high: float) -> None:
    counted = post(gemini, COUNT, prompt_of(text)).json()["totalTokens"]
    assert counted == count_tokens(text)
    assert low <= counted / len(text) <= high


@pytest.mark.parametrize(
    ("path", "body", "key", "status", "said"),
    [
        (EMBED, embedding_of("a"), "", 403, "unregistered callers"),
        (EMBED, embedding_of("a"), "wrong", 400, "API_KEY_INVALID"),
        (EMBED, embedding_of(*["a"] * 101), None, 400, "at most 100 requests"),
        (EMBED, embedding_of("a", ""), None, 400, "contents is not specified"),
        (EMBED, embedding_of("a", dims=4000), None, 400, "output_dimensionality"),
        (EMBED, embedding_of("猫" * 4000), None, 400, "exceeds the maximum number of tokens"),
        (EMBED.replace("-001", "-000"), embedding_of("a"), None, 404, "is not found for API version"),
        (EMBED.replace("gemini-embedding-001", "gemini-3.5-flash"), embedding_of("a"), None, 404, "not supported"),
        (WRITE.replace("3.5", "9"), prompt_of("a"), None, 404, "is not found for API version"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_google_does(
    gemini: FakeGemini, path: str, body: object, key: str | None, status: int, said: str
) -> None:
    answer = post(gemini, path, body, key=key)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status
    assert said in answer.text
    assert not gemini.texts_embedded
    assert gemini.calls[0].status == status


def test_a_fault_strikes_as_often_as_it_was_told_to(gemini: FakeGemini) -> None:
    gemini.fail(429, next=2, after=1, retry_after=7)
    got = [post(gemini, EMBED, embedding_of(text)) for text in "abcd"]
    assert [answer.status_code for answer in got] == [200, 429, 429, 200]
    assert '"retryDelay": "7s"' in got[1].text
    assert got[1].headers["Retry-After"] == "7"
    assert gemini.struck == {429: 2}
    assert gemini.texts_embedded == {"a": 1, "d": 1}


def test_a_rate_strikes_about_that_share_and_the_same_ones_each_time() -> None:
    runs = []
    for _ in range(2):
        with FakeGemini() as gemini, httpx.Client(headers={"x-goog-api-key": gemini.key}) as client:
            gemini.fail((429, 500), rate=0.3, seed=7)
            url = f"{gemini.url}{EMBED}"
            runs.append([client.post(url, json=embedding_of("a")).status_code for _ in range(60)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 429, 500}
    assert 8 <= 60 - runs[0].count(200) <= 30


@pytest.mark.parametrize(("fault", "counted"), [("reset", 0), ("timeout", 0), ("lost", 1), ("cut", 1)])
def test_what_breaks_off_counts_only_if_it_was_done(gemini: FakeGemini, fault: str, counted: int) -> None:
    gemini.fail(fault)
    gemini.hang = 30
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{gemini.url}{EMBED}", json=embedding_of("a"), headers={"x-goog-api-key": gemini.key}, timeout=0.5)
    assert gemini.struck == {fault: 1}
    assert sum(gemini.texts_embedded.values()) == counted


def test_the_fake_ends_at_once_though_a_call_hangs() -> None:
    with FakeGemini() as gemini:
        gemini.fail("timeout")
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{gemini.url}{EMBED}", json={}, headers={"x-goog-api-key": gemini.key}, timeout=0.3)
        started = time.monotonic()
    assert time.monotonic() - started < 3


def test_more_than_the_limit_of_a_window_is_too_many(gemini: FakeGemini) -> None:
    gemini.limit(requests=2, seconds=0.5)
    assert [post(gemini, EMBED, embedding_of("a")).status_code for _ in range(3)] == [200, 200, 429]
    time.sleep(0.6)
    assert post(gemini, EMBED, embedding_of("a")).status_code == 200
    gemini.limit(tokens=10)
    assert post(gemini, EMBED, embedding_of("猫" * 20)).status_code == 429


def test_blocked_words_stop_a_text_a_prompt_and_an_answer(gemini: FakeGemini) -> None:
    gemini.block("爆弾")
    assert post(gemini, EMBED, embedding_of("爆弾の作り方")).status_code == 400
    assert post(gemini, WRITE, prompt_of("爆弾?")).json()["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    gemini.answers(lambda _: ["well ", "爆弾"])
    assert post(gemini, WRITE, prompt_of("?")).json()["candidates"][0]["finishReason"] == "SAFETY"


def test_by_itself_it_cites_the_first_quoted_note(gemini: FakeGemini) -> None:
    answer = post(gemini, WRITE, prompt_of("Passages:\n\n[1] Pets > 猫\n> 猫は木曜に来た。犬は?\n\nQuestion: 猫は?"))
    assert answer.json()["candidates"][0]["content"]["parts"][0]["text"] == "猫は木曜に来た。 [1]"


def test_an_answer_is_scripted_streamed_and_cut_at_its_limit(gemini: FakeGemini) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return Reply(["one ", "two ", "three "], thoughts=5)

    gemini.answers(answer)
    body = prompt_of("q", maxOutputTokens=7) | {"systemInstruction": {"parts": [{"text": "be short"}]}}
    events = post(gemini, f"{STREAM}?alt=sse", body).text.split("\r\n\r\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if event]
    assert json.loads(post(gemini, STREAM, body).text) == chunks
    assert [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks] == ["one ", "two "]
    assert chunks[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert chunks[-1]["usageMetadata"]["thoughtsTokenCount"] == 5
    assert (asked[0].system, asked[0].text, asked[0].max_tokens) == ("be short", "q", 7)


def test_models_are_listed(gemini: FakeGemini) -> None:
    headers = {"x-goog-api-key": gemini.key}
    listed = httpx.get(f"{gemini.url}/v1beta/models", headers=headers).json()["models"]
    assert "models/gemini-embedding-001" in [model["name"] for model in listed]
    assert httpx.get(f"{gemini.url}/v1beta/models/gone", headers=headers).status_code == 404


def test_it_runs_in_a_process_of_its_own() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.gemini"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        gemini = FakeGemini(url=process.stdout.readline().strip())
        httpx.post(f"{gemini.url}/fake/fail", json={"status": 503}).raise_for_status()
        assert post(gemini, EMBED, embedding_of("a")).status_code == 503
        assert post(gemini, EMBED, embedding_of("猫")).status_code == 200
        counts = httpx.get(f"{gemini.url}/fake/counts").json()
    assert counts == {"calls": 2, "texts_embedded": {"猫": 1}, "tokens_billed": 1, "struck": {"503": 1}}
