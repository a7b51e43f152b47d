"""Copy good snapshots elsewhere: packs first, then what describes them, the manifest last; nothing is ever overwritten.

An object that is there already must be the one that would be written. In the clear that is seen by its hash; encrypted
bytes differ each time, so the hash of what is about to be sent is noted here first. Killed anywhere, the next run goes
on where this one stopped.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path

from nescord import durable
from nescord.backup import erasures
from nescord.backup.check import Progress, check, silent
from nescord.backup.encryption import encrypt
from nescord.backup.manifest import FORMAT, Manifest
from nescord.backup.off_site import ObjectExistsError, OffSite, Patience
from nescord.backup.off_site_copies import (
    AGE,
    STORE,
    Copy,
    Listing,
    StoredObject,
    manifest_name,
    objects_name,
    pack_name,
)
from nescord.backup.off_site_erasures import erasures_name
from nescord.backup.store import BackupStore, Snapshot
from nescord.backup.stranger import README, SCRIPT
from nescord.errors import BackupError, DamagedBackupError, LockTimeoutError
from nescord.home import read_identity
from nescord.locks import LockName, held_at_once
from nescord.opened import OpenBase
from nescord.times import utc_text

# Time allowed for an object whose size is not known.
_UNKNOWN = 64 * 2**20
_ENCRYPTED_README = b"""
## These copies are encrypted

Names end in `.age`. With the identity file that `nescord backup keygen` wrote and the command `age`
(https://age-encryption.org), in a copy of this folder:

    for f in packs/*.age snapshots/*.age; do age -d -i identity.txt -o "${f%.age}" "$f"; done
    python3 restore.py nescordbot.db

With NescordBot: `nescord backup restore --from PLACE --identity identity.txt`.
"""
_ERASED_README = b"""
## What was erased since

`erasures/` names notes and people that were erased for good after older snapshots had been made. What is restored by
hand still holds them. `nescord backup restore --from PLACE` leaves them out.
"""


class AlarmError(BackupError):
    """Something is elsewhere under the name of one of ours and is not what was sent."""


@dataclass(frozen=True, slots=True)
class Replicated:
    """What was copied where: ids of the snapshots, bytes as stored there, seconds of wall time."""

    target: str
    sent: tuple[str, ...]
    bytes: int
    seconds: float


def replicate(base: OpenBase, *, progress: Progress = silent, patience: Patience | None = None) -> Replicated:
    """Copy every good snapshot to NESCORD_OFF_SITE that is not there yet, oldest first.

    A snapshot that cannot be copied does not keep later ones from it; it is reported in the end.

    Raises:
        SettingsError: NESCORD_OFF_SITE or a key is not set. ServiceUnavailableError: the place does not answer.
        BackupError: it refuses, is full, holds another knowledge base's copies or an object that is not ours; or a
            snapshot has rotted here. LockTimeoutError: a copy to it is under way, or backups are being pruned.
    """
    begun = time.perf_counter()
    off_site = OffSite(base.settings, patience)
    if off_site.folder is not None and off_site.folder.resolve().is_relative_to(base.folder.path):
        raise BackupError(f"{off_site.target} lies in the data folder: a copy belongs on another disk or machine")
    identity = read_identity(base.folder)
    store = BackupStore(base.folder.backups)
    with base.locks.shared(LockName.BACKUPS), _told(store), _alone(base.folder.run / f"off-site-{off_site.key}.lock"):
        store.refuse_foreign(identity.uuid)
        sender = _Sender(off_site, store, identity.uuid, base.settings.backup_recipient or "", progress)
        sender.send_all()
    if sender.problems:
        raise BackupError(
            f"{len(sender.sent)} snapshots were copied to {off_site.target}, but not all: " + "; ".join(sender.problems)
        )
    seconds = round(time.perf_counter() - begun, 3)
    return Replicated(off_site.target, tuple(sender.sent), sender.bytes, seconds)


class _Sender:
    def __init__(
        self, off_site: OffSite, store: BackupStore, knowledge_base: str, recipients: str, progress: Progress
    ) -> None:
        self._off_site = off_site
        self._store = store
        self._knowledge_base = knowledge_base
        self._recipients = recipients
        self._progress = progress
        self._notes = _Notes(store.folder / "off-site", off_site.key)
        self._listing = Listing(off_site)
        self._sizes = dict(self._listing.sizes)
        self._known: dict[str, StoredObject] = {}
        self._total = 0
        self.sent: list[str] = []
        self.problems: list[str] = []
        self.bytes = 0

    def send_all(self) -> None:
        """Send what is good here and not complete there; first what was erased, which copies there still hold."""
        self._begin()
        try:
            self._send_erasures()
        except AlarmError as error:
            self.problems.append(str(error))
        copies = self._listing.copies()
        for copy in copies.values():
            self._known |= copy.packs()
        missing: list[tuple[Snapshot, Manifest]] = []
        for each in self._store.snapshots():
            if not each.is_good or each.manifest is None:
                continue
            try:
                if each.id in copies and self._is_whole(each.manifest, copies[each.id]):
                    self._note_done(each)
                else:
                    missing.append((each, each.manifest))
            except AlarmError as error:
                self.problems.append(str(error))
        self._total = sum(self._new_packs(manifest for _, manifest in missing))
        for snapshot, manifest in missing:
            try:
                self._send_checked(snapshot, manifest)
            except (AlarmError, DamagedBackupError) as error:
                self.problems.append(str(error))
        self._progress("copying", self._total, self._total)

    def _begin(self) -> None:
        """Make sure that the place is ours, or becomes ours."""
        owner, there = self._listing.refuse_foreign(self._knowledge_base)
        if not owner:
            mark = {"format": FORMAT, "knowledge_base": self._knowledge_base, "recipients": self._recipients}
            with suppress(ObjectExistsError):  # somebody has begun it this moment: look again
                self._off_site.put(STORE, json.dumps(mark).encode("utf-8"))
            _, there = Listing(self._off_site).refuse_foreign(self._knowledge_base)
        if there != self._recipients:
            # One key for all of a place: a later snapshot uses packs of earlier ones.
            raise BackupError(
                f"{self._off_site.target} holds copies encrypted to {there or 'nobody'}, and NESCORD_BACKUP_RECIPIENT "
                f"is {self._recipients or 'not set'}: set it back, or begin anew under another prefix "
                "(NESCORD_OFF_SITE)"
            )
        self._off_site.sweep()
        readme = README + _ERASED_README + (_ENCRYPTED_README if self._recipients else b"")
        for name, content in (("RESTORE.md", readme), ("restore.py", SCRIPT)):
            if name not in self._sizes:
                with suppress(ObjectExistsError):
                    self._off_site.put(name, content)

    def _send_erasures(self) -> None:
        """Send the list of what was erased, if it has grown since it was sent."""
        content = erasures.content(self._store.folder)
        if not content:
            return
        sha256 = hashlib.sha256(content).hexdigest()
        if self._recipients:
            known = f"erasures {sha256}"
            if any(erasures_name(each, self._recipients) in self._sizes for each in self._notes.hashes(known)):
                return
            target = BytesIO()
            sha256 = encrypt(BytesIO(content), target, self._recipients).sha256
            self._notes.add(known, sha256)
            content = target.getvalue()
        name = erasures_name(sha256, self._recipients)
        self._put(name, [sha256], partial(self._off_site.put, name, content))

    def _is_whole(self, manifest: Manifest, copy: Copy) -> bool:
        """Whether a complete copy still has all its objects. One in the clear that has lost some can be mended."""
        sizes = self._sizes
        for name, stored in copy.objects.items():
            if name in sizes and sizes[name] != stored.bytes:
                raise self._alarm(name, f"it has {sizes[name]} bytes, not {stored.bytes}")
        if not self._recipients:
            own = hashlib.sha256(self._store.manifest_path(manifest.id).read_bytes()).hexdigest()
            if copy.objects.get(copy.manifest_object(), StoredObject(0, "")).sha256 != own:
                raise self._alarm(copy.manifest_object(), "it is not the manifest of the snapshot of that id here")
        lost = sorted(copy.objects.keys() - sizes.keys())
        if lost and self._recipients:
            raise self._alarm(lost[0], "it is missing")
        return not lost

    def _new_packs(self, manifests: Iterable[Manifest]) -> Iterable[int]:
        """The sizes of the packs that are not there yet."""
        packs = {pack.id: pack.bytes for manifest in manifests for pack in manifest.packs}
        return [size for pack, size in packs.items() if pack_name(pack, ".pack", self._recipients) not in self._sizes]

    def _send_checked(self, snapshot: Snapshot, manifest: Manifest) -> None:
        """Send a snapshot. What has rotted here is found out for all that share it, and mended where it can be."""
        status = self._store.status(snapshot.id)
        if status.state != "good":
            raise DamagedBackupError(f"the snapshot {snapshot.id}: {status.reason}")
        try:
            self._send(snapshot, manifest)
        except DamagedBackupError:
            good = [each.id for each in self._store.snapshots() if each.is_good]
            if not all(each.ok for each in check(self._store, good) if each.id == snapshot.id):
                raise
            self._send(snapshot, manifest)

    def _send(self, snapshot: Snapshot, manifest: Manifest) -> None:
        objects: dict[str, StoredObject] = {}
        for pack in manifest.packs:
            for suffix, sha256 in ((".idx", pack.idx_sha256), (".pack", pack.sha256)):
                name = pack_name(pack.id, suffix, self._recipients)
                path = self._store.packs / f"{pack.id}{suffix}"
                self._progress("copying", min(self.bytes, self._total), self._total)
                if not self._is_known(name, sha256):
                    self._known[name] = self._sent(name, path, sha256)
                objects[name] = self._known[name]
        name = manifest_name(manifest.id, self._recipients)
        content = self._sealed_manifest(manifest)
        objects[name] = StoredObject(len(content), hashlib.sha256(content).hexdigest())
        description = Copy.of(manifest, self._recipients, objects).encode()
        for each, written in ((objects_name(manifest.id), description), (name, content)):
            self._put(each, [hashlib.sha256(written).hexdigest()], partial(self._off_site.put, each, written))
        self.sent.append(manifest.id)
        self._note_done(snapshot)

    def _is_known(self, name: str, sha256: str) -> bool:
        """Whether a copy has named it, and it is there as it was named."""
        known = self._known.get(name)
        if known is None or self._sizes.get(name) != known.bytes:
            return False
        if not self._recipients and known.sha256 != sha256:
            raise self._alarm(name, "a copy there was made with another pack of that name")
        return True

    def _sent(self, name: str, path: Path, sha256: str) -> StoredObject:
        """Send a file, which must have this hash, unless it is there. What is stored there under `name` now."""
        try:
            if not self._recipients:
                return self._put(name, [sha256], lambda: self._off_site.put_file(name, path, sha256))
            if name in self._sizes:
                return self._recognised(name, self._notes.hashes(name))
            return self._sent_encrypted(name, path, sha256)
        except FileNotFoundError as error:
            raise DamagedBackupError(f"the file {path} is missing") from error

    def _sent_encrypted(self, name: str, path: Path, sha256: str) -> StoredObject:
        scratch = self._notes.scratch
        try:
            with path.open("rb") as source, scratch.open("wb") as target:
                sealed = encrypt(source, target, self._recipients)
            if sealed.plain_sha256 != sha256:
                raise DamagedBackupError(f"the file {path} is damaged: its hash is another")
            self._notes.add(name, sealed.sha256)
            return self._put(
                name, self._notes.hashes(name), lambda: self._off_site.put_file(name, scratch, sealed.sha256)
            )
        finally:
            scratch.unlink(missing_ok=True)

    def _sealed_manifest(self, manifest: Manifest) -> bytes:
        """The manifest as it is stored there. Encrypted, it is kept until it is there: its hash is written first."""
        content = self._store.manifest_path(manifest.id).read_bytes()
        if Manifest.decode(content, manifest.id) != manifest:
            raise DamagedBackupError(f"the manifest {self._store.manifest_path(manifest.id)} has changed meanwhile")
        if not self._recipients:
            return content
        kept = self._notes.manifest(manifest.id)
        if not kept.exists():
            target = BytesIO()
            encrypt(BytesIO(content), target, self._recipients)
            durable.write_file(kept, target.getvalue())
        return kept.read_bytes()

    def _put(self, name: str, hashes: Sequence[str], write: Callable[[], int]) -> StoredObject:
        """Write an object, whose hash is the last of `hashes`, or see that it is there already and has one of them.

        Looked for before it is written: not every server knows how to refuse what is there.
        """
        if name not in self._sizes:
            try:
                size = write()
            except ObjectExistsError:
                pass
            else:
                self._sizes[name] = size
                self.bytes += size
                return StoredObject(size, hashes[-1])
        return self._recognised(name, hashes)

    def _recognised(self, name: str, hashes: Sequence[str]) -> StoredObject:
        """An object that is there, which must have one of these hashes."""
        digest, size = hashlib.sha256(), 0
        try:
            for piece in self._off_site.stream(name, self._sizes.get(name, _UNKNOWN)):
                digest.update(piece)
                size += len(piece)
        except DamagedBackupError as error:
            raise self._alarm(name, str(error)) from error
        if digest.hexdigest() not in hashes:
            raise self._alarm(name, "it is not what this knowledge base has sent")
        self._sizes[name] = size
        return StoredObject(size, digest.hexdigest())

    def _alarm(self, name: str, what: str) -> AlarmError:
        return AlarmError(
            f"{self._off_site.target}/{name} is not what it should be: {what}. Nothing is overwritten: find out "
            "who wrote it, move it away there and replicate again, or name another prefix (NESCORD_OFF_SITE)"
        )

    def _note_done(self, snapshot: Snapshot) -> None:
        durable.remove(self._notes.manifest(snapshot.id))
        there = self._store.status(snapshot.id).off_site
        if self._off_site.target not in there:
            when = utc_text(datetime.now(UTC))
            self._store.set_status(snapshot.id, off_site={**there, self._off_site.target: when})


class _Notes:
    """What was sent encrypted: name -> hashes, on disk before the first byte leaves."""

    def __init__(self, folder: Path, key: str) -> None:
        durable.make_folder(folder)
        self._folder, self._key = folder, key
        self._path = folder / f"{key}.json"
        self.scratch = folder / f".{key}.sealed.tmp"
        self.scratch.unlink(missing_ok=True)  # of a run that was killed
        try:
            self._hashes: dict[str, list[str]] = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            self._hashes = {}

    def hashes(self, name: str) -> list[str]:
        return self._hashes.get(name, [])

    def add(self, name: str, sha256: str) -> None:
        """Note what is about to be sent."""
        self._hashes[name] = [*self.hashes(name), sha256]
        durable.write_file(self._path, json.dumps(self._hashes).encode("ascii"))

    def manifest(self, snapshot: str) -> Path:
        return self._folder / f"{self._key}-{snapshot}{AGE}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One copy to a place at a time: two would encrypt the same pack to different bytes."""
    with held_at_once(path) as is_ours:
        if not is_ours:
            raise LockTimeoutError(
                f"another copy to the same place is under way ({path.name}): try again when it is done"
            )
        yield


@contextmanager
def _told(store: BackupStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"the backups at {store.folder} cannot be copied ({error.strerror}): make room or mend the disk; "
            "nothing is lost"
        ) from error
