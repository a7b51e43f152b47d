"""Notes that were erased for good, remembered beside the backups: a restore must not bring them back.

One JSON line each, on disk before the note goes. Ids only: nothing of what a note said.
"""

from __future__ import annotations

import json
from pathlib import Path

from nescord import durable

_NAME = "erasures.jsonl"


def remember(backups: Path, note_id: str, when: str) -> None:
    """Keep that a note was erased; on disk when this returns."""
    durable.make_folder(backups)
    # A blank line first: what a power cut left of an earlier line must not swallow this one.
    durable.append(backups / _NAME, f"\n{json.dumps({'note': note_id, 'at': when})}\n".encode("ascii"))


def erased(backups: Path) -> set[str]:
    """The ids of all notes that were erased."""
    try:
        lines = (backups / _NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return set()
    found = set()
    for line in filter(None, lines):
        try:
            found.add(str(json.loads(line)["note"]))
        except (ValueError, KeyError, TypeError):  # cut off before it was acknowledged
            continue
    return found
