"""Check snapshots: every pack they use is read once, from its first byte to its last, and held against its hash.

A snapshot is right when the hashes of its pages, in order, are those that were there when it was made; that needs the
hashes of the packs' pages only, so that many snapshots cost one pass over the packs that they share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nescord import durable
from nescord.backup.manifest import Manifest, PackRef
from nescord.backup.packs import PackReader, hashes_in_pack, read_idx
from nescord.backup.store import BackupStore
from nescord.errors import DamagedBackupError
from nescord.times import utc_text

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many bytes of how many."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a snapshot found: `problems` is empty when it is good; `mended` says what was set right."""

    id: str
    problems: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def check(store: BackupStore, wanted: Iterable[str] | None = None, *, progress: Progress = silent) -> list[Checked]:
    """Check these snapshots (default: all), and keep what was found as their status. The caller holds backups.lock.

    Raises:
        UsageError, BackupError: one of the ids is none, or names no snapshot.
    """
    snapshots = [store.snapshot(each) for each in (store.ids() if wanted is None else wanted)]
    refs: dict[str, PackRef] = {}
    sizes: dict[str, int] = {}
    for manifest in (each.manifest for each in snapshots if each.manifest):
        for pack in manifest.packs:
            refs[pack.id], sizes[pack.id] = pack, manifest.page_size
    hashes: dict[str, list[bytes] | str] = {}
    mended: dict[str, str] = {}
    done, total = 0, sum(pack.bytes for pack in refs.values())
    for pack in refs.values():
        progress("checking packs", done, total)
        hashes[pack.id] = _looked_into(store, pack, sizes[pack.id], mended)
        done += pack.bytes
    progress("checking packs", total, total)
    results = []
    for each in snapshots:
        problems = (each.problem,) if each.manifest is None else _problems(each.manifest, hashes, refs)
        used = {pack.id for pack in each.manifest.packs} if each.manifest else set()
        results.append(Checked(each.id, problems, tuple(mended[pack] for pack in sorted(used & mended.keys()))))
        store.set_status(
            each.id,
            state="bad" if problems else "good",
            reason="; ".join(problems),
            checked_at=utc_text(datetime.now(UTC)),
        )
    return results


def read_back(store: BackupStore, manifest: Manifest, *, progress: Progress = silent) -> None:
    """Put the snapshot together from the repository, to nowhere.

    Raises:
        DamagedBackupError: it is not the database that was backed up.
    """
    digest, done = hashlib.sha256(), 0
    with PackReader(store.packs, manifest) as reader:
        for piece in reader.pages():
            digest.update(piece)
            done += len(piece)
            progress("reading back", done, manifest.size)
    if digest.hexdigest() != manifest.sha256:
        raise DamagedBackupError(f"the snapshot {manifest.id} is not what was backed up: its hash is another")


def tree_hash(page_hashes: Iterable[bytes]) -> str:
    """SHA-256 over the SHA-256s of the pages, in hexadecimal."""
    digest = hashlib.sha256()
    for each in page_hashes:
        digest.update(each)
    return digest.hexdigest()


def _looked_into(store: BackupStore, pack: PackRef, page_size: int, mended: dict[str, str]) -> list[bytes] | str:
    """The hashes of a pack's pages, or what is wrong with it. A list of pages that is lost is written anew."""
    try:
        hashes = hashes_in_pack(store.packs, pack, page_size)
    except DamagedBackupError as error:
        return str(error)
    try:
        read_idx(store.packs, pack)
    except DamagedBackupError as error:
        durable.write_file(store.packs / f"{pack.id}.idx", b"".join(hashes))
        mended[pack.id] = f"{error}; it was written anew from the pack"
    return hashes


def _problems(
    manifest: Manifest, hashes: Mapping[str, list[bytes] | str], refs: Mapping[str, PackRef]
) -> tuple[str, ...]:
    problems = []
    for pack in manifest.packs:
        found = hashes[pack.id]
        if isinstance(found, str):
            problems.append(found)
        elif pack != refs[pack.id]:
            problems.append(f"the pack {pack.id} is not the one that the snapshot {manifest.id} was made with")
    if problems:
        return tuple(problems)
    listed = (hashes[manifest.packs[run.pack].id][run.first : run.first + run.count] for run in manifest.runs)
    if tree_hash(each for run in listed for each in run) != manifest.tree:  # type: ignore[misc]
        return (f"the pages of the snapshot {manifest.id} are not those of the database",)
    return ()
