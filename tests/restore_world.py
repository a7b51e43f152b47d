"""A small knowledge base before and after a change, for tests of putting a backup back."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import apsw

from nescord import KnowledgeManager, Settings
from nescord.backup.create import create
from nescord.backup.manifest import Manifest, parse_id
from nescord.backup.restore import Restored, restore
from nescord.backup.store import BackupStore
from nescord.notes import SearchHit
from tests.backup_world import copy_of, opened, store_of, text_of, vault_of
from tests.survival import DATABASE, Stored, settings, stored
from tests.vaults import write_notes

EARLIER, LATER, KEPT = "earlierword", "laterword", "keptword"
QUERIES = ("garden", "検索", "note 3", EARLIER, KEPT)


@dataclass(frozen=True, slots=True)
class World:
    """A base that was backed up as `snapshot` when it held `then`; it holds `now`. Never written: take a `copy`.

    EARLIER is found only then, LATER only now, KEPT both times. `note` was captured before the snapshot, `afterwards`
    was captured since.
    """

    data: Path
    vault: Path
    snapshot: str
    note: str
    afterwards: str
    then: Stored
    now: Stored
    answers: dict[str, list[SearchHit]]

    @classmethod
    def made(cls, folder: Path, notes: int = 8) -> World:
        data, vault = folder / "data", vault_of(folder / "vault", notes)
        write_notes(vault, {"changing.md": f"# Changing\n\n{EARLIER} and {KEPT}\n"})
        with opened(data) as km:
            km.ingest(vault)
            note = km.capture(f"{KEPT} captured before").id
            km.catch_up()
            answers = asked(km)
            snapshot = create(km._base).id
            then = stored(copy_of(km, folder / "then.db"))
            write_notes(vault, {"changing.md": f"# Changing\n\n{LATER} and {KEPT}\n", "new.md": text_of(99)})
            (vault / "note 1.md").unlink()
            km.ingest(vault)
            afterwards = km.capture(f"{LATER} captured since").id
            km.catch_up()
            now = stored(copy_of(km, folder / "now.db"))
        assert then != now
        return cls(data, vault, snapshot, note, afterwards, then, now, answers)

    def copy(self, target: Path) -> Path:
        shutil.copytree(self.data, target)
        return target


def asked(km: KnowledgeManager) -> dict[str, list[SearchHit]]:
    return {query: list(km.search(query)) for query in QUERIES}


def base_settings(data: Path, **more: object) -> Settings:
    return settings(data, **{"embedder": "none", "vector": "exact", **more})


def put_back(data: Path, wanted: str | None = None, *, at: str | None = None, **more: object) -> Restored:
    return restore(base_settings(data, **more), wanted, at=at)


def found(data: Path) -> Stored:
    return stored(data / DATABASE)


def epoch(data: Path) -> str:
    connection = apsw.Connection(str(data / DATABASE))
    try:
        value: str = connection.execute("SELECT value FROM meta WHERE name = 'epoch'").get
        return value
    finally:
        connection.close()


def files(folder: Path) -> dict[str, str]:
    """Every file's hash but for locks, which are made by looking."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def old_folders(data: Path) -> list[Path]:
    """Where replaced databases are kept, oldest first."""
    return sorted((data / ".restore").glob("old-*"))


def forged(data: Path, wanted: str, **changes: object) -> Manifest:
    """One more snapshot, a good one, that is as `wanted` but for what is named: of another time, schema or size."""
    store: BackupStore = store_of(data)
    manifest = dataclasses.replace(store.manifest(wanted), **changes)  # type: ignore[arg-type]
    manifest = dataclasses.replace(manifest, seq=parse_id(manifest.id)[0])
    store.add(manifest)
    store.set_status(manifest.id, state="good")
    return manifest
