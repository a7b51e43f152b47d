"""`run/flow-runs.jsonl`: what became of every run of a flow, for longer than Prefect itself keeps it.

Beside the marts and not in them: an erasure of a person removes all marts, and runs tell of nobody.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nescord import durable
from nescord.errors import NescordError

if TYPE_CHECKING:
    from nescord.settings import Settings

_NAME = "flow-runs.jsonl"
# Some 5 MB, and years of what a knowledge base does by itself.
MOST_RUNS = 20_000
# How long Prefect is asked, in seconds; a run that is older than the overlap does not change any more.
_PATIENCE = 20.0
_OVERLAP = timedelta(days=7)

Row = dict[str, Any]  # Any: JSON as it was kept


def read(run: Path) -> list[Row]:
    """All runs that are known, by their beginning."""
    try:
        lines = (run / _NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, Row] = {}
    for line in lines:
        try:
            row = json.loads(line)
            found[str(row["run_id"])] = row
        except (ValueError, KeyError, TypeError):  # somebody has written in it
            continue
    return sorted(found.values(), key=lambda row: (str(row.get("started") or "~"), str(row["run_id"])))


def update(settings: Settings, run: Path) -> str:
    """Ask Prefect for the runs since the last time and keep them; returns why that could not be done, "" if it was."""
    from nescord.prefect_api import PrefectApi, find_server

    known = read(run)
    newest = max((str(row.get("started") or "") for row in known), default="")
    since = (datetime.fromisoformat(newest) - _OVERLAP).astimezone(UTC).isoformat() if newest else ""
    try:
        with PrefectApi(find_server(settings)) as api:
            runs = api.history(since, deadline=time.monotonic() + _PATIENCE, most=MOST_RUNS)
    except NescordError as error:
        return f"runs of flows since {newest or 'the beginning'} are missing: {error}"
    rows = {str(row["run_id"]): row for row in known} | {each.run_id: asdict(each) for each in runs}
    kept = sorted(rows.values(), key=lambda row: str(row.get("started") or "~"))[-MOST_RUNS:]
    if runs:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        durable.make_folder(run)
        durable.write_file(run / _NAME, text.encode("utf-8", "replace"))
    return ""
