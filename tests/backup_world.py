"""Small knowledge bases with backups, for tests of backups; and what holds for a folder of backups at any time."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.backup.check import check
from nescord.backup.copies import stage
from nescord.backup.create import Created, create
from nescord.backup.manifest import Manifest
from nescord.backup.store import BackupStore
from nescord.errors import BackupError
from nescord.locks import LockName
from tests.hashing_embedder import HashingEmbedder
from tests.survival import Stored, stored
from tests.vaults import open_base, write_notes

WORDS = ["鍵", "検索", "会議", "予算", "garden", "kettle", "river", "violin", "harbour", "lantern", "orchard"]


def text_of(number: int, version: int = 0) -> str:
    """A note that is like no other, of two kilobytes."""
    rng = random.Random(f"{number}/{version}")
    lines = (" ".join(rng.choice(WORDS) + str(rng.randrange(1000)) for _ in range(12)) for _ in range(20))
    return f"# Note {number}\n\n" + "\n\n".join(lines) + "\n"


def vault_of(folder: Path, notes: int) -> Path:
    write_notes(folder, {f"note {number}.md": text_of(number) for number in range(notes)})
    return folder


def opened(data: Path) -> KnowledgeManager:
    """The base in `data`, with quick vectors and no Chroma."""
    return open_base(data, embedder=HashingEmbedder(), vector="exact")


def store_of(data: Path) -> BackupStore:
    return BackupStore(data / "backups")


def back_up(data: Path) -> Created:
    with opened(data) as km:
        return create(km._base)


def checked(data: Path) -> dict[str, tuple[str, ...]]:
    """Check everything under the lock: the problems of each snapshot."""
    with opened(data) as km, km._base.locks.shared(LockName.BACKUPS):
        return {found.id: found.problems for found in check(store_of(data))}


def database_of(data: Path, wanted: str, target: Path) -> Path:
    """The snapshot's database, put together at `target`; nothing stays there when it cannot be."""
    target.unlink(missing_ok=True)
    store = store_of(data)
    stage(store, store.manifest(wanted), target)
    return target


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy_of(km: KnowledgeManager, target: Path) -> Path:
    """A copy of the live database by SQLite's own means."""
    with km._base.verb() as catalog, catalog.read() as source:
        copy = apsw.Connection(str(target))
        copy.pragma("journal_mode", "off")
        with copy.backup("main", source, "main") as backup:
            backup.step(-1)
        copy.close()
    return target


def flip(path: Path, rng: random.Random) -> int:
    """Turn one bit of a file round; the byte it was in."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return place


@contextmanager
def put_back(folder: Path) -> Iterator[None]:
    """Whatever happens to the files of a folder meanwhile, they are as before afterwards."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        yield
    finally:
        for path in [path for path in folder.rglob("*") if path.is_file() and path not in before]:
            path.unlink()
        for path, content in before.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


@dataclass(frozen=True, slots=True)
class Days:
    """A base of some notes, backed up on three days with a note changed in between; never written: take a `copy`."""

    data: Path
    ids: tuple[str, ...]
    manifests: dict[str, Manifest]
    contents: dict[str, Stored]

    @classmethod
    def made(cls, folder: Path, notes: int = 120) -> Days:
        data, vault = folder / "data", vault_of(folder / "vault", notes)
        ids, contents = [], {}
        for day in range(3):
            if day:
                write_notes(vault, {f"note {day}.md": text_of(day, version=day)})
            with opened(data) as km:
                km.ingest(vault)
                ids.append(create(km._base).id)
                contents[ids[-1]] = stored(copy_of(km, folder / f"{day}.db"))
        store = store_of(data)
        return cls(data, tuple(ids), {each: store.manifest(each) for each in ids}, contents)

    def copy(self, target: Path) -> Path:
        shutil.copytree(self.data, target)
        return target


def assert_sound(data: Path, scratch: Path, *, also: Callable[[str], bool] = lambda _: True) -> list[str]:
    """Every snapshot that is listed can be put together, byte for byte; the ids of those that are."""
    listed = []
    for snapshot in store_of(data).snapshots():
        assert snapshot.manifest is not None, snapshot.problem
        assert sha256(database_of(data, snapshot.id, scratch)) == snapshot.manifest.sha256
        scratch.unlink()
        assert also(snapshot.id)
        listed.append(snapshot.id)
    return listed


def assert_tidy(data: Path) -> None:
    """Nothing is left of killed runs: no temporary file, no staging, no pack that no snapshot needs."""
    store = store_of(data)
    needed = {pack.id for each in store.snapshots() if each.manifest for pack in each.manifest.packs}
    assert {path.stem for path in store.packs.iterdir()} == needed
    assert not [path for path in store.folder.rglob("*") if path.name.startswith((".", "staging", "scratch"))]


def read_or_refused(data: Path, days: Days, wanted: str, scratch: Path) -> bool:
    """Whether a snapshot could be read. What is read is what was backed up, or the test fails."""
    try:
        database_of(data, wanted, scratch)
    except BackupError:
        assert not scratch.exists(), "half a database was left where a whole one was asked for"
        return False
    assert sha256(scratch) == days.manifests[wanted].sha256, f"wrong data was returned for {wanted}"
    scratch.unlink()
    return True


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of that size at `folder`; the test is skipped where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield folder
    finally:
        # At once, whatever a test that failed has still open there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
