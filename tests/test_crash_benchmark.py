"""The crash soak itself, for a few seconds: it kills mid-phase and finds nothing lost, but sees what is."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from benchmarks.crash import Soak
from nescord.backup.store import BackupStore
from tests.survival import DATABASE, new_rng


def soaked(folder: Path, kills: int) -> Soak:
    """A soak that has landed so many kills, and has something to lose: notes in the database, and a good backup."""
    soak = Soak(folder, seed=new_rng("crash soak").getrandbits(32), notes=30)
    while True:
        asyncio.run(soak.run(minutes=1.0, kills=kills))
        print("\n".join(soak.totals.lines(soak.ledger, 60.0)))
        assert soak.totals.ok
        if owed(soak) and good(soak):
            return soak
        kills = sum(soak.totals.kills.values()) + 3


def owed(soak: Soak) -> list[str]:
    return sorted(soak.ledger.owed(soak.epoch))


def good(soak: Soak) -> list[str]:
    return [each.id for each in BackupStore(soak.data / "backups").snapshots() if each.is_good]


@pytest.mark.slow
def test_a_short_soak_kills_mid_phase_and_finds_nothing_lost(tmp_path: Path) -> None:
    soak = soaked(tmp_path, kills=6)
    assert sum(soak.totals.kills.values()) >= 6
    assert soak.totals.looks
    assert soak.totals.read_back
    lines = (tmp_path / "acknowledged.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["captured"] for line in lines} == soak.ledger.notes.keys()


@pytest.mark.slow
def test_the_soak_sees_a_lost_note_and_an_unreadable_backup(tmp_path: Path) -> None:
    soak = soaked(tmp_path, kills=2)
    note = owed(soak)[0]
    with closing(apsw.Connection(str(tmp_path / "data" / DATABASE))) as connection:
        connection.execute("UPDATE note_text SET body = 'x' WHERE note = (SELECT key FROM note WHERE id = ?)", (note,))
    snapshot = good(soak)[-1]
    pack = BackupStore(tmp_path / "data" / "backups").manifest(snapshot).packs[0]
    path = tmp_path / "data" / "backups" / "packs" / f"{pack.id}.pack"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    soak.look()
    assert not soak.totals.ok
    assert any(line.startswith(f"{note} is not in the database") for line in soak.totals.losses)
    assert any(line.startswith(snapshot) for line in soak.totals.unreadable)
