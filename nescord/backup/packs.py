"""Packs: pages of a database in zstd frames of 128 (1 MiB), and a list of the pages' hashes beside them.

`zstd -dc <id>.pack` gives the pages in order. Pages, not larger blocks: a page is what SQLite changes, and blocks of
16 KiB and more deduplicate hardly at all. A pack is written once and never changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from nescord import durable
from nescord.backup.manifest import Manifest, PackRef, decompressed
from nescord.errors import BackupError, DamagedBackupError

# Frames of 32 pages make a daily pack 7 % larger, and are no faster to read: pages are wanted in the order of the file.
FRAME_PAGES = 128
HASH_BYTES = 32
_READ = 2**20


def page_hash(page: bytes | memoryview) -> bytes:
    """SHA-256 of one page."""
    return hashlib.sha256(page).digest()


def write_pack(folder: Path, pack_id: str, pages: Iterable[tuple[bytes, bytes]], *, level: int) -> PackRef:
    """Write a pack and its idx from (hash, page), at that level of zstd; both are on disk when this returns.

    Raises:
        OSError: the disk is full or fails; nothing is left behind.
    """
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    digest, hashes, frames = hashlib.sha256(), bytearray(), []
    with durable.write_stream(folder / f"{pack_id}.pack") as stream:
        for batch in _batches(pages):
            frame = compressor.compress(b"".join(page for _, page in batch))
            stream.write(frame)
            digest.update(frame)
            frames.append(len(frame))
            for key, _ in batch:
                hashes += key
        size = stream.size
    durable.write_file(folder / f"{pack_id}.idx", bytes(hashes))
    return PackRef(
        id=pack_id,
        bytes=size,
        sha256=digest.hexdigest(),
        idx_sha256=hashlib.sha256(hashes).hexdigest(),
        pages=len(hashes) // HASH_BYTES,
        frames=tuple(frames),
    )


def read_idx(folder: Path, pack: PackRef) -> list[bytes]:
    """The hashes of the pages of a pack, in order.

    Raises:
        DamagedBackupError: the idx is missing or not what was written.
    """
    path = folder / f"{pack.id}.idx"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedBackupError(f"the list of pages {path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != pack.idx_sha256:
        raise DamagedBackupError(f"the list of pages {path} is damaged: its hash is another")
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


class PackReader:
    """The open packs of one snapshot; keeps the frame that was read last of each. A context manager."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._page_size = manifest.page_size
        self._packs = [_OpenPack(folder / f"{pack.id}.pack", pack) for pack in manifest.packs]
        self._runs = manifest.runs

    def __enter__(self) -> PackReader:
        return self

    def __exit__(self, *exc: object) -> None:
        for pack in self._packs:
            pack.close()

    def pages(self) -> Iterator[memoryview]:
        """Pieces of the database in order, each of one or more whole pages.

        Raises:
            DamagedBackupError: a pack is missing, cut off or garbled. What was given until then proves nothing: compare
                the whole with the manifest's hash.
        """
        for run in self._runs:
            pack, page, left = self._packs[run.pack], run.first, run.length
            while left:
                number, within = divmod(page, FRAME_PAGES)
                frame = pack.frame(number, self._page_size)
                count = min(left, len(frame) // self._page_size - within)
                if count <= 0:
                    raise DamagedBackupError(f"the pack {pack.path} ends before page {page}")
                yield frame[within * self._page_size : (within + count) * self._page_size]
                page, left = page + count, left - count


@dataclass(frozen=True, slots=True)
class _Frames:
    offsets: Sequence[int]
    lengths: Sequence[int]


class _OpenPack:
    def __init__(self, path: Path, pack: PackRef) -> None:
        self.path = path
        self._frames = _Frames(pack.offsets(), pack.frames)
        self._file = None if not path.exists() else path.open("rb")
        self._number, self._frame = -1, memoryview(b"")

    def frame(self, number: int, page_size: int) -> memoryview:
        if number == self._number:
            return self._frame
        if self._file is None:
            raise DamagedBackupError(f"the pack {self.path} is missing")
        if number >= len(self._frames.offsets):
            raise DamagedBackupError(f"the pack {self.path} has no frame {number}")
        try:
            self._file.seek(self._frames.offsets[number])
            content = self._file.read(self._frames.lengths[number])
            frame = decompressed(content, FRAME_PAGES * page_size)
        except (zstandard.ZstdError, OSError) as error:
            raise DamagedBackupError(f"the pack {self.path} is damaged in frame {number}: {error}") from error
        self._number, self._frame = number, memoryview(frame)
        return self._frame

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def hashes_in_pack(folder: Path, pack: PackRef, page_size: int) -> list[bytes]:
    """Read a pack once, from its first byte to its last, and return the hashes of its pages as they are.

    Raises:
        DamagedBackupError: it is missing, or not what was written. BackupError: the disk does not let it be read.
    """
    path = folder / f"{pack.id}.pack"
    digest = hashlib.sha256()
    hashes: list[bytes] = []
    try:
        with path.open("rb") as file:
            for length in pack.frames:
                content = file.read(length)
                digest.update(content)
                frame = memoryview(decompressed(content, FRAME_PAGES * page_size))
                hashes += (page_hash(frame[at : at + page_size]) for at in range(0, len(frame), page_size))
            while rest := file.read(_READ):
                digest.update(rest)
    except FileNotFoundError:
        raise DamagedBackupError(f"the pack {path} is missing") from None
    except zstandard.ZstdError as error:
        raise DamagedBackupError(f"the pack {path} is damaged: {error}") from error
    except OSError as error:
        raise BackupError(f"the pack {path} cannot be read: {error.strerror}") from error
    if digest.hexdigest() != pack.sha256 or len(hashes) != pack.pages:
        raise DamagedBackupError(f"the pack {path} is damaged: its hash is another")
    return hashes


def refuse_a_changed_pack(folder: Path, pack: PackRef) -> None:
    """DamagedBackupError unless a pack's file is, byte for byte, the one that was written."""
    path = folder / f"{pack.id}.pack"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except FileNotFoundError:
        raise DamagedBackupError(f"the pack {path} is missing") from None
    except OSError as error:
        raise DamagedBackupError(f"the pack {path} cannot be read: {error.strerror}") from error
    if digest.hexdigest() != pack.sha256:
        raise DamagedBackupError(f"the pack {path} is damaged: its hash is another")


def _batches(pages: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    batch: list[tuple[bytes, bytes]] = []
    for page in pages:
        batch.append(page)
        if len(batch) == FRAME_PAGES:
            yield batch
            batch = []
    if batch:
        yield batch
