"""Verification of the database and of what it is known to have been: each fault is found by its own check."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import numpy as np
import pytest

from nescord import KnowledgeManager
from nescord.backup.create import create
from nescord.backup.manifest import snapshot_id
from nescord.backup.store import BackupStore
from nescord.home import note_counts, note_deployment, read_identity, write_identity
from nescord.persistence import OffSiteSummary, PersistenceReport, database
from nescord.persistence.report import Checklist, passed
from nescord.settings import Settings
from tests.hashing_embedder import DIMS
from tests.vaults import contents, open_base
from tests.verified import changed, mounted, raw, statuses, verified_base


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with verified_base(tmp_path) as km:
        yield km


def vector(value: float) -> str:
    return "x'" + np.full(DIMS, value, "<f4").tobytes().hex() + "'"


_LOST_ROW = ("DELETE FROM chunk_fts WHERE rowid = (SELECT min(id) FROM chunk)",)
_EXTRA_ROW = ("INSERT INTO chunk_fts (rowid, title, headings, text) VALUES (99999, 'x', 'x', 'x')",)
_GHOST = ("INSERT OR REPLACE INTO chunk_fts (rowid, title, headings, text) VALUES (1, 'ghost', 'ghost', 'ghost')",)
_SHORT = ("UPDATE embedding SET vector = x'00010203' WHERE id = 1",)
_NO_NUMBER = (f"UPDATE embedding SET vector = {vector(math.nan)} WHERE id = 1",)
_INFINITE = (f"UPDATE embedding SET vector = {vector(math.inf)} WHERE id = 1",)

_FAULTS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "a row of the full-text index is lost": (_LOST_ROW, {"database.word_rows": "fail"}),
    "a row of the full-text index has no chunk": (_EXTRA_ROW, {"database.word_rows": "fail"}),
    "a row of the full-text index has other words": (_GHOST, {"database.word_canaries": "fail"}),
    "a vector is too short": (_SHORT, {"database.embeddings": "fail"}),
    "a vector is no number": (_NO_NUMBER, {"database.embeddings": "fail"}),
    "a vector is infinite": (_INFINITE, {"database.embeddings": "fail"}),
    "a tag of no note": (("INSERT INTO tag VALUES (999, 'x')",), {"database.foreign_keys": "fail"}),
    "a note without text": (("DELETE FROM note_text WHERE note = 1",), {"database.orphans": "fail"}),
    "a chunk of a note in the trash": (
        ("UPDATE note SET trashed_at = '2026-01-01' WHERE key = 1",),
        {"database.orphans": "fail"},
    ),
    "a chunk of no note": (
        ("UPDATE chunk SET note = 999 WHERE id = 1",),
        {"database.orphans": "fail", "database.foreign_keys": "fail"},
    ),
    "another program's mark": (("PRAGMA application_id = 1",), {"database.application_id": "fail"}),
    "a newer schema": (("PRAGMA user_version = 99",), {"database.schema": "fail"}),
    "a missing vector": (("DELETE FROM embedding WHERE id = 1",), {"database.pending": "warn"}),
}
_MENDED = ("of the full-text index", "a vector")


def test_a_sound_base_passes(km: KnowledgeManager) -> None:
    report = km.verify()
    assert report
    assert report.ok
    assert {check.name for check in report.checks if check.status == "warn"} <= {"backups.newest", "volume.mount"}
    assert statuses(km.verify(deep=True)) == statuses(report)


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_fault_is_found_by_its_check_alone_and_mended(km: KnowledgeManager, fault: str) -> None:
    statements, expected = _FAULTS[fault]
    before = km.verify()
    raw(km, *statements)
    found = km.verify()
    assert changed(before, found) == expected
    assert found.ok == ("fail" not in expected.values())
    assert changed(before, km.verify(deep=True)) == expected
    done = km.repair(found)
    if not fault.startswith(("a row", "a vector")):
        assert not done
        return
    assert done
    km.catch_up()  # a vector that was dropped is embedded again
    assert changed(before, km.verify()) == {}


def test_a_garbled_full_text_index_is_found_and_written_anew(km: KnowledgeManager) -> None:
    before = km.verify()
    raw(km, "UPDATE chunk_fts_data SET block = zeroblob(length(block)) WHERE id = (SELECT max(id) FROM chunk_fts_data)")
    found = km.verify()
    assert changed(before, found).items() >= {"database.words": "fail"}.items()
    assert changed(before, found).keys() <= {"database.words", "database.word_canaries"}
    km.repair(found)
    assert changed(before, km.verify()) == {}


def test_flipped_bytes_in_a_page_are_found(tmp_path: Path) -> None:
    with verified_base(tmp_path) as km:
        before = km.verify()
        path = km.folder.database
    connection = apsw.Connection(str(path))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'note_name_by_note'").get
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 8192)
        file.write(b"\xff")
    with open_base(tmp_path / "kb", vector="exact") as km:
        assert changed(before, km.verify()) == {"database.pages": "fail"}


def test_a_connection_that_would_lose_commits_is_found(km: KnowledgeManager) -> None:
    before = km.verify()
    km._base._catalog._writer.pragma("synchronous", 1)
    assert changed(before, km.verify()) == {"database.durability": "fail"}


def test_another_journal_mode_is_found(tmp_path: Path) -> None:
    with verified_base(tmp_path) as km:
        before = km.verify()
    with open_base(tmp_path / "kb", vector="exact") as km:
        assert km._base._catalog._writer.pragma("journal_mode", "delete") == "delete"
        assert changed(before, km.verify()) == {"database.durability": "fail"}


def test_an_exception_fails_its_check_alone() -> None:
    def breaks() -> None:
        raise ZeroDivisionError("by nothing")

    checklist = Checklist()
    checklist.look("one", breaks)  # type: ignore[arg-type]
    checklist.look("two", lambda: passed("fine"))
    report = checklist.report()
    assert [(check.name, check.status) for check in report.checks] == [("one", "fail"), ("two", "pass")]
    assert "ZeroDivisionError: by nothing" in report.checks[0].value
    assert not report


def test_nothing_is_changed(tmp_path: Path) -> None:
    verified_base(tmp_path).close()
    ours = (tmp_path / "kb" / "run", tmp_path / "kb" / "nescordbot.db-")  # locks; a log that is there while it is open

    def stored() -> dict[str, object]:
        kept = contents(tmp_path)
        return {path: facts for path, facts in kept.items() if not path.startswith(tuple(map(str, ours)))}

    before = stored()
    assert str(tmp_path / "kb" / "nescordbot.db") in before
    with open_base(tmp_path / "kb", vector="exact") as km:
        km.verify(deep=True)
    assert stored() == before


def test_a_reader_and_a_writer_are_not_kept_waiting(km: KnowledgeManager) -> None:
    """Verification reads: a transaction of another process that has the write lock only makes it warn."""
    before = km.verify()
    other = apsw.Connection(str(km.folder.database))
    km._base._catalog._writer.set_busy_timeout(100)
    other.execute("BEGIN IMMEDIATE")
    assert changed(before, km.verify()) == {"database.durability": "warn"}
    other.execute("ROLLBACK")
    other.close()


def test_unusable_vectors_are_told_apart_from_large_ones(km: KnowledgeManager) -> None:
    raw(km, f"UPDATE embedding SET vector = {vector(3e38)} WHERE id = 2", *_INFINITE)
    with km._base.verb() as catalog, catalog.read() as connection:
        assert database.unusable_vectors(connection, 1, DIMS) == [1]


# Continuity


def off_site(km: KnowledgeManager, **changes: object) -> OffSiteSummary:
    uuid = read_identity(km.folder).uuid
    return replace(OffSiteSummary(uuid, snapshot_id(1, datetime.now(UTC)), 10, 1), **changes)


def test_fewer_notes_than_were_known_are_not_the_volume_you_had(km: KnowledgeManager) -> None:
    note_counts(km.folder, {"notes": 12})
    before = km.verify()
    note_counts(km.folder, {"notes": 121})
    after = km.verify()
    assert changed(before, after) == {"continuity.counts": "fail"}
    assert any("not the volume you had" in check.value for check in after.checks)


def test_notes_in_the_trash_are_not_lost(tmp_path: Path) -> None:
    with verified_base(tmp_path) as km:
        note_counts(km.folder, {"notes": 12})
        before = km.verify()
        km.remove_source("vault")
        assert changed(before, km.verify()) == {}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "pass"),
        ({"knowledge_base": "another"}, "fail"),
        ({"notes": 1000}, "fail"),
        ({"count": 0, "newest_id": "", "notes": 0}, "warn"),
    ],
)
def test_the_off_site_store_is_believed(km: KnowledgeManager, changes: dict[str, object], status: str) -> None:
    before = km.verify()
    for given in (off_site(km, **changes), lambda: off_site(km, **changes)):
        after = km.verify(off_site=given)
        assert changed(before, after) == ({} if status == "pass" else {"continuity.off_site": status})


def test_an_off_site_store_that_does_not_answer_is_a_warning(km: KnowledgeManager) -> None:
    def unreachable() -> OffSiteSummary:
        raise ConnectionError("nobody answers")

    report = km.verify(off_site=unreachable)
    assert changed(km.verify(), report) == {"backups.off_site_store": "warn"}
    assert any("nobody answers" in check.value for check in report.checks)


def test_a_damaged_identity_is_found(km: KnowledgeManager) -> None:
    before = km.verify()
    km.folder.identity_file.write_text("{")
    assert changed(before, km.verify()) == {"continuity.identity": "fail"}
    km.folder.identity_file.unlink()
    assert changed(before, km.verify()) == {"continuity.identity": "fail"}


def test_backups_of_another_knowledge_base_are_found(km: KnowledgeManager) -> None:
    create(km._base)
    before = km.verify()
    identity = read_identity(km.folder)
    write_identity(km.folder, replace(identity, uuid="11111111-1111-4111-8111-111111111111"))
    assert changed(before, km.verify()) == {"continuity.backups": "fail"}


def test_a_deployment_and_a_boot_are_noted_once(km: KnowledgeManager) -> None:
    old = read_identity(km.folder)
    for deployment in ("one", "one", "two"):
        note_deployment(km.folder, Settings(data_dir=km.folder.path, railway_deployment_id=deployment))
    identity = read_identity(km.folder)
    assert identity.deployments == (*old.deployments, "one", "two")
    assert identity.boots == old.boots == 1  # this boot was noted when the base was opened
    (km.folder.run / "boot").write_text("an earlier one")
    note_deployment(km.folder, Settings(data_dir=km.folder.path))
    assert read_identity(km.folder) == replace(identity, boots=identity.boots + 1)


def test_a_folder_that_cannot_be_written_is_opened_all_the_same(km: KnowledgeManager) -> None:
    old = read_identity(km.folder)
    with mounted("--bind", str(km.folder.path), str(km.folder.path)):
        subprocess.run(["mount", "-o", "remount,ro,bind", km.folder.path], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (km.folder.path / "anything").touch()
        note_deployment(km.folder, Settings(data_dir=km.folder.path, railway_deployment_id="one"))
        note_counts(km.folder, {"notes": 99})
        assert read_identity(km.folder) == old


def test_counts_are_written_only_when_they_change(km: KnowledgeManager) -> None:
    note_counts(km.folder, {"notes": 3, "chunks": 5})
    assert read_identity(km.folder).last_counts == {"notes": 3, "chunks": 5}
    first = km.folder.identity_file.stat()
    note_counts(km.folder, {"notes": 3, "chunks": 5})
    assert km.folder.identity_file.stat().st_ino == first.st_ino
    note_counts(km.folder, {"notes": 4})
    assert read_identity(km.folder).last_counts == {"notes": 4}


# Backups


def _age(store: BackupStore, days: float) -> None:
    """Make the one snapshot look as old, drilled when it was made."""
    (known,) = store.snapshots()
    assert known.manifest is not None
    when = datetime.now(UTC) - timedelta(days=days)
    older = replace(known.manifest, id=snapshot_id(known.seq, when), created_at=when.isoformat(timespec="seconds"))
    store.drop(known.id)
    store.add(older)
    store.set_status(older.id, state="good", drilled_at=when.isoformat(timespec="seconds"), drill_ok=True)


def _worsened(how: Callable[[BackupStore, str], object]) -> Callable[[BackupStore], None]:
    def fault(store: BackupStore) -> None:
        how(store, store.ids()[0])

    return fault


_NOW = datetime.now(UTC).isoformat(timespec="seconds")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda store: _age(store, 2), {"backups.newest": "warn"}),
        (lambda store: _age(store, 1), {}),
        (lambda store: _age(store, 20), {"backups.newest": "warn", "backups.drill": "warn"}),
        (
            _worsened(lambda store, name: store.set_status(name, drilled_at=_NOW, drill_ok=False)),
            {"backups.drill": "fail"},
        ),
        (
            _worsened(lambda store, name: store.set_status(name, drilled_at="", drill_ok=None)),
            {"backups.drill": "warn"},
        ),
        (_worsened(lambda store, name: store.set_status(name, state="bad")), {"backups.newest": "warn"}),
        (
            _worsened(lambda store, name: store.manifest_path(name).write_bytes(b"rot")),
            {"backups.newest": "warn"},
        ),
    ],
)
def test_a_backup_that_may_not_bring_all_back_is_told(
    km: KnowledgeManager, fault: Callable[[BackupStore], None], expected: dict[str, str]
) -> None:
    create(km._base)
    store = BackupStore(km.folder.backups)
    store.set_status(store.ids()[0], drilled_at=_NOW, drill_ok=True)
    before = km.verify()
    assert {name: status for name, status in statuses(before).items() if name.startswith("backups.")} == {
        "backups.newest": "pass",
        "backups.drill": "pass",
        "backups.off_site": "pass",
    }
    fault(store)
    assert changed(before, km.verify()) == expected


def test_a_lag_off_site_is_told(km: KnowledgeManager) -> None:
    create(km._base)
    store = BackupStore(km.folder.backups)
    _age(store, 1)
    behind = off_site(km, newest_id=snapshot_id(0, datetime.now(UTC)))
    assert changed(km.verify(), km.verify(off_site=behind)) == {}
    _age(store, 2)
    assert changed(km.verify(), km.verify(off_site=behind)) == {"backups.off_site": "warn"}
    assert changed(km.verify(), km.verify(off_site=off_site(km))) == {}


def test_no_backup_is_missed_where_there_is_no_note(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        assert statuses(km.verify())["backups.newest"] == "pass"
        km.capture("something worth keeping")
        assert statuses(km.verify())["backups.newest"] == "warn"


def test_a_report_is_a_document() -> None:
    checklist = Checklist()
    checklist.add("one", passed("fine"))
    report: PersistenceReport = checklist.report()
    assert report.document() == {
        "ok": True,
        "checks": [{"name": "one", "status": "pass", "value": "fine", "mend": ""}],
    }


def test_what_another_process_has_merged_away_is_no_damage(km: KnowledgeManager) -> None:
    """A connection that searched long ago knows an index that is no longer there."""
    km.search("note", mode="keyword")
    with KnowledgeManager.open_existing(km._base.settings) as other:
        for number in range(60):
            other.capture(f"captured {number} 鍵 {'word ' * 50}{number}")
        with other._base.verb() as catalog, catalog.write() as connection:
            connection.execute("INSERT INTO chunk_fts (chunk_fts) VALUES ('optimize')")
    assert [check.name for check in km.verify().checks if check.status == "fail"] == []
