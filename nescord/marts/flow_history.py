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
_FIRST_YEAR, _LAST_YEAR = 2000, 9000

Row = dict[str, Any]  # Any: JSON as it was kept


def read(run: Path) -> list[Row]:
    """All runs that are known, by their beginning; none where the file cannot be read."""
    try:
        return _read(run)
    except OSError:  # `update` has told it
        return []


def update(settings: Settings, run: Path) -> str:
    """Ask Prefect for the runs since the last time and keep them; returns why that could not be done, "" if it was."""
    from nescord.prefect_api import PrefectApi, find_server

    try:
        known = _read(run)
    except OSError as error:  # and what there is is not written over
        return f"runs of flows are missing: {run / _NAME} cannot be read ({error.strerror})"
    # A clock that was ahead once keeps no run from being asked for.
    now = datetime.now(UTC)
    past = [(began, row) for row in known if (began := _began(row)) and began <= now]
    latest, row = max(past, key=lambda each: each[0], default=(None, {}))
    newest, since = str(row.get("started", "")), (latest - _OVERLAP).isoformat() if latest else ""
    try:
        with PrefectApi(find_server(settings)) as api:
            runs = api.history(since, deadline=time.monotonic() + _PATIENCE, most=MOST_RUNS)
    except NescordError as error:
        return f"runs of flows since {newest or 'the beginning'} are missing: {error}"
    rows = {str(row["run_id"]): row for row in known} | {each.run_id: asdict(each) for each in runs}
    kept = sorted(rows.values(), key=_order)[-MOST_RUNS:]
    if runs:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        try:
            durable.make_folder(run)
            durable.write_file(run / _NAME, text.encode("utf-8", "replace"))
        except OSError as error:
            since = newest or "the beginning"
            return f"runs of flows since {since} are missing: {run / _NAME} cannot be written ({error.strerror})"
    return ""


def _read(run: Path) -> list[Row]:
    try:
        lines = (run / _NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, Row] = {}
    for line in lines:
        try:
            row = json.loads(line)
            if not row.get("started") or _began(row):
                found[str(row["run_id"])] = row
        except (ValueError, KeyError, TypeError, AttributeError):  # somebody has written in it
            continue
    return sorted(found.values(), key=_order)


def _order(row: Row) -> tuple[bool, datetime, str]:
    began = _began(row)
    return began is None, began or datetime.max.replace(tzinfo=UTC), str(row["run_id"])


def _began(row: Row) -> datetime | None:
    """The moment in UTC; None where it is not known, or none at which a flow can have run."""
    try:
        moment = datetime.fromisoformat(row["started"])
    except (ValueError, KeyError, TypeError):
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
