"""What a snapshot says of itself: its manifest, written once, and what is known of it, which changes.

Both carry a hash over themselves. A manifest that does not fit its own hash is never believed; a status that does not
is forgotten, and the snapshot counts as not checked yet.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import zstandard

from nescord.errors import DamagedBackupError, UsageError

FORMAT = 1
State = Literal["good", "bad", "unchecked"]
_ID = re.compile(r"([0-9]{6})-([0-9]{8}T[0-9]{6}Z)")
_TIME = "%Y%m%dT%H%M%SZ"
_HASH = "self_sha256"
_LARGEST = 512 * 2**20


@dataclass(frozen=True, slots=True)
class PackRef:
    """A pack that a snapshot uses: its file's size and hashes, and where its frames are (compressed lengths)."""

    id: str
    bytes: int
    sha256: str
    idx_sha256: str
    pages: int
    frames: tuple[int, ...]

    def offsets(self) -> list[int]:
        """Where each frame begins in the file."""
        return list(accumulate(self.frames[:-1], initial=0)) if self.frames else []


class Run(NamedTuple):
    """Pages of the database that are neighbours in a pack: `length` pages from page `first` of pack number `pack`.

    A tuple, since there are thousands in a manifest, and every backup reads all manifests.
    """

    pack: int
    first: int
    length: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A query and what the database answered when the snapshot was made: (chunk, score), best first.

    `vector` is base64 of little-endian float32, "" where nothing was embedded.
    """

    text: str
    vector: str
    keyword: tuple[tuple[int, float], ...]
    exact: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot: the pages of a database of `pages` × `page_size` bytes, in order, as runs of pages of packs.

    `sha256` is the whole database's; `tree` is SHA-256 over the SHA-256s of its pages, so that a snapshot can be
    checked without putting it together. `generation` is the id of the pack with which deduplication began.
    """

    id: str
    seq: int
    created_at: str
    knowledge_base: str
    epoch: str
    app_version: str
    schema: int
    trigger: str
    counts: Mapping[str, int]
    page_size: int
    pages: int
    size: int
    sha256: str
    tree: str
    generation: str
    bytes_added: int
    packs: tuple[PackRef, ...]
    runs: tuple[Run, ...]
    probe_model: str = ""
    probes: tuple[Probe, ...] = ()
    format: int = FORMAT

    def encode(self) -> bytes:
        """The file's content: zstd over JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["packs"] = [asdict(pack) for pack in self.packs]
        values["probes"] = [asdict(probe) for probe in self.probes]
        text = sealed(values)
        return zstandard.ZstdCompressor(level=9, write_checksum=True).compress(text)

    @classmethod
    def decode(cls, content: bytes, name: str) -> Manifest:
        """Read a manifest.

        Raises:
            DamagedBackupError: it is not what was written, or of a format that this program does not know.
        """
        try:
            text = decompressed(content, _LARGEST)
            values = unsealed(text)
            if values["format"] != FORMAT:
                raise DamagedBackupError(
                    f"the snapshot {name} has format {values['format']}, not {FORMAT}: install a newer nescord"
                )
            values["packs"] = tuple(
                PackRef(**{**pack, "frames": tuple(map(int, pack["frames"]))}) for pack in values["packs"]
            )
            values["runs"] = tuple(map(Run._make, values["runs"]))
            values["probes"] = tuple(
                Probe(probe["text"], probe["vector"], _hits(probe["keyword"]), _hits(probe["exact"]))
                for probe in values["probes"]
            )
            manifest = cls(**values)
        except (zstandard.ZstdError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
            raise DamagedBackupError(f"the manifest {name} is damaged: {error}") from error
        if manifest.id != name or parse_id(name)[0] != manifest.seq:
            raise DamagedBackupError(f"the manifest {name} is that of {manifest.id}: somebody has renamed it")
        return manifest


@dataclass(frozen=True, slots=True)
class OffSiteSummary:
    """What a place elsewhere says of itself: the uuid of the knowledge base it keeps copies of, the id of the newest
    ("" where there is none) and its notes, how many copies are complete, and the highest number in use."""

    knowledge_base: str
    newest_id: str
    notes: int
    count: int
    seq: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """What is known of a snapshot: `good` only when it was read back from the repository."""

    state: State = "unchecked"
    reason: str = ""
    checked_at: str = ""
    drilled_at: str = ""
    drill_ok: bool | None = None
    drill_note: str = ""
    pinned: bool = False
    off_site: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        return sealed(asdict(self))

    @classmethod
    def decode(cls, content: bytes) -> SnapshotStatus:
        """Read a status; one that is damaged counts as none."""
        try:
            values = unsealed(content)
            known = {one.name for one in fields(cls)}
            return cls(**{name: value for name, value in values.items() if name in known})
        except (DamagedBackupError, ValueError, TypeError, KeyError, AttributeError):
            return cls()


def decompressed(frame: bytes, most: int) -> bytes:
    """A zstd frame's content; ZstdError when it is not whole or would be larger than `most` bytes."""
    if zstandard.frame_content_size(frame) > most:
        raise zstandard.ZstdError(f"it would be larger than {most} bytes")
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=most)


def snapshot_id(seq: int, when: datetime) -> str:
    """The id of snapshot number `seq`; order is by number, since clocks go backwards."""
    return f"{seq:06d}-{when.astimezone(UTC).strftime(_TIME)}"


def parse_id(text: str) -> tuple[int, datetime]:
    """Number and time of a snapshot's id.

    Raises:
        UsageError: it is none, such as a path.
    """
    match = _ID.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return int(match[1]), datetime.strptime(match[2], _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f'"{text}" is no id of a snapshot (nescord backup list)') from None


def _hits(rows: list[list[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(chunk), float(score)) for chunk, score in rows)


def _canonical(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "replace")


def sealed(values: dict[str, Any]) -> bytes:
    """JSON with a hash over itself."""
    return _canonical({**values, _HASH: hashlib.sha256(_canonical(values)).hexdigest()})


def unsealed(content: bytes) -> dict[str, Any]:
    """What `sealed` was given. DamagedBackupError when it does not fit its hash; ValueError, KeyError: it is none."""
    values = json.loads(content)
    written = values.pop(_HASH)
    if hashlib.sha256(_canonical(values)).hexdigest() != written:
        raise DamagedBackupError("what it says does not fit its own hash")
    return dict(values)
