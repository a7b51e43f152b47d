"""Bring a copy back: every object is held against its hash as stored, then what is in it against the snapshot's own.

The manifest comes last, so that a fetch that was cut off leaves nothing that is listed. Checking copies needs no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nescord import durable
from nescord.backup.check import Progress, silent
from nescord.backup.encryption import decrypt, read_identities
from nescord.backup.manifest import Manifest, parse_id
from nescord.backup.off_site import OffSite
from nescord.backup.off_site_copies import Copy, Listing, StoredObject, objects_name, pack_name
from nescord.backup.off_site_erasures import fetch_erasures
from nescord.backup.off_site_erasures import problems as problems_of_erasures
from nescord.backup.store import BackupStore
from nescord.errors import BackupError, DamagedBackupError

_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class OffSiteChecked:
    """What the check of a copy found; `problems` is empty when it is good."""

    id: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def fetch(
    off_site: OffSite,
    store: BackupStore,
    wanted: str | None = None,
    identity_file: Path | None = None,
    *,
    progress: Progress = silent,
) -> str:
    """Bring a snapshot (default: the newest) into the local store, which may be empty; its id. It counts as unchecked.

    The caller holds backups.lock shared. What the store has already, and whole, is not fetched again.

    Raises:
        UsageError: `wanted` is no id; the identity file cannot be read. BackupError: there is no such copy; it is
            encrypted and the identity is missing or another's; the store is another knowledge base's; the list of what
            was erased is damaged.
        DamagedBackupError: an object is missing or garbled. ServiceUnavailableError: the place does not answer.
    """
    if wanted is not None:
        parse_id(wanted)
    listing = Listing(off_site)
    if not listing.complete:
        raise BackupError(f"there are no copies at {off_site.target}: does NESCORD_OFF_SITE name the right place?")
    chosen = wanted or listing.complete[-1]
    if chosen not in listing.complete:
        raise BackupError(
            f"there is no copy of {chosen} at {off_site.target}; there are {len(listing.complete)}, from "
            f"{listing.complete[0]} to {listing.complete[-1]}"
        )
    older = next((each for each in reversed(listing.complete) if each < chosen), "")
    with _proposing(older):
        copy = listing.copy(chosen)
        identities: Sequence[object] = ()
        if copy.recipients:
            if identity_file is None:
                raise BackupError(
                    f"the copies at {off_site.target} are encrypted to {copy.recipients}: name the identity file "
                    "that nescord backup keygen wrote (--identity FILE)"
                )
            identities = read_identities(identity_file)
        with _told(store):
            store.prepare(copy.knowledge_base)
            # Before the snapshot is listed here: whoever restores it must not bring back what was erased since.
            fetch_erasures(off_site, listing.sizes, store.folder, identities)
            _Fetcher(off_site, store, copy, identities, progress).fetch()
    return chosen


class _Fetcher:
    def __init__(
        self, off_site: OffSite, store: BackupStore, copy: Copy, identities: Sequence[object], progress: Progress
    ) -> None:
        self._off_site = off_site
        self._store = store
        self._copy = copy
        self._identities = identities
        self._progress = progress
        self._scratch = store.folder / "off-site" / ".fetched.tmp"

    def fetch(self) -> None:
        copy = self._copy
        durable.make_folder(self._scratch.parent)
        try:
            content = bytearray()
            self._read(copy.manifest_object(), content.extend)
            manifest = Manifest.decode(bytes(content), copy.id)
            if manifest.knowledge_base != copy.knowledge_base:
                raise DamagedBackupError(f"{objects_name(copy.id)} is not that of the snapshot {copy.id}")
            self._refuse_another(manifest)
            done, total = 0, sum(pack.bytes for pack in manifest.packs)
            for pack in manifest.packs:
                for suffix, sha256 in ((".idx", pack.idx_sha256), (".pack", pack.sha256)):
                    self._progress("fetching", done, total)
                    path = self._store.packs / f"{pack.id}{suffix}"
                    if not _has_hash(path, sha256):
                        self._bring(pack_name(pack.id, suffix, copy.recipients), path, sha256)
                done += pack.bytes
            self._progress("fetching", total, total)
            self._store.set_status(copy.id, state="unchecked", reason="", checked_at="")
            # The bytes as they are there, so that the same content stands in both places.
            durable.write_file(self._store.manifest_path(copy.id), bytes(content))
        finally:
            self._scratch.unlink(missing_ok=True)

    def _refuse_another(self, manifest: Manifest) -> None:
        """A snapshot of that id that can be read here must be the same one."""
        try:
            here = self._store.manifest(manifest.id)
        except BackupError:
            return  # none, or one that has rotted and is replaced
        if here != manifest:
            raise BackupError(
                f"the snapshot {manifest.id} here is not the one at {self._off_site.target}: move "
                f"{self._store.manifest_path(manifest.id)} away to fetch that"
            )

    def _bring(self, name: str, path: Path, sha256: str) -> None:
        digest = hashlib.sha256()
        with durable.write_stream(path) as stream:

            def write(piece: bytes) -> None:
                stream.write(piece)
                digest.update(piece)

            self._read(name, write)
            if digest.hexdigest() != sha256:
                raise DamagedBackupError(f"{self._off_site.target}/{name} is not what the snapshot was made with")

    def _read(self, name: str, write: Callable[[bytes], object]) -> None:
        """An object's content as it was before encryption. Encrypted, it is first fetched whole and compared."""
        stored = _stored(self._copy, name)
        if not self._copy.recipients:
            _compared(self._off_site, name, stored, write)
            return
        with self._scratch.open("wb") as file:
            _compared(self._off_site, name, stored, file.write)
        with self._scratch.open("rb") as file:
            decrypt(file, write, self._identities, f"{self._off_site.target}/{name}")


def check_off_site(
    off_site: OffSite, wanted: str | None = None, *, progress: Progress = silent
) -> list[OffSiteChecked]:
    """Read every object of one copy, or of all of them, once, and hold it against its hash as stored. Needs no key.

    Raises:
        UsageError: `wanted` is no id. BackupError: there is no such copy. ServiceUnavailableError: no answer.
    """
    if wanted is not None:
        parse_id(wanted)
    listing = Listing(off_site)
    if wanted is not None and wanted not in listing.ids:
        raise BackupError(f"there is no copy of {wanted} at {off_site.target}")
    copies: dict[str, Copy | str] = {}
    for each in listing.ids if wanted is None else [wanted]:
        try:
            copies[each] = listing.copy(each)
        except DamagedBackupError as error:
            copies[each] = str(error)
    named = {
        name: stored for copy in copies.values() if isinstance(copy, Copy) for name, stored in copy.objects.items()
    }
    found: dict[str, str] = {}
    hashes: dict[str, str] = {}
    done, total = 0, sum(stored.bytes for stored in named.values())
    for name, stored in named.items():
        progress("checking copies", done, total)
        try:
            hashes[name] = _hash_of(off_site, name, stored.bytes)
        except DamagedBackupError as error:
            found[name] = str(error)
        done += stored.bytes
    progress("checking copies", total, total)
    results = []
    for each, copy in copies.items():
        if isinstance(copy, str):
            results.append(OffSiteChecked(each, (copy,)))
            continue
        problems = [found[name] for name in copy.objects if name in found]
        problems += [
            f"{off_site.target}/{name} is damaged: its hash is another"
            for name, stored in copy.objects.items()
            if name in hashes and hashes[name] != stored.sha256
        ]
        if copy.manifest_object() not in copy.objects:
            problems.append(f"{objects_name(each)} does not name the manifest")
        results.append(OffSiteChecked(each, tuple(problems)))
    if wanted is None and (wrong := problems_of_erasures(off_site, listing.sizes)):
        results.append(OffSiteChecked("erasures", tuple(wrong)))
    return results


def _hash_of(off_site: OffSite, name: str, size: int) -> str:
    digest = hashlib.sha256()
    for piece in off_site.stream(name, size):
        digest.update(piece)
    return digest.hexdigest()


def _compared(off_site: OffSite, name: str, stored: StoredObject, write: Callable[[bytes], object]) -> None:
    """Pass an object on; DamagedBackupError in the end if it is not what was stored."""
    digest, size = hashlib.sha256(), 0
    for piece in off_site.stream(name, stored.bytes):
        size += len(piece)
        if size > stored.bytes:
            break
        digest.update(piece)
        write(piece)
    if size != stored.bytes or digest.hexdigest() != stored.sha256:
        raise DamagedBackupError(f"{off_site.target}/{name} is damaged: it is not what was stored there")


def _stored(copy: Copy, name: str) -> StoredObject:
    try:
        return copy.objects[name]
    except KeyError:
        raise DamagedBackupError(f"{objects_name(copy.id)} does not name {name}") from None


def _has_hash(path: Path, sha256: str) -> bool:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha256


@contextmanager
def _proposing(older: str) -> Iterator[None]:
    try:
        yield
    except DamagedBackupError as error:
        mend = f"try the one before: {older}" if older else "there is no older one"
        raise DamagedBackupError(f"{error}; {mend}") from error


@contextmanager
def _told(store: BackupStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"the copy cannot be written to {store.folder} ({error.strerror}): make room or mend the disk; "
            "nothing is lost"
        ) from error
