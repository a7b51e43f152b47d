"""Notes for a model elsewhere, the settings that lead to the fake of it, and what was sent there more than once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from fakes.gemini import FakeGemini, Fault

from nescord import Settings
from tests.fakes.gemini import bodies
from tests.fakes.gemini.faults import Strike
from tests.fakes.gemini.reading import JsonObject, texts_of
from tests.vaults import REPOSITORY


def settings_for(gemini: FakeGemini, **more: object) -> dict[str, object]:
    return {
        "embedder": "gemini",
        "gemini_api_key": gemini.key,
        "gemini_endpoint": gemini.url,
        "gemini_requests_per_minute": 1_000_000,
        "gemini_tokens_per_minute": 1_000_000_000,
        "gemini_timeout": 1,
        "gemini_monthly_limit": 1_000_000_000,
        "vector": "exact",
        **more,
    }


def notes(count: int) -> dict[str, str]:
    """Notes in two languages, about 400 tokens each, no two alike."""
    found = {}
    for number in range(count):
        if number % 2:
            body = f"豆腐を{number}丁切って、昆布の出汁で静かに煮る。" * 12
            found[f"料理/豆腐{number}.md"] = f"# 豆腐{number}\n\n{body}\n"
        else:
            body = f"The ferry number {number} leaves the harbour before the tide turns. " * 14
            found[f"Travel/Ferry {number}.md"] = f"# Ferry {number}\n\n{body}\n"
    return found


def sent_twice(gemini: FakeGemini) -> dict[str, int]:
    return {text[:40]: count for text, count in gemini.texts_embedded.items() if count > 1}


def environment_for(settings: Mapping[str, object]) -> dict[str, str]:
    """The settings as a process of its own reads them."""
    names = {name: str(field.validation_alias) for name, field in Settings.model_fields.items()}
    return {names[name]: str(value) for name, value in settings.items()}


def killed(gemini: FakeGemini, command: Sequence[str], said: Mapping[str, str], rng: random.Random) -> bool:
    """Let a process make a few calls, and be at the next one for a while; then kill -9. Whether it was at work."""
    enough = len(gemini.calls) + rng.randint(1, 5)
    with subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **said}, stdout=subprocess.DEVNULL) as worker:
        while len(gemini.calls) < enough and worker.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 2 * gemini.latency)
        worker.send_signal(signal.SIGKILL)
    return worker.returncode == -signal.SIGKILL


@dataclass
class TroubledGemini(FakeGemini):
    """Fails on requests that hold one of these texts, each time: by a status, or by an answer of the wrong kind."""

    trouble: dict[str, int | Fault] = field(default_factory=dict)

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
        kind = self._trouble(texts)
        if isinstance(kind, int):
            self.struck[kind] += 1
            return bodies.error(kind)
        return super()._refusal(request, model, method, texts, tokens, strike, body)

    async def _embedded(
        self, request: web.Request, method: str, body: JsonObject, kind: int | Fault | None
    ) -> web.StreamResponse:
        trouble = self._trouble(texts_of(method, body))
        if trouble is not None:
            self.struck[trouble] += 1
        return await super()._embedded(request, method, body, trouble or kind)

    def _trouble(self, texts: Sequence[str]) -> int | Fault | None:
        return next((kind for word, kind in self.trouble.items() if any(word in text for text in texts)), None)
