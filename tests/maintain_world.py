"""A knowledge base that has something to be tidied up, for tests of maintenance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from backup_world import opened, vault_of
from survival import DATABASE

from nescord import KnowledgeManager
from nescord.locks import LockName
from nescord.maintain import Step, maintain
from nescord.opened import OpenBase

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
WORKER = Path(__file__).with_name("maintain_worker.py")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve notes with vectors, four of which are in the trash since just now."""
    vault = vault_of(tmp_path / "vault", 12)
    with opened(tmp_path / "data") as km:
        km.ingest(vault)
        for number in range(4):
            (vault / f"note {number}.md").unlink()
        assert km.ingest(vault).deleted == 4
    return tmp_path / "data"


def done(km: KnowledgeManager, now: datetime = NOW, *, dry_run: bool = False) -> dict[str, Step]:
    """The steps by name, none of which failed."""
    report = maintain(km._base, dry_run=dry_run, now=now)
    assert report.ok, report.failed
    return {step.name: step for step in report.steps}


def raw(data: Path, *statements: str) -> list[tuple[apsw.SQLiteValue, ...]]:
    connection = apsw.Connection(str(data / DATABASE))
    try:
        return [row for statement in statements for row in connection.execute(statement).fetchall()]
    finally:
        connection.close()


def old_database(data: Path, when: datetime) -> Path:
    folder = data / ".restore" / f"old-{when.strftime('%Y%m%dT%H%M%S%f')}"
    folder.mkdir(parents=True)
    (folder / DATABASE).write_bytes(b"x" * 1000)
    return folder


class ThreadHolding:
    """Another thread holds a lock, as another process would."""

    def __init__(self, base: OpenBase, name: LockName) -> None:
        from threading import Event, Thread

        self._release, self._ready = Event(), Event()

        def hold() -> None:
            with base.locks.exclusive(name):
                self._ready.set()
                self._release.wait()

        self._thread = Thread(target=hold)

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait()

    def __exit__(self, *exc: object) -> None:
        self._release.set()
        self._thread.join()
