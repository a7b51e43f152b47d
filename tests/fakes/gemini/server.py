"""The server itself: routes of the Generative Language API v1beta, its checks, and what a test asks it afterwards."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.gemini import bodies
from tests.fakes.gemini.faults import Fault, Faults, Limit, Strike
from tests.fakes.gemini.generating import Answers, asked, by_itself, chunks_of, feedback, joined, limited, reply_of
from tests.fakes.gemini.meaning import FULL_DIMS, SYNONYMS, vector
from tests.fakes.gemini.reading import Call, call_of, dims_of, texts_of
from tests.fakes.gemini.tokens import count_tokens
from tests.fakes.gemini.writing import broken, cut, error_answer, spoil

JsonObject = dict[str, Any]

KEY = "fake-gemini-key-0123456789abcdef"
EMBEDDING_MODELS = ("gemini-embedding-001", "gemini-embedding-2")
GENERATING_MODELS = ("gemini-3.5-flash-lite", "gemini-3.5-flash")
MOST_IN_A_BATCH = 100


@dataclass
class FakeGemini:
    """`with FakeGemini() as gemini:` serves on a free port of the loopback, in a thread, until the block ends.

    Its `url` goes into NESCORD_GEMINI_ENDPOINT, its `key` into GEMINI_API_KEY. `texts_embedded` counts every text whose
    vector was computed, also when the answer was then lost.
    """

    key: str = KEY
    models: set[str] = field(default_factory=lambda: {*EMBEDDING_MODELS, *GENERATING_MODELS})
    synonyms: tuple[tuple[str, ...], ...] = SYNONYMS
    latency: float = 0.0
    between_pieces: float = 0.0
    hang: float = 30.0
    longest_text: int = 2048
    largest_request: int = 20_000
    calls: list[Call] = field(default_factory=list)
    texts_embedded: Counter[str] = field(default_factory=Counter)
    tokens_billed: int = 0
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self._faults = Faults()
        self._blocked: set[str] = set()
        self._answers: Answers = by_itself
        self._limit = Limit()
        self._loop: asyncio.AbstractEventLoop
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fake-gemini", daemon=True)
        self._ready = threading.Event()

    # What a test says.

    def fail(
        self,
        status: int | Fault | Sequence[int | Fault] = 500,
        *,
        next: int | None = None,  # noqa: A002 - reads as fail(429, next=3)
        rate: float | None = None,
        after: int = 0,
        method: str | None = None,
        body: str | None = None,
        retry_after: float | None = None,
        seed: int = 0,
    ) -> None:
        """Strike the `next` so many calls (1 by itself), or that share of all (`rate`); of several kinds, any.

        `after` lets so many pass before, `method` strikes only that method, `retry_after` goes into RetryInfo.
        """
        self._faults.plan(
            status, next=next, rate=rate, after=after, method=method, body=body, retry_after=retry_after, seed=seed
        )

    def heal(self) -> None:
        """No more faults, blocked words or limits."""
        self._faults.clear()
        self._blocked.clear()
        self._limit = Limit()

    def block(self, *words: str) -> None:
        """Texts and prompts with one of these words are refused; an answer with one is cut off before it."""
        self._blocked.update(words)

    def limit(self, *, requests: int | None = None, tokens: int | None = None, seconds: float = 60.0) -> None:
        """More than that within any `seconds` is answered with 429."""
        self._limit = Limit(requests, tokens, seconds)

    def answers(self, answer: Answers) -> None:
        """Say this instead of citing the first note: a function of `Asked` to text, pieces of it, or a `Reply`."""
        self._answers = answer

    @property
    def struck(self) -> Counter[int | Fault]:
        """How many calls each kind of fault has struck: a test of a fault asserts that it happened."""
        return self._faults.struck

    def calls_of(self, *methods: str) -> list[Call]:
        return [call for call in self.calls if call.method in methods]

    def forget(self) -> None:
        """Begin to count anew."""
        self.calls.clear()
        self.texts_embedded.clear()
        self.tokens_billed = self.most_at_once = 0
        self.struck.clear()

    # The server.

    def __enter__(self) -> FakeGemini:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the fake did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/v1beta/models", self._list)
        app.router.add_get("/v1beta/models/{model}", self._model)
        app.router.add_post("/v1beta/models/{model}:{method}", self._post)
        app.router.add_get("/fake/counts", self._counts)
        app.router.add_post("/fake/fail", self._told_to_fail)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready.set()
        await self._ending.wait()
        await runner.cleanup()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if (problem := self._wrong_key(request)) is not None:
            return error_answer(problem)
        return web.json_response({"models": [self._described(name) for name in sorted(self.models)]})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        if (problem := self._wrong_key(request)) is not None:
            return error_answer(problem)
        if model not in self.models:
            return error_answer(bodies.no_such_model(model, "getModel"))
        return web.json_response(self._described(model))

    async def _counts(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "calls": len(self.calls),
                "texts_embedded": self.texts_embedded,
                "tokens_billed": self.tokens_billed,
                "struck": {str(kind): times for kind, times in self.struck.items()},
            }
        )

    async def _told_to_fail(self, request: web.Request) -> web.StreamResponse:
        self.fail(**await request.json())
        return web.json_response({})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        model, method = request.match_info["model"], request.match_info["method"]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.json()
            texts = texts_of(method, body)
            tokens = sum(count_tokens(text) for text in texts)
            strike = self._faults.strike(method)
            if self.latency:
                await asyncio.sleep(self.latency)
            answer = self._refusal(request, model, method, texts, tokens, strike, body)
            status = strike.kind if strike else answer["error"]["code"] if answer else 200
            self.calls.append(call_of(request, model, method, texts, tokens, status, body))
            if strike and not isinstance(strike.kind, int):
                early = await self._strike_early(request, strike.kind)
                if early is not None:
                    return early
            if answer is not None:
                after = strike.retry_after if strike else None
                return error_answer(answer, after, strike.body if strike else None, strike.kind if strike else None)
            kind = strike.kind if strike else None
            if method in ("embedContent", "batchEmbedContents"):
                return await self._embedded(request, method, body, kind)
            if method == "countTokens":
                return web.json_response({"totalTokens": tokens})
            return await self._generated(request, model, method, body, kind)
        except ConnectionError:
            return broken(request)  # who asked has gone
        finally:
            self.at_once -= 1

    def _refusal(
        self,
        request: web.Request,
        model: str,
        method: str,
        texts: Sequence[str],
        tokens: int,
        strike: Strike | None,
        body: JsonObject,
    ) -> JsonObject | None:
        """The error that this request is answered with, or None."""
        if (problem := self._wrong_key(request)) is not None:
            return problem
        if model not in self.models or (model in EMBEDDING_MODELS) != method.lower().endswith(
            ("embedcontent", "embedcontents")
        ):
            return bodies.no_such_model(model, method)
        if strike and isinstance(strike.kind, int):
            if strike.kind == 429:
                return bodies.too_many(model, strike.retry_after)
            return bodies.error(strike.kind)
        if self._limit.refuses(tokens):
            return bodies.too_many(model, 1.0)
        if method == "batchEmbedContents" and len(texts) > MOST_IN_A_BATCH:
            return bodies.too_many_in_one_batch(MOST_IN_A_BATCH)
        if method in ("embedContent", "batchEmbedContents"):
            return self._unfit(texts, tokens, body)
        return None

    def _unfit(self, texts: Sequence[str], tokens: int, body: JsonObject) -> JsonObject | None:
        dims = dims_of(body)
        if not 1 <= dims <= FULL_DIMS:
            return bodies.error(400, f"* EmbedContentRequest.output_dimensionality: must be from 1 to {FULL_DIMS}")
        if not texts or not all(texts):
            return bodies.error(400, "* EmbedContentRequest.content: contents is not specified\n")
        longest = max(map(count_tokens, texts))
        if longest > self.longest_text:
            return bodies.too_long(longest, self.longest_text)
        if tokens > self.largest_request:
            return bodies.too_long(tokens, self.largest_request)
        if self._is_blocked("\n".join(texts)):
            return bodies.prohibited()
        return None

    def _wrong_key(self, request: web.Request) -> JsonObject | None:
        given = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not given:
            return bodies.no_key()
        return None if given == self.key else bodies.wrong_key()

    def _is_blocked(self, text: str) -> bool:
        return any(word in text for word in self._blocked)

    async def _strike_early(self, request: web.Request, kind: Fault) -> web.StreamResponse | None:
        """The faults that strike before anything is done."""
        if kind == "timeout":
            try:
                await asyncio.wait_for(self._ending.wait(), self.hang)
            except TimeoutError:
                return error_answer(bodies.error(504))
            return broken(request)
        if kind == "reset":
            return broken(request)
        if kind == "garbage":
            return web.Response(text="<!doctype html><title>Welcome to the Wi-Fi</title>", content_type="text/html")
        if kind == "empty":
            return web.json_response({})
        return None

    async def _embedded(
        self, request: web.Request, method: str, body: JsonObject, kind: int | Fault | None
    ) -> web.StreamResponse:
        texts, dims = texts_of(method, body), dims_of(body)
        self.texts_embedded.update(texts)
        self.tokens_billed += sum(map(count_tokens, texts))
        vectors = await asyncio.to_thread(lambda: [vector(text, dims, self.synonyms).tolist() for text in texts])
        spoil(vectors, kind)
        answers = [{"values": values} for values in vectors]
        answer = {"embedding": answers[0]} if method == "embedContent" else {"embeddings": answers}
        if kind == "lost":
            return broken(request)
        # Python would write NaN without quotes, which protobuf's JSON does not know.
        text = json.dumps(answer).replace("NaN", '"NaN"')
        if kind == "cut":
            return await cut(request, text.encode())
        return web.Response(text=text, content_type="application/json")

    async def _generated(
        self, request: web.Request, model: str, method: str, body: JsonObject, kind: int | Fault | None
    ) -> web.StreamResponse:
        question = asked(model, body)
        used = sum(count_tokens(text) for text in texts_of(method, body))
        as_numbers = "enum-encoding=int" in request.query_string.replace("%3D", "=").replace("%3B", ";")
        if self._is_blocked(question.text):
            chunks = [feedback(used, as_numbers)]
        else:
            reply = limited(reply_of(self._answers(question)), question.max_tokens, self._is_blocked)
            chunks = chunks_of(reply, question, used, as_numbers)
        self.tokens_billed += chunks[-1]["usageMetadata"]["totalTokenCount"]
        if kind == "lost":
            return broken(request)
        if method == "generateContent":
            return web.json_response(joined(chunks))
        return await self._streamed(request, chunks, kind)

    async def _streamed(
        self, request: web.Request, chunks: Sequence[JsonObject], kind: int | Fault | None
    ) -> web.StreamResponse:
        """Server-sent events for who asks with alt=sse, otherwise a JSON array that grows."""
        as_events = request.query.get("alt") == "sse"
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream" if as_events else "application/json; charset=UTF-8"}
        )
        await response.prepare(request)
        for number, chunk in enumerate(chunks):
            if kind == "cut" and number >= max(1, len(chunks) // 2):
                return broken(request, response)
            text = json.dumps(chunk, ensure_ascii=False)
            if as_events:
                await response.write(f"data: {text}\r\n\r\n".encode())
            else:
                await response.write(("[" if number == 0 else ",\r\n").encode() + text.encode())
            if self.between_pieces:
                await asyncio.sleep(self.between_pieces)
        if not as_events:
            await response.write(b"\n]")
        await response.write_eof()
        return response

    def _described(self, name: str) -> JsonObject:
        embeds = name in EMBEDDING_MODELS
        return {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "inputTokenLimit": self.longest_text if embeds else 1_048_576,
            "outputTokenLimit": 1 if embeds else 65_536,
            "supportedGenerationMethods": ["embedContent", "countTokens"]
            if embeds
            else ["generateContent", "countTokens"],
        }
