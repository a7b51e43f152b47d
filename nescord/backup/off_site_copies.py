"""Which copies of snapshots are elsewhere, what each of them needs, and how copies go again.

The names are those of the local store, with `.age` behind what is encrypted. Beside each manifest lies
`snapshots/<id>.objects.json`, never encrypted and without anything private: the objects that the snapshot needs with
their sizes and hashes as they are stored there, so that a copy can be checked and thinned out without the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nescord.backup.manifest import FORMAT, Manifest, OffSiteSummary, parse_id, sealed, unsealed
from nescord.backup.off_site import OffSite
from nescord.errors import BackupError, DamagedBackupError, UsageError

STORE = "store.json"
AGE = ".age"
_MANIFEST = ".json.zst"
_OBJECTS = ".objects.json"
_PACK = (".pack", ".idx")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it is stored there: size in bytes, and SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Copy:
    """What is known of a copy without its key. `recipients` are the public keys it is encrypted to, "" for none."""

    id: str
    seq: int
    created_at: str
    knowledge_base: str
    recipients: str
    notes: int
    objects: Mapping[str, StoredObject]
    format: int = FORMAT

    @classmethod
    def of(cls, manifest: Manifest, recipients: str, objects: Mapping[str, StoredObject]) -> Copy:
        return cls(
            id=manifest.id,
            seq=manifest.seq,
            created_at=manifest.created_at,
            knowledge_base=manifest.knowledge_base,
            recipients=recipients,
            notes=manifest.counts.get("notes", 0),
            objects=objects,
        )

    def encode(self) -> bytes:
        return sealed(asdict(self))

    @classmethod
    def decode(cls, content: bytes, name: str) -> Copy:
        """Read an objects.json.

        Raises:
            DamagedBackupError: it is not what was written, or of a format that this program does not know.
        """
        try:
            values = unsealed(content)
            values["objects"] = {key: StoredObject(**value) for key, value in values["objects"].items()}
            copy = cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, DamagedBackupError) as error:
            raise DamagedBackupError(f"{name} is damaged: {error}") from error
        if copy.format != FORMAT:
            raise DamagedBackupError(f"{name} has format {copy.format}, not {FORMAT}: install a newer nescord")
        if objects_name(copy.id) != name or not all(map(_is_name, copy.objects)):
            raise DamagedBackupError(f"{name} is that of {copy.id}, or names what is none of ours")
        return copy

    def packs(self) -> dict[str, StoredObject]:
        """The objects that other copies may need, too."""
        return {name: stored for name, stored in self.objects.items() if name.startswith("packs/")}

    def manifest_object(self) -> str:
        return manifest_name(self.id, self.recipients)


def manifest_name(snapshot: str, recipients: str) -> str:
    return f"snapshots/{snapshot}{_MANIFEST}{AGE if recipients else ''}"


def objects_name(snapshot: str) -> str:
    return f"snapshots/{snapshot}{_OBJECTS}"


def pack_name(pack: str, suffix: str, recipients: str) -> str:
    return f"packs/{pack}{suffix}{AGE if recipients else ''}"


class Listing:
    """What was there when it was listed."""

    def __init__(self, off_site: OffSite) -> None:
        self._off_site = off_site
        self.sizes: Mapping[str, int] = off_site.sizes()
        manifests = _ids_of(self.sizes, "snapshots/", (_MANIFEST, _MANIFEST + AGE))
        self.described = _ids_of(self.sizes, "snapshots/", (_OBJECTS,))
        # Oldest first. The manifest comes last, so whatever is named by one should be there.
        self.ids = sorted(manifests)
        self.complete = sorted(manifests & self.described)
        packs = _ids_of(self.sizes, "packs/", tuple(suffix + age for suffix in _PACK for age in ("", AGE)))
        self.seq = max((parse_id(each)[0] for each in manifests | self.described | packs), default=0)

    def copy(self, snapshot: str) -> Copy:
        """What a snapshot needs.

        Raises:
            DamagedBackupError: that is missing or cannot be read.
        """
        parse_id(snapshot)
        name = objects_name(snapshot)
        return Copy.decode(self._off_site.read(name, self.sizes.get(name, 0)), name)

    def copies(self) -> dict[str, Copy]:
        """What is known of all complete snapshots that can be read, oldest first."""
        found = {}
        for each in self.complete:
            try:
                found[each] = self.copy(each)
            except DamagedBackupError:
                continue
        return found

    def owner(self) -> tuple[str, str]:
        """The uuid of the knowledge base whose copies these are, and the public keys; ("", "") where nothing is.

        Raises:
            DamagedBackupError: there are copies, and nothing that can be read says whose.
        """
        if STORE in self.sizes:
            try:
                values: dict[str, Any] = json.loads(self._off_site.read(STORE, self.sizes[STORE]))
                return str(values["knowledge_base"]), str(values["recipients"])
            except (ValueError, KeyError, TypeError, DamagedBackupError):
                pass
        for each in sorted(self.described, reverse=True):
            try:
                copy = self.copy(each)
            except DamagedBackupError:
                continue
            return copy.knowledge_base, copy.recipients
        if self.ids or self.described or STORE in self.sizes:
            raise DamagedBackupError(
                f"{self._off_site.target}: {STORE} cannot be read, so nobody knows whose copies these are; move "
                "it away there, or name another prefix or folder (NESCORD_OFF_SITE)"
            )
        return "", ""

    def refuse_foreign(self, knowledge_base: str) -> tuple[str, str]:
        """As `owner`; BackupError if that is another knowledge base: never written to and never deleted from."""
        owner, recipients = self.owner()
        if owner not in ("", knowledge_base):
            raise BackupError(
                f"{self._off_site.target} holds the copies of another knowledge base ({owner}, this one is "
                f"{knowledge_base}): this is not the volume you had, or NESCORD_OFF_SITE must name another prefix"
            )
        return owner, recipients


def summary(off_site: OffSite) -> OffSiteSummary:
    """What is elsewhere, from one listing and the newest description that can be read."""
    listing = Listing(off_site)
    for each in reversed(listing.complete):
        try:
            copy = listing.copy(each)
        except DamagedBackupError:
            continue
        return OffSiteSummary(copy.knowledge_base, copy.id, copy.notes, len(listing.complete), listing.seq)
    return OffSiteSummary(listing.owner()[0], "", 0, 0, listing.seq)


@dataclass(frozen=True, slots=True)
class Deleted:
    """Snapshots and objects that went, and why others did not."""

    ids: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    problem: str = ""


def delete_off_site(off_site: OffSite, dropped: Iterable[str], *, knowledge_base: str) -> Deleted:
    """Delete the copies of snapshots that this very run has dropped here. The caller holds backups.lock alone.

    Never the newest, and nothing if that would be more than half of what is there, or while a description of what stays
    cannot be read. A copy's manifest goes first, so that one that is listed is whole.

    Raises:
        UsageError: one of the ids is none. BackupError: these are the copies of another knowledge base.
    """
    asked = set(dropped)
    for each in asked:
        parse_id(each)
    listing = Listing(off_site)
    listing.refuse_foreign(knowledge_base)
    going = sorted(asked.intersection(listing.ids) - set(listing.ids[-1:]) - set(listing.complete[-1:]))
    if len(going) > len(listing.ids) // 2:
        return Deleted(problem=f"nothing was deleted at {off_site.target}: {len(going)} of {len(listing.ids)} copies")
    try:
        staying = [listing.copy(each) for each in sorted((listing.described | set(listing.ids)) - set(going))]
    except DamagedBackupError as error:
        return Deleted(problem=f"nothing was deleted at {off_site.target}, what is needed is not known: {error}")
    needed = {name for copy in staying for name in copy.objects}
    gone: list[str] = []
    for each in going:
        for name in _objects_of(listing, each):
            if name in listing.sizes and name not in needed and name not in gone:
                off_site.delete(name)
                gone.append(name)
    return Deleted(tuple(going), tuple(gone))


def _objects_of(listing: Listing, snapshot: str) -> list[str]:
    """What a snapshot consists of, in the order in which it is deleted."""
    own = [manifest_name(snapshot, age) for age in ("", AGE)] + [objects_name(snapshot)]
    own += [pack_name(snapshot, suffix, age) for suffix in _PACK for age in ("", AGE)]
    try:
        return own + sorted(listing.copy(snapshot).packs())
    except DamagedBackupError:
        return own


def _ids_of(names: Iterable[str], folder: str, suffixes: tuple[str, ...]) -> set[str]:
    found = set()
    for name in names:
        for suffix in suffixes:
            stem = name.removeprefix(folder).removesuffix(suffix)
            if f"{folder}{stem}{suffix}" == name and _is_id(stem):
                found.add(stem)
    return found


def _is_name(name: str) -> bool:
    """Whether it is an object that a snapshot may need."""
    manifests = _ids_of([name], "snapshots/", (_MANIFEST, _MANIFEST + AGE))
    return bool(manifests or _ids_of([name], "packs/", tuple(suffix + age for suffix in _PACK for age in ("", AGE))))


def _is_id(text: str) -> bool:
    try:
        parse_id(text)
    except UsageError:
        return False
    return True
