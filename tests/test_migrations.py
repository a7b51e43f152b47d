"""Databases of other versions, of other programs, half migrated, damaged or missing: what opening them does.

A migration that is to be interrupted is data: it is appended to the list of migrations, as the next release would.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.catalog import database
from nescord.catalog.database import Catalog
from nescord.catalog.migrations import APPLICATION_ID, MIGRATIONS, PAGE_SIZE, SCHEMA_VERSION
from nescord.errors import CatalogError
from nescord.home import DataFolder, read_identity, write_identity
from tests.faults.vfs import MODES, FailingVFS, Mode
from tests.survival import DATABASE, SOAK, new_rng, settings, stored

NEXT = SCHEMA_VERSION + 1
# Writes enough pages for a failure to find them, and changes what is there.
GROWTH = """
CREATE TABLE extra (x TEXT NOT NULL);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
INSERT INTO extra SELECT hex(randomblob(4000)) FROM n;
UPDATE note SET title = title || ' (migrated)';
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A knowledge base of this version with two notes."""
    folder = tmp_path / "data"
    with KnowledgeManager.open(settings(folder)) as km:
        km.capture("the first note")
        km.capture("二つ目のノート")
    return folder


def raw(path: Path, *statements: str) -> list[tuple[apsw.SQLiteValue, ...]]:
    connection = apsw.Connection(str(path))
    try:
        rows: list[tuple[apsw.SQLiteValue, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        return rows
    finally:
        connection.close()


def schema_of(path: Path) -> list[tuple[apsw.SQLiteValue, ...]]:
    return raw(path, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")


def next_release(monkeypatch: pytest.MonkeyPatch, migration: str) -> None:
    """The program as its next version would be: with one migration more."""
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, migration))
    monkeypatch.setattr(database, "SCHEMA_VERSION", NEXT)


def test_a_new_database_is_ours_and_current(data: Path) -> None:
    path = data / DATABASE
    assert raw(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert raw(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert raw(path, "PRAGMA page_size") == [(PAGE_SIZE,)]
    assert raw(path, "PRAGMA journal_mode") == [("wal",)]
    with Catalog(path) as catalog:
        assert not catalog.is_behind
        with catalog.read() as connection:
            pragmas = {name: connection.pragma(name) for name in ("synchronous", "foreign_keys", "secure_delete")}
    assert pragmas == {"synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert not (data / "backups").exists()


def test_a_database_of_a_newer_version_is_refused_with_the_mend(data: Path) -> None:
    path = data / DATABASE
    raw(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    message = rf"has schema 99, this nescord knows {SCHEMA_VERSION}: install the newer nescord again, or go back to"
    with pytest.raises(CatalogError, match=rf"{message}.*backups/before-schema-{NEXT:04d}\.db"):
        KnowledgeManager.open(settings(data))
    assert path.read_bytes() == before


def test_an_older_database_is_copied_aside_and_brought_up_to_date(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(data / DATABASE)
    next_release(monkeypatch, GROWTH)
    with KnowledgeManager.open(settings(data)) as km:
        assert sorted(hit.title for hit in km.search("note ノート")) == [
            "the first note (migrated)",
            "二つ目のノート (migrated)",
        ]
        assert km.status().schema == NEXT
    copy = data / "backups" / f"before-schema-{NEXT:04d}.db"
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    assert raw(copy, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert stored(copy) == before


def test_the_copy_of_an_older_database_is_not_overwritten_by_who_comes_second(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_release(monkeypatch, GROWTH)
    # Both see the old version; the second waits for the lock while the first migrates.
    with Catalog(data / DATABASE) as first, Catalog(data / DATABASE) as second:
        assert first.is_behind
        assert second.is_behind
        first.bring_up_to_date(data / "backups")
        second.bring_up_to_date(data / "backups")
        assert not second.is_behind
    assert raw(data / "backups" / f"before-schema-{NEXT:04d}.db", "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert len(stored(data / DATABASE).captures) == 2


def test_many_who_open_an_older_database_at_once_migrate_it_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next_release(monkeypatch, GROWTH)
    notes: list[int] = []

    def open_it() -> None:
        with KnowledgeManager.open(settings(data)) as km:
            notes.append(km.status().notes)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes == [2] * 6
    titles = raw(data / DATABASE, "SELECT title FROM note WHERE title LIKE '%(migrated) (migrated)%'")
    assert titles == []
    assert raw(data / "backups" / f"before-schema-{NEXT:04d}.db", "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_a_migration_that_fails_leaves_no_trace(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema, before = schema_of(data / DATABASE), stored(data / DATABASE)
    with monkeypatch.context() as patch:
        next_release(patch, f"{GROWTH} INSERT INTO nowhere VALUES (1);")
        with pytest.raises((apsw.SQLError, CatalogError), match="nowhere"):
            KnowledgeManager.open(settings(data))
    assert schema_of(data / DATABASE) == schema
    assert stored(data / DATABASE) == before
    with KnowledgeManager.open(settings(data)) as km:
        assert km.status().schema == SCHEMA_VERSION


@pytest.mark.parametrize("mode", MODES)
def test_a_migration_is_there_wholly_or_not_at_all_whatever_write_fails(
    mode: Mode, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = new_rng(f"migration, {mode}")
    next_release(monkeypatch, GROWTH)
    before = (data / DATABASE).read_bytes()
    versions: list[object] = []
    k, share = 1 + rng.randrange(10), 1 if SOAK else 12
    while True:
        for path in (data / "backups").glob("*"):
            path.unlink()
        (data / DATABASE).write_bytes(before)
        vfs = FailingVFS("failing", fail_at=k, mode=mode, seed=rng.randrange(1000))
        with suppress(CatalogError), KnowledgeManager.open(settings(data), vfs="failing"):
            pass
        vfs.unregister()
        if not vfs.happened:
            break
        assert len(stored(data / DATABASE).captures) == 2, vfs.what
        ((version,),) = raw(data / DATABASE, "PRAGMA user_version")
        versions.append(version)
        extra = raw(data / DATABASE, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'")
        migrated = raw(data / DATABASE, "SELECT count(*) FROM note WHERE title LIKE '%(migrated)'")
        assert (extra, migrated) == (([(1,)], [(2,)]) if version == NEXT else ([(0,)], [(0,)])), vfs.what
        with KnowledgeManager.open(settings(data)) as km:
            assert (km.status().schema, km.status().notes) == (NEXT, 2)
        assert stored(data / "backups" / f"before-schema-{NEXT:04d}.db").captures.keys()
        k += share
    print(f"{mode}: {len(versions)} writes failed, {versions.count(NEXT)} times the migration was complete")
    assert SCHEMA_VERSION in versions


def test_a_new_knowledge_base_that_was_interrupted_before_its_schema_is_finished_by_the_next_open(data: Path) -> None:
    for path in data.glob(f"{DATABASE}*"):
        path.unlink()
    (data / DATABASE).touch()
    folder = DataFolder.at(settings(data))
    write_identity(folder, replace(read_identity(folder), is_begun=False))
    with KnowledgeManager.open(settings(data)) as km:
        assert km.status().notes == 0
        assert km.status().schema == SCHEMA_VERSION
    assert not (data / "backups").exists()


def test_a_database_of_another_program_is_refused_and_left_alone(data: Path) -> None:
    path = data / DATABASE
    path.unlink()
    raw(path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES ('treasure')")
    with pytest.raises(CatalogError, match=r"is a database of another program \(application_id 0x0\): move it away"):
        KnowledgeManager.open(settings(data))
    assert raw(path, "SELECT x FROM theirs") == [("treasure",)]
    assert raw(path, "SELECT name FROM sqlite_schema") == [("theirs",)]


def test_an_identity_without_a_database_is_refused_with_the_mend(data: Path) -> None:
    for path in data.glob(f"{DATABASE}*"):
        path.unlink()
    message = (
        r"the database of this knowledge base is missing .*: restore it \(nescord backup restore …\) or start anew"
    )
    for opens in (KnowledgeManager.open, KnowledgeManager.open_existing):
        with pytest.raises(CatalogError, match=message + r" \(nescord init --new\)"):
            opens(settings(data))
    assert not (data / DATABASE).exists()
    with KnowledgeManager.begin_anew(settings(data)) as km:
        assert km.status().notes == 0


def test_a_file_that_is_no_database_is_a_catalog_error(data: Path) -> None:
    path = data / DATABASE
    path.write_bytes(b"all work and no play " * 1000)
    with pytest.raises(CatalogError, match=r"is damaged .*: restore it \(nescord backup restore …\)"):
        KnowledgeManager.open(settings(data))
    assert path.read_bytes() == b"all work and no play " * 1000


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_database_with_a_page_of_garbage_is_a_catalog_error_or_works(page: int, data: Path) -> None:
    path = data / DATABASE
    content = bytearray(path.read_bytes())
    start = 100 if page == 1 else (page - 1) * PAGE_SIZE
    content[start : page * PAGE_SIZE] = b"\xff" * (page * PAGE_SIZE - start)
    path.write_bytes(content)
    if page == 1:
        with pytest.raises(CatalogError, match="is damaged"):
            KnowledgeManager.open(settings(data))
        return
    with suppress(CatalogError), KnowledgeManager.open(settings(data)) as km:
        km.search("note")
        km.status()


def test_a_database_of_schema_1_keeps_its_notes_and_learns_their_language_groups(data: Path) -> None:
    for path in data.glob(f"{DATABASE}*"):
        path.unlink()
    raw(
        data / DATABASE,
        f"PRAGMA application_id = {APPLICATION_ID}",
        *filter(str.strip, MIGRATIONS[0].split(";\n")),
        "PRAGMA user_version = 1",
        "INSERT INTO source (id, name, kind, root, space) VALUES (1, 'captures', 'capture', '', 'personal')",
        *(
            statement
            for key, lang, text in ((1, "ja", "味噌と豆腐"), (2, "en", "miso and tofu"))
            for statement in (
                f"INSERT INTO note VALUES ({key}, 'n{key}', 1, '{key}.md', NULL, 0, 0, 0, 0, x'', 'title', '{lang}', "
                "'', 'personal', 'fleeting', 'us', '', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', NULL)",
                f"INSERT INTO note_text VALUES ({key}, '{text}', 0, '{{}}', '[]')",
                f"INSERT INTO chunk VALUES ({key}, {key}, 0, '', '{text}', x'0{key}', 0, {len(text)})",
            )
        ),
    )
    with KnowledgeManager.open(settings(data)) as km:
        assert [hit.path for hit in km.search("豆腐", mode="keyword")] == ["1.md"]
        assert [hit.path for hit in km.search("tofu", mode="keyword")] == ["2.md"]
    assert raw(data / DATABASE, "SELECT language_group FROM chunk ORDER BY id") == [("ja",), ("other",)]
    copy = data / "backups" / "before-schema-0002.db"
    assert raw(copy, "PRAGMA user_version") == [(1,)]
    assert raw(copy, "SELECT count(*) FROM note") == [(2,)]
