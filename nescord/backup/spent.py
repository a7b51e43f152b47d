"""What each month has cost so far, remembered beside the backups: a database that is put back must not forget it.

One JSON line for each change, written while nobody else can write to the database, so the last line of a month is the
newest sum. A sum and nothing else: not what for, and not of whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from nescord import durable

_NAME = "spent.jsonl"
# About 1,500 changes.
_LONGEST = 64 * 1024
# Those written last: a clock that was ahead must not push out the month that is.
_KEPT_MONTHS = 12


def remember(backups: Path, month: str, tokens: int) -> None:
    """The sum of a month (`2026-11`) is this now; on disk when this returns. The caller writes to the database."""
    durable.make_folder(backups)
    path = backups / _NAME
    if path.exists() and path.stat().st_size > _LONGEST:
        sums = {month: tokens}
        for known, sum_ in _newest_first(path):
            sums.setdefault(known, sum_)
        kept = [*sums.items()][:_KEPT_MONTHS]
        durable.write_file(path, b"".join(_line(*each) for each in reversed(kept)))
    else:
        durable.append(path, _line(month, tokens))


def remembered(backups: Path, month: str) -> int:
    """What that month had cost when it was last written down; 0 when nothing was."""
    return next((tokens for known, tokens in _newest_first(backups / _NAME) if known == month), 0)


def _line(month: str, tokens: int) -> bytes:
    # A line break first: what a power cut left of an earlier line must not swallow this one.
    return f"\n{json.dumps({'month': month, 'tokens': tokens})}\n".encode("ascii")


def _newest_first(path: Path) -> Iterator[tuple[str, int]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            yield str(entry["month"]), int(entry["tokens"])
        except (ValueError, KeyError, TypeError):  # blank, or cut off by a power cut
            continue
