"""How an answer is sent, whole or spoilt."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from tests.fakes.gemini.faults import Fault

JsonObject = dict[str, Any]


def spoil(vectors: list[list[float]], kind: int | Fault | None) -> None:
    if kind == "short":
        vectors.pop()
    elif kind == "long":
        vectors.append(vectors[-1])
    elif kind == "wrong_length":
        vectors[-1].pop()
    elif kind == "nan":
        vectors[-1][0] = float("nan")
    elif kind == "zero":
        vectors[-1] = [0.0] * len(vectors[-1])


def error_answer(
    answer: JsonObject, retry_after: float | None = None, text: str | None = None, status: int | Fault | None = None
) -> web.Response:
    code = status if isinstance(status, int) else answer["error"]["code"]
    headers = {} if retry_after is None else {"Retry-After": f"{max(1, round(retry_after))}"}
    return web.Response(
        status=code, text=text or json.dumps(answer, indent=2), content_type="application/json", headers=headers
    )


def broken(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """The connection breaks, now."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


async def cut(request: web.Request, content: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    await asyncio.sleep(0.05)  # so that the half is sent before the connection breaks
    return broken(request, response)
