"""What is in a request, whichever library sent it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.gemini.faults import Fault
from tests.fakes.gemini.meaning import FULL_DIMS

JsonObject = dict[str, Any]

# By their numbers, as google-generativeai sends them.
_TASKS = {1: "RETRIEVAL_QUERY", 2: "RETRIEVAL_DOCUMENT", 3: "SEMANTIC_SIMILARITY"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in. `status` is what it was answered with, or the fault that struck it."""

    method: str
    model: str
    texts: Sequence[str]
    task: str | None
    dims: int | None
    tokens: int
    headers: Mapping[str, str]
    path: str
    at: float
    status: int | Fault
    body: JsonObject


def texts_of(method: str, body: JsonObject) -> list[str]:
    """The texts of a request, the system instruction among them."""
    if method == "batchEmbedContents":
        return [_text(one.get("content", {})) for one in body.get("requests", ())]
    if method == "embedContent":
        return [_text(body.get("content", {}))]
    if method == "countTokens" and "generateContentRequest" in body:
        body = body["generateContentRequest"]
    contents = [body["systemInstruction"]] if "systemInstruction" in body else []
    return [_text(content) for content in (*contents, *body.get("contents", ()))]


def _text(content: JsonObject) -> str:
    return "".join(part.get("text", "") for part in content.get("parts", ()))


def _first(body: JsonObject) -> JsonObject:
    return body["requests"][0] if body.get("requests") else body


def dims_of(body: JsonObject) -> int:
    return int(_first(body).get("outputDimensionality", FULL_DIMS))


def call_of(
    request: web.Request,
    model: str,
    method: str,
    texts: Sequence[str],
    tokens: int,
    status: int | Fault,
    body: JsonObject,
) -> Call:
    task = _first(body).get("taskType")
    dims = _first(body).get("outputDimensionality")
    named = _TASKS.get(task, str(task)) if isinstance(task, int) else task
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(method, model, texts, named, dims, tokens, headers, request.path_qs, time.monotonic(), status, body)
