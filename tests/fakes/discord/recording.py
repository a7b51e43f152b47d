"""What the client has asked for over REST, and what was wrong with it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.fakes.discord.messages import File

JsonObject = dict[str, Any]

ProblemKind = Literal["unknown-route", "late", "double", "unacknowledged", "invalid", "refused", "frame", "silent"]
"""unknown-route: no such route. late: 10062. double: 40060. unacknowledged: no answer at all within 3 s.
invalid: 50035, or against Discord's description. refused: another 4xx that was not a planned fault.
frame: a gateway frame that Discord would not take. silent: no heartbeats."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that Discord would not have liked."""

    kind: ProblemKind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(slots=True)
class Recorded:
    """One REST request; `template` is its route, `status` what it was answered with (0: not yet, or broken)."""

    method: str
    path: str
    template: str
    headers: dict[str, str]
    query: dict[str, str]
    body: Any = None
    files: Sequence[File] = ()
    is_multipart: bool = False
    status: int = 0
    answer: Any = None
    at: float = field(default_factory=time.monotonic)

    @property
    def route(self) -> str:
        return f"{self.method} {self.template}"

    def __str__(self) -> str:
        return f"{self.method} {self.template} {json.dumps(self.body, ensure_ascii=False)[:500]}"


async def recorded(request: web.Request) -> Recorded:
    """Read a request whole. ValueError: its body is no JSON."""
    resource = request.match_info.route.resource
    template = resource.canonical if resource is not None else request.path
    record = Recorded(
        request.method,
        request.path,
        template.removeprefix("/api/v10"),
        dict(request.headers),
        dict(request.query),
    )
    if request.content_type == "multipart/form-data":
        record.is_multipart = True
        files = []
        async for part in await request.multipart():
            content = bytes(await part.read())  # type: ignore[union-attr]
            if part.name == "payload_json":  # type: ignore[union-attr]
                record.body = json.loads(content)
            else:
                kind = part.headers.get("Content-Type", "application/octet-stream")
                files.append(File(part.filename or "", content, kind))  # type: ignore[union-attr]
        record.files = files
    elif text := await request.text():
        record.body = json.loads(text)
    return record
