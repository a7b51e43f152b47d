"""Check snapshots: every pack they use is read once, from its first byte to its last, and held against its hash.

A snapshot is right when the hashes of its pages, in order, are those that were there when it was made; that needs the
hashes of the packs' pages only, so that many snapshots cost one pass over the packs that they share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nescord import durable
from nescord.backup.manifest import Manifest, PackRef
from nescord.backup.packs import hashes_in_pack, read_idx, refuse_a_changed_pack
from nescord.backup.store import BackupStore
from nescord.errors import BackupError, DamagedBackupError
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
        UsageError, BackupError: one of the ids is none, or names no snapshot; what was found cannot be written down.
    """
    snapshots = [store.snapshot(each) for each in (store.ids() if wanted is None else wanted)]
    refs: dict[str, PackRef] = {}
    sizes: dict[str, int] = {}
    for manifest in (each.manifest for each in snapshots if each.manifest):
        for pack in manifest.packs:
            refs[pack.id], sizes[pack.id] = pack, manifest.page_size
    hashes: dict[str, list[bytes] | str] = {}
    mended: dict[str, str] = {}
    unread: set[str] = set()
    done, total = 0, sum(pack.bytes for pack in refs.values())
    for pack in refs.values():
        progress("checking packs", done, total)
        try:
            hashes[pack.id] = _looked_into(store, pack, sizes[pack.id], mended)
        except BackupError as error:
            # A disk that hiccups proves nothing: a snapshot called bad may be dropped once there is a newer one.
            hashes[pack.id] = str(error)
            unread.add(pack.id)
        done += pack.bytes
    progress("checking packs", total, total)
    results = []
    for each in snapshots:
        problems = (each.problem,) if each.manifest is None else _problems(each.manifest, hashes, refs)
        used = {pack.id for pack in each.manifest.packs} if each.manifest else set()
        results.append(Checked(each.id, problems, tuple(mended[pack] for pack in sorted(used & mended.keys()))))
        state = "good" if not problems else "unchecked" if used & unread else "bad"
        try:
            store.set_status(each.id, state=state, reason="; ".join(problems), checked_at=utc_text(datetime.now(UTC)))
        except OSError as error:
            raise BackupError(f"what the check of {each.id} found cannot be kept: {error.strerror}") from error
    return results


def read_back(store: BackupStore, manifest: Manifest, *, progress: Progress = silent) -> None:
    """Read every byte that a new snapshot needs from the repository again.

    Its own pack is unpacked, and its pages hashed. The others were when they were new: that they are byte for byte what
    they were then proves their pages, at a third of the cost.

    Raises:
        DamagedBackupError: the snapshot is not the database that was backed up.
    """
    hashes, done, total = {}, 0, sum(pack.bytes for pack in manifest.packs)
    for pack in manifest.packs:
        progress("reading back", done, total)
        listed = read_idx(store.packs, pack)
        if pack.id != manifest.id:
            refuse_a_changed_pack(store.packs, pack)
        elif hashes_in_pack(store.packs, pack, manifest.page_size) != listed:
            raise DamagedBackupError(f"the pack {pack.id} does not hold the pages that it lists")
        hashes[pack.id] = listed
        done += pack.bytes
    progress("reading back", total, total)
    if tree_hash(_pages_of(manifest, hashes)) != manifest.tree:
        raise DamagedBackupError(f"the pages of the snapshot {manifest.id} are not those of the database")


def _pages_of(manifest: Manifest, hashes: Mapping[str, list[bytes]]) -> Iterator[bytes]:
    """The hashes of a snapshot's pages, in order, out of those of its packs."""
    for run in manifest.runs:
        yield from hashes[manifest.packs[run.pack].id][run.first : run.first + run.length]


def tree_hash(page_hashes: Iterable[bytes]) -> str:
    """SHA-256 over the SHA-256s of the pages, in hexadecimal."""
    return hashlib.sha256(b"".join(page_hashes)).hexdigest()


def _looked_into(store: BackupStore, pack: PackRef, page_size: int, mended: dict[str, str]) -> list[bytes] | str:
    """The hashes of a pack's pages, or what is wrong with it. A list of pages that is lost is written anew."""
    try:
        hashes = hashes_in_pack(store.packs, pack, page_size)
    except DamagedBackupError as error:
        return str(error)
    try:
        read_idx(store.packs, pack)
    except DamagedBackupError as error:
        try:
            durable.write_file(store.packs / f"{pack.id}.idx", b"".join(hashes))
        except OSError as failure:
            raise BackupError(f"{error}, and cannot be written anew: {failure.strerror}") from failure
        mended[pack.id] = f"{error}; it was written anew from the pack"
    return hashes


def _problems(
    manifest: Manifest, hashes: Mapping[str, list[bytes] | str], refs: Mapping[str, PackRef]
) -> tuple[str, ...]:
    problems = []
    known: dict[str, list[bytes]] = {}
    for pack in manifest.packs:
        found = hashes[pack.id]
        if isinstance(found, str):
            problems.append(found)
        elif pack != refs[pack.id]:
            problems.append(f"the pack {pack.id} is not the one that the snapshot {manifest.id} was made with")
        else:
            known[pack.id] = found
    if problems:
        return tuple(problems)
    if tree_hash(_pages_of(manifest, known)) != manifest.tree:
        return (f"the pages of the snapshot {manifest.id} are not those of the database",)
    return ()
