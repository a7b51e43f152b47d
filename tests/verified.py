"""Knowledge bases to be verified, faults to put into them, and what differs between two reports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from index_world import DIMS, MODEL, World

from nescord import KnowledgeManager
from nescord.embedding.service import EmbeddingService
from nescord.locks import LockName
from nescord.opened import OpenBase
from nescord.persistence import PersistenceReport
from nescord.persistence.index import look_at_index
from nescord.persistence.repair import repair
from nescord.persistence.report import Checklist
from tests.hashing_embedder import HashingEmbedder
from tests.vaults import open_base, write_notes

NOTES = {
    f"Tea {number}.md": f"# Tea {number}\n\nGreen leaf number{number} steeps long, {number}°.\n" for number in range(8)
}
NOTES |= {f"珈琲{number}.md": f"# 珈琲{number}\n\n湯は九十度で淹れる。粉は{number}匙。\n" for number in range(4)}


def verified_base(folder: Path, **settings: object) -> KnowledgeManager:
    """A knowledge base with notes and vectors, without Chroma unless `vector` says otherwise."""
    write_notes(folder / "vault", NOTES)
    km = open_base(folder / "kb", embedder=HashingEmbedder(), **{"vector": "exact", "lock_timeout": 5, **settings})
    report = km.ingest(folder / "vault")
    assert report.embedded
    assert not report.degraded
    return km


def statuses(report: PersistenceReport) -> dict[str, str]:
    found = {check.name: check.status for check in report.checks}
    assert len(found) == len(report.checks), "two checks have one name"
    return found


def changed(before: PersistenceReport, after: PersistenceReport) -> dict[str, str]:
    """The checks that have another status than before, with the new one."""
    old = statuses(before)
    for check in after.checks:
        assert check.value
        assert bool(check.mend) == (check.status != "pass"), check
    return {name: status for name, status in statuses(after).items() if status != old.get(name)}


def raw(km: KnowledgeManager, *statements: str) -> None:
    """Change the database behind its back, without foreign keys."""
    connection = apsw.Connection(str(km.folder.database))
    for statement in statements:
        connection.execute(statement)
        assert connection.changes() or "PRAGMA" in statement, statement
    connection.close()


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """`mount ARGUMENTS`, whose last is the mount point; the test is skipped where that is not allowed."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", arguments[-1]], check=True)


class _Named:
    """A model that is only asked for its key."""

    model_key = MODEL
    dims = DIMS
    max_batch = 1


def base_of(world: World) -> OpenBase:
    """The open knowledge base around the database of an index world."""
    base = OpenBase(world.folder, world.settings, is_new=False)
    base.meaning.models.own = EmbeddingService(_Named())  # type: ignore[arg-type]  # it embeds nothing
    return base


def look_into(world: World) -> PersistenceReport:
    """What verification says of the index alone."""
    checklist = Checklist()
    with closing(base_of(world)) as base, base.verb() as catalog, catalog.read() as connection:
        look_at_index(checklist, connection, base, deep=False)
    return checklist.report()


def mend(world: World, report: PersistenceReport) -> list[str]:
    with closing(base_of(world)) as base, base.verb() as catalog, base.locks.exclusive(LockName.INGEST):
        return repair(report, catalog, base.meaning)
