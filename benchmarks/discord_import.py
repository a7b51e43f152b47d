"""What it costs to import a long history of Discord: seconds, messages a second and the most memory, of a process.

`python -m benchmarks.discord_import [MESSAGES]` writes one export of a channel as DiscordChatExporter does (200,000
messages unless it is told otherwise), imports it, imports it again, and then a later export with some more messages
and some edits. Nothing is embedded: that is measured in `benchmarks.embedding`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

MESSAGES = 200_000
EPOCH = datetime(2023, 1, 1, tzinfo=UTC)
_WORDS = (
    *("deploy", "staging", "rollback", "review", "branch", "latency", "cache", "index", "backup", "release"),
    *("会議", "設計", "資料", "検索", "締切", "テスト", "修正", "共有", "確認", "来週", "です", "ました", "について"),
)
_PEOPLE = [(1_100_000_000_000_000_000 + n, f"user_{n}", f"名前{n}") for n in range(40)]


def messages(count: int, *, seed: int = 13, edited_every: int = 0) -> Iterator[dict[str, object]]:
    """Bursts of talk with silences between them, as in a busy channel."""
    chance = random.Random(seed)
    at = EPOCH
    for number in range(count):
        is_silence = chance.random() < 0.03
        at += timedelta(seconds=chance.randrange(3600, 40_000) if is_silence else chance.randrange(2, 240))
        who, name, nickname = chance.choice(_PEOPLE)
        text = " ".join(chance.choices(_WORDS, k=chance.randrange(3, 30)))
        is_edited = edited_every and number % edited_every == 0
        person = {
            "id": str(who),
            "name": name,
            "discriminator": "0000",
            "nickname": nickname,
            "color": "#3498DB",
            "isBot": False,
            "roles": [{"id": "1", "name": "member", "color": None, "position": 1}],
            "avatarUrl": f"https://cdn.discordapp.com/avatars/{who}/0123456789abcdef0123456789abcdef.png?size=512",
        }
        key = (int(at.timestamp() * 1000) - 1_420_070_400_000 << 22) + number % 4096
        message: dict[str, object] = {
            "id": str(key),
            "type": "Default",
            "timestamp": at.isoformat(),
            "timestampEdited": (at + timedelta(days=900)).isoformat() if is_edited else None,
            "callEndedTimestamp": None,
            "isPinned": False,
            "content": f"{text} (edited)" if is_edited else text,
            "author": person,
            **{name: [] for name in ("attachments", "embeds", "stickers", "reactions", "mentions")},
        }
        if chance.random() < 0.05:
            message["attachments"] = [
                {"id": str(key + 1), "url": "https://cdn.discordapp.com/a/b/c.png", "fileName": "c.png"}
            ]
        yield message


def write(path: Path, count: int, *, edited_every: int = 0) -> int:
    """Write an export; how many bytes it has."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"guild": {"id": "900000000000000001", "name": "Bench"}, "channel": ')
        file.write('{"id": "900000000000000002", "type": "GuildTextChat", "category": "c", "name": "general"}, ')
        file.write('"dateRange": {"after": null, "before": null}, "messages": [\n')
        for number, message in enumerate(messages(count, edited_every=edited_every)):
            file.write((",\n" if number else "") + json.dumps(message, ensure_ascii=False, indent=2))
        file.write(f'], "messageCount": {count}}}')
    return path.stat().st_size


def run(data: Path, export: Path, count: int) -> dict[str, object]:
    """Import a file in a process of its own; what it says, and what it took."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "nescord.cli", "--data-dir", str(data), "--json", "import", "discord", str(export)],
            stdout=out,
            env={**os.environ, "NESCORD_EMBEDDER": "none"},
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        (done,) = json.loads(out.read())["imports"]
    seconds = time.perf_counter() - begun
    return {
        **{name: done[name] for name in ("said", "added", "changed", "unchanged", "failed")},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "messages_a_second": round(count / seconds),
        "peak_rss_mb": used.ru_maxrss // 1024,
    }


def main(count: int) -> None:
    """Print one JSON line for each of the three imports."""
    with tempfile.TemporaryDirectory() as folder:
        data, first, later = Path(folder) / "data", Path(folder) / "first.json", Path(folder) / "later.json"
        for name, export, more, every in (("first", first, 0, 0), ("again", first, 0, 0), ("later", later, 500, 2000)):
            if not export.exists():
                size = write(export, count + more, edited_every=every)
                print(json.dumps({"written": export.name, "mb": size // 2**20}), flush=True)
            print(json.dumps({"import": name, **run(data, export, count + more)}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES)
