"""What the crash soak does to its vault, and what it reads: captures, and what of the vault is stored otherwise."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw

from benchmarks import vault as vaults
from benchmarks.crash_ledger import Totals, unsound
from nescord import KnowledgeManager
from nescord.backup.copies import open_copy, stage
from nescord.backup.manifest import Manifest
from nescord.backup.packs import PackReader
from nescord.backup.store import BackupStore
from nescord.catalog import vectors as vectors_sql
from nescord.errors import DamagedBackupError

CAPTURED = """
SELECT id, body FROM note JOIN note_text ON note_text.note = note.key WHERE owner = 'us' AND trashed_at IS NULL
"""
_TAKEN_IN = "SELECT path, content_hash FROM note WHERE owner = 'source' AND trashed_at IS NULL"


def captures_in(
    store: BackupStore, manifest: Manifest, known: dict[str, str] | None, scratch: Path, totals: Totals
) -> dict[str, str]:
    """The captures in a snapshot, read back. One of the same hash as before has the same: it is not opened again.

    Raises:
        DamagedBackupError: it is not what was backed up.
    """
    if known is not None:
        digest = hashlib.sha256()
        with PackReader(store.packs, manifest) as reader:
            for piece in reader.pages():
                digest.update(piece)
        if digest.hexdigest() != manifest.sha256:
            raise DamagedBackupError("it is not what was backed up: its hash is another")
        return known
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder) / "copy.db"
        stage(store, manifest, copy)
        with open_copy(copy) as connection:
            totals.losses += [f"the backup {manifest.id}: {found}" for found in unsound(connection)]
            return dict(connection.execute(CAPTURED))


def edit(vault: Path, rng: random.Random, numbers: Iterator[int]) -> None:
    """Change, delete, rename and add some notes, as somebody might in a day."""
    vaults.edit(vault, 0.06, rng.getrandbits(32))
    gone, *renamed = rng.sample(sorted(vault.rglob("*.md")), 3)
    gone.unlink()
    for path in renamed:
        path.rename(path.with_name(f"renamed {next(numbers)}.md"))
    new = gone.with_name(f"new {next(numbers)}.md")
    new.write_text(f"# A new note {rng.getrandbits(64):x}\n\n新しいノート。\n", "utf-8")


def differing(vault: Path, database: Path) -> list[str]:
    """The notes of a vault that are stored otherwise, or not at all, or are stored and not in the vault."""
    wanted = {
        path.relative_to(vault).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=20).digest()
        for path in vault.rglob("*.md")
    }
    with closing(apsw.Connection(str(database))) as connection:
        stored = dict(connection.execute(_TAKEN_IN))
    return sorted(path for path in wanted.keys() | stored.keys() if wanted.get(path) != stored.get(path))


def epoch_of(km: KnowledgeManager) -> str:
    """Which life of the knowledge base it is: each restore begins another."""
    with km._base.verb() as catalog, catalog.read() as connection:
        return vectors_sql.epoch(connection)
