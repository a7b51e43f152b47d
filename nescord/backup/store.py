"""The folder of backups: which snapshots there are, what is known of them, and what may be swept away.

snapshots/<id>.json.zst     a snapshot exists only if its manifest does; written last
snapshots/<id>.status.json  what is known of it: checked, drilled, pinned, copied off-site
packs/<id>.pack, .idx       pages, and their hashes
store.json                  whose backups these are
RESTORE.md, restore.py      for somebody without this program
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nescord import durable
from nescord.backup.manifest import FORMAT, Manifest, SnapshotStatus, parse_id
from nescord.backup.stranger import README, SCRIPT
from nescord.errors import BackupError, DamagedBackupError, UsageError
from nescord.locks import alone_in

_MANIFEST = ".json.zst"
_STATUS = ".status.json"
_PACK = (".pack", ".idx")
_SCRATCH = "scratch-"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is listed. Without `manifest` it cannot be read; `problem` says why."""

    id: str
    seq: int
    manifest: Manifest | None
    status: SnapshotStatus
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return self.manifest is not None and self.status.state == "good"


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has removed, or why it removed nothing."""

    removed: tuple[str, ...] = ()
    problem: str = ""


class BackupStore:
    """A folder of backups. Callers hold create.lock to add and backups.lock to read (shared) or sweep (alone)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packs = folder / "packs"
        self.staging = folder / "staging"
        self._snapshots = folder / "snapshots"
        self._read: dict[str, tuple[tuple[int, ...], Manifest]] = {}

    def prepare(self, knowledge_base: str) -> None:
        """Make the folders, and what a stranger needs to restore.

        Raises:
            BackupError: they hold the backups of another knowledge base.
        """
        self.refuse_foreign(knowledge_base)
        for folder in (self.packs, self._snapshots):
            durable.make_folder(folder)
        # Written anew when it differs: a newer version may know better.
        mark = json.dumps({"format": FORMAT, "knowledge_base": knowledge_base}).encode("utf-8")
        for name, content in (("store.json", mark), ("RESTORE.md", README), ("restore.py", SCRIPT)):
            path = self.folder / name
            if not path.exists() or path.read_bytes() != content:
                durable.write_file(path, content)

    def owner(self) -> str:
        """The uuid of the knowledge base whose backups these are; "" where there are none yet."""
        # A manifest knows when it has rotted, store.json does not: one flipped bit must not make a store foreign.
        for snapshot in reversed(self.ids()):
            with suppress(DamagedBackupError):
                return self.manifest(snapshot).knowledge_base
        try:
            return str(json.loads((self.folder / "store.json").read_bytes())["knowledge_base"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def refuse_foreign(self, knowledge_base: str) -> None:
        """BackupError if these are the backups of another knowledge base: never written to, never deleted from."""
        owner = self.owner()
        if owner not in ("", knowledge_base):
            raise BackupError(
                f"{self.folder} holds the backups of another knowledge base ({owner}, this one is {knowledge_base}): "
                "this is not the volume you had; put the right folder there, or move that one away"
            )

    def ids(self) -> list[str]:
        """The ids of all snapshots, oldest first."""
        return sorted(self._ids_of(self._snapshots, (_MANIFEST,)))

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first, those that cannot be read among them."""
        return [self.snapshot(snapshot) for snapshot in self.ids()]

    def good(self) -> list[Manifest]:
        """The manifests of the snapshots that were read back, oldest first."""
        return [each.manifest for each in self.snapshots() if each.manifest is not None and each.is_good]

    def snapshot(self, wanted: str) -> Snapshot:
        """One snapshot.

        Raises:
            UsageError: that is no id. BackupError: there is no such snapshot.
        """
        seq, _ = parse_id(wanted)
        try:
            return Snapshot(wanted, seq, self.manifest(wanted), self.status(wanted))
        except DamagedBackupError as error:
            return Snapshot(wanted, seq, None, self.status(wanted), str(error))

    def manifest(self, wanted: str) -> Manifest:
        """A snapshot's manifest.

        Raises:
            UsageError: that is no id. BackupError: there is no such snapshot. DamagedBackupError: it cannot be read.
        """
        parse_id(wanted)
        path = self.manifest_path(wanted)
        try:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                version = stat.st_ino, stat.st_mtime_ns, stat.st_size
                known = self._read.get(wanted)
                # A verb asks for all of them several times, and they are the larger, the longer the history.
                if known is None or known[0] != version:
                    known = self._read[wanted] = version, Manifest.decode(file.read(), wanted)
                return known[1]
        except FileNotFoundError:
            raise BackupError(f"there is no snapshot {wanted} in {self.folder}: see nescord backup list") from None
        except OSError as error:
            raise DamagedBackupError(f"the manifest {path} cannot be read: {error.strerror}") from error

    def manifest_path(self, snapshot: str) -> Path:
        return self._snapshots / f"{snapshot}{_MANIFEST}"

    def add(self, manifest: Manifest) -> None:
        """The commit point of a snapshot: from here on it exists."""
        durable.write_file(self.manifest_path(manifest.id), manifest.encode())

    def status(self, snapshot: str) -> SnapshotStatus:
        """What is known of a snapshot."""
        try:
            return SnapshotStatus.decode(self._status_path(snapshot).read_bytes())
        except OSError:
            return SnapshotStatus()

    def set_status(self, snapshot: str, **changes: Any) -> SnapshotStatus:  # Any: the fields of SnapshotStatus
        """Change what is known of a snapshot."""
        # Check, drill and replicate share backups.lock: what one of them notes must not be lost to another.
        with alone_in(self._snapshots):
            status = replace(self.status(snapshot), **changes)
            durable.write_file(self._status_path(snapshot), status.encode())
        return status

    def drop(self, snapshot: str) -> None:
        """Forget a snapshot; its status, and its packs if no other needs them, are swept later."""
        parse_id(snapshot)
        # Its number is kept by its status; a full disk must not stop a prune.
        if not self._status_path(snapshot).exists():
            with suppress(OSError):
                self.set_status(snapshot)
        durable.remove(self.manifest_path(snapshot))

    def next_seq(self, off_site: int = 0) -> int:
        """The number of the next snapshot: never one that was used, here or off-site, even if that snapshot is gone."""
        used = self._ids_of(self._snapshots, (_MANIFEST, _STATUS)) | self._ids_of(self.packs, _PACK)
        return 1 + max(off_site, *(parse_id(one)[0] for one in used), 0)

    def sweep(self) -> Swept:
        """Remove what no snapshot needs: rests of killed runs, packs and statuses without a manifest.

        While a manifest cannot be read nobody knows what it needs, and nothing is removed.
        """
        for path in _files(self.folder):
            if path.name.startswith(_SCRATCH) and path.is_dir():
                shutil.rmtree(path)
        snapshots = self.snapshots()
        unreadable = [each.id for each in snapshots if each.manifest is None]
        if unreadable:
            return Swept(problem=f"nothing was swept: {', '.join(unreadable)} cannot be read (nescord backup check)")
        needed = {pack.id for each in snapshots if each.manifest for pack in each.manifest.packs}
        known = {each.id for each in snapshots}
        # The highest number that was used stays known, or it would be used again: a copy elsewhere may have it.
        known.add(max(known | self._ids_of(self._snapshots, (_STATUS,)), default=""))
        removed = []
        for folder, suffixes, wanted in (
            (self.folder, (), set()),
            (self.packs, _PACK, needed),
            (self._snapshots, (_STATUS,), known),
        ):
            for path in _files(folder):
                stem = _stem(path, suffixes)
                if durable.is_temporary(path) or (stem is not None and stem not in wanted):
                    durable.remove(path)
                    removed.append(path.name)
        return Swept(removed=tuple(removed))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder to work in while backups.lock is shared; gone afterwards, of a killed process at the next sweep."""
        folder = self.folder / f"{_SCRATCH}{secrets.token_hex(4)}"
        durable.make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def bytes_used(self) -> int:
        """The size of all files of the store, in bytes."""
        return sum(path.stat().st_size for folder in (self.packs, self._snapshots) for path in _files(folder))

    def _status_path(self, snapshot: str) -> Path:
        return self._snapshots / f"{snapshot}{_STATUS}"

    def _ids_of(self, folder: Path, suffixes: tuple[str, ...]) -> set[str]:
        return {stem for path in _files(folder) if (stem := _stem(path, suffixes)) is not None}


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except FileNotFoundError:
        return


def _stem(path: Path, suffixes: tuple[str, ...]) -> str | None:
    """The id in a file's name, or None when it is not one of ours."""
    for suffix in suffixes:
        if path.name.endswith(suffix):
            stem = path.name.removesuffix(suffix)
            try:
                parse_id(stem)
            except UsageError:
                return None
            return stem
    return None
