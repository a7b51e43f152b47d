"""A knowledge base with a past, made up but written through the real statements and in the real files: months of
searches, questions, calls that cost, runs of flows, verifications and backups. The same seed gives the same past."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.catalog import ledger as ledger_sql
from nescord.catalog import queries as queries_sql
from nescord.catalog import search_events as events_sql
from nescord.catalog.queries import Question
from nescord.catalog.search_events import SearchEvent
from nescord.identifiers import uuid7
from nescord.times import utc_text

HOSTILE = "<img src=x onerror=\"document.title='owned'\">$x_1$"
NOTES = {
    "coffee": "# Coffee\n\nTwenty grams of coffee, water of ninety degrees.",
    "珈琲": "# 珈琲の淹れ方\n\n湯は九十度。粉は二十グラム。",
    "tea": "# Tea\n\nGreen tea likes seventy degrees.",
    "梅干し": "# 梅干し\n\n土用干しは三日三晩。",
}
_QUERIES = ("coffee", "珈琲", "tea", "梅干し 塩分", "grinder", HOSTILE, "抹茶 茶筅", "degrees")
_NOTHING_FOR = {"grinder", HOSTILE, "抹茶 茶筅"}
_FLOWS = {"ingest": 12.0, "backup": 40.0, "verify": 8.0, "maintain": 20.0}
_PURPOSES = (("embed_new", "gemini-embedding-001", 900), ("embed_query", "gemini-embedding-001", 14))
_ANSWERS = (("answer", "gemini-3.5-flash-lite", 3200), ("summary", "gemini-3.5-flash-lite", 1500))


def lived(data: Path, *, days: int = 100, seed: int = 1, now: datetime | None = None, **settings: object) -> Settings:
    """The settings of a base in `data` that has seen so many days."""
    made = Settings(**{"data_dir": data, "vector": "exact", **settings})
    now = now or datetime.now(UTC)
    rng = random.Random(seed)
    with KnowledgeManager.open(made) as km:
        for text in NOTES.values():
            km.capture(text)
        with km._base.verb() as catalog, catalog.write() as connection:
            for day in range(days, -1, -1):
                begun = now - timedelta(days=day, hours=2)
                for _ in range(rng.randrange(6)):
                    at = begun + timedelta(seconds=rng.randrange(6000))
                    _search(connection, at, rng)
                    _call(connection, at, rng, *_PURPOSES[1])
                if rng.random() < 0.3:
                    question = Question(utc_text(begun), None, rng.choice(_QUERIES), "model", rng.random() < 0.7)
                    queries_sql.note_question(connection, question)
                for purpose in (_PURPOSES[0], *_ANSWERS):
                    for _ in range(rng.randrange(4)):
                        _call(connection, begun, rng, *purpose)
        run = km.folder.run
        km.backups.create()
        second = km.backups.create()
        asyncio.run(km.backups.drill(second.id))
    _write(run / "flow-runs.jsonl", _runs(now, days, rng))
    _write(run / "verifications.jsonl", _verifications(now, days, rng, shutil.disk_usage(data).free))
    return made


def _search(connection: object, at: datetime, rng: random.Random) -> None:
    query = rng.choice(_QUERIES)
    mode = rng.choice(("keyword", "hybrid", "hybrid", "hybrid", "vector"))
    is_degraded, slow = rng.random() < 0.05, 60 if rng.random() < 0.02 else 1
    event = SearchEvent(
        at=utc_text(at),
        who=rng.choice(("owner", "user:42", "")),
        spaces=None,
        query=query,
        mode="keyword" if is_degraded else mode,
        hits=0 if query in _NOTHING_FOR else rng.randrange(1, 10),
        milliseconds=round(slow * rng.lognormvariate(2 if mode == "keyword" else 3, 0.8), 3),
        degraded=("vector: some notes wait to be embedded (nescord ingest)",) if is_degraded else (),
    )
    events_sql.note(connection, event)  # type: ignore[arg-type]


def _call(connection: object, at: datetime, rng: random.Random, purpose: str, model: str, tokens: int) -> None:
    key, estimate = str(uuid7()), round(tokens * rng.uniform(0.7, 1.5))
    day = (at + timedelta(hours=9)).date().isoformat()  # of Asia/Tokyo
    who = rng.choice(("", "user:42", "user:7", f"guild:9,user:{HOSTILE}"))
    ledger_sql.reserve(connection, key, utc_text(at), day, model, purpose, who, estimate)  # type: ignore[arg-type]
    if rng.random() < 0.98:
        ledger_sql.settle(connection, key, round(0.9 * estimate), utc_text(at))  # type: ignore[arg-type]


def _runs(now: datetime, days: int, rng: random.Random) -> list[dict[str, object]]:
    rows = []
    for day in range(days, -1, -1):
        for number, (flow, usual) in enumerate(_FLOWS.items()):
            started = now - timedelta(days=day, hours=3, minutes=5 * number)
            seconds = round(usual * rng.lognormvariate(0, 0.4), 2)
            state = "FAILED" if rng.random() < 0.04 else "CRASHED" if rng.random() < 0.01 else "COMPLETED"
            rows.append(
                {
                    "run_id": f"{flow}-{day:04}",
                    "flow": flow,
                    "name": f"brave-{flow}-{day}",
                    "state": state,
                    "started": utc_text(started),
                    "ended": utc_text(started + timedelta(seconds=seconds)),
                    "seconds": seconds,
                    "retries": 1 if rng.random() < 0.06 else 0,
                    "trigger": rng.choice(("schedule", "schedule", "person")),
                }
            )
    return rows


def _verifications(now: datetime, days: int, rng: random.Random, free: float) -> list[dict[str, object]]:
    # As full as this disk would have become at such a pace: the marts see how full it is.
    losses = [rng.uniform(0, free / 110) for _ in range(days + 1)]
    rows, free = [], free + sum(losses)
    for day in range(days, -1, -1):
        free -= losses[day]
        states = {
            "database.schema": "pass",
            "database.pending": "warn" if rng.random() < 0.1 else "pass",
            "backups.newest": "warn" if rng.random() < 0.05 else "pass",
            "backups.drill": "fail" if day == 40 else "pass",
            "volume.space": "pass",
        }
        rows.append(
            {
                "at": utc_text(now - timedelta(days=day, hours=1)),
                "deep": day % 7 == 0,
                "ok": "fail" not in states.values(),
                "seconds": round(rng.uniform(1, 4), 2),
                "free_bytes": int(free),
                "database_bytes": int(90e6 + 3e5 * (days - day)),
                "notes": 500 + 3 * (days - day),
                "checks": [{"name": name, "status": state, "value": "as made up"} for name, state in states.items()],
            }
        )
    return rows


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
