"""How much of a model's limits is used: real requests by a real library to the fake, which refuses what is beyond.

python -m benchmarks.pace [--seconds 90] [--library genai]

The fake counts tokens by its own tokenizer, and in any minute: what it refuses came too fast, what it is not asked for
is lost. "As estimated" is what the pace goes by; the rest of the way is how much higher an estimate is than the count.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nescord import KnowledgeManager, Settings
from nescord.embedding.service import EmbeddingService
from nescord.language import detect, language_group
from nescord.tokens import estimate_all
from tests.fakes.gemini import FakeGemini

VAULT = Path(__file__).parent.parent / "data" / "sample" / "vault"
Language = Literal["ja", "en"]
_THREADS = 4
_SHORTEST = 60


@dataclass(frozen=True, slots=True)
class Case:
    """Limits a minute, and what is embedded: so many paragraphs of the sample vault at once, of one language."""

    name: str
    requests: int
    tokens: int
    language: Language
    texts: int


CASES = (
    Case("tokens, Japanese", 1000, 300_000, "ja", 40),
    Case("tokens, English", 1000, 300_000, "en", 40),
    Case("tokens, as by default", 100, 30_000, "ja", 8),
    Case("requests", 240, 100_000_000, "en", 1),
)


def measure(case: Case, library: str, seconds: float) -> str:
    """One row: what was used of the limit that binds, and how often the fake said that it was too much."""
    with FakeGemini(latency=0.3) as gemini, tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder) / "kb",
            embedder=library,
            vector="exact",
            gemini_endpoint=gemini.url,
            gemini_api_key=gemini.key,
            gemini_requests_per_minute=case.requests,
            gemini_tokens_per_minute=case.tokens,
            gemini_parallel=_THREADS,
            gemini_monthly_limit=1_000_000_000,
        )
        with KnowledgeManager.open(settings) as km:
            service = EmbeddingService.of(settings, lambda: km.budget)
            service.embed(["so that the library is imported before the clock runs"])
            gemini.forget()
            gemini.limit(requests=case.requests, tokens=case.tokens)
            minutes = _embed_for(service, case, seconds) / 60
        done = [call for call in gemini.calls if call.status == 200]
        counted = sum(call.tokens for call in done) / minutes / case.tokens
        estimated = sum(estimate_all(call.texts) for call in done) / minutes / case.tokens
        requests = len(done) / minutes / case.requests
        refused = sum(call.status == 429 for call in gemini.calls)
    limits = f"{case.requests:,} / {case.tokens:,}"
    return f"| {case.name} | {limits} | {requests:.1%} | {counted:.1%} | {estimated:.1%} | {refused} |"


def _embed_for(service: EmbeddingService, case: Case, seconds: float) -> float:
    """Embed as fast as is allowed for about so long; the seconds that it took."""
    texts = itertools.cycle(_texts(case.language))
    numbers = itertools.count()
    started = time.monotonic()

    def work() -> None:
        while time.monotonic() - started < seconds:
            some = [f"{next(numbers)} {text}" for text in itertools.islice(texts, case.texts)]
            for request in service.requests(some):
                service.embed(some[request])

    threads = [threading.Thread(target=work) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def _texts(language: Language) -> list[str]:
    """The paragraphs of the sample vault in that language."""
    found = []
    for path in sorted(VAULT.rglob("*.md")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        if language_group(detect(text)) == language_group(language):
            found += [part for part in text.split("\n\n") if len(part) > _SHORTEST]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--library", choices=("gemini", "genai"), default="genai")
    given = parser.parse_args()
    print("| what binds | requests / tokens a minute | requests used | tokens used | as estimated | refused (429) |")
    print("|---|---|---:|---:|---:|---:|")
    for case in CASES:
        print(measure(case, given.library, given.seconds), flush=True)


if __name__ == "__main__":
    main()
