"""`/search` through the bot, beside the same search in one process.

    python -m benchmarks.bot [--notes 12000] [--seed 1]

The bot is `nescord bot run` as a process, at a server on this machine that speaks Discord's protocol; a search is timed
from the moment at which Discord sends the interaction to that at which it has the whole reply. Vectors are random (see
benchmarks/hybrid.py): what is measured is time, not quality. One person asks after the other, then 20 at once. Wall
milliseconds, since a person waits for the wall clock; the process beside it tells what of them is the search itself.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.hybrid import fill
from benchmarks.measure import percentile
from benchmarks.vault import generate, sample_queries
from nescord import KnowledgeManager, Settings
from tests.discord_world import RunningBot, running_bot
from tests.fakes.discord import DiscordFake, User

_WARM, _ALONE, _PEOPLE = 10, 60, 20
# Discord takes no more replies of one person in a burst.
_REST = 0.05


def _memory_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def _milliseconds(discord: DiscordFake, who: User, query: str) -> float:
    call = discord.slash(who, "search", {"query": query, "limit": 5})
    call.wait(60)
    time.sleep(_REST)
    return 1000 * (call.replied_after or 0.0)


def _line(name: str, times: list[float]) -> str:
    return f"{name:<42}{statistics.median(times):>9.0f}{percentile(times, 0.95):>9.0f}{max(times):>9.0f}"


def _in_process(data: Path, queries: list[str]) -> list[float]:
    times = []
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local", vector="exact")) as km:
        view = km.scoped({"personal", "user:1"})
        for number, query in enumerate(queries):
            begun = time.perf_counter()
            view.search(query, limit=5)
            if number >= _WARM:
                times.append(1000 * (time.perf_counter() - begun))
    return times


def _in_discord(discord: DiscordFake, bot: RunningBot, queries: list[str]) -> tuple[list[float], list[float], int]:
    """One after the other, many at once, and what the bot then has resident (MiB)."""
    people = [discord.user(1 + number, f"person{number}") for number in range(_PEOPLE)]
    alone = [_milliseconds(discord, people[0], query) for query in queries][_WARM:]
    with ThreadPoolExecutor(_PEOPLE) as threads:
        at_once = list(threads.map(lambda who: _milliseconds(discord, who, random.choice(queries)), people * 3))
    return alone, at_once, _memory_mb(bot.pid)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--notes", type=int, default=12_000)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    random.seed(asked.seed)
    with tempfile.TemporaryDirectory(prefix="nescord-bench-") as name, DiscordFake() as discord:
        scratch = Path(name)
        vault, data = scratch / "vault", scratch / "bot" / "kb"
        generate(vault, asked.notes, asked.seed)
        with KnowledgeManager.open(Settings(data_dir=data, embedder="none")) as km:
            km.ingest(vault)
        chunks = fill(data, asked.seed)
        every = [query for lang in ("ja", "en") for query in sample_queries(vault, 40, asked.seed, lang)]
        queries = random.choices(every, k=_WARM + _ALONE)
        bare = _in_process(data, queries)
        settings = {
            "NESCORD_EMBEDDER": "local",
            "NESCORD_VECTOR": "exact",
            "NESCORD_OWNER_IDS": "1",
            "NESCORD_QUOTA_SEARCHES": "100000/100000",
        }
        with running_bot(scratch / "bot", discord, check=False, **settings) as bot:
            ready = _memory_mb(bot.pid)
            alone, at_once, after = _in_discord(discord, bot, queries)
    print(f"{asked.notes:,} notes, {chunks:,} chunks")
    print(f"{'wall ms':<42}{'p50':>9}{'p95':>9}{'most':>9}")
    print(_line("search in process", bare))
    print(_line("/search, one person after the other", alone))
    print(_line(f"/search, {_PEOPLE} people at once", at_once))
    print(f"the bot's memory, MiB resident: {ready} when ready, {after} after these searches")


if __name__ == "__main__":
    main()
