"""Where the time and the memory go: each kind of work under a sampling profiler, its largest costs by name.

    python -m benchmarks.profiles [cold unchanged hybrid shell slash boot nightly imports memory] [--notes 2000]

Vectors are random (see benchmarks/hybrid.py) but for the queries, which the local model embeds. A share is one of the
samples of all processes of that work; a thread that waits has none.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import sampling
from benchmarks.hybrid import fill
from benchmarks.peering.measure import ROOT
from benchmarks.vault import generate, sample_queries
from nescord import KnowledgeManager, Settings
from tests.discord_world import running_bot
from tests.fakes.discord import DiscordFake

_SEARCHES = 200
# Discord takes no more replies of one person in a burst.
_REST = 0.05
_PATIENCE = 240.0
_IMPORTED = ("nescord.cli.app", "nescord.knowledge", "bot.run", "flows.serve")
_HOLDING = {
    "command line": ("nescord.cli.app", "nescord.knowledge", "numpy", "nescord.embedding.local:LocalEmbedder"),
    "bot": ("nescord.knowledge", "discord", "bot.run", "numpy", "nescord.embedding.local:LocalEmbedder"),
    "flows.serve, and each run of a flow": ("nescord.knowledge", "prefect", "flows.serve"),
    "Prefect's server": ("prefect", "sqlalchemy.ext.asyncio", "prefect.server.api.server"),
    "Chroma's server": ("chromadb", "chromadb_rust_bindings"),
}
_HELD = """
import importlib, sys
def resident():
    return int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0]) / 1024
print("the interpreter", resident())
for name in sys.argv[1:]:
    before, (module, _, model) = resident(), name.partition(":")
    found = importlib.import_module(module)
    if model:
        kept = getattr(found, model)()
        kept.embed_query("a text")
    print(model or module, resident() - before)
"""


def cold(place: Path) -> Iterator[str]:
    """A vault is taken in for the first time, without vectors."""
    yield from _alone(place, "cold")


def embedding(place: Path) -> Iterator[str]:
    """A vault is taken in for the first time, with the local model (a tenth of the notes)."""
    yield from _alone(place, "embedding")


def unchanged(place: Path) -> Iterator[str]:
    """A vault in which nothing has changed is looked at, again and again."""
    yield from _alone(place, "unchanged")


def hybrid(place: Path) -> Iterator[str]:
    """80 queries are asked again and again, of words and vectors."""
    yield from _alone(place, "hybrid")


def shell(place: Path) -> Iterator[str]:
    """`nescord search` from a cold shell."""
    yield from _alone(place, "shell")


def slash(place: Path) -> Iterator[str]:
    """One person asks the bot `/search`, again and again."""
    queries = sample_queries(place / "vault", 40, 1, "ja")
    with DiscordFake() as discord:
        user = discord.user(1, "ada")
        reach = {"NESCORD_OWNER_IDS": "1", "NESCORD_EMBEDDER": "local", "NESCORD_VECTOR": "exact"}
        with running_bot(place / "kb", discord, **reach) as bot:
            for query in queries[:10]:
                discord.slash(user, "search", {"query": query}).wait(60)
            with sampling.watched(place / "slash.raw", bot.pid):
                for number in range(_SEARCHES):
                    discord.slash(user, "search", {"query": queries[number % len(queries)]}).wait(60)
                    time.sleep(_REST)
    yield from sampling.table(sampling.costs(place / "slash.raw"))


def boot(place: Path) -> Iterator[str]:
    """`nescord up`, until everything is ready."""
    said = place / "boot.txt"
    spy = sampling.started(place / "boot.raw", _up(place), said, PORT="0", NESCORD_EMBEDDER="local")
    _until_ready(said)
    spy.send_signal(signal.SIGINT)
    spy.wait(60)
    yield from sampling.table(sampling.costs(place / "boot.raw"))


def nightly(place: Path) -> Iterator[str]:
    """The flow `nightly`, beside the services it needs: backup, check, prune, deep verification."""
    with _service(place) as up:
        with sampling.watched(place / "nightly.raw", up.pid):
            command = [*_nescord(place), "flows", "run", "nightly", "--watch"]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield from sampling.table(sampling.costs(place / "nightly.raw"))


def imports(place: Path) -> Iterator[str]:
    """What is imported at a start, in milliseconds of the package's own code."""
    del place
    yield "| start of | all | the dearest packages |"
    yield "|---|---|---|"
    for module in _IMPORTED:
        spent = sampling.imports(module)
        dearest = ", ".join(f"{name} {ms:.0f}" for name, ms in spent[:8])
        yield f"| {module} | {sum(ms for _, ms in spent):.0f} | {dearest} |"


def memory(place: Path) -> Iterator[str]:
    """MiB that are resident, by process, when everything is ready; and what holds them, as it is imported."""
    yield "| process | resident | its share (PSS) |"
    yield "|---|---|---|"
    with DiscordFake() as discord:
        reach = {
            "DISCORD_TOKEN": discord.token,
            "DISCORD_API_BASE": discord.api_base,
            "DISCORD_GATEWAY": discord.gateway,
        }
        with _service(place, **reach) as up:
            time.sleep(10)  # what looks at the base after a start has ended
            for name, resident, share in sampling.memory(up.pid):
                yield f"| {name} | {resident:.0f} | {share:.0f} |"
    yield ""
    yield "| process | what holds it |"
    yield "|---|---|"
    for process, modules in _HOLDING.items():
        done = subprocess.run(
            [sys.executable, "-c", _HELD, *modules], check=True, cwd=ROOT, capture_output=True, text=True
        )
        parts = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
        yield f"| {process} | {', '.join(f'{name} {float(size):.0f}' for name, size in parts)} |"


WORK: dict[str, Callable[[Path], Iterator[str]]] = {
    work.__name__: work for work in (cold, embedding, unchanged, hybrid, shell, slash, boot, nightly, imports, memory)
}


def _alone(place: Path, work: str) -> Iterator[str]:
    """One process that does that work (benchmarks/profiled.py)."""
    samples = place / f"{work}.raw"
    command = [sys.executable, "-m", "benchmarks.profiled", work, str(place)]
    status = sampling.started(samples, command, place / f"{work}.txt").wait()
    assert status == 0, (place / f"{work}.txt").read_text()
    yield from sampling.table(sampling.costs(samples))


def _nescord(place: Path) -> list[str]:
    return [sys.executable, "-m", "nescord.cli", "--data-dir", str(place / "kb")]


def _up(place: Path) -> list[str]:
    return [*_nescord(place), "up", "--port", "0"]


@contextmanager
def _service(place: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    said = place / "up.txt"
    given = {**os.environ, "PORT": "0", "NESCORD_EMBEDDER": "local", **environment}
    with said.open("wb") as file, subprocess.Popen(_up(place), cwd=ROOT, env=given, stdout=file, stderr=file) as up:
        try:
            _until_ready(said)
            yield up
        finally:
            up.terminate()
            up.wait(60)


def _until_ready(said: Path) -> None:
    ends = time.monotonic() + _PATIENCE
    while "all services are ready" not in said.read_text(encoding="utf-8", errors="replace"):
        assert time.monotonic() < ends, said.read_text(encoding="utf-8", errors="replace")
        time.sleep(0.2)


def main() -> None:
    """Profile what is named, or everything, and print it as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help=f"of {', '.join(WORK)}; default: all")
    parser.add_argument("--notes", type=int, default=2_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        generate(place / "vault", asked.notes, 1)
        generate(place / "small", asked.notes // 10, 1)
        queries = [query for lang in ("ja", "en") for query in sample_queries(place / "vault", 40, 1, lang)]
        (place / "queries.txt").write_text("\n".join(queries), encoding="utf-8")
        with KnowledgeManager.open(Settings(data_dir=place / "kb", embedder="none")) as km:
            km.ingest(place / "vault")
        print(f"{asked.notes:,} notes, {fill(place / 'kb', 1):,} chunks")
        for name in asked.what or WORK:
            print(f"\n## {name}: {WORK[name].__doc__}\n", flush=True)
            for line in WORK[name](place):
                print(line, flush=True)


if __name__ == "__main__":
    main()
